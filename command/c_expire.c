/* c_expire.c - when keys and fields go: EXPIRE, TTL and their kin.
 *
 * Redis's four units (seconds or milliseconds, from now or since 1970) become
 * one absolute time in wall milliseconds here; the store and the wal know no
 * other. A time that has passed deletes.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

/* What `number` of `unit` means in wall ms. False: it does not fit. */
static bool expire_absolute(int64_t number, enum cmd_time unit, int64_t now,
                            int64_t *at)
{
    const bool seconds = unit == CMD_TIME_EX || unit == CMD_TIME_EXAT;
    const bool relative = unit == CMD_TIME_EX || unit == CMD_TIME_PX;

    *at = number;
    if (seconds && __builtin_mul_overflow(number, 1000, at)) {
        return false;
    }
    return !relative || !__builtin_add_overflow(*at, now, at);
}

bool cmd_deadline(struct cmd_context *c, unsigned index, enum cmd_time unit,
                  int64_t *expires_at)
{
    int64_t number;

    if (!cmd_int(c, index, &number, NULL)) {
        return false;
    }
    if (number <= 0 ||
        !expire_absolute(number, unit, cmd_wall(c), expires_at)) {
        cmd_fail_expire(c);
        return false;
    }
    return true;
}

/* ---- options of commands that set a time -------------------------------- */

bool cmd_ttl_option(const struct cmd_context *c, unsigned *i, unsigned known,
                    struct cmd_ttl *ttl)
{
    static const char *const words[] = {"EX", "PX", "EXAT", "PXAT"};

    if ((known & CMD_TTL_KEEP) && cmd_is(c, *i, "KEEPTTL")) {
        ttl->keep = !ttl->has_time && !ttl->persist;
        return ttl->keep;
    }
    if ((known & CMD_TTL_PERSIST) && cmd_is(c, *i, "PERSIST")) {
        ttl->persist = !ttl->has_time && !ttl->keep;
        return ttl->persist;
    }
    if (ttl->keep || ttl->persist || *i + 1 >= c->argc) {
        return false;
    }
    for (unsigned unit = 0; unit < 4; unit++) {
        if (cmd_is(c, *i, words[unit])) {
            if (ttl->has_time && ttl->unit != (enum cmd_time)unit) {
                return false;
            }
            ttl->has_time = true;
            ttl->unit = (enum cmd_time)unit;
            ttl->index = ++*i;
            return true;
        }
    }
    return false;
}

bool cmd_ttl_deadline(struct cmd_context *c, const struct cmd_ttl *ttl,
                      int64_t *expires_at)
{
    *expires_at = 0;
    return !ttl->has_time ||
           cmd_deadline(c, ttl->index, ttl->unit, expires_at);
}

/* ---- conditions --------------------------------------------------------- */

enum expire_if {
    EXPIRE_ALWAYS = 0,
    EXPIRE_NX = 1,
    EXPIRE_XX = 2,
    EXPIRE_GT = 4,
    EXPIRE_LT = 8
};

/* The condition that argument `index` names, or EXPIRE_ALWAYS. */
static unsigned expire_if_of(const struct cmd_context *c, unsigned index)
{
    static const char *const words[] = {"NX", "XX", "GT", "LT"};

    for (unsigned i = 0; i < 4; i++) {
        if (cmd_is(c, index, words[i])) {
            return 1u << i;
        }
    }
    return EXPIRE_ALWAYS;
}

/* `old` and `at` in wall ms; old 0 = does not expire, which is later than any
 * time. */
static bool expire_holds(unsigned conditions, int64_t old, int64_t at)
{
    if ((conditions & EXPIRE_NX) && old != 0) {
        return false;
    }
    if ((conditions & EXPIRE_XX) && old == 0) {
        return false;
    }
    if ((conditions & EXPIRE_GT) && (old == 0 || at <= old)) {
        return false;
    }
    return !((conditions & EXPIRE_LT) && old != 0 && at >= old);
}

/* ---- keys --------------------------------------------------------------- */

/* Conditions from argument 3 on. False: answered. */
static bool expire_conditions(struct cmd_context *c, unsigned *conditions)
{
    *conditions = EXPIRE_ALWAYS;
    for (unsigned i = 3; i < c->argc; i++) {
        const unsigned one = expire_if_of(c, i);

        if (one == EXPIRE_ALWAYS) {
            cmd_fail(c, KVSQL_SYNTAX, "ERR Unsupported option %.*s",
                     (int)(c->argv[i].size < 128 ? c->argv[i].size : 128),
                     (const char *)c->argv[i].p);
            return false;
        }
        *conditions |= one;
    }
    if ((*conditions & EXPIRE_NX) && (*conditions & ~(unsigned)EXPIRE_NX)) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR NX and XX, GT or LT options at the same time are not "
                 "compatible");
        return false;
    }
    if ((*conditions & EXPIRE_GT) && (*conditions & EXPIRE_LT)) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

