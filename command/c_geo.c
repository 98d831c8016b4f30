/* c_geo.c - places as members of sorted sets: GEOADD, GEOPOS, searches.
 *
 * A place is a member whose score is its cell (geo.h), so every command of
 * sorted sets works on it. A search looks at the members of at most nine cells
 * by their scores, keeps those that lie in the shape, and orders them when
 * asked. What was found is copied out first: a search may be stored.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/geo.h"

/* ---- arguments ---------------------------------------------------------- */

/* Longitude and latitude at `index`. False: answered. */
static bool geo_point(struct cmd_context *c, unsigned index,
                      struct cmd_geo_point *point)
{
    if (!cmd_double(c, index, &point->lon, NULL) ||
        !cmd_double(c, index + 1, &point->lat, NULL)) {
        return false;
    }
    if (cmd_geo_valid(*point)) {
        return true;
    }
    cmd_fail(c, KVSQL_RANGE, "ERR invalid longitude,latitude pair %f,%f",
             point->lon, point->lat);
    return false;
}

/* Metres of the unit at `index`. False: answered. */
static bool geo_unit(struct cmd_context *c, unsigned index, double *metres)
{
    static const struct {
        const char *word;
        double metres;
    } units[] = {{"M", 1}, {"KM", 1000}, {"FT", 0.3048}, {"MI", 1609.34}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (cmd_is(c, index, units[i].word)) {
            *metres = units[i].metres;
            return true;
        }
    }
    cmd_fail(c, KVSQL_INVALID,
             "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

static bool geo_place_of(struct cmd_context *c, const struct kv_item *item,
                         unsigned index, struct cmd_geo_point *point)
{
    const struct kv_key member = cmd_key(c, index);
    struct kv_elem elem;

    if (!kv_elem_find(&c->at, item, &member, &elem)) {
        return false;
    }
    *point = cmd_geo_place(elem.score);
    return true;
}

/* ---- GEOADD ------------------------------------------------------------- */

struct geo_add {
    bool nx, xx, ch;
    int64_t added, updated;
};

/* One member. False: answered. */
static bool geo_add_one(struct cmd_context *c, struct geo_add *a,
                        const struct kv_key *key, const struct kv_key *member,
                        double score)
{
    struct kv_item item;
    struct kv_elem elem;
    const bool there = cmd_get(c, key, &item) &&
                       kv_elem_find(&c->at, &item, member, &elem);

    if ((there ? a->nx : a->xx) || (there && elem.score == score)) {
        return true;
    }
    a->added += !there;
    a->updated += there;
    return cmd_ok(c, kv_zadd(c->txn, key, member, score, NULL, &c->err));
}

void cmd_do_geoadd(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct geo_add a = {0};
    const struct cmd_switch words[] = {
        {"NX", &a.nx}, {"XX", &a.xx}, {"CH", &a.ch}};
    const unsigned first = cmd_switches(c, 2, words, 3);
    struct cmd_geo_point point;
    struct kv_item item;

    if ((c->argc - first) % 3 != 0 || (a.nx && a.xx)) {
        cmd_fail_syntax(c);
        return;
    }
    for (unsigned i = first; i < c->argc; i += 3) {
        if (!geo_point(c, i, &point)) {
            return;
        }
    }
    if (first == c->argc) {
        cmd_fail_syntax(c);
        return;
    }
    if (cmd_get_type(c, &key, KV_ZSET, &item) == KVSQL_WRONGTYPE) {
        return;
    }
    for (unsigned i = first; i < c->argc; i += 3) {
        const struct kv_key member = cmd_key(c, i + 2);

        if (!geo_point(c, i, &point) ||
            !geo_add_one(c, &a, &key, &member, cmd_geo_score(point))) {
            return;
        }
    }
    cmd_reply_int(c->reply, a.ch ? a.added + a.updated : a.added);
}

/* ---- GEOPOS, GEODIST, GEOHASH ------------------------------------------- */

static void geo_answer_point(struct cmd_context *c, struct cmd_geo_point point)
{
    const double both[] = {point.lon, point.lat};
    char text[CMD_REAL_TEXT_MAX];

    cmd_reply_array(c->reply, 2);
    for (unsigned i = 0; i < 2; i++) {
        cmd_reply_double_as(c->reply, both[i], text,
                            cmd_real_format(text, both[i]));
    }
}

static void geo_answer_distance(struct cmd_context *c, double distance)
{
    char text[CMD_REAL_TEXT_MAX];

    cmd_reply_bulk(c->reply, text, cmd_real_fixed(text, distance, 4));
}

/* The place of the member at `index`, if there is one. */
static bool geo_member(struct cmd_context *c, const struct kv_item *item,
                       unsigned index, struct cmd_geo_point *point)
{
    return item != NULL && geo_place_of(c, item, index, point);
}

static void geo_put_place(struct cmd_context *c, const struct kv_item *item,
                          unsigned index)
{
    struct cmd_geo_point point;

    if (geo_member(c, item, index, &point)) {
        geo_answer_point(c, point);
    } else {
        cmd_reply_null_array(c->reply);
    }
}

static void geo_put_text(struct cmd_context *c, const struct kv_item *item,
                         unsigned index)
{
    char text[CMD_GEO_TEXT_SIZE];
    struct cmd_geo_point point;

    if (geo_member(c, item, index, &point)) {
        cmd_geo_text(point, text);
        cmd_reply_text(c->reply, text);
    } else {
        cmd_reply_null(c->reply);
    }
}

void cmd_do_geopos(struct cmd_context *c)
{
    cmd_answer_args(c, KV_ZSET, geo_put_place);
}

void cmd_do_geohash(struct cmd_context *c)
{
    cmd_answer_args(c, KV_ZSET, geo_put_text);
}

void cmd_do_geodist(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct cmd_geo_point from, to;
    struct kv_item item;
    double metres = 1;
    kvsql_rc rc;

    if (c->argc > 5) {
        cmd_fail_syntax(c);
        return;
    }
    if (c->argc == 5 && !geo_unit(c, 4, &metres)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_ZSET, &item);
    if (rc == KVSQL_OK && geo_place_of(c, &item, 2, &from) &&
        geo_place_of(c, &item, 3, &to)) {
        geo_answer_distance(c, cmd_geo_distance(from, to) / metres);
    } else if (rc != KVSQL_WRONGTYPE) {
        cmd_reply_null(c->reply);
    }
}

/* ---- searches: arguments ------------------------------------------------ */

enum geo_form { GEO_RADIUS, GEO_RADIUS_MEMBER, GEO_SEARCH, GEO_SEARCH_STORE };
enum geo_sort { GEO_UNSORTED, GEO_NEAREST, GEO_FARTHEST };

struct geo_search {
    enum geo_form form;
    bool may_store;      /* STORE and STOREDIST are options */
    unsigned next;       /* argument to read */
    struct kv_item item; /* when `found` */
    bool found;
    struct cmd_geo_shape shape;
    double metres;       /* of the unit */
    bool from_member, from_point, by_radius, by_box;
    bool with_dist, with_hash, with_coord;
    enum geo_sort sort;
    int64_t count; /* 0 = all */
    bool any;      /* the first `count` that are found will do */
    unsigned store; /* argument, 0 = none */
    bool store_dist;
};

/* A distance that may not be negative. False: answered. */
static bool geo_length(struct cmd_context *c, unsigned index, const char *what,
                       double *out)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "ERR need numeric %s", what);
    return cmd_double(c, index, out, text);
}

