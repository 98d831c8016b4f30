/* func.c - SQL functions over the store (sql.md 2.8).
 *
 * They read where the running statement reads, and never write: a scalar
 * function that writes would pass for a read. An absent key, and one of
 * another type, give NULL.
 *
 * Thread: the session's. */
#include "vtab/guest.h"
#include "vtab/table.h"

#include <string.h>

struct func_read {
    struct vt_session *session;
    struct kv_at at;
    struct vt_snap *snap;
    bool copy;
};

/* Where to read; false: the error is set. */
static bool func_at(sqlite3_context *context, struct func_read *read)
{
    struct kvsql_error err;

    read->session = (struct vt_session *)sqlite3_user_data(context);
    read->copy = read->session->txn != NULL || read->session->guest != NULL;
    if (vt_read_at(read->session, true, &read->at, &read->snap, &err) ==
        KVSQL_OK)
        return true;
    read->session->failure = err;
    sqlite3_result_error(context, err.text, -1);
    sqlite3_result_error_code(context, vt_code(err.rc));
    return false;
}

/* The key that an argument names: its class is its SQL type, but a number is
 * its text. False: NULL, or no memory. */
static bool func_key(sqlite3_value *value, struct vt_input *input)
{
    if (sqlite3_value_type(value) == SQLITE_NULL) return false;
    return vt_input_init(input, value);
}

/* The item of argument 0, of the type wanted (KV_NONE: any). */
static bool func_item(sqlite3_context *context, sqlite3_value *value,
                      enum kv_type type, struct func_read *read,
                      struct kv_item *item)
{
    struct vt_input key;
    bool found;

    if (!func_key(value, &key)) return false;
    found = func_at(context, read) && kv_get(&read->at, &key.key, item) &&
            (type == KV_NONE || item->type == type);
    vt_input_fini(&key);
    return found;
}

static void func_val(sqlite3_context *context, const struct func_read *read,
                     const struct kv_val *val)
{
    vt_result_bytes(context, val->p, val->size, val->cls,
                    val->stable && !read->copy);
}

static void func_get(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct func_read read;
    struct kv_item item;
    struct kv_val val;

    (void)argc;
    if (!func_item(context, argv[0], KV_STRING, &read, &item)) return;
    kv_item_string(&item, &val);
    func_val(context, &read, &val);
}

/* The element that argument 1 names. */
static bool func_elem(sqlite3_context *context, sqlite3_value **argv,
                      enum kv_type type, struct func_read *read,
                      struct kv_item *item, struct kv_elem *elem)
{
    struct vt_input key;
    bool found;

    if (!func_item(context, argv[0], type, read, item) ||
        !func_key(argv[1], &key))
        return false;
    found = kv_elem_find(&read->at, item, &key.key, elem);
    vt_input_fini(&key);
    return found;
}

static void func_hget(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct func_read read;
    struct kv_item item;
    struct kv_elem elem;

    (void)argc;
    if (func_elem(context, argv, KV_HASH, &read, &item, &elem))
        func_val(context, &read, &elem.value);
}

static void func_zscore(sqlite3_context *context, int argc,
                        sqlite3_value **argv)
{
    struct func_read read;
    struct kv_item item;
    struct kv_elem elem;

    (void)argc;
    if (func_elem(context, argv, KV_ZSET, &read, &item, &elem))
        sqlite3_result_double(context, elem.score + 0.0);
}

static void func_zrank(sqlite3_context *context, int argc,
                       sqlite3_value **argv)
{
    struct func_read read;
    struct kv_item item;
    struct vt_input member;
    uint64_t rank;

    (void)argc;
    if (!func_item(context, argv[0], KV_ZSET, &read, &item) ||
        !func_key(argv[1], &member))
        return;
    if (kv_elem_rank(&read.at, &item, &member.key, &rank))
        sqlite3_result_int64(context, (sqlite3_int64)rank);
    vt_input_fini(&member);
}

