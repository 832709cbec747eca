/* The order of the tiles of a product, and the prefetching of weights.
 *
 * All rows are multiplied with a panel before the next panel: it stays in the
 * first-level cache, or comes from the second.  Weights that exceed the second-level
 * cache are prefetched into it by the tiles of the panel before, some lines per tile.
 *
 * With 16 vector registers a panel is two vectors wide, so a tile of six rows fills
 * them and reads 64 bytes of weights for 12 multiply-adds; three rows by four vectors
 * read 128.  With 32 it is four wide, or as the gates of a unit are. */
#ifndef FC_WALK_H
#define FC_WALK_H

#include "kernels/product.h"

/* The rows: tiles of many rows, then `few` rows in tiles of `rows`, which use several
 * panels at once. */
typedef struct fc_split {
    ptrdiff_t tiles, few;
    int rows;
} fc_split;

static fc_split split_rows(ptrdiff_t rows, int width) {
    enum { FEW = FC_REGISTERS == 32 ? 3 : 4, TWICE_FOUR = 8 };
    fc_split split = {.few = rows, .rows = TWICE_FOUR / 2};
    if (FC_REGISTERS == 16 && rows == TWICE_FOUR)
        return split;
    /* With 32 registers all tiles of many rows have nearly equal sizes, also the last.
     */
    const ptrdiff_t most_left = FC_REGISTERS == 32 && rows > FEW ? 0 : FEW;
    for (; split.few > most_left; split.tiles++)
        split.few -= next_rows(split.few, width);
    split.rows = (int)split.few;
    return split;
}

/* Whether the weights exceed the near cache. */
FC_INLINE bool are_far(const fc_panels *w) {
    return (size_t)(w->vectors * V * w->depth) * sizeof(operand) > w->near_bytes;
}

/* Divides the weights that follow a run of panels into `tiles` shares, each prefetched
 * by a tile, which loops over `depths` times the depth; returns the bytes of a share.
 */
static ptrdiff_t fetch_ahead(const fc_panels *w, fc_run *run, ptrdiff_t tiles,
                             ptrdiff_t depths) {
    const ptrdiff_t size = w->depth * V * (ptrdiff_t)sizeof(operand);
    ptrdiff_t next = run->vector + run->width * run->panels;
    ptrdiff_t share = (run->width * run->panels * size / tiles + 63) & -64;
    run->ahead = (const char *)w->data + (next < w->vectors ? next : 0) * size;
    run->ahead_step = (share + depths * w->depth - 1) / (depths * w->depth);
    return share;
}

static void walk_tile(const fc_panels *w, const fc_run *run, int rows,
                      const fc_operands *operands, ptrdiff_t row, const fc_product *p,
                      void *const *out) {
    if ((run->vector + run->width * run->panels) * V > p->columns)
        run_edge_tile(w, run, rows, operands, row, p, out + row);
    else
        run_tile(w, run, rows, operands, row, p->accumulate, out + row,
                 p->first + run->vector * V);
}

/* The tiles of many rows with one panel. */
static void walk_panel(const fc_panels *w, fc_run run, fc_split split, bool fetches,
                       const fc_operands *operands, const fc_product *p,
                       void *const *out) {
    run.panels = 1;
    ptrdiff_t share = 0, last = operands->rows - split.few;
    if (fetches && run.width == w->width)
        share = fetch_ahead(w, &run, split.tiles, 1);
    int rows;
    for (ptrdiff_t row = 0; row < last; row += rows) {
        rows = next_rows(operands->rows - row, w->width);
        walk_tile(w, &run, rows, operands, row, p, out);
        if (share)
            run.ahead += share;
    }
}

/* The few rows with several panels at once. */
static void walk_run(const fc_panels *w, fc_run run, fc_split split, bool fetches,
                     const fc_operands *operands, const fc_product *p,
                     void *const *out) {
    ptrdiff_t share = 0;
    if (fetches && !split.tiles && run.width == w->width)
        share = fetch_ahead(w, &run, split.few / split.rows, run.panels > 1 ? 2 : 1);
    for (ptrdiff_t row = operands->rows - split.few; row < operands->rows;
         row += split.rows) {
        walk_tile(w, &run, split.rows, operands, row, p, out);
        if (share)
            run.ahead += share;
    }
}

/* All rows of the operands with the vectors begin .. end-1. */
static void walk(const fc_panels *w, ptrdiff_t begin, ptrdiff_t end,
                 const fc_operands *operands, const fc_product *p, void *const *out) {
    fc_split split = split_rows(operands->rows, w->width);
    fc_panels here = *w;
    here.vectors = end;
    bool fetches = are_far(w);
    fc_run run;
    for (ptrdiff_t v = begin; v < end; v += run.width * run.panels) {
        run = next_run(&here, v, split.rows);
        for (int i = 0; split.tiles && i < run.panels; i++) {
            fc_run one = run;
            one.vector += i * run.width;
            walk_panel(w, one, split, fetches, operands, p, out);
        }
        if (split.few)
            walk_run(w, run, split, fetches, operands, p, out);
    }
}

static void product(const fc_panels *w, const fc_product *p) {
    fc_operands operands;
    for (ptrdiff_t done = 0; done < p->rows; done += operands.rows) {
        next_operands(&operands, w, p->a + done, p->rows - done, p->scratch, false);
        walk(w, 0, w->vectors, &operands, p, p->out + done);
    }
}

static fc_tile_shape tile_shape(const fc_panels *w, ptrdiff_t rows) {
    rows = rows_of_block(rows);
    fc_split split = split_rows(rows, w->width);
    int first = split.tiles ? next_rows(rows, w->width) : split.rows;
    fc_run run = next_run(w, 0, first);
    return (fc_tile_shape){first, run.width, run.panels};
}

#endif
