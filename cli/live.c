/* live.c - CONFIG on the options of the running server.
 *
 * Parameters are the rows of options.def that a file may hold, then their
 * second names of Redis. A value is checked before anything is set, and what
 * is set is applied under the same locks, so two CONFIG SETs cannot end in a
 * mixture. Sentences are Redis's.
 *
 * Thread: any (LV1). */
#include "cli/live.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "command/hll.h"
#include "command/stats.h"
#include "command/track.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/inside.h"

#define LIVE_NAME_MAX 64          /* bytes of a name with its NUL */
#define LIVE_VALUE_MAX (64u << 10) /* bytes of a value */
#define LIVE_SHOWN_MAX 128        /* bytes of a client's name in a sentence */
#define LIVE_WHY_MAX 512          /* bytes of what is wrong with a value */
#define LIVE_WAIT_MS 10000        /* that CONFIG SET waits for the store */
#define LIVE_NEVER_S ((uint64_t)UINT32_MAX) /* `save ""`: in 136 years */

void cli_live_loglevel(const struct cli_settings *settings)
{
    static const struct {
        const char *name;
        enum kv_diag_level level;
    } levels[] = {{"debug", KV_DEBUG},  {"info", KV_INFO},
                  {"verbose", KV_INFO}, {"notice", KV_INFO},
                  {"warn", KV_WARN},    {"warning", KV_WARN},
                  {"error", KV_ERROR_LEVEL}};
    const char *level = cli_text(settings, CLI_OPT_LOGLEVEL);

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcasecmp(level, levels[i].name) == 0)
            kv_diag_level_set(levels[i].level);
}

/* All that can change at run time; cheap, and cannot fail. */
static void live_apply(struct cli_live *live, struct kv_txn *txn)
{
    const struct cli_settings *settings = live->settings;
    const uint64_t every = cli_save_seconds(settings);

    cli_live_loglevel(settings);
    kv_set_maxmemory(live->db, cli_number(settings, CLI_OPT_MAXMEMORY));
    kv_txn_set_policy(txn, cli_maxmemory_policy(settings),
                      (unsigned)cli_number(settings,
                                           CLI_OPT_MAXMEMORY_SAMPLES));
    kv_txn_set_lfu(txn,
                   (uint32_t)cli_number(settings, CLI_OPT_LFU_LOG_FACTOR),
                   (uint32_t)cli_number(settings, CLI_OPT_LFU_DECAY_TIME));
    kv_txn_set_views(txn, cli_duration_ms(settings, CLI_OPT_VIEW_MAX_AGE),
                     cli_number(settings, CLI_OPT_VIEW_MAX_BYTES));
    kv_set_fsync(live->db, cli_fsync(settings, CLI_OPT_APPENDFSYNC));
    cmd_latency_limits(cli_number(settings, CLI_OPT_LATENCY_MONITOR),
                       cli_flag(settings, CLI_OPT_LATENCY_TRACKING));
    kv_set_latency(live->db, cmd_latency_store, cmd_latency_threshold_ns());
    cmd_latency_percentiles(cli_text(settings, CLI_OPT_LATENCY_PERCENTS));
    cmd_slowlog_limits(cli_integer(settings, CLI_OPT_SLOWLOG_SLOWER),
                       cli_number(settings, CLI_OPT_SLOWLOG_MAX));
    cmd_track_limit(cli_number(settings, CLI_OPT_TRACKING_MAX));
    kv_set_snapshots(live->db, every > 0 ? every : LIVE_NEVER_S,
                     cli_number(settings, CLI_OPT_SNAPSHOT_WAL));
    cmd_hll_sparse_max_set(cli_number(settings, CLI_OPT_HLL_SPARSE_MAX));
    if (live->doors.apply != NULL)
        live->doors.apply(live->doors.arg, settings);
}

/* ---- GET ---------------------------------------------------------------------- */

