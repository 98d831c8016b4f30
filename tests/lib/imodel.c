/* imodel.c - see imodel.h. */
#include "tests/lib/imodel.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* ---- values ------------------------------------------------------------------ */

static const char *const texts[IMODEL_VALUES] = {"7",
                                                 "007",
                                                 "7.0",
                                                 "41",
                                                 "42",
                                                 "-5",
                                                 "abc",
                                                 "",
                                                 "a",
                                                 "9007199254740993",
                                                 "9007199254740992",
                                                 "1e3",
                                                 "0.1",
                                                 "-0",
                                                 "9e999",
                                                 "z",
                                                 "\xff",
                                                 "c1",
                                                 "c2",
                                                 " 7",
                                                 "Wide",
                                                 "Wide2"};
const char *const imodel_column[IMODEL_FIELDS] = {"name",  "age",  "city",
                                                  "score", "data", "other"};
const enum vt_affinity imodel_affinity[IMODEL_COLUMNS] = {
    VT_AFFINITY_TEXT, VT_AFFINITY_INTEGER, VT_AFFINITY_TEXT, VT_AFFINITY_REAL,
    VT_AFFINITY_NONE};

struct imodel_pool imodel_pool[IMODEL_VALUES];

static void pool_fill(unsigned i)
{
    imodel_pool[i].size = (uint32_t)strlen(texts[i]);
    memcpy(imodel_pool[i].text, texts[i], imodel_pool[i].size);
    if (texts[i][0] == 'W') { /* a key of its own block (EN7) */
        memset(imodel_pool[i].text, 'w', 300);
        imodel_pool[i].size = 299;
        imodel_pool[i].text[imodel_pool[i].size++] =
            texts[i][4] ? texts[i][4] : '1';
    }
}

static void datum_of(sqlite3_stmt *stmt, int column, struct kv_datum *datum)
{
    memset(datum, 0, sizeof(*datum));
    datum->p = sqlite3_column_blob(stmt, column);
    datum->size = (uint32_t)sqlite3_column_bytes(stmt, column);
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        datum->kind = KV_DATUM_INT;
        datum->integer = sqlite3_column_int64(stmt, column);
        break;
    case SQLITE_FLOAT:
        datum->kind = KV_DATUM_REAL;
        datum->real = sqlite3_column_double(stmt, column);
        break;
    case SQLITE_TEXT:
        datum->kind = KV_DATUM_TEXT;
        break;
    default:
        datum->kind = KV_DATUM_BLOB;
        break;
    }
    if (datum->p == NULL)
        datum->p = (const uint8_t *)"";
}

