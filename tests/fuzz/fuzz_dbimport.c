/* fuzz_dbimport.c - an SQLite file that somebody gives to `kvsql import` (P8):
 * it is refused in words, or read twice with the same rows, each of which a
 * store can have.
 *
 * The input is SQL that stock SQLite runs on a good file; or, behind a first
 * '!', places and bytes to put there: u24 place, u8 byte. */
#include <sqlite3.h>

#include "kvsql/base/crc32c.h"
#include "kvsql/base/text.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/fakevfs.h"
#include "tests/lib/fuzz.h"
#include "vtab/dbimport.h"
#include "vtab/session.h"

#define SIZE_MAX_FILE (4 << 20)
#define STEPS_MAX 200 /* times 1000 steps of SQLite's machine */

static struct fakeos *fake;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kvsql_error err;
    int dir;

    (void)argc;
    (void)argv;
    fuzz_quiet();
    FUZZ_CHECK(vt_start(&err) == KVSQL_OK);
    fake = fakeos_new(1);
    const struct kv_os *os = fakeos_os(fake);
    FUZZ_CHECK(os->dir_open(os->arg, "data", true, &dir) == 0);
    os->dir_close(os->arg, dir);
    fakevfs_in(os);
    return 0;
}

static int step_on(void *arg)
{
    return ++*(int *)arg > STEPS_MAX;
}

/* The good file after the SQL, as far as that goes; sqlite3_free() it. */
static uint8_t *made(const char *sql, size_t *size)
{
    static const char good[] =
        "PRAGMA page_size = 512;"
        "CREATE TABLE keys(key TEXT PRIMARY KEY, type, expires_at);"
        "CREATE TABLE strings(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
        "CREATE TABLE hashes(key, field, value, expires_at);"
        "CREATE TABLE lists(key, idx, value);"
        "CREATE TABLE sets(key, member);"
        "CREATE TABLE zsets(key, member, score);"
        "CREATE TABLE kv_schema(name, sql);"
        "INSERT INTO keys VALUES('s','string',9),('h','hash',NULL),"
        "('l','list',5);"
        "INSERT INTO strings VALUES('s','text'),(x'ff',1.5);"
        "INSERT INTO hashes VALUES('h','f','v',7),('h',x'00','w',NULL);"
        "INSERT INTO lists VALUES('l',3,'a'),('l',-1,'b');"
        "INSERT INTO sets VALUES('S','m');"
        "INSERT INTO zsets VALUES('z','m',-0.0),('z','n',9e999);"
        "INSERT INTO kv_schema VALUES('u',"
        "'CREATE VIRTUAL TABLE u USING kv_hash(''u:{id}'', id)')";
    sqlite3_int64 made_size = 0;
    sqlite3 *db;
    int steps = 0;

    FUZZ_CHECK(sqlite3_open_v2(":memory:", &db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                               "unix") == SQLITE_OK);
    FUZZ_CHECK(sqlite3_exec(db, good, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, SIZE_MAX_FILE / 4);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_progress_handler(db, 1000, step_on, &steps);
    (void)sqlite3_exec(db, "PRAGMA writable_schema=1", NULL, NULL, NULL);
    (void)sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    (void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    uint8_t *bytes = sqlite3_serialize(db, "main", &made_size, 0);
    (void)sqlite3_close_v2(db);
    *size = (size_t)made_size;
    return bytes;
}

static uint32_t taste(uint32_t crc, kvsql_slice bytes)
{
    return kv_crc32c(crc, bytes.p != NULL ? bytes.p : "", bytes.size);
}

/* Read to the end, or to what is wrong; *crc is of all that came. */
static kvsql_rc read_all(struct vt_dbimport *file, uint32_t *crc,
                         struct kvsql_error *err)
{
    struct vt_dbimport_row row = {.type = KV_STRING};
    struct vt_dbimport_def def = {.name = {"", 0}};
    kvsql_rc rc = KVSQL_OK;

    *crc = 0;
    while (rc == KVSQL_OK && def.name.p != NULL) {
        rc = vt_dbimport_define(file, &def, err);
        if (rc == KVSQL_OK)
            *crc = taste(taste(*crc, def.name), def.sql);
    }
    while (rc == KVSQL_OK) {
        rc = vt_dbimport_next(file, &row, err);
        if (rc != KVSQL_OK || row.type == KV_NONE)
            break;
        FUZZ_CHECK(row.key.size <= KVSQL_KEY_MAX && row.expires_at >= 0 &&
                   row.field_expires_at >= 0 && !(row.score != row.score));
        *crc = taste(taste(taste(*crc, row.key), row.name), row.value);
    }
    return rc;
}

static void load(void)
{
    struct kvsql_error err = {.text = ""};
    struct vt_dbimport *file;
    uint32_t first, second;
    kvsql_rc rc = vt_dbimport_open("data/in.db", &file, &err);

    if (rc == KVSQL_OK)
        rc = read_all(file, &first, &err);
    FUZZ_CHECK(rc == KVSQL_OK || (rc != KVSQL_INTERNAL &&
                                  strstr(err.text, "data/in.db") != NULL));
    if (rc == KVSQL_OK) {
        FUZZ_CHECK(vt_dbimport_read(file) == vt_dbimport_rows(file));
        vt_dbimport_again(file);
        FUZZ_CHECK(read_all(file, &second, &err) == KVSQL_OK &&
                   first == second);
    }
    vt_dbimport_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bool poke = size > 0 && data[0] == '!';
    struct fuzz_input input = {data + 1, size - 1};
    char *sql = poke ? NULL : fuzz_text(data, size);
    size_t made_size = 0;
    uint8_t *bytes = made(poke ? "" : sql, &made_size);

    while (poke && bytes != NULL && input.size >= 4) {
        size_t place = fuzz_byte(&input);
        place = place << 8 | fuzz_byte(&input);
        place = place << 8 | fuzz_byte(&input);
        bytes[place % made_size] = fuzz_byte(&input);
    }
    free(sql);
    if (bytes != NULL && made_size > 0 && made_size <= SIZE_MAX_FILE) {
        FUZZ_CHECK(fakeos_poke(fake, "data/in.db", bytes, made_size, 0));
        FUZZ_CHECK(fakeos_resize(fake, "data/in.db", made_size));
        load();
        FUZZ_CHECK(fakeos_open_handles(fake) == 0);
    }
    sqlite3_free(bytes);
    return 0;
}
