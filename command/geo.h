/* geo.h - places on the earth as numbers that sort by neighbourhood.
 *
 * A place is a longitude and a latitude in degrees. Each is cut into 2^step
 * equal parts, and the bits of both are interleaved, longitude first: a cell.
 * Cells whose numbers share their first bits lie in one larger cell, so all
 * places of a cell have scores in one range:
 *
 *   score   52 bits: the cell of step 26, about 0.6 m by 0.3 m at the equator
 *   cell    bits << (52 - 2 step) ... (bits + 1) << (52 - 2 step)
 *
 * Latitudes end at 85.05112878 degrees, as in Web Mercator (EPSG:3857).
 *
 * Thread: any. */
#ifndef KVSQL_COMMAND_GEO_H
#define KVSQL_COMMAND_GEO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"

struct cmd_geo_point {
    double lon, lat;
};

struct cmd_geo_cell {
    uint64_t bits;
    unsigned step;
};

/* What a search looks in: a circle, or a box whose sides run north. Metres. */
struct cmd_geo_shape {
    struct cmd_geo_point center;
    bool box;
    double radius;        /* circle */
    double width, height; /* box */
};

KV_INTERNAL bool cmd_geo_valid(struct cmd_geo_point point);
/* The score of a valid place. */
KV_INTERNAL double cmd_geo_score(struct cmd_geo_point point);
/* The middle of a score's cell; any score gives some place. */
KV_INTERNAL struct cmd_geo_point cmd_geo_place(double score);
/* The 11 letters of geohash.org, and a NUL. */
#define CMD_GEO_TEXT_SIZE 12
KV_INTERNAL void cmd_geo_text(struct cmd_geo_point point,
                              char out[CMD_GEO_TEXT_SIZE]);
/* Metres on the sphere. */
KV_INTERNAL double cmd_geo_distance(struct cmd_geo_point a,
                                    struct cmd_geo_point b);

/* The cells that cover a shape, each once, the middle one first. Returns how
 * many. */
#define CMD_GEO_CELLS 9
KV_INTERNAL unsigned cmd_geo_cells(const struct cmd_geo_shape *shape,
                                   struct cmd_geo_cell cells[CMD_GEO_CELLS]);
/* Scores of a cell: low <= score < high. */
KV_INTERNAL void cmd_geo_range(struct cmd_geo_cell cell, double *low,
                               double *high);
/* True when a place lies in the shape, and how far from its center. */
KV_INTERNAL bool cmd_geo_within(const struct cmd_geo_shape *shape,
                                struct cmd_geo_point point, double *distance);

#endif