static void expire_key(struct cmd_context *c, enum cmd_time unit)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    unsigned conditions;
    int64_t number, at;
    const int64_t now = cmd_wall(c);

    if (!expire_conditions(c, &conditions) || !cmd_int(c, 2, &number, NULL)) {
        return;
    }
    if (!expire_absolute(number, unit, now, &at)) {
        cmd_fail_expire(c);
        return;
    }
    if (!cmd_get(c, &key, &item) ||
        !expire_holds(conditions, item.expires_at, at)) {
        cmd_reply_int(c->reply, 0);
        return;
    }
    if (cmd_ok(c, at <= now ? kv_del(c->txn, &key, NULL, &c->err)
                            : kv_expire(c->txn, &key, at, &c->err))) {
        cmd_reply_int(c->reply, 1);
    }
}

void cmd_do_expire(struct cmd_context *c)
{
    expire_key(c, CMD_TIME_EX);
}

void cmd_do_pexpire(struct cmd_context *c)
{
    expire_key(c, CMD_TIME_PX);
}

void cmd_do_expireat(struct cmd_context *c)
{
    expire_key(c, CMD_TIME_EXAT);
}

void cmd_do_pexpireat(struct cmd_context *c)
{
    expire_key(c, CMD_TIME_PXAT);
}

/* An expiry as the four questions want it; -1 = none. */
static int64_t expire_shown(int64_t expires_at, enum cmd_time unit,
                            int64_t now)
{
    int64_t ms = expires_at;

    if (expires_at == 0) {
        return -1;
    }
    if (unit == CMD_TIME_EX || unit == CMD_TIME_PX) {
        ms = expires_at > now ? expires_at - now : 0;
    }
    return unit == CMD_TIME_EX || unit == CMD_TIME_EXAT
               ? ms / 1000 + (ms % 1000 >= 500)
               : ms;
}

static void expire_ask(struct cmd_context *c, enum cmd_time unit)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;

    if (!cmd_get(c, &key, &item)) {
        cmd_reply_int(c->reply, -2);
        return;
    }
    cmd_reply_int(c->reply,
                  expire_shown(item.expires_at, unit, kv_at_wall(&c->at)));
}

void cmd_do_ttl(struct cmd_context *c)
{
    expire_ask(c, CMD_TIME_EX);
}

void cmd_do_pttl(struct cmd_context *c)
{
    expire_ask(c, CMD_TIME_PX);
}

void cmd_do_expiretime(struct cmd_context *c)
{
    expire_ask(c, CMD_TIME_EXAT);
}

void cmd_do_pexpiretime(struct cmd_context *c)
{
    expire_ask(c, CMD_TIME_PXAT);
}

void cmd_do_persist(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;

    if (!cmd_get(c, &key, &item) || item.expires_at == 0) {
        cmd_reply_int(c->reply, 0);
    } else if (cmd_ok(c, kv_expire(c->txn, &key, 0, &c->err))) {
        cmd_reply_int(c->reply, 1);
    }
}

/* ---- fields ------------------------------------------------------------- */

bool cmd_fields(struct cmd_context *c, unsigned index, unsigned each,
                unsigned *first)
{
    int64_t count;

    if (!cmd_is(c, index, "FIELDS") || index + 1 >= c->argc) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR Mandatory argument FIELDS is missing or not at the right "
                 "position");
        return false;
    }
    if (!cmd_int_within(c, index + 1, 1, INT64_MAX / 2,
                        &count,
                        "ERR Parameter `numFields` should be greater than 0")) {
        return false;
    }
    if (count * each != (int64_t)c->argc - index - 2) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR The `numfields` parameter must match the number of "
                 "arguments");
        return false;
    }
    *first = index + 2;
    return true;
}

bool cmd_fields_begin(struct cmd_context *c, unsigned *first)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;

    if (!cmd_fields(c, 2, 1, first) ||
        cmd_get_type(c, &key, KV_HASH, &item) == KVSQL_WRONGTYPE) {
        return false;
    }
    cmd_reply_array(c->reply, c->argc - *first);
    return true;
}

bool cmd_field_deadline(struct cmd_context *c, unsigned index,
                        enum cmd_time unit, int64_t *at)
{
    int64_t number;

    if (!cmd_int(c, index, &number, NULL)) {
        return false;
    }
    if (number < 0) {
        cmd_fail(c, KVSQL_INVALID, "ERR invalid expire time, must be >= 0");
        return false;
    }
    if (!expire_absolute(number, unit, cmd_wall(c), at)) {
        cmd_fail_expire(c);
        return false;
    }
    return true;
}

