/* cursor_path.c - the way to a name, in a few bits.
 *
 * A path spells the beginning of the name at which a scan goes on, as far as
 * that differs from the name before it. The highest bit that is set marks its
 * start, then, from high to low:
 *
 *   whole   rough paths only, 1 bit: all that was to be spelt is
 *   class   1 bit, TEXT or BLOB
 *   jump    rough paths only: 0, or 1 with 7 bits for 1..128 bytes and 4 bits
 *           of their CRC32C
 *   then any number of
 *     0 xxxx        a byte of 0-9 a-f
 *     10 xxxxx      a byte of PATH_OFTEN
 *     110 xxxxxxx   a jump of 1..128 bytes, rough paths only
 *     111 xxxxxxxx  any byte
 *
 * An exact path has no jumps: it is bytes, and leads to the first name that is
 * not below them. A rough path leaves out what all names of the group have in
 * common, the group being the names that begin with what is spelt so far, and
 * ends where its bits do. To follow a jump, the bytes are taken from the first
 * name of the group as it is then that has as many, and the right CRC.
 *
 * Why a rough path never leads behind the name, whatever has happened. Let q
 * be what is spelt when a jump came, and K a name that was due and is still
 * there.
 *   - Names due were not below `next`, which begins with q; so K begins with q
 *     or is above all that do.
 *   - When the path was made, all names that begin with q went on with the
 *     same bytes j. If K begins with q, it begins with qj, is in the group, and
 *     has length and CRC; so the name that is taken is not above K, and what it
 *     goes on with is not above j: it is j, or the place is before all qj.
 *   - If K does not begin with q, it is above everything that does, and so is
 *     above what the path spells.
 *   - No such name, or none among the first PATH_TRIES: the place is q, and K
 *     is not below q.
 * With MATCH only names in its range are due, and only they form groups; the
 * argument holds for another pattern, too, as what is due matches both.
 *
 * Thread: any; nothing is shared. */
#include "command/cursor.h"

#include <string.h>

#include "kvsql/base/crc32c.h"

#define PATH_EXACT_BITS 51 /* and the mark */
#define PATH_ROUGH_BITS 30
#define PATH_CHECK_BITS 4
#define PATH_JUMP_MAX 128
#define PATH_JUMP_BITS 10 /* of one that is not the first */
#define PATH_GROUP_MAX 512 /* bytes of a group that is looked up */
#define PATH_TRIES 64      /* names that are held against a jump */

static const char PATH_HEX[] = "0123456789abcdef";
static const char PATH_OFTEN[] = "ghijklmnopqrstuvwxyz:-_./@#, {}|";

_Static_assert(sizeof(PATH_HEX) == 16 + 1, "4 bits");
_Static_assert(sizeof(PATH_OFTEN) == 32 + 1, "5 bits");

struct path {
    uint64_t bits;
    unsigned size, size_max;
};

/* False: it does not fit, and nothing is put. */
static bool path_put(struct path *path, unsigned size, uint64_t bits)
{
    if (path->size + size > path->size_max) {
        return false;
    }
    path->bits = path->bits << size | bits;
    path->size += size;
    return true;
}

static bool path_put_byte(struct path *path, uint8_t byte)
{
    const char *place = byte != 0 ? strchr(PATH_HEX, byte) : NULL;

    if (place != NULL) {
        return path_put(path, 5, (uint64_t)(place - PATH_HEX));
    }
    place = byte != 0 ? strchr(PATH_OFTEN, byte) : NULL;
    if (place != NULL) {
        return path_put(path, 7, 0x40 | (uint64_t)(place - PATH_OFTEN));
    }
    return path_put(path, 11, 0x700 | (uint64_t)byte);
}

static uint64_t path_number(const struct path *path)
{
    return UINT64_C(1) << path->size | path->bits;
}

static size_t path_common(const struct kv_key *a, const struct kv_key *b)
{
    const size_t size = a->size < b->size ? a->size : b->size;
    size_t i = 0;

    if (a->cls != b->cls) {
        return 0;
    }
    while (i < size && a->p[i] == b->p[i]) {
        i++;
    }
    return i;
}

/* Bytes of `next` that lead to it and not to `last`. */
static size_t path_needed(const struct kv_key *last, const struct kv_key *next)
{
    KV_ASSERT(kv_key_compare(last, next) < 0);
    return last->cls != next->cls ? 0 : path_common(last, next) + 1;
}

uint64_t cmd_path_exact(const struct kv_key *last, const struct kv_key *next)
{
    struct path path = {.size_max = PATH_EXACT_BITS};
    const size_t needed = path_needed(last, next);

    (void)path_put(&path, 1, next->cls);
    for (size_t i = 0; i < needed; i++) {
        if (!path_put_byte(&path, next->p[i])) {
            return 0;
        }
    }
    return path_number(&path);
}

/* ---- groups ------------------------------------------------------------- */

