/* fuzz_packed.c - a packed run under changes that the input chooses: after each
 * one the run reads back from end to end and finds its own elements. */
#include "kvsql/packed.h"
#include "tests/lib/fuzz.h"

#define STEPS_MAX 400

static void check_run(enum kv_type type, const uint8_t *run, uint32_t size)
{
    struct kv_packed_item item, found;
    uint16_t order[KV_PACKED_COUNT_MAX];
    uint32_t count = 0, offset = 2;
    uint64_t lowest = 0;

    for (; kv_packed_at(type, run, size, offset, &item); count++) {
        FUZZ_CHECK(item.next > offset && item.next <= size);
        const struct kv_key key = kv_key_of(item.key.p, item.key.size);
        if (type != KV_LIST)
            FUZZ_CHECK(kv_packed_find(type, run, size, &key, &found) &&
                       found.offset == offset);
        FUZZ_CHECK(kv_packed_index(type, run, size, count, &found) &&
                   found.offset == offset);
        if (item.deadline != 0 && (lowest == 0 || item.deadline < lowest))
            lowest = item.deadline;
        offset = item.next;
    }
    FUZZ_CHECK(offset == size && count == kv_packed_count(run));
    FUZZ_CHECK(kv_packed_sort(type, run, size, type == KV_ZSET, order) ==
               count);
    if (type == KV_HASH)
        FUZZ_CHECK(kv_packed_deadline(run, size) == lowest);
}

static struct kv_key take_key(struct fuzz_input *input)
{
    size_t size;
    const uint8_t *p =
        fuzz_bytes(input, fuzz_byte(input) % (KV_PACKED_ITEM_MAX + 1), &size);

    return kv_key_of(p, size);
}

/* One change of a list; 0 when the run is full. */
static uint32_t change_list(struct fuzz_input *input, const uint8_t *run,
                            uint32_t size, uint8_t *out)
{
    const uint32_t count = kv_packed_count(run);
    const uint8_t verb = fuzz_byte(input) % 3, place = fuzz_byte(input);
    const struct kv_key value = take_key(input);

    if (verb == 0 || count == 0)
        return kv_packed_list_insert(run, size, place % (count + 1), &value,
                                     out);
    if (verb == 1)
        return kv_packed_list_set(run, size, place % count, &value, out);
    const uint32_t first = place % count;
    return kv_packed_list_remove(run, size, first,
                                 1 + fuzz_byte(input) % (count - first), out);
}

static uint32_t change_keyed(enum kv_type type, struct fuzz_input *input,
                             const uint8_t *run, uint32_t size, uint8_t *out)
{
    const uint8_t verb = fuzz_byte(input);
    const struct kv_key key = take_key(input);
    struct kv_packed_item item;
    bool created;

    if (verb % 3 == 2)
        return kv_packed_find(type, run, size, &key, &item)
                   ? kv_packed_remove(run, size, &item, out)
                   : 0;
    const struct kv_key value = take_key(input);
    const uint64_t deadline = verb & 4 ? (uint64_t)fuzz_byte(input) << 41 : 0;
    return kv_packed_put(type, run, size, &key, &value,
                         type == KV_HASH ? deadline : 0,
                         (double)(int8_t)fuzz_byte(input) / 4, out, &created);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum kv_type types[] = {KV_HASH, KV_SET, KV_ZSET, KV_LIST};
    struct fuzz_input input = {data, size};
    const enum kv_type type = types[fuzz_byte(&input) % 4];
    uint8_t *run = malloc(KV_PACKED_BUFFER), *out = malloc(KV_PACKED_BUFFER);

    FUZZ_CHECK(run != NULL && out != NULL);
    uint32_t at = kv_packed_init(run);
    for (int step = 0; step < STEPS_MAX && input.size > 0; step++) {
        const uint32_t grown =
            type == KV_LIST ? change_list(&input, run, at, out)
                            : change_keyed(type, &input, run, at, out);
        FUZZ_CHECK(grown <= KV_PACKED_BUFFER);
        if (grown == 0 || grown > KV_PACKED_SIZE_MAX)
            continue; /* the store would make it a tree */
        uint8_t *before = run;
        run = out;
        out = before;
        at = grown;
        check_run(type, run, at);
    }
    free(run);
    free(out);
    return 0;
}