static void func_type(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct func_read read;
    struct kv_item item;

    (void)argc;
    if (func_item(context, argv[0], KV_NONE, &read, &item))
        sqlite3_result_text(context, kv_type_name(item.type), -1,
                            SQLITE_STATIC);
}

static void func_ttl(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct func_read read;
    struct kv_item item;

    (void)argc;
    if (func_item(context, argv[0], KV_NONE, &read, &item) &&
        item.expires_at != 0)
        sqlite3_result_int64(context, item.expires_at - kv_at_wall(&read.at));
}

static void func_len(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct func_read read;
    struct kv_item item;

    (void)argc;
    if (func_item(context, argv[0], KV_NONE, &read, &item))
        sqlite3_result_int64(context, (sqlite3_int64)kv_item_length(&item));
}

static void func_exists(sqlite3_context *context, int argc,
                        sqlite3_value **argv)
{
    struct func_read read;
    struct kv_item item;

    (void)argc;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL) return;
    sqlite3_result_int(context,
                       func_item(context, argv[0], KV_NONE, &read, &item));
}

/* Keys of an interval that match a pattern, one by one. Interrupted: -1. */
static int64_t func_count_match(struct vt_session *session,
                                const struct kv_at *at,
                                const struct vt_range *range,
                                const struct kv_key *pattern)
{
    struct kv_keys walk;
    int64_t count = 0;
    unsigned steps = 0;
    bool stop = false, found;

    kv_keys_init(&walk, at, 0);
    for (found = kv_keys_seek(&walk, &range->lo, false);
         found && kv_key_compare(&walk.key, &range->hi) < 0;
         found = kv_keys_next(&walk)) {
        count += vt_glob(session, pattern->p, pattern->size, walk.key.p,
                         walk.key.size, &stop);
        if (stop ||
            (++steps % VT_CHECK_EVERY == 0 && vt_cancelled(session)))
            return -1;
    }
    return count;
}

/* kv_count(glob): keys that match, as `key GLOB ...` would. A literal prefix
 * and one '*' behind it are counted by the tree. */
static void func_count(sqlite3_context *context, int argc,
                       sqlite3_value **argv)
{
    struct func_read read;
    struct vt_set set;
    struct vt_input input;
    struct kv_item item;
    const uint8_t *p, *special;
    int64_t count = 0;
    bool exact;

    (void)argc;
    if (!func_key(argv[0], &input)) return;
    vt_set_init(&set);
    vt_set_all(&set);
    if (sqlite3_value_type(argv[0]) == SQLITE_BLOB) {
        sqlite3_result_int(context, 0);
    } else if (!vt_set_glob(&set, &input.key, &exact)) {
        sqlite3_result_error_nomem(context);
    } else if (func_at(context, &read)) {
        p = input.key.p;
        for (special = p; special < p + input.key.size; special++)
            if (*special == '*' || *special == '?' || *special == '[') break;
        if (special == p + input.key.size)
            count = kv_get(&read.at, &input.key, &item);
        else if (exact)
            count = (int64_t)kv_count_range(&read.at, &set.ranges[0].lo,
                                            &set.ranges[0].hi);
        else
            count = func_count_match(read.session, &read.at, &set.ranges[0],
                                     &input.key);
        if (count >= 0)
            sqlite3_result_int64(context, count);
        else
            sqlite3_result_error_code(context, SQLITE_INTERRUPT);
    }
    vt_set_fini(&set);
    vt_input_fini(&input);
}

/* ---- values alone ------------------------------------------------------------------- */

/* A JSON number, with blanks around it. */
static bool func_json_number(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *digits;

    while (p < end && strchr(" \t\r\n", *p) != NULL && *p != 0) p++;
    while (p < end && strchr(" \t\r\n", end[-1]) != NULL && end[-1] != 0)
        end--;
    if (p < end && *p == '-') p++;
    digits = p;
    while (p < end && *p >= '0' && *p <= '9') p++;
    if (p == digits || (*digits == '0' && p - digits > 1)) return false;
    if (p < end && *p == '.') {
        digits = ++p;
        while (p < end && *p >= '0' && *p <= '9') p++;
        if (p == digits) return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        digits = p;
        while (p < end && *p >= '0' && *p <= '9') p++;
        if (p == digits) return false;
    }
    return p == end;
}

