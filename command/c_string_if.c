/* c_string_if.c - strings: what came after Redis 7.0. MSETEX, DELEX, DELIFEQ,
 * INCREX: several steps of a cache or a rate limit as one command.
 *
 * INCREX adds within bounds. A sum outside of them changes nothing, or with
 * SATURATE becomes the bound; the answer is the number that stands there now
 * and by how much it moved.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <limits.h>
#include <math.h>

#include "kvsql/base/num.h"

/* ---- MSETEX ------------------------------------------------------------- */

struct string_many {
    unsigned count; /* pairs, from argument 2 on */
    bool nx, xx;
    struct cmd_ttl ttl;
};

/* False: answered. */
static bool string_many_parse(struct cmd_context *c, struct string_many *m)
{
    int64_t count;

    *m = (struct string_many){0};
    if (!cmd_int_within(c, 1, 1, INT_MAX, &count,
                        "ERR invalid numkeys value or out of range")) {
        return false;
    }
    if (count > ((int64_t)c->argc - 2) / 2) {
        cmd_fail_syntax(c);
        return false;
    }
    m->count = (unsigned)count;
    for (unsigned i = 2 + 2 * m->count; i < c->argc; i++) {
        if (cmd_is(c, i, "NX") && !m->xx) {
            m->nx = true;
        } else if (cmd_is(c, i, "XX") && !m->nx) {
            m->xx = true;
        } else if (!cmd_ttl_option(c, &i, CMD_TTL_KEEP, &m->ttl)) {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

void cmd_do_msetex(struct cmd_context *c)
{
    struct string_many m;
    struct kv_item item;
    int64_t given;

    if (!string_many_parse(c, &m) || !cmd_ttl_deadline(c, &m.ttl, &given)) {
        return;
    }
    for (unsigned i = 0; (m.nx || m.xx) && i < m.count; i++) {
        const struct kv_key key = cmd_key(c, 2 + 2 * i);

        if (cmd_get(c, &key, &item) ? m.nx : m.xx) {
            cmd_reply_int(c->reply, 0);
            return;
        }
    }
    for (unsigned i = 0; i < m.count; i++) {
        const struct kv_key key = cmd_key(c, 2 + 2 * i);
        int64_t expires_at = given;

        if (m.ttl.keep && cmd_get(c, &key, &item)) {
            expires_at = item.expires_at;
        }
        if (!cmd_string_set(c, &key, c->argv[3 + 2 * i], expires_at)) {
            return;
        }
    }
    cmd_reply_int(c->reply, 1);
}

/* ---- deleting what holds a value ---------------------------------------- */

/* Delete when the string equals, or differs from, argument `index`. */
static void string_del_if(struct cmd_context *c, unsigned index, bool equal)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_STRING, &item);

    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND ||
        cmd_string_equals(&item, c->argv[index]) != equal) {
        cmd_reply_int(c->reply, 0);
    } else if (cmd_ok(c, kv_del(c->txn, &key, NULL, &c->err))) {
        cmd_reply_int(c->reply, 1);
    }
}

void cmd_do_delifeq(struct cmd_context *c)
{
    string_del_if(c, 2, true);
}

void cmd_do_delex(struct cmd_context *c)
{
    const bool equal = cmd_is(c, 2, "IFEQ");

    if (c->argc == 2) {
        cmd_do_del(c);
    } else if (c->argc != 4) {
        cmd_fail_arity(c);
    } else if (equal || cmd_is(c, 2, "IFNE")) {
        string_del_if(c, 3, equal);
    } else {
        cmd_fail_syntax(c);
    }
}

/* ---- INCREX ------------------------------------------------------------- */

/* A number of INCREX: an integer, or with BYFLOAT a real. */
struct increx_number {
    int64_t integer;
    long double real;
};

struct increx {
    bool real, saturate, if_none, has_low, has_high;
    struct increx_number by, low, high;
    struct cmd_ttl ttl;
};

/* False: answered. */
static bool increx_number(struct cmd_context *c, unsigned index, bool real,
                          struct increx_number *out)
{
    if (!real) {
        return cmd_int(c, index, &out->integer, NULL);
    }
    if (cmd_real_parse(c->argv[index].p, c->argv[index].size, &out->real)) {
        return true;
    }
    cmd_fail(c, KVSQL_NOTFLOAT, CMD_TEXT_NOTFLOAT);
    return false;
}

/* Where the arguments of the options stand; 0 = not given. */
struct increx_places {
    unsigned by, low, high;
};

/* True when the option at `*i` is one with a number, whose place is kept. */
static bool increx_place(const struct cmd_context *c, unsigned *i,
                         struct increx *x, struct increx_places *places)
{
    static const char *const words[] = {"BYINT", "BYFLOAT", "LBOUND",
                                        "UBOUND"};
    unsigned *const place[] = {&places->by, &places->by, &places->low,
                               &places->high};

    for (unsigned k = 0; k < 4; k++) {
        if (cmd_is(c, *i, words[k]) && *i + 1 < c->argc && *place[k] == 0) {
            x->real = x->real || k == 1;
            *place[k] = ++*i;
            return true;
        }
    }
    return false;
}

static bool increx_below(const struct increx *x, const struct increx_number *a,
                         const struct increx_number *b)
{
    return x->real ? a->real < b->real : a->integer < b->integer;
}

