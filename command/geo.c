/* geo.c - cells of the earth, distances, and the cells that cover a shape.
 *
 * Sources: G. Niemeyer's geohash (geohash.org) for cells and letters; the
 * haversine formula (R. W. Sinnott, 1984) on a sphere for distances;
 * "Interleave bits by Binary Magic Numbers" (S. E. Anderson, Bit Twiddling
 * Hacks, public domain). Radius, limits of latitude and the rules by which
 * cells are chosen are those of Redis's documented GEO commands, so that
 * scores and the order of replies are the same.
 *
 * Always true:
 *   GE1  The middle cell and the eight around it hold every place of a shape
 *        that does not reach over a pole: the step is chosen so that a cell is
 *        about as large as the shape's radius, and one less when the shape
 *        still reaches beyond.
 *
 * Thread: any. */
#include "command/geo.h"

#include <math.h>

#define GEO_STEP_MAX 26
#define GEO_LAT_MAX 85.05112878
#define GEO_LON_MAX 180.0
#define GEO_EARTH_RADIUS 6372797.560856 /* metres */
#define GEO_EARTH_HALF 20037726.37      /* metres from pole to pole, Mercator */
#define GEO_RADIAN (M_PI / 180.0)

bool cmd_geo_valid(struct cmd_geo_point point)
{
    return point.lon >= -GEO_LON_MAX && point.lon <= GEO_LON_MAX &&
           point.lat >= -GEO_LAT_MAX && point.lat <= GEO_LAT_MAX;
}

/* ---- cells -------------------------------------------------------------- */

/* A zero between any two bits. */
static uint64_t geo_spread(uint32_t bits)
{
    uint64_t x = bits;

    x = (x | x << 16) & UINT64_C(0x0000FFFF0000FFFF);
    x = (x | x << 8) & UINT64_C(0x00FF00FF00FF00FF);
    x = (x | x << 4) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    x = (x | x << 2) & UINT64_C(0x3333333333333333);
    return (x | x << 1) & UINT64_C(0x5555555555555555);
}

/* Every second bit, from the lowest on. */
static uint32_t geo_gather(uint64_t x)
{
    x &= UINT64_C(0x5555555555555555);
    x = (x | x >> 1) & UINT64_C(0x3333333333333333);
    x = (x | x >> 2) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    x = (x | x >> 4) & UINT64_C(0x00FF00FF00FF00FF);
    x = (x | x >> 8) & UINT64_C(0x0000FFFF0000FFFF);
    return (uint32_t)(x | x >> 16);
}

/* In which of the 2^step parts of -max .. max a coordinate lies. */
static uint32_t geo_part(double value, double max, unsigned step)
{
    return (uint32_t)((value + max) / (max + max) *
                      (double)(UINT64_C(1) << step));
}

/* Where part `index` begins. */
static double geo_edge(uint64_t index, double max, unsigned step)
{
    return -max + (double)index / (double)(UINT64_C(1) << step) * (max + max);
}

static uint64_t geo_bits(struct cmd_geo_point point, double lat_max,
                         unsigned step)
{
    return geo_spread(geo_part(point.lat, lat_max, step)) |
           geo_spread(geo_part(point.lon, GEO_LON_MAX, step)) << 1;
}

/* The corners of a cell. */
struct geo_area {
    struct cmd_geo_point low, high;
};

static struct geo_area geo_area_of(struct cmd_geo_cell cell)
{
    const uint64_t lat = geo_gather(cell.bits);
    const uint64_t lon = geo_gather(cell.bits >> 1);

    return (struct geo_area){
        .low = {geo_edge(lon, GEO_LON_MAX, cell.step),
                geo_edge(lat, GEO_LAT_MAX, cell.step)},
        .high = {geo_edge(lon + 1, GEO_LON_MAX, cell.step),
                 geo_edge(lat + 1, GEO_LAT_MAX, cell.step)}};
}