static bool path_begins(const struct kv_key *name, const void *p, size_t size)
{
    return name->size >= size && (size == 0 || memcmp(name->p, p, size) == 0);
}

/* The first name of class `cls` that begins with `size` bytes of p and with
 * the prefix of `names`. */
static bool path_first(const struct cmd_names *names, uint8_t cls,
                       const uint8_t *p, size_t size, struct kv_key *found)
{
    struct kv_key key = {.p = (const uint8_t *)"", .cls = cls};

    if (size > names->prefix_size) {
        key.p = p;
        key.size = (uint32_t)size;
    } else if (names->prefix_size > 0) {
        key.p = names->prefix;
        key.size = (uint32_t)names->prefix_size;
    }
    return names->seek(names->arg, &key, found) && found->cls == cls &&
           path_begins(found, p, size) &&
           path_begins(found, names->prefix, names->prefix_size);
}

/* Make `bytes` the least ones above everything that begins with `size` bytes
 * of p; 0: there are none. */
static size_t path_above(uint8_t bytes[PATH_GROUP_MAX], const uint8_t *p,
                         size_t size)
{
    KV_ASSERT(size <= PATH_GROUP_MAX);
    if (size > 0) {
        memcpy(bytes, p, size);
    }
    while (size > 0 && bytes[size - 1] == 0xff) {
        size--;
    }
    if (size > 0) {
        bytes[size - 1]++;
    }
    return size;
}

/* The last name of class `cls` that begins with `size` bytes of p, when there
 * is one. */
static bool path_last(const struct cmd_names *names, uint8_t cls,
                      const uint8_t *p, size_t size, struct kv_key *found)
{
    uint8_t above[PATH_GROUP_MAX];
    struct kv_key key = {.p = above, .cls = cls};

    key.size = (uint32_t)path_above(above, p, size);
    if (key.size == 0 && cls == KV_BLOB) {
        return names->seek_back(names->arg, NULL, found);
    }
    if (key.size == 0) {
        key.cls = KV_BLOB; /* below the first of them */
    }
    return names->seek_back(names->arg, &key, found);
}

/* How many bytes all names share that begin with `size` bytes of `next`; at
 * least `size`. */
static size_t path_shared(const struct cmd_names *names,
                          const struct kv_key *next, size_t size)
{
    struct kv_key found;
    size_t first, last;

    if (size > PATH_GROUP_MAX ||
        !path_first(names, next->cls, next->p, size, &found)) {
        return size;
    }
    first = path_common(&found, next);
    if (!path_last(names, next->cls, next->p, size, &found)) {
        return size;
    }
    last = path_common(&found, next);
    last = first < last ? first : last;
    return last > size ? last : size;
}

/* ---- rough paths -------------------------------------------------------- */

/* Looking a group up costs: only where there is room for a jump, and not
 * inside of a number. */
static bool path_may_jump(const struct path *path, uint8_t byte)
{
    return path->size + PATH_JUMP_BITS <= path->size_max &&
           !(byte >= '0' && byte <= '9');
}

/* Jump over what the group of `at` bytes shares; the bytes spelt then. */
static size_t path_put_jump(struct path *path, const struct cmd_names *names,
                        const struct kv_key *next, size_t at, size_t needed)
{
    size_t to = path_shared(names, next, at);

    to = to < needed ? to : needed;
    to = to - at < PATH_JUMP_MAX ? to : at + PATH_JUMP_MAX;
    if (to > at &&
        path_put(path, PATH_JUMP_BITS, 0x300 | (uint64_t)(to - at - 1))) {
        return to;
    }
    return at;
}

static unsigned path_check(const uint8_t *p, size_t size)
{
    return kv_crc32c(0, p, size) & ((1u << PATH_CHECK_BITS) - 1);
}

uint64_t cmd_path_rough(const struct cmd_names *names,
                        const struct kv_key *last, const struct kv_key *next)
{
    struct path path = {.size_max = PATH_ROUGH_BITS};
    const size_t needed = path_needed(last, next);
    size_t at = path_shared(names, next, names->prefix_size);

    at = at < needed ? at : needed;
    at = at < PATH_JUMP_MAX ? at : PATH_JUMP_MAX;
    (void)path_put(&path, 1, 0);
    (void)path_put(&path, 1, next->cls);
    (void)path_put(&path, 1, at > 0);
    if (at > 0) {
        (void)path_put(&path, 7, at - 1);
        (void)path_put(&path, PATH_CHECK_BITS, path_check(next->p, at));
    }
    while (at < needed && path_put_byte(&path, next->p[at])) {
        at++;
        if (at < needed && path_may_jump(&path, next->p[at])) {
            at = path_put_jump(&path, names, next, at, needed);
        }
    }
    if (at == needed) {
        path.bits |= UINT64_C(1) << (path.size - 1); /* whole */
    }
    return path_number(&path);
}

/* ---- following ---------------------------------------------------------- */