/* Radius and unit at `index`. False: answered. */
static bool geo_radius(struct cmd_context *c, struct geo_search *s,
                       unsigned index)
{
    double radius;

    if (!geo_length(c, index, "radius", &radius)) {
        return false;
    }
    if (radius < 0) {
        cmd_fail(c, KVSQL_RANGE, "ERR radius cannot be negative");
        return false;
    }
    if (!geo_unit(c, index + 1, &s->metres)) {
        return false;
    }
    s->shape.box = false;
    s->shape.radius = radius * s->metres;
    return true;
}

/* Width, height and unit at `index`. False: answered. */
static bool geo_box(struct cmd_context *c, struct geo_search *s,
                    unsigned index)
{
    double width, height;

    if (!geo_length(c, index, "width", &width) ||
        !geo_length(c, index + 1, "height", &height)) {
        return false;
    }
    if (width < 0 || height < 0) {
        cmd_fail(c, KVSQL_RANGE, "ERR height or width cannot be negative");
        return false;
    }
    if (!geo_unit(c, index + 2, &s->metres)) {
        return false;
    }
    s->shape.box = true;
    s->shape.width = width * s->metres;
    s->shape.height = height * s->metres;
    return true;
}

/* The center is the place of the member at `index`; nothing is looked for
 * without a key. False: answered. */
static bool geo_center(struct cmd_context *c, struct geo_search *s,
                       unsigned index)
{
    if (s->found && !geo_place_of(c, &s->item, index, &s->shape.center)) {
        cmd_fail(c, KVSQL_NOTFOUND,
                 "ERR could not decode requested zset member");
        return false;
    }
    return true;
}

