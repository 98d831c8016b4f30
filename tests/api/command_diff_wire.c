/* command_diff_wire.c - the same random bytes to a kvsql and to a Redis over
 * sockets, replies compared byte for byte.
 *
 *   command_diff_wire KVSQL_PORT REDIS_PORT PROTOCOL [COMMANDS [SEED]]
 *
 * Several connections to each server take turns. A turn is a pipeline of
 * random commands, as arrays or inline, written in pieces that are cut at
 * random bytes, to each server at other places; then all its replies are read.
 * Transactions and watches span turns, so they meet the writes of the others.
 *
 * After a difference both servers are emptied, so that one does not make more.
 *
 * Output: PASS or FAIL lines. Exit 0 when nothing differs, 1 else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "tests/api/command_diff.h"

#define WIRE_CONNECTIONS 4
#define WIRE_TURN_MAX 48
#define WIRE_QUEUE_MAX 96       /* commands behind MULTI */
#define WIRE_EXPIRY_US 30000    /* what expires soon has expired after this */
#define WIRE_EXPIRY_MAX 120000000 /* ... and is removed after this */
#define WIRE_PAST 4096          /* commands remembered, for people */

/* What only a connection can do, and what must not come often. */
static const struct diff_row wire_rows[] = {
    {"MULTI", "", DIFF_EXACT},
    {"MULTI", "", DIFF_EXACT},
    {"MULTI", "", DIFF_EXACT},
    {"EXEC", "", DIFF_EXACT},
    {"DISCARD", "", DIFF_EXACT},
    {"WATCH", "kk*", DIFF_EXACT},
    {"WATCH", "k", DIFF_EXACT},
    {"UNWATCH", "", DIFF_EXACT},
    {"MULTI", "{x}{y}", DIFF_EXACT},
    {"EXEC", "v", DIFF_EXACT},
    {"DISCARD", "v", DIFF_EXACT},
    {"WATCH", "", DIFF_EXACT},
    {"SELECT", "{0 0 1 -1 a 0x 2147483648}", DIFF_EXACT},
    {"SWAPDB", "{0 1 a}{0 1 a}", DIFF_EXACT},
    {"COPY", "kk{DB}{0 1 a -1}[REPLACE]", DIFF_EXACT},
    {"MOVE", "k{0 1 a -1}", DIFF_EXACT},
    {"CLIENT", "{SETNAME}{a b-c}", DIFF_EXACT},
    {"CLIENT", "{GETNAME}", DIFF_EXACT},
    {"CLIENT", "{NO-EVICT}{on off x}", DIFF_EXACT},
    {"CLIENT", "{TRACKINGINFO}", DIFF_EXACT},
    {"CLIENT", "{GETREDIR GETREDIR FOO}", DIFF_EXACT},
    {"CLIENT", "{ID INFO LIST}", DIFF_SHAPE},
    {"COMMAND", "{GETKEYS}{get set mset nosuch}[k 2]vv", DIFF_EXACT},
    {"COMMAND", "{GETKEYS}{zunionstore zinterstore}{k}{1 2 3 0}kk",
     DIFF_EXACT},
    {"CONFIG", "{GET}{databases hash-max-listpack-entries nosuch}",
     DIFF_EXACT},
    {"OBJECT", "{REFCOUNT}{nokey}", DIFF_EXACT},
    {"MEMORY", "{USAGE}{nokey}", DIFF_EXACT},
    {"HELLO", "", DIFF_SHAPE},
    {"HELLO", "{1 4 x 2 3}", DIFF_SHAPE},
    {"RESET", "", DIFF_EXACT},
    {"DBSIZE", "", DIFF_EXACT},
    {"PEXPIRE", "k{1 3 5}", DIFF_EXACT},
    {"SET", "sv{PX}{1 4}", DIFF_EXACT},
    {"GETEX", "s{PX}{2}", DIFF_EXACT},
    {"PEXPIREAT", "k{1 1000}", DIFF_EXACT},
    {"FLUSHALL", "[SYNC ASYNC]", DIFF_EXACT},
    {"FLUSHDB", "", DIFF_EXACT},
};
#define WIRE_ROWS (sizeof(wire_rows) / sizeof(wire_rows[0]))

