/* c_tracking.c - CLIENT TRACKING and its kin.
 *
 * A client that keeps copies of values asks to be told when they are no longer
 * good. In RESP3 it is told on its own connection; in RESP2 by another one,
 * which has subscribed to something: to CMD_TRACK_CHANNEL mostly.
 *
 * Thread: the connection's. */
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "command/track.h"
#include "kvsql/base/num.h"

/* ---- TRACKING ----------------------------------------------------------- */

struct tracking_options {
    unsigned flags;
    int64_t redirect; /* 0: none */
    kvsql_slice prefixes[CMD_TRACK_PREFIX_MAX];
    unsigned prefix_count;
};

static bool tracking_redirect(struct cmd_context *c, unsigned index,
                              struct tracking_options *o)
{
    bool there;

    if (o->redirect != 0) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!cmd_int(c, index, &o->redirect, NULL)) {
        return false;
    }
    there = o->redirect > 0 && cmd_client_is_open((uint64_t)o->redirect);
    if (!there) {
        cmd_fail(c, KVSQL_NOTFOUND,
                 "ERR The client ID you want redirect to does not exist");
    }
    return there;
}

static bool tracking_prefix(struct cmd_context *c, unsigned index,
                            struct tracking_options *o)
{
    if (o->prefix_count == CMD_TRACK_PREFIX_MAX) {
        cmd_fail(c, KVSQL_TOOBIG, "ERR a client may track %d prefixes",
                 CMD_TRACK_PREFIX_MAX);
        return false;
    }
    o->prefixes[o->prefix_count++] = c->argv[index];
    return true;
}

