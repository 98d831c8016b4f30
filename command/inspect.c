/* inspect.c - connections of the Redis protocol and options, one by one (see
 * inspect.h).
 *
 * Thread: any. */
#include "command/inspect.h"

#include "command/client.h"
#include "command/context.h"
#include "kvsql/base/os.h"

#define INSPECT_NS INT64_C(1000000000)
#define INSPECT_VALUE_MAX (64u << 10) /* bytes of an option */

/* Under the registry's lock. */
static void inspect_row(struct cmd_client *client, struct cmd_client_row *row)
{
    const int64_t now = (int64_t)kv_os_mono_ns();
    const struct cmd_row *last = atomic_load(&client->last);
    struct cmd_client_facts facts = {0};

    client->door->facts(client, &facts);
    *row = (struct cmd_client_row){
        .id = client->id,
        .addr = client->addr,
        .name = client->name,
        .user = atomic_load(&client->authenticated) ? "default" : NULL,
        .command = last != NULL ? last->name : NULL,
        .resp = atomic_load(&client->shown_resp),
        .age_s = (now - client->created_ns) / INSPECT_NS,
        .idle_s = (now - atomic_load(&client->used_ns)) / INSPECT_NS,
        .in_size = facts.query_size,
        .out_size = facts.output_size};
}

void cmd_client_each(void (*take)(void *arg, const struct cmd_client_row *row),
                     void *arg)
{
    struct cmd_client_row row;

    cmd_registry_lock();
    for (struct cmd_client *client = cmd_client_first(); client != NULL;
         client = client->next) {
        inspect_row(client, &row);
        take(arg, &row);
    }
    cmd_registry_unlock();
}

bool cmd_client_kill(uint64_t id)
{
    bool found = false;

    cmd_registry_lock();
    for (struct cmd_client *client = cmd_client_first();
         client != NULL && !found; client = client->next) {
        found = client->id == id;
        if (found) {
            client->door->kill(client);
        }
    }
    cmd_registry_unlock();
    return found;
}

/* ---- options ------------------------------------------------------------ */

bool cmd_config_each(void (*take)(void *arg, const struct cmd_config_row *row),
                     void *arg)
{
    const struct cmd_config *config = &cmd_host_get()->config;
    struct kv_buf value, initial;
    const char *name;
    bool whole = true;

    kv_buf_init(&value, KV_MEM_CLIENT, INSPECT_VALUE_MAX);
    kv_buf_init(&initial, KV_MEM_CLIENT, INSPECT_VALUE_MAX);
    for (unsigned i = 0; whole && config->name != NULL &&
                         (name = config->name(config->arg, i)) != NULL;
         i++) {
        struct cmd_config_row row = {.name = name};

        if (name[0] == '\0') {
            continue;
        }
        kv_buf_reset(&value, INSPECT_VALUE_MAX);
        kv_buf_reset(&initial, INSPECT_VALUE_MAX);
        config->get(config->arg, i, &value);
        row.changes = config->initial(config->arg, i, &initial);
        row.value = (kvsql_slice){value.p, value.size};
        row.initial = (kvsql_slice){initial.p, initial.size};
        whole = !value.failed && !initial.failed;
        if (whole) {
            take(arg, &row);
        }
    }
    kv_buf_fini(&value);
    kv_buf_fini(&initial);
    return whole;
}

kvsql_rc cmd_config_set(struct kv_txn *txn, kvsql_slice name,
                        kvsql_slice value, struct kvsql_error *err)
{
    const struct cmd_config *config = &cmd_host_get()->config;
    const kvsql_slice pair[2] = {name, value};

    if (config->set == NULL) {
        return kv_fail(err, KVSQL_INVALID,
                       "ERR there is no configuration to change in this "
                       "program");
    }
    return config->set(config->arg, txn, 1, pair, err);
}