/* Parameter `index`: a row that a file may hold, or a second name of Redis;
 * NULL behind the last. *id is CLI_OPT_COUNT for a row that is none. */
static const char *live_parameter(unsigned index, enum cli_option_id *id)
{
    const struct cli_option *row = cli_option_row(index);
    const char *name;

    if (row != NULL) {
        const bool is = (row->scope & CLI_IN_SERVE) != 0 &&
                        (row->where & CLI_FROM_FILE) != 0;

        *id = is ? (enum cli_option_id)index : CLI_OPT_COUNT;
        return row->name;
    }
    name = cli_option_alias(index - CLI_OPT_COUNT, id);
    if (name != NULL && (cli_option_row(*id)->where & CLI_REMEMBERED) == 0)
        *id = CLI_OPT_COUNT; /* a second name of our own: told once */
    return name;
}

static const char *live_name(void *arg, unsigned index)
{
    enum cli_option_id id;
    const char *name = live_parameter(index, &id);

    (void)arg;
    return name != NULL && id == CLI_OPT_COUNT ? "" : name;
}

static void live_get(void *arg, unsigned index, struct kv_buf *out)
{
    struct cli_live *live = arg;
    enum cli_option_id id;

    if (live_parameter(index, &id) == NULL || id == CLI_OPT_COUNT)
        return;
    if (id == CLI_OPT_DATABASES) {
        kv_buf_byte(out, '1'); /* whatever a file says: there is one */
        return;
    }
    kv_lock_take(&live->lock);
    cli_value_show(cli_option_row(id), live->settings->value[id], out);
    kv_lock_drop(&live->lock);
}

static bool live_initial(void *arg, unsigned index, struct kv_buf *out)
{
    enum cli_option_id id;

    (void)arg;
    if (live_parameter(index, &id) == NULL || id == CLI_OPT_COUNT)
        return false;
    const struct cli_option *row = cli_option_row(id);
    if (id == CLI_OPT_DATABASES)
        kv_buf_byte(out, '1');
    else
        cli_value_show(row, row->initial, out);
    return (row->where & CLI_AT_RELOAD) != 0 &&
           (row->where & CLI_GUARDED) == 0;
}

/* ---- SET ---------------------------------------------------------------------- */

/* One CONFIG SET: what is to be set, and where its values are in `texts`. */
struct live_change {
    enum cli_option_id id[CMD_CONFIG_PAIRS_MAX];
    size_t at[CMD_CONFIG_PAIRS_MAX];
    unsigned count;
    struct kv_buf texts;
    void *made; /* by the doors */
};

static kvsql_rc live_refuse(const char *name, const char *why,
                            struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_INVALID,
                   "ERR CONFIG SET failed (possibly related to argument '%s') "
                   "- %s",
                   name, why);
}

/* The option of a client's name. INVALID: there is none, or it cannot be
 * set. */
static kvsql_rc live_find(kvsql_slice slice, enum cli_option_id *id,
                          char name[LIVE_NAME_MAX], struct kvsql_error *err)
{
    char shown[LIVE_SHOWN_MAX];
    int found = -1;

    if (slice.size < LIVE_NAME_MAX && slice.size > 0 &&
        memchr(slice.p, '\0', slice.size) == NULL) {
        memcpy(name, slice.p, slice.size);
        name[slice.size] = '\0';
        found = cli_option_find(name, CLI_IN_SERVE, CLI_FROM_FILE);
    }
    if (found < 0)
        return kv_fail(err, KVSQL_INVALID,
                       "ERR Unknown option or number of arguments for CONFIG "
                       "SET - '%s'",
                       kv_text_show(shown, sizeof shown, slice.p, slice.size));
    const struct cli_option *row = cli_option_row((unsigned)found);
    *id = (enum cli_option_id)found;
    if ((row->where & CLI_GUARDED) != 0)
        return live_refuse(name, "can't set protected config", err);
    if ((row->where & CLI_AT_RELOAD) == 0)
        return live_refuse(name, "can't set immutable config", err);
    return KVSQL_OK;
}

