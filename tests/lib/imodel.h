/* imodel.h - a plain model of hashes, of a typed table over some of them, and of
 * what its indexes must hold; for test_store_index.
 *
 * Keys u:0 .. are rows of the table `users`, a:0 .. of `accounts`, whose `name` is
 * UNIQUE ... STRICT, p:0 .. of none. Values are numbers of a pool. SQLite has read
 * each of them in a column of each type, so the bytes that stand for it in an
 * index are known, and that they sort as SQLite sorts the values is checked.
 *
 * What changes the model answers with the result that the store must give.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_IMODEL_H
#define TESTS_LIB_IMODEL_H

#include "kvsql/inside.h"
#include "vtab/khash.h"

#define IMODEL_USERS 24
#define IMODEL_PETS 6
#define IMODEL_ACCOUNTS 8
#define IMODEL_KEYS (IMODEL_USERS + IMODEL_PETS + IMODEL_ACCOUNTS)
#define IMODEL_COLUMNS 5
#define IMODEL_FIELDS (IMODEL_COLUMNS + 1) /* the last is no column */
#define IMODEL_VALUES 22
#define IMODEL_WHOLE_ONLY 9 /* 9007199254740993: no double */
#define IMODEL_TABLES 2
#define IMODEL_ENTRY_MAX 1200

extern const char *const imodel_column[IMODEL_FIELDS];
extern const enum vt_affinity imodel_affinity[IMODEL_COLUMNS];

/* A value of the pool: its bytes, and those of an index for each column. */
struct imodel_pool {
    char text[400];
    uint32_t size;
    uint8_t entry[IMODEL_COLUMNS][IMODEL_ENTRY_MAX];
    uint32_t entry_size[IMODEL_COLUMNS];
};
extern struct imodel_pool imodel_pool[IMODEL_VALUES];

enum imodel_kind { IMODEL_NOTHING, IMODEL_HASH, IMODEL_OTHER };
struct imodel_field {
    int value;  /* of the pool; -1: none */
    int64_t at; /* expires then; 0: never */
};
struct imodel_row {
    enum imodel_kind kind;
    bool timed; /* something of it has had a time */
    int64_t at;
    struct imodel_field field[IMODEL_FIELDS];
};
struct imodel {
    int table; /* of tables[], -1: none */
    struct imodel_row row[IMODEL_KEYS];
};
/* What is, and the clock. */
extern struct imodel imodel_live;
extern int64_t imodel_wall;

struct imodel_index {
    int count, column[2];
};
struct imodel_table {
    const char *sql;
    int count;
    struct imodel_index index[4];
};
extern const struct imodel_table imodel_table[IMODEL_TABLES];
extern const char imodel_accounts[]; /* its definition */

/* Fill the pool. */
void imodel_init(void);
kvsql_slice imodel_value(int value);
int imodel_compare(const uint8_t *a, uint32_t a_size, const uint8_t *b,
                   uint32_t b_size);

struct imodel_name {
    char text[16];
    struct kv_key key;
};
struct kv_key imodel_key(unsigned k, struct imodel_name *name);
struct kv_key imodel_field_key(int f);
bool imodel_is_account(unsigned k);

void imodel_clear(struct imodel_row *row);
bool imodel_field_shows(const struct imodel_field *field, int64_t now);
bool imodel_shows(const struct imodel_row *row, int64_t now);
/* The row for who writes: what has expired is gone. */
struct imodel_row *imodel_now(unsigned k);
void imodel_delete(unsigned k);
/* `at` may be KV_KEEP_EXPIRY. */
kvsql_rc imodel_hset(unsigned k, int f, int value, int64_t at);
kvsql_rc imodel_hdel(unsigned k, int f);
kvsql_rc imodel_move(unsigned from, unsigned to, bool copy);

/* Hashes and indexes there are what the model says; else imodel_why says what is
 * not. One index alone; true, too, when it is not complete. */
bool imodel_says(const struct kv_at *at, const struct imodel *m);
bool imodel_index_says(const struct kv_at *at, const struct imodel *m,
                       const struct imodel_index *index, unsigned number,
                       int64_t now);
extern char imodel_why[200];
extern uint64_t imodel_indexes, imodel_rows; /* looked at so far */

#endif