double cmd_geo_score(struct cmd_geo_point point)
{
    return (double)geo_bits(point, GEO_LAT_MAX, GEO_STEP_MAX);
}

/* The bits of a score, which may be any number: a sorted set that GEOADD did
 * not make. */
static uint64_t geo_score_bits(double score)
{
    if (score >= 0) {
        return score < 0x1p64 ? (uint64_t)score : 0;
    }
    return score >= -0x1p63 ? (uint64_t)(int64_t)score : UINT64_C(1) << 63;
}

static double geo_clamp(double value, double max)
{
    return value > max ? max : value < -max ? -max : value;
}

struct cmd_geo_point cmd_geo_place(double score)
{
    const struct geo_area area = geo_area_of(
        (struct cmd_geo_cell){geo_score_bits(score), GEO_STEP_MAX});

    return (struct cmd_geo_point){
        geo_clamp((area.low.lon + area.high.lon) / 2, GEO_LON_MAX),
        geo_clamp((area.low.lat + area.high.lat) / 2, GEO_LAT_MAX)};
}

void cmd_geo_range(struct cmd_geo_cell cell, double *low, double *high)
{
    const unsigned shift = 2 * (GEO_STEP_MAX - cell.step);

    *low = (double)(cell.bits << shift);
    *high = (double)((cell.bits + 1) << shift);
}

void cmd_geo_text(struct cmd_geo_point point, char out[CMD_GEO_TEXT_SIZE])
{
    static const char letters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    const uint64_t bits = geo_bits(point, 90, GEO_STEP_MAX);
    const unsigned count = CMD_GEO_TEXT_SIZE - 1;

    /* 52 bits are 10 letters; the last is always 0. */
    for (unsigned i = 0; i < count; i++) {
        out[i] = letters[i < 10 ? bits >> (52 - 5 * (i + 1)) & 31 : 0];
    }
    out[count] = '\0';
}

/* ---- distances ---------------------------------------------------------- */

static double geo_distance_lat(double a, double b)
{
    return GEO_EARTH_RADIUS * fabs(b * GEO_RADIAN - a * GEO_RADIAN);
}

double cmd_geo_distance(struct cmd_geo_point a, struct cmd_geo_point b)
{
    const double lat_a = a.lat * GEO_RADIAN, lat_b = b.lat * GEO_RADIAN;
    const double v = sin((b.lon * GEO_RADIAN - a.lon * GEO_RADIAN) / 2);
    const double u = sin((lat_b - lat_a) / 2);

    return 2.0 * GEO_EARTH_RADIUS *
           asin(sqrt(u * u + cos(lat_a) * cos(lat_b) * v * v));
}

bool cmd_geo_within(const struct cmd_geo_shape *shape,
                    struct cmd_geo_point point, double *distance)
{
    const struct cmd_geo_point beside = {shape->center.lon, point.lat};

    /* The cheap side first. */
    if (shape->box &&
        (geo_distance_lat(point.lat, shape->center.lat) > shape->height / 2 ||
         cmd_geo_distance(point, beside) > shape->width / 2)) {
        return false;
    }
    *distance = cmd_geo_distance(shape->center, point);
    return shape->box || !(*distance > shape->radius);
}

/* ---- covering a shape --------------------------------------------------- */

/* The lowest and highest coordinates of a shape. */
static struct geo_area geo_bounds(const struct cmd_geo_shape *shape)
{
    const struct cmd_geo_point at = shape->center;
    const double height = shape->box ? shape->height / 2 : shape->radius;
    const double width = shape->box ? shape->width / 2 : shape->radius;
    const double lat = height / GEO_EARTH_RADIUS / GEO_RADIAN;
    /* A degree of longitude is shortest at the side that is nearer a pole. */
    const double far_lat = at.lat < 0 ? at.lat - lat : at.lat + lat;
    const double lon =
        width / GEO_EARTH_RADIUS / cos(far_lat * GEO_RADIAN) / GEO_RADIAN;