/* kv_num(v): the number that TEXT is, if it is one as JSON writes it (TB4). */
static void func_num(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    int type = sqlite3_value_type(argv[0]);
    const uint8_t *p;
    int size;

    (void)argc;
    if (type == SQLITE_TEXT) {
        size = sqlite3_value_bytes(argv[0]);
        p = sqlite3_value_blob(argv[0]);
        if (p == NULL || !func_json_number(p, p + size)) return;
        type = sqlite3_value_numeric_type(argv[0]);
    }
    if (type == SQLITE_INTEGER || type == SQLITE_FLOAT)
        sqlite3_result_value(context, argv[0]);
}

/* kv_key(v): the bytes in the class the store gives them (VA4). */
static void func_canonical(sqlite3_context *context, int argc,
                           sqlite3_value **argv)
{
    struct vt_input input;

    (void)argc;
    if (!func_key(argv[0], &input)) return;
    vt_result_bytes(context, input.key.p, input.key.size, input.key.cls,
                    false);
    vt_input_fini(&input);
}

/* kv_text(v): readable, with U+FFFD for what is no text. */
static void func_text(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct vt_input input;
    const uint8_t *p, *end;
    sqlite3_str *out;
    char *text;
    int size, rc;

    (void)argc;
    if (!func_key(argv[0], &input)) return;
    out = sqlite3_str_new(((struct vt_session *)sqlite3_user_data(context))
                              ->sql);
    for (p = input.key.p, end = p + input.key.size; p < end;) {
        size_t good = kv_utf8_prefix(p, (size_t)(end - p));
        const uint8_t *nul = good > 0 ? memchr(p, 0, good) : NULL;
        if (nul != NULL) good = (size_t)(nul - p);
        sqlite3_str_append(out, (const char *)p, (int)good);
        p += good;
        if (p == end) break;
        sqlite3_str_append(out, "\xEF\xBF\xBD", 3);
        p++;
    }
    vt_input_fini(&input);
    rc = sqlite3_str_errcode(out);
    size = sqlite3_str_length(out);
    text = sqlite3_str_finish(out);
    if (rc != SQLITE_OK)
        sqlite3_result_error_code(context, rc);
    else if (size == 0)
        sqlite3_result_text(context, "", 0, SQLITE_STATIC);
    else
        sqlite3_result_text64(context, text, (sqlite3_uint64)size,
                              sqlite3_free, SQLITE_UTF8);
}

kvsql_rc vt_functions_register(struct vt_session *session,
                               struct kvsql_error *err)
{
    static const struct {
        const char *name;
        int args;
        bool store; /* reads the store, so not deterministic */
        void (*call)(sqlite3_context *, int, sqlite3_value **);
    } functions[] = {
        {"kv_get", 1, true, func_get},       {"kv_hget", 2, true, func_hget},
        {"kv_type", 1, true, func_type},     {"kv_ttl", 1, true, func_ttl},
        {"kv_len", 1, true, func_len},       {"kv_exists", 1, true, func_exists},
        {"kv_zscore", 2, true, func_zscore}, {"kv_zrank", 2, true, func_zrank},
        {"kv_count", 1, true, func_count},   {"kv_num", 1, false, func_num},
        {"kv_key", 1, false, func_canonical}, {"kv_text", 1, false, func_text}};
    int rc = SQLITE_OK;

    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (functions[i].store && session->db == NULL) continue;
        rc = sqlite3_create_function_v2(
            session->sql, functions[i].name, functions[i].args,
            SQLITE_UTF8 | SQLITE_INNOCUOUS |
                (functions[i].store ? 0 : SQLITE_DETERMINISTIC),
            vt_share(session), functions[i].call, NULL, NULL, vt_unshare);
        if (rc != SQLITE_OK)
            return kv_fail(err, KVSQL_NOMEM, "sql: cannot make function %s",
                           functions[i].name);
    }
    return KVSQL_OK;
}
