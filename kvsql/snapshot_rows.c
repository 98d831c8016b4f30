/* snapshot_rows.c - the rows of a view, as pages of a snapshot.
 *
 * One walk over the keys fills all tables side by side, for the order of the
 * store is that of every table (sql.md 2.2): class, then bytes, of the key and
 * of field or member. The index zsets_score is filled like a table from the
 * second order of sorted sets, in which members of one score stand by their
 * bytes alone: of these those of class TEXT go first, then the others.
 *
 * Thread: the caller's; reading a view takes no lock. */
#include "kvsql/snapshot_private.h"

#include <string.h>

#define SNAPSHOT_COLUMNS_MAX 4

struct snapshot_walk {
    struct snapshot_writer *writer;
    struct kvsql_error *err;
    struct kv_keys keys;
    struct kv_elems elems;
};

static struct kv_page_value snapshot_bytes(const uint8_t *p, uint32_t size,
                                           unsigned cls)
{
    return (struct kv_page_value){
        .kind = cls == KV_TEXT ? KV_PAGE_TEXT : KV_PAGE_BLOB,
        .size = size,
        .p = p};
}

/* The same of a value or an element, which count as such. */
static struct kv_page_value snapshot_value(struct snapshot_walk *walk,
                                           const struct kv_val *val)
{
    walk->writer->bytes += val->size;
    return snapshot_bytes(val->p, val->size, val->cls);
}

static struct kv_page_value snapshot_number(uint64_t number)
{
    return (struct kv_page_value){.kind = KV_PAGE_INT,
                                  .number = (int64_t)number};
}

static struct kv_page_value snapshot_time(int64_t time)
{
    return (struct kv_page_value){
        .kind = time == 0 ? KV_PAGE_NULL : KV_PAGE_INT, .number = time};
}

static struct kv_page_value snapshot_score(double score)
{
    return (struct kv_page_value){.kind = KV_PAGE_SCORE, .real = score};
}

static kvsql_rc snapshot_put(struct snapshot_walk *walk,
                             enum snapshot_tree tree,
                             const struct kv_page_value *values,
                             unsigned count)
{
    const struct kv_key *const key = &walk->keys.key;
    char shown[SNAPSHOT_SHOW_SIZE];
    const kvsql_rc rc = kv_page_tree_row(&walk->writer->trees[tree], values,
                                         count, walk->err);

    if (KV_LIKELY(rc == KVSQL_OK) || rc != KVSQL_TOOBIG)
        return rc;
    return kv_fail(walk->err, rc,
                   "snapshot: cannot write a row of key '%s': key, field and "
                   "value together pass %d bytes",
                   kv_text_show(shown, sizeof(shown), key->p, key->size),
                   KV_PAGE_ROW_MAX);
}

static kvsql_rc snapshot_put_key(struct snapshot_walk *walk, uint64_t length)
{
    const struct kv_keys *const keys = &walk->keys;
    const char *const type = kv_type_name(keys->item.type);
    const struct kv_page_value row[SNAPSHOT_COLUMNS_MAX] = {
        snapshot_bytes(keys->key.p, keys->key.size, keys->key.cls),
        snapshot_bytes((const uint8_t *)type, (uint32_t)strlen(type), KV_TEXT),
        snapshot_number(length),
        snapshot_time(keys->item.expires_at)};

    return snapshot_put(walk, SNAPSHOT_TREE_KEYS, row, 4);
}

static kvsql_rc snapshot_string(struct snapshot_walk *walk)
{
    const struct kv_keys *const keys = &walk->keys;
    struct kv_val value;

    kv_item_string(&keys->item, &value);
    const struct kv_page_value row[SNAPSHOT_COLUMNS_MAX] = {
        snapshot_bytes(keys->key.p, keys->key.size, keys->key.cls),
        snapshot_value(walk, &value),
        snapshot_time(keys->item.expires_at)};
    const kvsql_rc rc = snapshot_put_key(walk, value.size);
    return rc == KVSQL_OK ? snapshot_put(walk, SNAPSHOT_TREE_STRINGS, row, 3)
                          : rc;
}

/* Elements that are in sight. A hash counts fields that have expired and are
 * still to be removed, too; rare, for the keeper does so within moments. */
static uint64_t snapshot_length(struct snapshot_walk *walk)
{
    const struct kv_item *const item = &walk->keys.item;
    uint64_t count = 0;

    if (item->type != KV_HASH || !kv_item_fields_expire(item))
        return kv_item_length(item);
    kv_elems_init(&walk->elems, &walk->writer->at, item, KV_ELEMS_KEY);
    for (bool valid = kv_elems_first(&walk->elems); valid;
         valid = kv_elems_next(&walk->elems))
        count++;
    return count;
}

/* The element's columns behind the key, and how many the row has. */
static unsigned snapshot_elem(struct snapshot_walk *walk,
                              enum snapshot_tree tree,
                              struct kv_page_value row[SNAPSHOT_COLUMNS_MAX])
{
    const struct kv_elem *const elem = &walk->elems.elem;

    switch (tree) {
    case SNAPSHOT_TREE_HASHES:
        row[1] = snapshot_value(walk, &elem->key);
        row[2] = snapshot_value(walk, &elem->value);
        row[3] = snapshot_time(elem->expires_at);
        return 4;
    case SNAPSHOT_TREE_LISTS:
        row[1] = snapshot_number(elem->index);
        row[2] = snapshot_value(walk, &elem->value);
        return 3;
    case SNAPSHOT_TREE_SETS:
        row[1] = snapshot_value(walk, &elem->key);
        return 2;
    case SNAPSHOT_TREE_ZSETS:
        row[1] = snapshot_value(walk, &elem->key);
        row[2] = snapshot_score(elem->score);
        return 3;
    default: /* SNAPSHOT_TREE_SCORES */
        row[1] = snapshot_score(elem->score);
        row[2] = snapshot_bytes(elem->key.p, elem->key.size, elem->key.cls);
        return 3;
    }
}