/* False: answered. */
static bool increx_parse(struct cmd_context *c, struct increx *x)
{
    struct increx_places places = {0};

    *x = (struct increx){.by = {.integer = 1}};
    for (unsigned i = 2; i < c->argc; i++) {
        if (cmd_is(c, i, "SATURATE")) {
            x->saturate = true;
        } else if (cmd_is(c, i, "ENX")) {
            x->if_none = true;
        } else if (!increx_place(c, &i, x, &places) &&
                   !cmd_ttl_option(c, &i, CMD_TTL_PERSIST, &x->ttl)) {
            cmd_fail_syntax(c);
            return false;
        }
    }
    if (x->if_none && !x->ttl.has_time) {
        cmd_fail_syntax(c);
        return false;
    }
    x->has_low = places.low != 0;
    x->has_high = places.high != 0;
    if ((places.by != 0 && !increx_number(c, places.by, x->real, &x->by)) ||
        (x->has_low && !increx_number(c, places.low, x->real, &x->low)) ||
        (x->has_high && !increx_number(c, places.high, x->real, &x->high))) {
        return false;
    }
    if (x->has_low && x->has_high && increx_below(x, &x->high, &x->low)) {
        cmd_fail(c, KVSQL_RANGE, "ERR LBOUND is greater than UBOUND");
        return false;
    }
    return true;
}

/* The number under the key and its expiry. False: answered. */
static bool increx_read(struct cmd_context *c, const struct kv_key *key,
                        const struct increx *x, struct increx_number *now,
                        int64_t *expires_at)
{
    struct kv_item item;
    struct kv_val value;
    bool ok;
    const kvsql_rc rc = cmd_get_type(c, key, KV_STRING, &item);

    *now = (struct increx_number){0};
    *expires_at = 0;
    if (rc != KVSQL_OK) {
        return rc == KVSQL_NOTFOUND;
    }
    *expires_at = item.expires_at;
    kv_item_string(&item, &value);
    ok = x->real ? cmd_real_parse(value.p, value.size, &now->real)
                 : kv_num_int(value.p, value.size, &now->integer);
    if (!ok) {
        cmd_fail(c, x->real ? KVSQL_NOTFLOAT : KVSQL_NOTINT, "%s",
                 x->real ? CMD_TEXT_NOTFLOAT : CMD_TEXT_NOTINT);
    }
    return ok;
}

enum increx_sum { INCREX_WITHIN, INCREX_BELOW, INCREX_ABOVE, INCREX_NONE };

/* now + by, and where it lies. INCREX_NONE: it is no number, and no bound
 * stands on that side. */
static enum increx_sum increx_add(const struct increx *x,
                                  const struct increx_number *now,
                                  struct increx_number *sum)
{
    bool up, over;

    if (x->real) {
        sum->real = now->real + x->by.real;
        up = x->by.real > 0;
        over = !isfinite(sum->real);
    } else {
        up = x->by.integer > 0;
        over = __builtin_add_overflow(now->integer, x->by.integer,
                                      &sum->integer);
    }
    if (over) {
        if (up ? x->has_high : x->has_low) {
            return up ? INCREX_ABOVE : INCREX_BELOW;
        }
        return INCREX_NONE;
    }
    if (x->has_high && increx_below(x, &x->high, sum)) {
        return INCREX_ABOVE;
    }
    return x->has_low && increx_below(x, sum, &x->low) ? INCREX_BELOW
                                                       : INCREX_WITHIN;
}

static void increx_answer_number(struct cmd_context *c, bool real,
                                 const struct increx_number *number)
{
    char text[CMD_REAL_TEXT_MAX];

    if (!real) {
        cmd_reply_int(c->reply, number->integer);
    } else {
        cmd_reply_bulk(c->reply, text, cmd_real_format(text, number->real));
    }
}

static void increx_answer(struct cmd_context *c, bool real,
                          const struct increx_number *now,
                          const struct increx_number *moved)
{
    cmd_reply_array(c->reply, 2);
    increx_answer_number(c, real, now);
    increx_answer_number(c, real, moved);
}

/* sum - now. False: it does not fit. */
static bool increx_moved(bool real, const struct increx_number *now,
                         const struct increx_number *sum,
                         struct increx_number *moved)
{
    if (!real) {
        return !__builtin_sub_overflow(sum->integer, now->integer,
                                       &moved->integer);
    }
    moved->real = sum->real - now->real;
    return isfinite(moved->real);
}

static bool increx_write(struct cmd_context *c, const struct kv_key *key,
                         bool real, const struct increx_number *sum,
                         int64_t expires_at)
{
    char text[CMD_REAL_TEXT_MAX];
    kvsql_slice value = {text, 0};

    value.size = real ? cmd_real_format(text, sum->real)
                      : kv_num_format_int(text, sum->integer);
    return cmd_string_set(c, key, value, expires_at);
}

void cmd_do_increx(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct increx x;
    struct increx_number now, sum = {0}, moved = {0};
    int64_t given, expires_at;
    enum increx_sum where;

    if (!increx_parse(c, &x) || !cmd_ttl_deadline(c, &x.ttl, &given) ||
        !increx_read(c, &key, &x, &now, &expires_at)) {
        return;
    }
    where = increx_add(&x, &now, &sum);
    if (where != INCREX_WITHIN && where != INCREX_NONE && !x.saturate) {
        increx_answer(c, x.real, &now, &moved);
        return;
    }
    if (where == INCREX_ABOVE) {
        sum = x.high;
    } else if (where == INCREX_BELOW) {
        sum = x.low;
    }
    if (where == INCREX_NONE || !increx_moved(x.real, &now, &sum, &moved)) {
        cmd_fail(c, KVSQL_OVERFLOW, "%s",
                 x.real ? CMD_TEXT_NAN : CMD_TEXT_OVERFLOW);
        return;
    }
    if (x.ttl.persist || (x.ttl.has_time && !(x.if_none && expires_at != 0))) {
        expires_at = given;
    }
    if (increx_write(c, &key, x.real, &sum, expires_at)) {
        increx_answer(c, x.real, &sum, &moved);
    }
}