/* COUNT at `index`. False: answered. */
static bool geo_count(struct cmd_context *c, struct geo_search *s,
                      unsigned index)
{
    if (!cmd_int(c, index, &s->count, NULL)) {
        return false;
    }
    if (s->count <= 0) {
        cmd_fail(c, KVSQL_RANGE, "ERR COUNT must be > 0");
        return false;
    }
    return true;
}

/* An option without a value. */
static bool geo_option_word(struct cmd_context *c, struct geo_search *s)
{
    const struct cmd_switch words[] = {{"WITHDIST", &s->with_dist},
                                       {"WITHHASH", &s->with_hash},
                                       {"WITHCOORD", &s->with_coord},
                                       {"ANY", &s->any},
                                       {"STOREDIST", &s->store_dist}};
    const unsigned i = s->next;

    if (cmd_is(c, i, "ASC") || cmd_is(c, i, "DESC")) {
        s->sort = cmd_is(c, i, "ASC") ? GEO_NEAREST : GEO_FARTHEST;
        s->next++;
    } else {
        s->next = cmd_switches(c, i, words,
                               s->form == GEO_SEARCH_STORE ? 5 : 4);
    }
    return s->next > i;
}

/* True when s->next is `word` with so many values behind it; s->next moves
 * behind them, the first is argument *at. */
static bool geo_option(struct cmd_context *c, struct geo_search *s,
                       const char *word, unsigned values, unsigned *at)
{
    if (!cmd_is(c, s->next, word) || c->argc - s->next <= values) {
        return false;
    }
    *at = s->next + 1;
    s->next += values + 1;
    return true;
}

/* Where GEOSEARCH looks, which the other forms have at fixed places. *is tells
 * whether it was one of these options. False: answered. */
static bool geo_option_shape(struct cmd_context *c, struct geo_search *s,
                             bool *is)
{
    unsigned at;

    *is = true;
    if (!s->from_point && geo_option(c, s, "FROMMEMBER", 1, &at)) {
        s->from_member = true;
        return geo_center(c, s, at);
    }
    if (!s->from_member && geo_option(c, s, "FROMLONLAT", 2, &at)) {
        s->from_point = true;
        return geo_point(c, at, &s->shape.center);
    }
    if (!s->by_box && geo_option(c, s, "BYRADIUS", 2, &at)) {
        s->by_radius = true;
        return geo_radius(c, s, at);
    }
    if (!s->by_radius && geo_option(c, s, "BYBOX", 3, &at)) {
        s->by_box = true;
        return geo_box(c, s, at);
    }
    *is = false;
    return true;
}

/* All options. False: answered. */
static bool geo_options(struct cmd_context *c, struct geo_search *s)
{
    const bool search = s->form == GEO_SEARCH || s->form == GEO_SEARCH_STORE;

    while (s->next < c->argc) {
        unsigned at;
        bool is = false;

        if (geo_option_word(c, s)) {
            continue;
        }
        if (geo_option(c, s, "COUNT", 1, &at)) {
            if (!geo_count(c, s, at)) {
                return false;
            }
        } else if (s->may_store && geo_option(c, s, "STORE", 1, &at)) {
            s->store = at;
            s->store_dist = false;
        } else if (s->may_store && geo_option(c, s, "STOREDIST", 1, &at)) {
            s->store = at;
            s->store_dist = true;
        } else if (search && !geo_option_shape(c, s, &is)) {
            return false;
        } else if (!is) {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

/* What options may not do together. False: answered. */
static bool geo_check(struct cmd_context *c, const struct geo_search *s)
{
    const bool search = s->form == GEO_SEARCH || s->form == GEO_SEARCH_STORE;
    const int size = (int)c->argv[0].size; /* of a name of ours */
    const char *name = c->argv[0].p;

    if (s->store != 0 && (s->with_dist || s->with_hash || s->with_coord)) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR %s is not compatible with WITHDIST, WITHHASH and "
                 "WITHCOORD options",
                 search ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    } else if (search && !s->from_member && !s->from_point) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified "
                 "for %.*s",
                 size, name);
    } else if (search && !s->by_radius && !s->by_box) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR exactly one of BYRADIUS and BYBOX can be specified for "
                 "%.*s",
                 size, name);
    } else if (s->any && s->count == 0) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR the ANY argument requires COUNT argument");
    } else {
        return true;
    }
    return false;
}