int imodel_compare(const uint8_t *a, uint32_t a_size, const uint8_t *b,
                   uint32_t b_size)
{
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

/* The bytes of all values sort as SQLite sorts the values. */
static void pool_check(sqlite3 *sql, int column)
{
    char text[80];
    sqlite3_stmt *stmt;
    int before = -1;

    (void)snprintf(text, sizeof(text), "SELECT id FROM v ORDER BY %s",
                   imodel_column[column]);
    ck_assert_int_eq(sqlite3_prepare_v2(sql, text, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const int at = sqlite3_column_int(stmt, 0);
        if (before >= 0)
            ck_assert_int_le(
                imodel_compare(imodel_pool[before].entry[column],
                               imodel_pool[before].entry_size[column],
                               imodel_pool[at].entry[column],
                               imodel_pool[at].entry_size[column]),
                0);
        before = at;
    }
    ck_assert_int_eq(sqlite3_finalize(stmt), SQLITE_OK);
}

/* Let SQLite read them in columns of the types. */
void imodel_init(void)
{
    sqlite3 *sql;
    sqlite3_stmt *put, *get;

    ck_assert_int_eq(sqlite3_open(":memory:", &sql), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(sql,
                     "CREATE TABLE v(id INTEGER PRIMARY KEY, name TEXT,"
                     " age INTEGER, city TEXT, score REAL, data BLOB)",
                     NULL, NULL, NULL),
        SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_prepare_v2(sql,
                           "INSERT INTO v VALUES(?1, ?2, ?2, ?2, ?2,"
                           " CAST(?2 AS BLOB))",
                           -1, &put, NULL),
        SQLITE_OK);
    for (unsigned i = 0; i < IMODEL_VALUES; i++) {
        pool_fill(i);
        const int size = (int)imodel_pool[i].size;
        sqlite3_bind_int(put, 1, (int)i);
        if (size == 1 && (uint8_t)imodel_pool[i].text[0] == 0xff)
            sqlite3_bind_blob(put, 2, imodel_pool[i].text, size, SQLITE_STATIC);
        else
            sqlite3_bind_text(put, 2, imodel_pool[i].text, size, SQLITE_STATIC);
        ck_assert_int_eq(sqlite3_step(put), SQLITE_DONE);
        sqlite3_reset(put);
    }
    ck_assert_int_eq(sqlite3_finalize(put), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_prepare_v2(sql,
                           "SELECT name, age, city, score, data FROM v"
                           " ORDER BY id",
                           -1, &get, NULL),
        SQLITE_OK);
    for (unsigned i = 0; i < IMODEL_VALUES; i++) {
        ck_assert_int_eq(sqlite3_step(get), SQLITE_ROW);
        for (int c = 0; c < IMODEL_COLUMNS; c++) {
            struct kv_datum datum;
            struct kv_buf buf;
            datum_of(get, c, &datum);
            kv_buf_init(&buf, KV_MEM_MISC, IMODEL_ENTRY_MAX);
            kv_datum_put(&buf, &datum);
            ck_assert(!buf.failed);
            memcpy(imodel_pool[i].entry[c], buf.p, buf.size);
            imodel_pool[i].entry_size[c] = (uint32_t)buf.size;
            kv_buf_fini(&buf);
        }
    }
    ck_assert_int_eq(sqlite3_finalize(get), SQLITE_OK);
    for (int c = 0; c < IMODEL_COLUMNS; c++)
        pool_check(sql, c);
    ck_assert_int_eq(sqlite3_close(sql), SQLITE_OK);
}

kvsql_slice imodel_value(int value)
{
    return (kvsql_slice){imodel_pool[value].text, imodel_pool[value].size};
}

/* ---- the model ----------------------------------------------------------------- */

struct imodel imodel_live;
int64_t imodel_wall;

static const struct imodel_field no_field = {.value = -1};

void imodel_clear(struct imodel_row *row)
{
    *row = (struct imodel_row){.kind = IMODEL_NOTHING};
    for (int f = 0; f < IMODEL_FIELDS; f++)
        row->field[f] = no_field;
}

bool imodel_field_shows(const struct imodel_field *field, int64_t now)
{
    return field->value >= 0 && (field->at == 0 || field->at > now);
}

bool imodel_shows(const struct imodel_row *row, int64_t now)
{
    bool any = row->kind == IMODEL_OTHER;

    for (int f = 0; f < IMODEL_FIELDS; f++)
        any = any || imodel_field_shows(&row->field[f], now);
    return row->kind != IMODEL_NOTHING && (row->at == 0 || row->at > now) &&
           any;
}

/* What has expired is gone for who writes; in the store it may be there still. */
struct imodel_row *imodel_now(unsigned k)
{
    struct imodel_row *row = &imodel_live.row[k];
    const bool timed = row->timed;

    for (int f = 0; f < IMODEL_FIELDS; f++)
        if (!imodel_field_shows(&row->field[f], imodel_wall))
            row->field[f] = no_field;
    if (!imodel_shows(row, imodel_wall))
        imodel_clear(row);
    row->timed = timed;
    return row;
}

/* The key is deleted, if it is there. */
void imodel_delete(unsigned k)
{
    struct imodel_row *row = imodel_now(k);

    if (row->kind != IMODEL_NOTHING)
        imodel_clear(row);
}

bool imodel_is_account(unsigned k)
{
    return k >= IMODEL_USERS + IMODEL_PETS;
}

/* Another account with this name. */
static bool name_is_taken(unsigned k, int value)
{
    for (unsigned i = IMODEL_USERS + IMODEL_PETS; i < IMODEL_KEYS; i++)
        if (i != k && value >= 0 &&
            imodel_shows(&imodel_live.row[i], imodel_wall) &&
            imodel_field_shows(&imodel_live.row[i].field[0], imodel_wall) &&
            imodel_live.row[i].field[0].value == value)
            return true;
    return false;
}

kvsql_rc imodel_hset(unsigned k, int f, int value, int64_t at)
{
    struct imodel_row *row = imodel_now(k);

    if (row->kind == IMODEL_OTHER)
        return KVSQL_WRONGTYPE;
    if (imodel_is_account(k) && f == 0 && name_is_taken(k, value))
        return KVSQL_CONSTRAINT;
    row->timed = row->timed && row->kind == IMODEL_HASH;
    row->kind = IMODEL_HASH;
    row->field[f].value = value;
    if (at != KV_KEEP_EXPIRY)
        row->field[f].at = at;
    row->timed = row->timed || at > 0;
    return KVSQL_OK;
}

kvsql_rc imodel_hdel(unsigned k, int f)
{
    struct imodel_row *row = imodel_now(k);

    if (row->kind == IMODEL_OTHER)
        return KVSQL_WRONGTYPE;
    row->field[f] = no_field;
    (void)imodel_now(k);
    return KVSQL_OK;
}

kvsql_rc imodel_move(unsigned from, unsigned to, bool copy)
{
    struct imodel_row *row = imodel_now(from);

    (void)imodel_now(to);
    if (row->kind == IMODEL_NOTHING)
        return KVSQL_NOTFOUND;
    if (from == to)
        return KVSQL_OK;
    if (imodel_is_account(to) && row->kind == IMODEL_HASH) {
        /* the one that goes does not stand in the way */
        const struct imodel_row kept = *row;
        bool taken;
        if (!copy)
            imodel_clear(row);
        taken = name_is_taken(to, kept.field[0].value);
        *row = kept;
        if (taken)
            return KVSQL_CONSTRAINT;
    }
    imodel_live.row[to] = *row;
    if (!copy)
        imodel_clear(row);
    return KVSQL_OK;
}

/* ---- keys ----------------------------------------------------------------------- */

struct kv_key imodel_key(unsigned k, struct imodel_name *name)
{
    const int size =
        k < IMODEL_USERS ? snprintf(name->text, sizeof(name->text), "u:%u", k)
        : k < IMODEL_USERS + IMODEL_PETS
            ? snprintf(name->text, sizeof(name->text), "p:%u", k - IMODEL_USERS)
            : snprintf(name->text, sizeof(name->text), "a:%u",
                       k - IMODEL_USERS - IMODEL_PETS);

    return name->key = kv_key_of(name->text, (size_t)size);
}

struct kv_key imodel_field_key(int f)
{
    return kv_key_of(imodel_column[f], strlen(imodel_column[f]));
}

/* ---- definitions ----------------------------------------------------------------- */

#define COLUMNS_SQL                                                            \
    "'u:{id}', id, name TEXT, age INTEGER, city TEXT, score REAL, data BLOB,"
const struct imodel_table imodel_table[IMODEL_TABLES] = {
    {"CREATE VIRTUAL TABLE users USING kv_hash(" COLUMNS_SQL
     " INDEX(age), INDEX(city, age), INDEX(score, name), INDEX(data))",
     4,
     {{1, {1}}, {2, {2, 1}}, {2, {3, 0}}, {1, {4}}}},
    {"CREATE VIRTUAL TABLE users USING kv_hash(" COLUMNS_SQL
     " INDEX(city), INDEX(age, city))",
     2,
     {{1, {2}}, {2, {1, 2}}}}};
const char imodel_accounts[] =
    "CREATE VIRTUAL TABLE accounts USING kv_hash('a:{id}', id, name TEXT,"
    " UNIQUE(name) STRICT)";

/* What the store calls an index (kv_index_id). */
static void index_name(const struct imodel_index *index, unsigned number,
                       struct kv_buf *out)
{
    struct kv_buf spec;

    kv_buf_init(&spec, KV_MEM_MISC, 1000);
    kv_buf_init(out, KV_MEM_MISC, 1000);
    kv_buf_varint(&spec, 2);
    kv_buf_add(&spec, "u:", 2);
    kv_buf_byte(&spec, 0);
    kv_buf_byte(&spec, (uint8_t)index->count);
    for (int i = 0; i < index->count; i++) {
        const char *field = imodel_column[index->column[i]];
        kv_buf_byte(&spec, (uint8_t)imodel_affinity[index->column[i]]);
        kv_buf_varint(&spec, strlen(field));
        kv_buf_add(&spec, field, strlen(field));
    }
    kv_index_id(out, (kvsql_slice){"users", 5}, number,
                (kvsql_slice){spec.p, spec.size});
    kv_buf_fini(&spec);
}

/* ---- what a view must say ---------------------------------------------------------- */

uint64_t imodel_indexes, imodel_rows;

/* The entry that a row has in an index. */
struct expected {
    uint8_t p[2 * IMODEL_ENTRY_MAX];
    uint32_t size;
    bool found;
};

static void expect(const struct imodel *m, const struct imodel_index *index,
                   unsigned k, int64_t now, struct expected *out)
{
    struct imodel_name name;

    out->size = 0;
    out->found = false;
    for (int i = 0; i < index->count; i++) {
        const int c = index->column[i];
        const struct imodel_field *field = &m->row[k].field[c];
        if (!imodel_field_shows(field, now)) {
            out->p[out->size++] = KV_DATUM_NONE;
            continue;
        }
        memcpy(out->p + out->size, imodel_pool[field->value].entry[c],
               imodel_pool[field->value].entry_size[c]);
        out->size += imodel_pool[field->value].entry_size[c];
    }
    (void)imodel_key(k, &name);
    out->p[out->size++] = KV_DATUM_KEY + KV_TEXT;
    memcpy(out->p + out->size, name.key.p + 2, name.key.size - 2);
    out->size += name.key.size - 2;
}

char imodel_why[200];

static bool differs(const char *what, unsigned k)
{
    const struct imodel_row *row = &imodel_live.row[k];

    (void)snprintf(imodel_why, sizeof(imodel_why),
                   "%s: key %u, kind %d, until %lld at %lld", what, k,
                   (int)row->kind, (long long)row->at, (long long)imodel_wall);
    return false;
}

/* An entry that no row has now: one of a time that comes, or that has gone. */
static bool explained(const struct imodel *m, const struct kv_val *entry)
{
    for (unsigned k = 0; k < IMODEL_USERS; k++) {
        struct imodel_name name;
        const struct kv_key key = imodel_key(k, &name);
        const uint32_t tail = key.size - 2;
        if (entry->size > tail + 1 && m->row[k].timed &&
            memcmp(entry->p + entry->size - tail, key.p + 2, tail) == 0 &&
            entry->p[entry->size - tail - 1] == KV_DATUM_KEY + KV_TEXT)
            return true;
    }
    return false;
}

/* All entries of a complete index, in their order. */
bool imodel_index_says(const struct kv_at *at, const struct imodel *m,
                       const struct imodel_index *index, unsigned number,
                       int64_t now)
{
    static struct expected rows[IMODEL_USERS];
    struct kv_item item;
    struct kv_elems elems;
    struct kv_buf id;
    bool same = true;

    index_name(index, number, &id);
    const struct kv_key name = {id.p, (uint32_t)id.size, KV_BLOB};
    const bool complete = kv_index_get(at, &name, &item);
    for (unsigned k = 0; complete && k < IMODEL_USERS; k++)
        expect(m, index, k, now, &rows[k]);
    if (complete)
        kv_elems_init(&elems, at, &item, KV_ELEMS_KEY);
    for (bool ok = complete && kv_elems_first(&elems); ok && same;
         ok = kv_elems_next(&elems)) {
        const struct kv_val *entry = &elems.elem.key;
        bool known = false;
        for (unsigned k = 0; k < IMODEL_USERS; k++)
            if (m->row[k].kind == IMODEL_HASH &&
                imodel_shows(&m->row[k], now) && rows[k].size == entry->size &&
                memcmp(rows[k].p, entry->p, entry->size) == 0)
                known = rows[k].found = true;
        same = known || explained(m, entry) ||
               differs("an entry that no row explains", 0);
    }
    for (unsigned k = 0; complete && same && k < IMODEL_USERS; k++)
        if (m->row[k].kind == IMODEL_HASH && imodel_shows(&m->row[k], now))
            same = rows[k].found || differs("a row without its entry", k);
    imodel_indexes += complete;
    kv_buf_fini(&id);
    return same;
}

static bool hash_says(const struct kv_at *at, const struct kv_item *item,
                      const struct imodel_row *row, int64_t now)
{
    for (int f = 0; f < IMODEL_FIELDS; f++) {
        const struct kv_key field = imodel_field_key(f);
        struct kv_elem elem;
        const bool found = kv_elem_find(at, item, &field, &elem);
        if (found != imodel_field_shows(&row->field[f], now))
            return false;
        if (!found)
            continue;
        const kvsql_slice value = imodel_value(row->field[f].value);
        if (elem.value.size != value.size ||
            memcmp(elem.value.p, value.p, value.size) != 0 ||
            elem.expires_at != row->field[f].at)
            return false;
    }
    return true;
}

/* Hashes and indexes there are what the model says. */
bool imodel_says(const struct kv_at *at, const struct imodel *m)
{
    const int64_t now = imodel_wall;

    for (unsigned k = 0; k < IMODEL_KEYS; k++) {
        const struct imodel_row *row = &m->row[k];
        struct imodel_name name;
        struct kv_item item;
        (void)imodel_key(k, &name);
        const bool found = kv_get(at, &name.key, &item);
        if (found != imodel_shows(row, now))
            return differs("a key", k);
        if (!found)
            continue;
        imodel_rows++;
        if ((item.type == KV_HASH) != (row->kind == IMODEL_HASH) ||
            item.expires_at != row->at ||
            (row->kind == IMODEL_HASH && !hash_says(at, &item, row, now)))
            return differs("a hash", k);
    }
    for (int i = 0; m->table >= 0 && i < imodel_table[m->table].count; i++)
        if (!imodel_index_says(at, m, &imodel_table[m->table].index[i],
                               (unsigned)i, now))
            return false;
    return true;
}
