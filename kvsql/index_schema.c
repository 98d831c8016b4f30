/* index_schema.c - what definitions say of indexes, as the typist reads it: the
 * schema of the live root, and the trees that come and go with a definition.
 *
 * Thread: the holder of the store lock. */
#include "kvsql/index.h"

#include <string.h>

#include "kvsql/base/num.h"

/* ---- what definitions say ----------------------------------------------------- */

void kv_index_id(struct kv_buf *out, kvsql_slice table, unsigned number,
                 kvsql_slice spec)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *const p = spec.p;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    kv_buf_add(out, table.p, table.size);
    kv_buf_byte(out, 0);
    for (size_t i = 0; i < spec.size; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    kv_buf_byte(out, (uint8_t)number);
    for (unsigned i = 1; i + 1 < KV_INDEX_ID_SIZE; i++, hash >>= 4)
        kv_buf_byte(out, (uint8_t)digits[hash & 15]);
}

/* A spec taken apart; false: it is none. */
static bool index_parse(kvsql_slice spec, struct kv_index *index)
{
    const uint8_t *p = spec.p, *const end = p + spec.size;
    uint64_t size = 0;

    p += kv_varint_get(p, end, &size);
    if (size > KVSQL_KEY_MAX || size + 1 >= (uint64_t)(end - p))
        return false;
    index->prefix = kv_key_of(p, (size_t)size);
    p += size;
    index->flags = *p++;
    index->columns = *p++;
    if (index->columns == 0 || index->columns > KV_INDEX_COLUMNS_MAX)
        return false;
    for (unsigned i = 0; i < index->columns; i++) {
        if (p == end)
            return false;
        index->column[i].affinity = *p++;
        const size_t used = kv_varint_get(p, end, &size);
        p += used;
        if (used == 0 || size > (uint64_t)(end - p))
            return false;
        index->column[i].field = kv_key_of(p, (size_t)size);
        p += size;
    }
    return p == end;
}

/* One more in the schema; it has no place yet. */
static struct kv_index *index_add(struct kv_schema *schema)
{
    if (schema->count == schema->cap) {
        const unsigned cap = schema->cap > 0 ? schema->cap * 2 : 8;
        struct kv_index *const grown = kv_mem_realloc(
            KV_MEM_MISC, schema->index, schema->cap * sizeof(*grown),
            cap * sizeof(*grown));
        if (grown == NULL)
            return NULL;
        schema->index = grown;
        schema->cap = cap;
    }
    return &schema->index[schema->count++];
}

static kvsql_slice index_next_spec(const struct kv_buf *specs, size_t *place)
{
    uint64_t size = 0;

    *place += kv_varint_get(specs->p + *place, specs->p + specs->size, &size);
    const kvsql_slice spec = {specs->p + *place, (size_t)size};
    *place += spec.size;
    return spec;
}

/* The specs of one definition, with their ids, behind schema->bytes:
 * { u32 size of the id, of the spec | id | spec }... */
static bool index_read_def(struct kv_schema *schema, const struct kv_def *def,
                           struct kv_buf *specs)
{
    struct kv_buf id;
    size_t place = 0;
    bool ok = true;

    specs->size = 0;
    if (!schema->typist.indexes(schema->typist.arg, def, specs) ||
        specs->failed)
        return false;
    kv_buf_init(&id, KV_MEM_MISC, KV_DEFS_SIZE_MAX);
    for (unsigned n = 0; ok && place < specs->size; n++) {
        const kvsql_slice spec = index_next_spec(specs, &place);
        id.size = 0;
        kv_index_id(&id, def->name, n, spec);
        kv_buf_u32(&schema->bytes, (uint32_t)id.size);
        kv_buf_u32(&schema->bytes, (uint32_t)spec.size);
        kv_buf_add(&schema->bytes, id.p, id.size);
        kv_buf_add(&schema->bytes, spec.p, spec.size);
        ok = !id.failed && !schema->bytes.failed;
    }
    kv_buf_fini(&id);
    return ok;
}

/* schema->bytes does not move any more. */
static bool index_point(struct kv_schema *schema)
{
    const uint8_t *p = schema->bytes.p;
    const uint8_t *const end = p + schema->bytes.size;

    while (p < end) {
        const uint32_t id_size = kv_u32_get(p), size = kv_u32_get(p + 4);
        struct kv_index *const index = index_add(schema);
        if (index == NULL)
            return false;
        p += 8;
        index->id = (struct kv_key){.p = p, .size = id_size, .cls = KV_BLOB};
        p += id_size;
        if (!index_parse((kvsql_slice){p, size}, index))
            schema->count--;
        p += size;
    }
    return true;
}