/* Everything a search is told. False: answered. */
static bool geo_parse(struct cmd_context *c, struct geo_search *s)
{
    const struct kv_key key =
        cmd_key(c, s->form == GEO_SEARCH_STORE ? 2 : 1);
    const kvsql_rc rc = cmd_get_type(c, &key, KV_ZSET, &s->item);

    if (rc == KVSQL_WRONGTYPE) {
        return false;
    }
    s->found = rc == KVSQL_OK;
    s->metres = 1;
    switch (s->form) {
    case GEO_RADIUS:
        s->next = 6;
        if (!geo_point(c, 2, &s->shape.center) || !geo_radius(c, s, 4)) {
            return false;
        }
        break;
    case GEO_RADIUS_MEMBER:
        s->next = 5;
        /* Without a key only the options are looked at. */
        if (s->found && (!geo_center(c, s, 2) || !geo_radius(c, s, 3))) {
            return false;
        }
        break;
    case GEO_SEARCH:
        s->next = 2;
        break;
    case GEO_SEARCH_STORE:
        s->next = 3;
        s->store = 1;
        break;
    }
    if (!geo_options(c, s) || !geo_check(c, s)) {
        return false;
    }
    if (s->count > 0 && s->sort == GEO_UNSORTED && !s->any) {
        s->sort = GEO_NEAREST; /* the closest so many */
    }
    return true;
}

/* ---- searches: finding -------------------------------------------------- */

/* Ranks low .. high - 1. */
struct geo_ranks {
    uint64_t low, high;
};

static uint64_t geo_bits_of(double score)
{
    uint64_t bits;

    memcpy(&bits, &score, sizeof(bits));
    return bits;
}

static double geo_score_of(const struct cmd_list_item *one)
{
    const uint64_t bits = (uint64_t)one->number;
    double score;

    memcpy(&score, &bits, sizeof(score));
    return score;
}

/* Add the places of one cell to `found`: the distance as the score, the score
 * as the number. False: enough. */
static bool geo_find_in(struct cmd_context *c, const struct geo_search *s,
                        struct geo_ranks ranks, struct cmd_list *found)
{
    struct kv_elems elems;

    if (ranks.low >= ranks.high) {
        return true;
    }
    kv_elems_init(&elems, &c->at, &s->item, KV_ELEMS_SCORE);
    if (!kv_elems_seek_rank(&elems, ranks.low)) {
        return true;
    }
    for (uint64_t i = ranks.low;
         i < ranks.high && !found->bytes.failed && cmd_goes_on(c); i++) {
        const double score = elems.elem.score;
        double distance;

        if (cmd_geo_within(&s->shape, cmd_geo_place(score), &distance)) {
            cmd_list_add(found, elems.elem.key.p, elems.elem.key.size, distance,
                         (int64_t)geo_bits_of(score));
            if (s->any && found->count >= (uint64_t)s->count) {
                return false;
            }
        }
        (void)kv_elems_next(&elems);
    }
    return true;
}

/* False: nothing was looked at, the search wants a view. */
static bool geo_find(struct cmd_context *c, const struct geo_search *s,
                     struct cmd_list *found)
{
    struct cmd_geo_cell cells[CMD_GEO_CELLS];
    struct geo_ranks ranks[CMD_GEO_CELLS];
    const unsigned count = cmd_geo_cells(&s->shape, cells);
    uint64_t members = 0;

    for (unsigned i = 0; i < count; i++) {
        double low, high;

        cmd_geo_range(cells[i], &low, &high);
        ranks[i].low = kv_elem_score_rank(&c->at, &s->item, low, false);
        ranks[i].high = kv_elem_score_rank(&c->at, &s->item, high, false);
        members += ranks[i].high - ranks[i].low;
    }
    if (s->store == 0 && cmd_defer(c, members)) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!geo_find_in(c, s, ranks[i], found)) {
            break;
        }
    }
    return true;
}

/* ---- searches: ordering and answering ------------------------------------ */

/* Which place of what was found, and how far. */
struct geo_hit {
    double distance;
    uint64_t index;
};

/* Equal distances stay in the order in which they were found. */
static int geo_by_index(const struct geo_hit *x, const struct geo_hit *y)
{
    return x->index < y->index ? -1 : x->index > y->index;
}

static int geo_order(const void *a, const void *b, void *search)
{
    const struct geo_hit *x = a, *y = b;
    const struct geo_search *s = search;

    if (x->distance == y->distance) {
        return geo_by_index(x, y);
    }
    return (x->distance < y->distance) == (s->sort == GEO_NEAREST) ? -1 : 1;
}

/* The hits of what was found, in order, as many as are asked for; freed by the
 * caller. False: answered. */