/* Add one pair to the change: its name is right, its value is not looked at. */
static kvsql_rc live_add(struct live_change *change, kvsql_slice name_slice,
                         kvsql_slice value, struct kvsql_error *err)
{
    char name[LIVE_NAME_MAX];
    enum cli_option_id id = CLI_OPT_COUNT;
    const kvsql_rc rc = live_find(name_slice, &id, name, err);

    if (rc != KVSQL_OK)
        return rc;
    for (unsigned i = 0; i < change->count; i++)
        if (change->id[i] == id)
            return live_refuse(name, "duplicate parameter", err);
    if (value.size > 0 && memchr(value.p, '\0', value.size) != NULL)
        return live_refuse(name, "invalid value", err);
    change->at[change->count] = change->texts.size;
    change->id[change->count++] = id;
    kv_buf_add(&change->texts, value.p, value.size);
    kv_buf_byte(&change->texts, '\0');
    return kv_buf_result(&change->texts, "a configuration", err);
}

static const char *live_text(const struct live_change *change, unsigned index)
{
    return (const char *)change->texts.p + change->at[index];
}

static kvsql_rc live_check(const struct live_change *change, unsigned index,
                           struct kvsql_error *err)
{
    const struct cli_option *row = cli_option_row(change->id[index]);
    const char *text = live_text(change, index);
    struct kvsql_error ours;
    char why[LIVE_WHY_MAX];

    if (cli_value_check(row, text, &ours) == KVSQL_OK)
        return KVSQL_OK;
    cli_value_complain(row, text, why, sizeof why);
    return live_refuse(row->name, why, err);
}

/* What the doors say. */
static kvsql_rc live_check_doors(const struct cli_live *live,
                                 const struct live_change *change,
                                 unsigned index, struct kvsql_error *err)
{
    const struct cli_live_doors *doors = &live->doors;
    const enum cli_option_id id = change->id[index];
    char why[LIVE_WHY_MAX];

    if (doors->refuse == NULL ||
        doors->refuse(doors->arg, id, live_text(change, index), why,
                      sizeof why) == NULL)
        return KVSQL_OK;
    return live_refuse(cli_option_row(id)->name, why, err);
}

/* What can fail beyond the values themselves. */
static kvsql_rc live_prepare(const struct cli_live *live,
                             struct live_change *change, unsigned index,
                             struct kvsql_error *err)
{
    const struct cli_live_doors *doors = &live->doors;
    const enum cli_option_id id = change->id[index];
    char why[LIVE_WHY_MAX];

    if (doors->prepare == NULL || change->made != NULL ||
        doors->prepare(doors->arg, id, live_text(change, index), &change->made,
                       why, sizeof why) == NULL)
        return KVSQL_OK;
    return live_refuse(cli_option_row(id)->name, why, err);
}

/* Put one in place. Of limits those of classes that `text` leaves out stay. */
static kvsql_rc live_put(struct cli_settings *settings, enum cli_option_id id,
                         const char *text, struct kvsql_error *err)
{
    const struct cli_option *row = cli_option_row(id);
    struct kv_buf joined, shown;
    kvsql_rc rc;

    if (row->kind != CLI_LIMITS)
        return cli_settings_set_live(settings, id, text, err);
    kv_buf_init(&joined, KV_MEM_MISC, 2 * LIVE_VALUE_MAX);
    kv_buf_init(&shown, KV_MEM_MISC, LIVE_VALUE_MAX);
    kv_buf_printf(&joined, "%s %s", settings->value[id], text);
    kv_buf_byte(&joined, '\0');
    rc = kv_buf_result(&joined, "a configuration", err);
    if (rc == KVSQL_OK) {
        cli_value_show(row, (const char *)joined.p, &shown);
        kv_buf_byte(&shown, '\0');
        rc = kv_buf_result(&shown, "a configuration", err);
    }
    if (rc == KVSQL_OK)
        rc = cli_settings_set_live(settings, id, (const char *)shown.p, err);
    kv_buf_fini(&joined);
    kv_buf_fini(&shown);
    return rc;
}