/* The options behind ON or OFF. False: answered. */
static bool tracking_options(struct cmd_context *c, struct tracking_options *o)
{
    for (unsigned i = 3; i < c->argc; i++) {
        const bool more = i + 1 < c->argc;

        if (cmd_is(c, i, "REDIRECT") && more) {
            if (!tracking_redirect(c, ++i, o)) {
                return false;
            }
        } else if (cmd_is(c, i, "BCAST")) {
            o->flags |= CMD_TRACK_BCAST;
        } else if (cmd_is(c, i, "OPTIN")) {
            o->flags |= CMD_TRACK_OPTIN;
        } else if (cmd_is(c, i, "OPTOUT")) {
            o->flags |= CMD_TRACK_OPTOUT;
        } else if (cmd_is(c, i, "NOLOOP")) {
            o->flags |= CMD_TRACK_NOLOOP;
        } else if (cmd_is(c, i, "PREFIX") && more) {
            if (!tracking_prefix(c, ++i, o)) {
                return false;
            }
        } else {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

/* Why these options do not go together, or with those that are on; NULL: they
 * do. */
static const char *tracking_conflict(const struct tracking_options *o,
                                     unsigned before)
{
    const unsigned both = CMD_TRACK_OPTIN | CMD_TRACK_OPTOUT;
    const unsigned flags = o->flags;

    if ((flags & CMD_TRACK_BCAST) == 0 && o->prefix_count > 0) {
        return "ERR PREFIX option requires BCAST mode to be enabled";
    }
    if (before != 0 && ((flags ^ before) & CMD_TRACK_BCAST) != 0) {
        return "ERR You can't switch BCAST mode on/off before disabling "
               "tracking for this client, and then re-enabling it with a "
               "different mode.";
    }
    if ((flags & CMD_TRACK_BCAST) != 0 && (flags & both) != 0) {
        return "ERR OPTIN and OPTOUT are not compatible with BCAST";
    }
    if ((flags & both) == both) {
        return "ERR You can't specify both OPTIN mode and OPTOUT mode";
    }
    if ((flags & both) != 0 && (before & both) != 0 &&
        ((flags ^ before) & both) != 0) {
        return "ERR You can't switch OPTIN/OPTOUT mode before disabling "
               "tracking for this client, and then re-enabling it with a "
               "different mode.";
    }
    return NULL;
}

static void tracking_fail_overlap(struct cmd_context *c, kvsql_slice prefix,
                                  kvsql_slice other, const char *what)
{
    char shown[96], shown_other[96];

    cmd_fail(c, KVSQL_INVALID,
             "ERR Prefix '%s' overlaps with %s prefix '%s'. Prefixes for a "
             "single client must not overlap.",
             kv_text_show(shown, sizeof(shown), prefix.p, prefix.size), what,
             kv_text_show(shown_other, sizeof(shown_other), other.p,
                          other.size));
}

static bool tracking_overlap(kvsql_slice a, kvsql_slice b)
{
    const size_t size = a.size < b.size ? a.size : b.size;

    return size == 0 || memcmp(a.p, b.p, size) == 0;
}

/* No key may be told of twice. False: answered. */
static bool tracking_prefixes_part(struct cmd_context *c,
                                   const struct tracking_options *o)
{
    for (unsigned i = 0; i < o->prefix_count; i++) {
        const kvsql_slice prefix = o->prefixes[i];
        struct kv_buf other;
        bool overlaps;

        kv_buf_init(&other, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
        overlaps = cmd_track_overlaps(c->client, prefix, &other);
        if (overlaps) {
            tracking_fail_overlap(
                c, prefix,
                (kvsql_slice){.p = other.p != NULL ? (void *)other.p : "",
                              .size = other.size},
                "an existing");
        }
        kv_buf_fini(&other);
        for (unsigned j = i + 1; j < o->prefix_count && !overlaps; j++) {
            overlaps = tracking_overlap(prefix, o->prefixes[j]);
            if (overlaps) {
                tracking_fail_overlap(c, prefix, o->prefixes[j],
                                      "another provided");
            }
        }
        if (overlaps) {
            return false;
        }
    }
    return true;
}

static void tracking_on(struct cmd_context *c, struct tracking_options *o)
{
    const unsigned before = atomic_load(&c->client->track.flags);
    const char *conflict = tracking_conflict(o, before);
    kvsql_rc rc;

    if (conflict != NULL) {
        cmd_fail(c, KVSQL_INVALID, "%s", conflict);
        return;
    }
    if (!tracking_prefixes_part(c, o)) {
        return;
    }
    if (c->client->track.prefixes + o->prefix_count > CMD_TRACK_PREFIX_MAX) {
        cmd_fail(c, KVSQL_TOOBIG, "ERR a client may track %d prefixes",
                 CMD_TRACK_PREFIX_MAX);
        return;
    }
    if ((o->flags & CMD_TRACK_BCAST) != 0 && o->prefix_count == 0) {
        o->prefixes[o->prefix_count++] = (kvsql_slice){.p = "", .size = 0};
    }
    rc = cmd_track_start(c->db, c->client, o->flags, (uint64_t)o->redirect,
                         o->prefixes, o->prefix_count);
    if (rc == KVSQL_NOTFOUND) { /* closed a moment ago */
        cmd_fail(c, rc,
                 "ERR The client ID you want redirect to does not exist");
    } else if (rc != KVSQL_OK) {
        cmd_fail_nomem(c);
    } else {
        cmd_answer_ok(c);
    }
}

void cmd_do_client_tracking(struct cmd_context *c)
{
    struct tracking_options o = {0};

    if (!tracking_options(c, &o)) {
        return;
    }
    if (cmd_is(c, 2, "ON")) {
        tracking_on(c, &o);
    } else if (cmd_is(c, 2, "OFF")) {
        cmd_track_stop(c->client);
        cmd_answer_ok(c);
    } else {
        cmd_fail_syntax(c);
    }
}

/* ---- CACHING, GETREDIR, TRACKINGINFO ------------------------------------ */

void cmd_do_client_caching(struct cmd_context *c)
{
    _Atomic unsigned *flags = &c->client->track.flags;
    const unsigned now = atomic_load(flags);
    const bool yes = cmd_is(c, 2, "YES");

    if (now == 0) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR CLIENT CACHING can be called only when the client is in "
                 "tracking mode with OPTIN or OPTOUT mode enabled");
    } else if (!yes && !cmd_is(c, 2, "NO")) {
        cmd_fail_syntax(c);
    } else if ((now & (yes ? CMD_TRACK_OPTIN : CMD_TRACK_OPTOUT)) == 0) {
        cmd_fail(c, KVSQL_INVALID,
                 yes ? "ERR CLIENT CACHING YES is only valid when tracking is "
                       "enabled in OPTIN mode."
                     : "ERR CLIENT CACHING NO is only valid when tracking is "
                       "enabled in OPTOUT mode.");
    } else {
        atomic_fetch_or(flags, CMD_TRACK_CACHING);
        cmd_answer_ok(c);
    }
}

static int64_t tracking_redirected(const struct cmd_client *client)
{
    return atomic_load(&client->track.flags) == 0
               ? -1
               : (int64_t)atomic_load(&client->track.redirect);
}

void cmd_do_client_getredir(struct cmd_context *c)
{
    cmd_reply_int(c->reply, tracking_redirected(c->client));
}

static void tracking_answer_flags(struct cmd_context *c)
{
    const unsigned flags = atomic_load(&c->client->track.flags);
    const struct {
        unsigned all;
        const char *name;
    } names[] = {{CMD_TRACK_BCAST, "bcast"},
                 {CMD_TRACK_OPTIN, "optin"},
                 {CMD_TRACK_OPTIN | CMD_TRACK_CACHING, "caching-yes"},
                 {CMD_TRACK_OPTOUT, "optout"},
                 {CMD_TRACK_OPTOUT | CMD_TRACK_CACHING, "caching-no"},
                 {CMD_TRACK_NOLOOP, "noloop"},
                 {CMD_TRACK_BROKEN, "broken_redirect"}};
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    uint64_t count = 1;

    cmd_reply_text(c->reply, flags != 0 ? "on" : "off");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((flags & names[i].all) == names[i].all) {
            cmd_reply_text(c->reply, names[i].name);
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
}

static void tracking_answer_prefixes(struct cmd_context *c)
{
    struct kv_buf prefixes;
    unsigned count;
    const uint8_t *p;

    kv_buf_init(&prefixes, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
    count = cmd_track_prefixes(c->client, &prefixes);
    if (prefixes.failed) {
        kv_buf_fini(&prefixes);
        cmd_fail_nomem(c);
        return;
    }
    cmd_reply_array(c->reply, count);
    p = prefixes.p;
    for (unsigned i = 0; i < count; i++) {
        const uint32_t size = kv_u32_get(p);

        cmd_reply_bulk(c->reply, p + 4, size);
        p += 4 + size;
    }
    kv_buf_fini(&prefixes);
}

void cmd_do_client_trackinginfo(struct cmd_context *c)
{
    cmd_reply_map(c->reply, 3);
    cmd_reply_text(c->reply, "flags");
    tracking_answer_flags(c);
    cmd_reply_text(c->reply, "redirect");
    cmd_reply_int(c->reply, tracking_redirected(c->client));
    cmd_reply_text(c->reply, "prefixes");
    tracking_answer_prefixes(c);
}