enum expire_answer {
    EXPIRE_FAILED = -3, /* answered */
    EXPIRE_ABSENT = -2,
    EXPIRE_UNMET = 0,
    EXPIRE_SET = 1,
    EXPIRE_DELETED = 2
};

static enum expire_answer expire_one_field(struct cmd_context *c,
                                           const struct kv_key *key,
                                           unsigned index, unsigned conditions,
                                           int64_t at, int64_t now)
{
    const struct kv_key field = cmd_key(c, index);
    struct kv_item item;
    struct kv_elem elem;

    /* Looked up anew each time: the field before may have been the last. */
    if (!cmd_get(c, key, &item) ||
        !kv_elem_find(&c->at, &item, &field, &elem)) {
        return EXPIRE_ABSENT;
    }
    if (!expire_holds(conditions, elem.expires_at, at)) {
        return EXPIRE_UNMET;
    }
    if (at <= now) {
        return cmd_ok(c, kv_hdel(c->txn, key, &field, NULL, &c->err))
                   ? EXPIRE_DELETED
                   : EXPIRE_FAILED;
    }
    return cmd_ok(c, kv_hexpire(c->txn, key, &field, at, &c->err))
               ? EXPIRE_SET
               : EXPIRE_FAILED;
}

static void expire_field(struct cmd_context *c, enum cmd_time unit)
{
    const struct kv_key key = cmd_key(c, 1);
    const int64_t now = cmd_wall(c);
    const unsigned conditions = expire_if_of(c, 3);
    struct kv_item item;
    unsigned first;
    int64_t at;

    if (!cmd_field_deadline(c, 2, unit, &at) ||
        !cmd_fields(c, conditions == EXPIRE_ALWAYS ? 3 : 4, 1, &first) ||
        cmd_get_type(c, &key, KV_HASH, &item) == KVSQL_WRONGTYPE) {
        return;
    }
    cmd_reply_array(c->reply, c->argc - first);
    for (unsigned i = first; i < c->argc; i++) {
        const enum expire_answer answer =
            expire_one_field(c, &key, i, conditions, at, now);

        if (answer == EXPIRE_FAILED) {
            return;
        }
        cmd_reply_int(c->reply, answer);
    }
}

void cmd_do_hexpire(struct cmd_context *c)
{
    expire_field(c, CMD_TIME_EX);
}

void cmd_do_hpexpire(struct cmd_context *c)
{
    expire_field(c, CMD_TIME_PX);
}

void cmd_do_hexpireat(struct cmd_context *c)
{
    expire_field(c, CMD_TIME_EXAT);
}

void cmd_do_hpexpireat(struct cmd_context *c)
{
    expire_field(c, CMD_TIME_PXAT);
}

static void expire_field_ask(struct cmd_context *c, enum cmd_time unit)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    unsigned first;
    kvsql_rc rc;

    if (!cmd_fields(c, 2, 1, &first)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_HASH, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    cmd_reply_array(c->reply, c->argc - first);
    for (unsigned i = first; i < c->argc; i++) {
        const struct kv_key field = cmd_key(c, i);
        struct kv_elem elem;

        if (rc != KVSQL_OK || !kv_elem_find(&c->at, &item, &field, &elem)) {
            cmd_reply_int(c->reply, EXPIRE_ABSENT);
        } else {
            cmd_reply_int(c->reply, expire_shown(elem.expires_at, unit,
                                                 kv_at_wall(&c->at)));
        }
    }
}

void cmd_do_httl(struct cmd_context *c)
{
    expire_field_ask(c, CMD_TIME_EX);
}

void cmd_do_hpttl(struct cmd_context *c)
{
    expire_field_ask(c, CMD_TIME_PX);
}

void cmd_do_hexpiretime(struct cmd_context *c)
{
    expire_field_ask(c, CMD_TIME_EXAT);
}

void cmd_do_hpexpiretime(struct cmd_context *c)
{
    expire_field_ask(c, CMD_TIME_PXAT);
}

void cmd_do_hpersist(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    unsigned first;

    if (!cmd_fields_begin(c, &first)) {
        return;
    }
    for (unsigned i = first; i < c->argc; i++) {
        const struct kv_key field = cmd_key(c, i);
        struct kv_elem elem;

        if (!cmd_get(c, &key, &item) ||
            !kv_elem_find(&c->at, &item, &field, &elem)) {
            cmd_reply_int(c->reply, -2);
        } else if (elem.expires_at == 0) {
            cmd_reply_int(c->reply, -1);
        } else if (cmd_ok(c, kv_hexpire(c->txn, &key, &field, 0, &c->err))) {
            cmd_reply_int(c->reply, 1);
        } else {
            return;
        }
    }
}