/* Put all in place. Memory that runs out half-way puts back what was there. */
static kvsql_rc live_commit(struct cli_live *live,
                            const struct live_change *change,
                            struct kvsql_error *err)
{
    struct cli_settings *settings = live->settings;
    struct cli_settings before = *settings;
    kvsql_rc rc = KVSQL_OK;

    for (unsigned i = 0; i < change->count; i++)
        settings->live[change->id[i]] = NULL; /* keep the old ones */
    for (unsigned i = 0; i < change->count && rc == KVSQL_OK; i++)
        rc = live_put(settings, change->id[i], live_text(change, i), err);
    for (unsigned i = 0; i < change->count; i++)
        cli_settings_drop_live(rc == KVSQL_OK ? &before : settings,
                               change->id[i]);
    if (rc != KVSQL_OK)
        *settings = before;
    return rc;
}

/* Both locks are held, or at least the store's. */
static kvsql_rc live_set_in(struct cli_live *live, struct kv_txn *txn,
                            struct live_change *change,
                            struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    kv_lock_take(&live->lock);
    for (unsigned i = 0; i < change->count && rc == KVSQL_OK; i++)
        rc = live_check_doors(live, change, i, err);
    if (rc == KVSQL_OK)
        rc = live_commit(live, change, err);
    if (rc == KVSQL_OK && change->made != NULL) {
        live->doors.offer(live->doors.arg, change->made);
        change->made = NULL;
    }
    if (rc == KVSQL_OK)
        live_apply(live, txn);
    kv_lock_drop(&live->lock);
    return rc;
}

static kvsql_rc live_begin(struct cli_live *live, uint64_t wait_ms,
                           struct kv_txn **txn, struct kvsql_error *err)
{
    struct kvsql_error why;
    const kvsql_rc rc = kv_txn_begin(live->db, false, wait_ms, txn, &why);

    return rc == KVSQL_OK ? rc
                          : kv_fail(err, rc, "%s %s", kv_error_row(rc)->resp,
                                    why.text);
}

static void live_end(struct kv_txn *txn)
{
    struct kvsql_error err;
    const kvsql_rc rc = kv_txn_commit(txn, NULL, &err);

    KV_ASSERT(rc == KVSQL_OK); /* nothing was written */
}

static kvsql_rc live_set(void *arg, struct kv_txn *txn, unsigned count,
                         const kvsql_slice *pairs, struct kvsql_error *err)
{
    struct cli_live *live = arg;
    struct live_change change = {.count = 0};
    struct kv_txn *own = NULL;
    kvsql_rc rc = KVSQL_OK;

    if (count > CMD_CONFIG_PAIRS_MAX)
        return kv_fail(err, KVSQL_TOOBIG,
                       "ERR more than %d parameters in one CONFIG SET",
                       CMD_CONFIG_PAIRS_MAX);
    kv_buf_init(&change.texts, KV_MEM_MISC, LIVE_VALUE_MAX);
    for (unsigned i = 0; i < count && rc == KVSQL_OK; i++)
        rc = live_add(&change, pairs[2 * i], pairs[2 * i + 1], err);
    for (unsigned i = 0; i < count && rc == KVSQL_OK; i++)
        rc = live_check(&change, i, err);
    for (unsigned i = 0; i < count && rc == KVSQL_OK; i++)
        rc = live_prepare(live, &change, i, err);
    if (rc == KVSQL_OK && txn == NULL)
        rc = live_begin(live, LIVE_WAIT_MS, &own, err);
    if (rc == KVSQL_OK)
        rc = live_set_in(live, own != NULL ? own : txn, &change, err);
    if (own != NULL)
        live_end(own);
    if (change.made != NULL)
        live->doors.drop(live->doors.arg, change.made);
    for (unsigned i = 0; i < change.count && rc == KVSQL_OK; i++)
        kv_diag(KV_INFO, "config.set", "option=%s",
                cli_option_row(change.id[i])->name);
    kv_buf_fini(&change.texts);
    return rc;
}