struct wire_command {
    struct diff_command c;
    unsigned connection;
    bool in_line;
};

struct wire_connection {
    struct diff_peer ours, theirs;
    bool making; /* a MULTI was sent that no EXEC has followed */
    bool multi;  /* the servers have said so */
    bool soon;   /* something behind MULTI will expire soon */
    unsigned queued;
    struct wire_command queue[WIRE_QUEUE_MAX];
    char type[16]; /* what the last TYPE said */
};

/* The one behind the others is for what the test itself has to ask. */
static struct wire_connection wire_all[WIRE_CONNECTIONS + 1];
static uint16_t wire_port_ours, wire_port_theirs;
static unsigned wire_protocol;
static struct kv_buf wire_ours, wire_theirs, wire_request;
static struct wire_command wire_past[WIRE_PAST];
static bool wire_apart; /* they hold different data now, as is intended */
static unsigned long wire_done, wire_differ, wire_intended;

/* ---- making turns ------------------------------------------------------- */

static bool wire_is(const struct diff_command *c, const char *name)
{
    return strcasecmp(c->text[0], name) == 0;
}

static void wire_word(struct diff_command *c, const char *word)
{
    diff_add(c, word, strlen(word));
}

static bool wire_ends_multi(const struct diff_command *c)
{
    return wire_is(c, "RESET") || wire_is(c, "EXEC") ||
           (c->argc == 1 && wire_is(c, "DISCARD"));
}

static void wire_make(struct wire_connection *conn, struct wire_command *w)
{
    const bool full = conn->queued + WIRE_TURN_MAX >= WIRE_QUEUE_MAX;

    w->in_line = diff_below(10) == 0;
    if (conn->making && (full || diff_below(12) == 0)) {
        w->c = (struct diff_command){.how = DIFF_EXACT};
        wire_word(&w->c, diff_below(8) == 0 ? "DISCARD" : "EXEC");
    } else if (diff_below(12) == 0) {
        diff_make_row(&w->c, &wire_rows[diff_below(WIRE_ROWS)]);
        if ((strncmp(w->c.text[0], "FLUSH", 5) == 0 && diff_below(20) != 0) ||
            (conn->making && wire_is(&w->c, "CONFIG"))) { /* I */
            w->c.argc = 1;
            w->c.size[0] = 4;
            memcpy(w->c.text[0], "PING", 5);
        }
    } else {
        diff_make(&w->c);
    }
    if (wire_is(&w->c, "DBSIZE")) {
        w->c.how = DIFF_SHAPE; /* G; wire_expire() compares it */
    }
    if (wire_is(&w->c, "MULTI") && w->c.argc == 1) {
        conn->making = true;
    } else if (wire_ends_multi(&w->c)) {
        conn->making = false;
    }
}

/* Whether something is gone a moment after this command. */
static bool wire_soon(const struct diff_command *c)
{
    const char *last = c->text[c->argc - 1];

    return c->argc >= 3 && c->size[c->argc - 1] == 1 && *last >= '1' &&
           *last <= '5' &&
           (wire_is(c, "PEXPIRE") || wire_is(c, "SET") ||
            wire_is(c, "GETEX"));
}

/* Another command with the same first arguments. */
static void wire_instead(struct diff_command *c, const char *name,
                         unsigned argc)
{
    const struct diff_command old = *c;

    *c = (struct diff_command){.how = DIFF_EXACT};
    wire_word(c, name);
    for (unsigned i = 1; i < argc; i++) {
        diff_add(c, old.text[i], old.size[i]);
    }
}

/* The commands of one turn; *wait: then time must pass. */
static unsigned wire_turn(struct wire_connection *conn,
                          struct wire_command *turn, bool *wait)
{
    const unsigned wanted = 1 + diff_below(WIRE_TURN_MAX - 2);
    unsigned count = 0;