    return (struct geo_area){.low = {at.lon - lon, at.lat - lat},
                             .high = {at.lon + lon, at.lat + lat}};
}

/* The finest step whose cells are no smaller than the radius (GE1); that of a
 * box is the way to its corners. */
static unsigned geo_step(const struct cmd_geo_shape *shape)
{
    const double lat = shape->center.lat;
    const double x = shape->width / 2, y = shape->height / 2;
    double radius = shape->box ? sqrt(x * x + y * y) : shape->radius;
    int step = 1;

    if (radius == 0) {
        return GEO_STEP_MAX;
    }
    for (; radius < GEO_EARTH_HALF; radius *= 2) {
        step++;
    }
    step -= 2; /* so that most shapes fit in nine cells */
    step -= (lat > 66 || lat < -66) + (lat > 80 || lat < -80);
    return step < 1 ? 1 : step > GEO_STEP_MAX ? GEO_STEP_MAX : (unsigned)step;
}

/* The part so many parts on, around the earth. A place at the very end of a
 * coordinate lies in a part of its own behind the last, and stays there. */
static uint32_t geo_step_on(uint32_t part, int by, unsigned step)
{
    return by == 0 ? part
                   : (part + (uint32_t)by) &
                         (uint32_t)((UINT64_C(1) << step) - 1);
}

/* The cell so many cells east and north. */
static struct cmd_geo_cell geo_move(struct cmd_geo_cell cell, int east,
                                    int north)
{
    const uint32_t lat = geo_step_on(geo_gather(cell.bits), north, cell.step);
    const uint32_t lon =
        geo_step_on(geo_gather(cell.bits >> 1), east, cell.step);

    return (struct cmd_geo_cell){geo_spread(lat) | geo_spread(lon) << 1,
                                 cell.step};
}

/* True when the shape reaches beyond the cells around `middle` (GE1). */
static bool geo_reaches_beyond(const struct geo_area *bounds,
                               struct cmd_geo_cell middle)
{
    return geo_area_of(geo_move(middle, 0, 1)).high.lat < bounds->high.lat ||
           geo_area_of(geo_move(middle, 0, -1)).low.lat > bounds->low.lat ||
           geo_area_of(geo_move(middle, 1, 0)).high.lon < bounds->high.lon ||
           geo_area_of(geo_move(middle, -1, 0)).low.lon > bounds->low.lon;
}

unsigned cmd_geo_cells(const struct cmd_geo_shape *shape,
                       struct cmd_geo_cell cells[CMD_GEO_CELLS])
{
    /* East and north, in the order in which cells are searched. */
    static const int moves[CMD_GEO_CELLS][2] = {
        {0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0},
        {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    const struct geo_area bounds = geo_bounds(shape);
    struct cmd_geo_cell middle = {.step = geo_step(shape)};
    struct geo_area area;
    unsigned count = 0;

    middle.bits = geo_bits(shape->center, GEO_LAT_MAX, middle.step);
    if (middle.step > 1 && geo_reaches_beyond(&bounds, middle)) {
        middle.step--;
        middle.bits = geo_bits(shape->center, GEO_LAT_MAX, middle.step);
    }
    area = geo_area_of(middle);
    for (unsigned i = 0; i < CMD_GEO_CELLS; i++) {
        const int east = moves[i][0], north = moves[i][1];
        const struct cmd_geo_cell cell = geo_move(middle, east, north);

        if (middle.step >= 2 &&
            ((north < 0 && area.low.lat < bounds.low.lat) ||
             (north > 0 && area.high.lat > bounds.high.lat) ||
             (east < 0 && area.low.lon < bounds.low.lon) ||
             (east > 0 && area.high.lon > bounds.high.lon))) {
            continue; /* the shape does not reach it */
        }
        if (count > 1 && cell.bits == cells[count - 1].bits) {
            continue; /* around the earth, the same again */
        }
        cells[count++] = cell;
    }
    return count;
}