/* ---- REWRITE -------------------------------------------------------------------- */

/* What a rewrite needs of the settings (LV3). */
static kvsql_rc live_copy(struct cli_live *live, struct cli_settings *copy,
                          struct kvsql_error *err)
{
    struct kvsql_error why;
    kvsql_rc rc = KVSQL_OK;

    cli_settings_init(copy, CLI_IN_SERVE);
    kv_lock_take(&live->lock);
    copy->value[CLI_OPT_CONFIG] = live->settings->value[CLI_OPT_CONFIG];
    for (int i = 0; i < CLI_OPT_COUNT && rc == KVSQL_OK; i++)
        if (live->settings->layer[i] == CLI_LAYER_LIVE)
            rc = cli_settings_set_live(copy, (enum cli_option_id)i,
                                       live->settings->value[i], &why);
    kv_lock_drop(&live->lock);
    return rc == KVSQL_OK ? rc : kv_fail(err, rc, "%s", why.text);
}

static kvsql_rc live_rewrite(void *arg, struct kvsql_error *err)
{
    struct cli_live *live = arg;
    struct cli_settings copy;

    kv_lock_take(&live->rewrite_lock);
    kvsql_rc rc = live_copy(live, &copy, err);
    if (rc == KVSQL_OK)
        rc = cli_rewrite(&copy, err);
    kv_lock_drop(&live->rewrite_lock);
    cli_settings_fini(&copy);
    return rc;
}

/* ---- life --------------------------------------------------------------------- */

/* Put `fresh` in place, if there is one, but for what CONFIG SET set (LV2). */
static void live_replace(struct cli_settings *old, struct cli_settings *fresh)
{
    for (int i = 0; i < CLI_OPT_COUNT; i++)
        if (old->layer[i] == CLI_LAYER_LIVE) {
            fresh->value[i] = old->value[i];
            fresh->layer[i] = CLI_LAYER_LIVE;
            fresh->live[i] = old->live[i];
            old->live[i] = NULL;
        }
    cli_settings_fini(old);
    *old = *fresh;
}

static void live_change_all(struct cli_live *live, struct cli_settings *fresh)
{
    struct kvsql_error err;
    struct kv_txn *txn;

    if (live_begin(live, 0, &txn, &err) != KVSQL_OK) { /* no memory */
        kv_diag(KV_ERROR_LEVEL, "config.apply", "error=\"%s\"", err.text);
        if (fresh != NULL)
            cli_settings_fini(fresh);
        return;
    }
    kv_lock_take(&live->lock);
    if (fresh != NULL)
        live_replace(live->settings, fresh);
    live_apply(live, txn);
    kv_lock_drop(&live->lock);
    live_end(txn);
}

void cli_live_start(struct cli_live *live, struct cli_settings *settings,
                    kvsql *db, const struct cli_live_doors *doors,
                    struct cmd_host *host)
{
    *live = (struct cli_live){.settings = settings, .db = db};
    if (doors != NULL)
        live->doors = *doors;
    kv_lock_init(&live->lock, KV_RANK_CONFIG);
    kv_lock_init(&live->rewrite_lock, KV_RANK_REWRITE);
    host->config = (struct cmd_config){.arg = live,
                                       .name = live_name,
                                       .get = live_get,
                                       .initial = live_initial,
                                       .set = live_set,
                                       .rewrite = live_rewrite};
    live_change_all(live, NULL);
}

void cli_live_stop(struct cli_live *live)
{
    kv_lock_fini(&live->rewrite_lock);
    kv_lock_fini(&live->lock);
}

void cli_live_reload(struct cli_live *live, struct cli_settings *fresh)
{
    live_change_all(live, fresh);
}