/* The row of the element in hand; `row` has the key. */
static kvsql_rc snapshot_put_elem(struct snapshot_walk *walk,
                                  enum snapshot_tree tree,
                                  struct kv_page_value *row)
{
    const kvsql_rc rc = kv_view_ended(walk->writer->view, walk->err);
    const unsigned columns = snapshot_elem(walk, tree, row);

    return rc == KVSQL_OK ? snapshot_put(walk, tree, row, columns) : rc;
}

static kvsql_rc snapshot_elems(struct snapshot_walk *walk,
                               enum snapshot_tree tree,
                               struct kv_page_value *row)
{
    struct kv_elems *const elems = &walk->elems;
    kvsql_rc rc = KVSQL_OK;

    kv_elems_init(elems, &walk->writer->at, &walk->keys.item,
                  tree == SNAPSHOT_TREE_LISTS ? KV_ELEMS_INDEX : KV_ELEMS_KEY);
    for (bool valid = kv_elems_first(elems); rc == KVSQL_OK && valid;
         valid = kv_elems_next(elems))
        rc = snapshot_put_elem(walk, tree, row);
    return rc;
}

/* Members of class BLOB from the rank `from` on, and before `to`, which all
 * have one score. The cursor goes on to `to`. */
static kvsql_rc snapshot_score_blobs(struct snapshot_walk *walk,
                                     struct kv_page_value *row, uint64_t from,
                                     uint64_t to, bool *valid)
{
    struct kv_elems *const elems = &walk->elems;
    kvsql_rc rc = KVSQL_OK;

    *valid = kv_elems_seek_rank(elems, from);
    for (; rc == KVSQL_OK && from < to; from++) {
        if (elems->elem.key.cls == KV_BLOB)
            rc = snapshot_put_elem(walk, SNAPSHOT_TREE_SCORES, row);
        *valid = kv_elems_next(elems);
    }
    return rc;
}

static kvsql_rc snapshot_scores(struct snapshot_walk *walk,
                                struct kv_page_value *row)
{
    struct kv_elems *const elems = &walk->elems;
    const struct kv_elem *const elem = &elems->elem;
    uint64_t rank = 0;
    kvsql_rc rc = KVSQL_OK;

    kv_elems_init(elems, &walk->writer->at, &walk->keys.item, KV_ELEMS_SCORE);
    for (bool valid = kv_elems_first(elems); rc == KVSQL_OK && valid;) {
        const double score = elem->score;
        const uint64_t from = rank;
        bool blobs = false;
        do {
            if (elem->key.cls == KV_TEXT)
                rc = snapshot_put_elem(walk, SNAPSHOT_TREE_SCORES, row);
            else
                blobs = true;
            rank++;
            valid = kv_elems_next(elems);
        } while (rc == KVSQL_OK && valid && elem->score == score);
        if (rc == KVSQL_OK && blobs)
            rc = snapshot_score_blobs(walk, row, from, rank, &valid);
    }
    return rc;
}

static kvsql_rc snapshot_collection(struct snapshot_walk *walk)
{
    const struct kv_key *const key = &walk->keys.key;
    const enum snapshot_tree tree = (enum snapshot_tree)walk->keys.item.type;
    const uint64_t length = snapshot_length(walk);
    struct kv_page_tree *const trees = walk->writer->trees;
    const uint64_t before = trees[tree].rows;
    struct kv_page_value row[SNAPSHOT_COLUMNS_MAX] = {
        snapshot_bytes(key->p, key->size, key->cls)};

    if (length == 0) /* every field has expired */
        return KVSQL_OK;
    kvsql_rc rc = snapshot_put_key(walk, length);
    if (rc == KVSQL_OK)
        rc = snapshot_elems(walk, tree, row);
    if (rc == KVSQL_OK && tree == SNAPSHOT_TREE_ZSETS)
        rc = snapshot_scores(walk, row);
    KV_ASSERT(rc != KVSQL_OK || trees[tree].rows - before == length);
    KV_ASSERT(rc != KVSQL_OK || tree != SNAPSHOT_TREE_ZSETS ||
              trees[SNAPSHOT_TREE_SCORES].rows == trees[tree].rows);
    return rc;
}

kvsql_rc kv_snapshot_rows(struct snapshot_writer *writer,
                          struct kvsql_error *err)
{
    struct snapshot_walk walk = {.writer = writer, .err = err};
    struct kv_keys *const keys = &walk.keys;
    const uint64_t total = kv_count_all(&writer->at);
    uint64_t done = 0;

    kv_keys_init(keys, &writer->at, 0);
    for (bool valid = kv_keys_first(keys); valid; valid = kv_keys_next(keys)) {
        kvsql_rc rc = kv_view_ended(writer->view, err);
        if (rc == KVSQL_OK)
            rc = keys->item.type == KV_STRING ? snapshot_string(&walk)
                                              : snapshot_collection(&walk);
        if (rc != KVSQL_OK)
            return rc;
        if (++done % SNAPSHOT_PROGRESS_KEYS == 0)
            kv_snapshot_tell(writer, done, total);
    }
    return KVSQL_OK;
}