/* The next `size` bits; false: there are not as many. */
static bool path_get(struct path *path, unsigned size, unsigned *bits)
{
    if (path->size < size) {
        return false;
    }
    path->size -= size;
    *bits = (unsigned)(path->bits >> path->size) & ((1u << size) - 1);
    return true;
}

/* What a jump from `at` bytes takes. */
struct path_jump {
    size_t at, size;
    bool has_check;
    unsigned check;
};

/* The first name behind `name` that begins otherwise, as far as the jump goes:
 * false when none is left in the group. */
static bool path_pass(const struct cmd_names *names, const uint8_t *group,
                      const struct path_jump *jump, struct kv_key *name)
{
    uint8_t bytes[PATH_GROUP_MAX];
    const uint8_t cls = name->cls;
    struct kv_key key = {.p = bytes, .cls = cls};

    if (name->size < jump->at + jump->size) { /* the next one */
        if (name->size > 0) {
            memcpy(bytes, name->p, name->size);
        }
        bytes[name->size] = 0;
        key.size = name->size + 1;
    } else {
        key.size = (uint32_t)path_above(bytes, name->p, jump->at + jump->size);
    }
    return key.size > 0 && names->seek(names->arg, &key, name) &&
           name->cls == cls && path_begins(name, group, jump->at) &&
           path_begins(name, names->prefix, names->prefix_size);
}

static bool path_fits(const struct kv_key *name, const struct path_jump *jump)
{
    return name->size >= jump->at + jump->size &&
           (!jump->has_check ||
            path_check(name->p + jump->at, jump->size) == jump->check);
}

/* Append what the group goes on with; false: the path ends here. */
static bool path_follow_jump(const struct cmd_names *names, uint8_t cls,
                             const struct path_jump *jump, struct kv_buf *out)
{
    struct kv_key name;

    if (jump->at + jump->size >= PATH_GROUP_MAX ||
        !path_first(names, cls, out->p, jump->at, &name)) {
        return false;
    }
    for (unsigned tries = 0; !path_fits(&name, jump); tries++) {
        if (tries == PATH_TRIES || !path_pass(names, out->p, jump, &name)) {
            return false;
        }
    }
    kv_buf_add(out, name.p + jump->at, jump->size);
    return !out->failed;
}

/* One byte or jump; false: the path ends here. */
static bool path_follow_step(const struct cmd_names *names, struct path *path,
                             bool rough, uint8_t cls, struct kv_buf *out)
{
    unsigned bits;

    if (!path_get(path, 1, &bits)) {
        return false;
    }
    if (bits == 0) {
        if (!path_get(path, 4, &bits)) {
            return false;
        }
        kv_buf_byte(out, (uint8_t)PATH_HEX[bits]);
        return true;
    }
    if (!path_get(path, 1, &bits)) {
        return false;
    }
    if (bits == 0) {
        if (!path_get(path, 5, &bits)) {
            return false;
        }
        kv_buf_byte(out, (uint8_t)PATH_OFTEN[bits]);
        return true;
    }
    if (!path_get(path, 1, &bits)) {
        return false;
    }
    if (bits == 0) {
        struct path_jump jump = {.at = out->size};

        if (!rough || !path_get(path, 7, &bits)) {
            return false;
        }
        jump.size = bits + 1;
        return path_follow_jump(names, cls, &jump, out);
    }
    if (!path_get(path, 8, &bits)) {
        return false;
    }
    kv_buf_byte(out, (uint8_t)bits);
    return true;
}

/* The first jump of a rough path; false: the path ends here. */
static bool path_follow_first(const struct cmd_names *names, struct path *path,
                              uint8_t cls, struct kv_buf *out)
{
    struct path_jump jump = {.has_check = true};
    unsigned jumps, size;

    if (!path_get(path, 1, &jumps)) {
        return false;
    }
    if (!jumps) {
        return true;
    }
    if (!path_get(path, 7, &size) ||
        !path_get(path, PATH_CHECK_BITS, &jump.check)) {
        return false;
    }
    jump.size = size + 1;
    return path_follow_jump(names, cls, &jump, out);
}

void cmd_path_follow(const struct cmd_names *names, uint64_t number,
                     bool rough, struct kv_buf *out, struct cmd_place *place)
{
    struct path path = {.bits = number};
    unsigned whole = 1, cls = KV_TEXT;

    *place = (struct cmd_place){.cls = KV_TEXT};
    if (number < 2) {
        return; /* none of ours */
    }
    path.size = 63 - (unsigned)__builtin_clzll(number);
    if (rough) {
        (void)path_get(&path, 1, &whole);
    }
    (void)path_get(&path, 1, &cls);
    place->cls = (uint8_t)cls;
    place->group = !whole;
    if (rough && !path_follow_first(names, &path, place->cls, out)) {
        return;
    }
    while (path_follow_step(names, &path, rough, place->cls, out)) {
    }
}
