/* inspect.c - connections of the Redis protocol, one by one (see inspect.h).
 *
 * Thread: any. */
#include "command/inspect.h"

#include "command/client.h"
#include "command/context.h"
#include "kvsql/base/os.h"

#define INSPECT_NS INT64_C(1000000000)

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