static bool geo_hits(struct cmd_context *c, struct geo_search *s,
                     const struct cmd_list *found, struct kv_buf *hits,
                     uint64_t *count)
{
    if (!cmd_list_ok(c, found)) {
        return false;
    }
    for (uint64_t i = 0; i < found->count; i++) {
        const struct geo_hit hit = {cmd_list_at(found, i).score, i};

        kv_buf_add(hits, &hit, sizeof(hit));
    }
    if (hits->failed) {
        cmd_fail_nomem(c);
        return false;
    }
    if (s->sort != GEO_UNSORTED &&
        !cmd_sort(c, hits->p, found->count, sizeof(struct geo_hit), geo_order,
                  s)) {
        return false;
    }
    *count = found->count;
    if (s->count > 0 && (uint64_t)s->count < *count) {
        *count = (uint64_t)s->count;
    }
    return true;
}

static struct cmd_list_item geo_hit_at(const struct cmd_list *found,
                                       const struct kv_buf *hits, uint64_t i)
{
    struct geo_hit hit;

    memcpy(&hit, hits->p + i * sizeof(hit), sizeof(hit));
    return cmd_list_at(found, hit.index);
}

/* What was found on its way into the reply. */
struct geo_answer {
    struct cmd_each each; /* of the hits */
    struct geo_search search;
    struct cmd_list found;
    struct kv_buf hits;
};

static void geo_answer_fini(void *state)
{
    struct geo_answer *a = state;

    cmd_list_fini(&a->found);
    kv_buf_fini(&a->hits);
}

static void geo_answer_hit(struct cmd_context *c, void *state, uint64_t index)
{
    const struct geo_answer *a = state;
    const struct geo_search *s = &a->search;
    const struct cmd_list_item one = geo_hit_at(&a->found, &a->hits, index);
    const double score = geo_score_of(&one);
    const unsigned extra = (unsigned)s->with_dist + (unsigned)s->with_hash +
                           (unsigned)s->with_coord;

    if (extra > 0) {
        cmd_reply_array(c->reply, extra + 1);
    }
    cmd_reply_bulk(c->reply, one.p, one.size);
    if (s->with_dist) {
        geo_answer_distance(c, one.score / s->metres);
    }
    if (s->with_hash) {
        cmd_reply_int(c->reply, (int64_t)score); /* of a cell: 0 .. 2^53 */
    }
    if (s->with_coord) {
        geo_answer_point(c, cmd_geo_place(score));
    }
}

/* Replace the destination by the hits. */
static void geo_store(struct cmd_context *c, const struct geo_search *s,
                      const struct cmd_list *found, const struct kv_buf *hits,
                      uint64_t count)
{
    struct cmd_list list;

    cmd_list_init(&list);
    for (uint64_t i = 0; i < count; i++) {
        const struct cmd_list_item one = geo_hit_at(found, hits, i);

        cmd_list_add(&list, one.p, one.size,
                     s->store_dist ? one.score / s->metres
                                   : geo_score_of(&one),
                     0);
    }
    if (cmd_list_ok(c, &list)) {
        cmd_list_store(c, s->store, KV_ZSET, &list);
    }
    cmd_list_fini(&list);
}

static void geo_search(struct cmd_context *c, enum geo_form form,
                       bool may_store)
{
    struct geo_answer a = {.each.put = geo_answer_hit,
                           .search = {.form = form, .may_store = may_store}};
    struct geo_search *s = &a.search;

    if (!geo_parse(c, s)) {
        return;
    }
    cmd_list_init(&a.found);
    kv_buf_init(&a.hits, KV_MEM_CLIENT, CMD_LIST_MAX);
    if ((!s->found || geo_find(c, s, &a.found)) &&
        geo_hits(c, s, &a.found, &a.hits, &a.each.end)) {
        if (s->store != 0) {
            geo_store(c, s, &a.found, &a.hits, a.each.end);
        } else {
            cmd_reply_array(c->reply, a.each.end);
            cmd_answer_each(c, &a.each, sizeof(a), geo_answer_fini);
        }
    }
    geo_answer_fini(&a);
}

void cmd_do_geosearch(struct cmd_context *c)
{
    geo_search(c, GEO_SEARCH, false);
}

void cmd_do_geosearchstore(struct cmd_context *c)
{
    geo_search(c, GEO_SEARCH_STORE, false);
}

void cmd_do_georadius(struct cmd_context *c)
{
    geo_search(c, GEO_RADIUS, true);
}

void cmd_do_georadius_ro(struct cmd_context *c)
{
    geo_search(c, GEO_RADIUS, false);
}

void cmd_do_georadiusbymember(struct cmd_context *c)
{
    geo_search(c, GEO_RADIUS_MEMBER, true);
}

void cmd_do_georadiusbymember_ro(struct cmd_context *c)
{
    geo_search(c, GEO_RADIUS_MEMBER, false);
}