    *wait = false;
    while (count < wanted && !*wait) {
        struct wire_command *w = &turn[count++];
        const bool making = conn->making;

        wire_make(conn, w);
        if (strncmp(w->c.text[0], "SORT", 4) == 0 && w->c.argc > 1) {
            turn[count++] = *w;
            wire_instead(&w->c, "TYPE", 2);
        }
        if (wire_soon(&w->c)) {
            conn->soon = true;
        }
        *wait = conn->soon && !conn->making;
        if (*wait || (making && !conn->making)) {
            conn->soon = false;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        turn[i].connection = (unsigned)(conn - wire_all);
    }
    return count;
}

/* ---- sending ------------------------------------------------------------ */

/* The command as a line of words in quotes. */
static void wire_pack_line(const struct diff_command *c, struct kv_buf *out)
{
    for (unsigned i = 0; i < c->argc; i++) {
        kv_buf_text(out, i > 0 ? " \"" : "\"");
        for (size_t k = 0; k < c->size[i]; k++) {
            const uint8_t byte = (uint8_t)c->text[i][k];

            if (byte == '"' || byte == '\\' || byte < ' ' ||
                (byte > '~' && k % 2 == 0)) {
                kv_buf_printf(out, "\\x%02x", byte);
            } else {
                kv_buf_byte(out, byte);
            }
        }
        kv_buf_byte(out, '"');
    }
    kv_buf_text(out, diff_below(2) == 0 ? "\n" : "\r\n");
}

static void wire_pack(const struct wire_command *turn, unsigned count)
{
    kv_buf_reset(&wire_request, DIFF_REPLY_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (turn[i].in_line) {
            wire_pack_line(&turn[i].c, &wire_request);
        } else {
            diff_pack(&turn[i].c, &wire_request);
        }
        if (diff_below(100) == 0) {
            kv_buf_text(&wire_request, diff_below(2) == 0 ? "\r\n" : "*0\r\n");
        }
    }
}

/* All of wire_request, in pieces. */
static bool wire_send(struct diff_peer *peer)
{
    const uint8_t *p = wire_request.p;
    size_t left = wire_request.size;
    const bool whole = diff_below(3) == 0;
    const unsigned most = diff_below(2) == 0 ? 40 : 2000;

    while (left > 0) {
        size_t size = whole ? left : 1 + diff_below(most);

        size = size < left ? size : left;
        if (!diff_write(peer, p, size)) {
            return false;
        }
        if (diff_below(50) == 0) {
            usleep(diff_below(200)); /* so that it is read as a piece */
        }
        p += size;
        left -= size;
    }
    return true;
}

/* ---- connecting --------------------------------------------------------- */

static bool wire_ask_both(struct wire_connection *conn,
                          const struct diff_command *c)
{
    kv_buf_reset(&wire_request, DIFF_REPLY_MAX);
    diff_pack(c, &wire_request);
    kv_buf_reset(&wire_ours, DIFF_REPLY_MAX);
    kv_buf_reset(&wire_theirs, DIFF_REPLY_MAX);
    return diff_write(&conn->ours, wire_request.p, wire_request.size) &&
           diff_write(&conn->theirs, wire_request.p, wire_request.size) &&
           diff_receive(&conn->ours, &wire_ours) &&
           diff_receive(&conn->theirs, &wire_theirs);
}

static bool wire_hello(struct wire_connection *conn)
{
    struct diff_command hello = {0};

    wire_word(&hello, "HELLO");
    wire_word(&hello, "3");
    return wire_ask_both(conn, &hello);
}

/* Connections that are new, on servers that are empty. */
static bool wire_begin(void)
{
    struct diff_command flush = {0};

    wire_word(&flush, "FLUSHALL");
    for (unsigned i = 0; i <= WIRE_CONNECTIONS; i++) {
        struct wire_connection *conn = &wire_all[i];

        if (conn->ours.fd > 0) {
            (void)close(conn->ours.fd);
            (void)close(conn->theirs.fd);
        }
        conn->making = conn->multi = conn->soon = false;
        conn->queued = 0;
        if (!diff_connect(&conn->ours, wire_port_ours) ||
            !diff_connect(&conn->theirs, wire_port_theirs) ||
            (wire_protocol == 3 && !wire_hello(conn))) {
            return false;
        }
    }
    return wire_ask_both(&wire_all[WIRE_CONNECTIONS], &flush);
}

/* ---- comparing ---------------------------------------------------------- */

/* With DIFF_PAST in the environment: what was done before. */
static void wire_show_past(void)
{
    unsigned long i = wire_done > WIRE_PAST ? wire_done - WIRE_PAST : 0;

    for (; i < wire_done && getenv("DIFF_PAST") != NULL; i++) {
        const struct wire_command *old = &wire_past[i % WIRE_PAST];

        printf("    past %u", old->connection);
        for (unsigned a = 0; a < old->c.argc; a++) {
            printf(" %.*s", (int)old->c.size[a], old->c.text[a]);
        }
        putchar('\n');
    }
}

static bool wire_compare(struct wire_connection *conn,
                         const struct wire_command *w, kvsql_slice ours,
                         kvsql_slice theirs)
{
    bool allowed;

    if (wire_is(&w->c, "TYPE") && ours.size > 3) {
        (void)snprintf(conn->type, sizeof(conn->type), "%.*s",
                       (int)ours.size - 3, (const char *)ours.p + 1);
    }
    if (diff_accept(&w->c, conn->type, ours, theirs, &allowed)) {
        wire_intended += allowed;
        wire_apart |= allowed && conn->multi;
        return true;
    }
    wire_differ++;
    printf("  command %lu on connection %u differs%s%s:\n", wire_done,
           w->connection, w->in_line ? ", inline" : "",
           conn->multi ? ", in EXEC" : "");
    wire_show_past();
    diff_show_command(&w->c);
    diff_show("kvsql", ours);
    diff_show("redis", theirs);
    return false;
}

/* The replies of EXEC, one by one as their commands are compared. */
static bool wire_compare_exec(struct wire_connection *conn,
                              const struct wire_command *w, kvsql_slice ours,
                              kvsql_slice theirs)
{
    char head[32];
    const size_t size = (size_t)snprintf(head, sizeof(head), "*%u\r\n",
                                         conn->queued);
    const uint8_t *p = ours.p, *q = theirs.p;

    if (ours.size < size || theirs.size < size ||
        memcmp(p, head, size) != 0 || memcmp(q, head, size) != 0) {
        return wire_compare(conn, w, ours, theirs);
    }
    p += size;
    q += size;
    for (unsigned i = 0; i < conn->queued; i++) {
        const size_t n =
            diff_reply_size(p, ours.size - (size_t)(p - (uint8_t *)ours.p));
        const size_t m = diff_reply_size(
            q, theirs.size - (size_t)(q - (uint8_t *)theirs.p));

        if (!wire_compare(conn, &conn->queue[i], (kvsql_slice){p, n},
                          (kvsql_slice){q, m})) {
            return false;
        }
        p += n;
        q += m;
    }
    return true;
}

/* One reply of each, and what it means for the transaction. */
static bool wire_reply(struct wire_connection *conn,
                       const struct wire_command *w, kvsql_slice ours,
                       kvsql_slice theirs)
{
    const bool queued =
        theirs.size == 9 && memcmp(theirs.p, "+QUEUED\r\n", 9) == 0;
    const bool good = wire_is(&w->c, "EXEC") && conn->multi
                          ? wire_compare_exec(conn, w, ours, theirs)
                          : wire_compare(conn, w, ours, theirs);

    if (queued && conn->queued < WIRE_QUEUE_MAX) {
        conn->queue[conn->queued++] = *w;
    }
    if (queued) {
        return good;
    }
    if (wire_is(&w->c, "MULTI") && *(const char *)theirs.p == '+') {
        conn->multi = true;
    } else if (wire_ends_multi(&w->c) &&
               (conn->multi || w->c.argc > 1 || wire_is(&w->c, "RESET"))) {
        conn->multi = false;
        conn->queued = 0;
    }
    return good;
}

static bool wire_hung_up(const struct wire_command *w, const char *who)
{
    printf("  %s hung up, or said nothing, at command %lu on connection %u\n",
           who, wire_done, w->connection);
    diff_show_command(&w->c);
    wire_differ++;
    return false;
}

/* Time passes; then both must come to hold the same keys again. The last
 * connection is idle, or it would stand in the middle of a MULTI. */
static bool wire_expire(void)
{
    struct diff_command c = {0};

    wire_word(&c, "DBSIZE");
    for (unsigned waited = 0; waited < WIRE_EXPIRY_MAX;
         waited += WIRE_EXPIRY_US) {
        usleep(WIRE_EXPIRY_US);
        if (!wire_ask_both(&wire_all[WIRE_CONNECTIONS], &c)) {
            return wire_hung_up(&wire_past[0], "a server");
        }
        if (wire_ours.size == wire_theirs.size &&
            memcmp(wire_ours.p, wire_theirs.p, wire_ours.size) == 0) {
            return true;
        }
    }
    printf("  what has expired stays\n");
    diff_show("kvsql", (kvsql_slice){wire_ours.p, wire_ours.size});
    diff_show("redis", (kvsql_slice){wire_theirs.p, wire_theirs.size});
    wire_differ++;
    return false;
}

/* One turn of a connection. False: the two are not alike any more. */
static bool wire_take_turn(struct wire_connection *conn)
{
    static struct wire_command turn[WIRE_TURN_MAX];
    bool wait, reset = false, alike = true;
    const unsigned count = wire_turn(conn, turn, &wait);

    wire_pack(turn, count);
    if (!wire_send(&conn->ours) || !wire_send(&conn->theirs)) {
        return wire_hung_up(&turn[0], "a server");
    }
    for (unsigned i = 0; i < count; i++) {
        kv_buf_reset(&wire_ours, DIFF_REPLY_MAX);
        kv_buf_reset(&wire_theirs, DIFF_REPLY_MAX);
        if (!diff_receive(&conn->theirs, &wire_theirs)) {
            return wire_hung_up(&turn[i], "redis");
        }
        if (!diff_receive(&conn->ours, &wire_ours)) {
            diff_show("redis", (kvsql_slice){wire_theirs.p, wire_theirs.size});
            return wire_hung_up(&turn[i], "kvsql");
        }
        /* What follows a difference differs, too; but it is waited for, or it
         * would still be done on servers that were emptied meanwhile. */
        alike = alike &&
                wire_reply(conn, &turn[i],
                           (kvsql_slice){wire_ours.p, wire_ours.size},
                           (kvsql_slice){wire_theirs.p, wire_theirs.size}) &&
                !wire_apart;
        wire_past[wire_done++ % WIRE_PAST] = turn[i];
        reset = reset || wire_is(&turn[i].c, "RESET");
    }
    wire_apart = false;
    return alike && (!wait || wire_expire()) &&
           (!reset || wire_protocol == 2 || conn->making || wire_hello(conn));
}

int main(int argc, char **argv)
{
    const unsigned long count =
        argc > 4 ? strtoul(argv[4], NULL, 10) : 20000;

    if (argc < 4) {
        printf("FAIL command_diff_wire: ports and protocol are missing\n");
        return 1;
    }
    wire_port_ours = (uint16_t)strtoul(argv[1], NULL, 10);
    wire_port_theirs = (uint16_t)strtoul(argv[2], NULL, 10);
    wire_protocol = argv[3][0] == '3' ? 3 : 2;
    diff_state = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
    printf("RESP%u, seed %llu, %lu commands\n", wire_protocol,
           (unsigned long long)diff_state, count);
    kv_buf_init(&wire_ours, KV_MEM_MISC, DIFF_REPLY_MAX);
    kv_buf_init(&wire_theirs, KV_MEM_MISC, DIFF_REPLY_MAX);
    kv_buf_init(&wire_request, KV_MEM_MISC, DIFF_REPLY_MAX);
    bool good = false;
    while (wire_done < count && wire_differ < DIFF_SHOWN_MAX) {
        if (!good && !wire_begin()) {
            printf("FAIL command_diff_wire: cannot connect\n");
            return 1;
        }
        good = wire_take_turn(&wire_all[diff_below(WIRE_CONNECTIONS)]);
    }
    kv_buf_fini(&wire_ours);
    kv_buf_fini(&wire_theirs);
    kv_buf_fini(&wire_request);
    printf("%s command_diff_wire RESP%u%s (%lu commands, %lu differences, "
           "%lu intended)\n", wire_differ == 0 ? "PASS" : "FAIL",
           wire_protocol, wire_differ == 0 ? "" : ": see above", wire_done,
           wire_differ, wire_intended);
    return wire_differ == 0 ? 0 : 1;
}