/* The schema of the live root; false: no memory. */
bool kv_index_schema(struct kv_store *store)
{
    struct kv_schema *const schema = &store->schema;
    struct kv_def def;
    struct kv_at at = {.store = store, .root = &store->live};
    struct kv_buf specs;
    bool ok = true;

    if (KV_LIKELY(schema->version == store->live.defs_version))
        return true;
    schema->version = 0;
    schema->count = 0;
    kv_buf_reset(&schema->bytes, KV_INDEX_KEEP);
    kv_buf_init(&specs, KV_MEM_MISC, KV_DEFS_SIZE_MAX);
    for (size_t place = 0; ok && kv_def_next(&at, &place, &def);)
        ok = index_read_def(schema, &def, &specs);
    kv_buf_fini(&specs);
    ok = ok && index_point(schema);
    if (ok)
        schema->version = store->live.defs_version;
    return ok;
}

bool kv_index_covers(const struct kv_index *index, const struct kv_key *key)
{
    return key->size >= index->prefix.size &&
           memcmp(key->p, index->prefix.p, index->prefix.size) == 0;
}

static bool index_is_of(const struct kv_index *index, kvsql_slice table)
{
    return index->id.size == table.size + KV_INDEX_ID_SIZE &&
           memcmp(index->id.p, table.p, table.size) == 0;
}

/* ---- definitions ------------------------------------------------------------------------ */

bool kv_index_kept(const struct kv_store *store)
{
    return store->schema.typist.type != NULL;
}

/* No key of one class begins with the prefix? */
static bool index_none_behind(const struct kv_node *root,
                              const struct kv_key *prefix)
{
    struct kv_walk walk = {.root = {root, NULL}};
    uint8_t buffer[KV_KEY_BUFFER];
    uint32_t size;
    bool stable;

    if (root == NULL ||
        !kv_walk_seek(&walk, 0, prefix->p, prefix->size, false))
        return true;
    const uint8_t *const p = kv_tree_key(
        kv_walk_leaf(&walk), kv_walk_index(&walk), buffer, &size, &stable);
    return size < prefix->size || memcmp(p, prefix->p, prefix->size) != 0;
}

bool kv_index_undefine(struct kv_store *store, kvsql_slice name)
{
    struct kv_schema *const schema = &store->schema;
    bool ok = true;

    if (!kv_index_kept(store) || store->live.indexes == NULL)
        return true;
    ok = kv_index_schema(store);
    for (unsigned i = 0; ok && i < schema->count; i++)
        if (index_is_of(&schema->index[i], name))
            ok = kv_index_drop(store, &schema->index[i].id);
    return ok;
}

bool kv_index_define(struct kv_store *store, kvsql_slice name)
{
    struct kv_schema *const schema = &store->schema;
    bool ok = true;

    if (!kv_index_kept(store))
        return true;
    ok = kv_index_schema(store);
    for (unsigned i = 0; ok && i < schema->count; i++) {
        const struct kv_index *const index = &schema->index[i];
        if (index_is_of(index, name))
            ok = kv_index_make(
                store, index,
                index_none_behind(store->live.keys[0], &index->prefix) &&
                    index_none_behind(store->live.keys[1], &index->prefix));
    }
    return ok;
}

bool kv_index_flush(struct kv_store *store)
{
    const struct kv_schema *const schema = &store->schema;
    bool ok = true;

    if (!kv_index_kept(store))
        return true;
    ok = kv_index_schema(store);
    for (unsigned i = 0; ok && i < schema->count; i++)
        ok = kv_index_make(store, &schema->index[i], true);
    return ok;
}

bool kv_set_typist(kvsql *db, const struct kv_typist *typist)
{
    struct kv_store *const store = kv_db_store(db);

    kv_lock_take(&store->lock);
    const bool first = !kv_index_kept(store);
    if (first)
        store->schema.typist = *typist;
    kv_lock_drop(&store->lock);
    return first;
}

bool kv_has_typist(kvsql *db)
{
    struct kv_store *const store = kv_db_store(db);

    kv_lock_take(&store->lock);
    const bool has = kv_index_kept(store);
    kv_lock_drop(&store->lock);
    return has;
}

void kv_index_fini(struct kv_store *store)
{
    struct kv_schema *const schema = &store->schema;

    if (schema->typist.free != NULL)
        schema->typist.free(schema->typist.arg);
    kv_mem_free(KV_MEM_MISC, schema->index,
                schema->cap * sizeof(*schema->index));
    kv_buf_fini(&schema->bytes);
    kv_buf_fini(&schema->was);
    kv_buf_fini(&schema->will);
    kv_buf_fini(&schema->before);
    kv_buf_fini(&schema->rival);
    kv_buf_fini(&schema->at);
}
