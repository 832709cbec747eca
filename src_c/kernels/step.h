/* One phase of one step: the recurrent product tile by tile, each passed to the cell
 * while it is in L1. */
#ifndef FC_STEP_H
#define FC_STEP_H

#include "cells/cell.h"
#include "kernels/walk.h"

/* The rows of `t` from `row` on. */
static fc_tile tile_at(const fc_tile *t, ptrdiff_t row, ptrdiff_t rows) {
    fc_tile at = *t;
    at.rows = rows;
    at.h_prev += row;
    at.h += row;
    if (t->input)
        at.input += row;
    if (t->c) {
        at.c_prev += row;
        at.c += row;
    }
    if (t->middle)
        at.middle += row;
    if (t->saved)
        at.saved += row;
    return at;
}

#if FC_REGISTERS == 16
/* For some units: the product of all rows into a tile in the first-level cache, then
 * the cell.  A tile holds whole units and whole panels for any number of gates. */
static void step_tiles(const fc_panels *w, const fc_step_job *job,
                       const fc_operands *operands, const fc_tile *t) {
    enum { MOST = 12, FEW_ROWS = FC_WALK_ROWS / 2 };
    int gates = job->cell->phase[job->phase].gates;
    ptrdiff_t many = t->rows > FEW_ROWS ? MOST / 2 / gates * gates : MOST, vectors;
    real tile[FEW_ROWS * MOST * V];
    void *tile_rows[FC_WALK_ROWS];
    for (ptrdiff_t vector = 0; vector < w->vectors; vector += vectors) {
        vectors = w->vectors - vector < many ? w->vectors - vector : many;
        for (ptrdiff_t r = 0; r < t->rows; r++)
            tile_rows[r] = tile + r * vectors * V;
        fc_product p = {.columns = (vector + vectors) * V, .first = -vector * V};
        walk(w, vector, vector + vectors, operands, &p, tile_rows);
        fc_tile at = *t;
        at.unit = t->unit + vector * V / gates;
        at.units = vectors * V / gates;
        at.recurrent = tile;
        job->forward(&at);
    }
}
#else
static void step_tiles(const fc_panels *w, const fc_step_job *job,
                       const fc_operands *operands, const fc_tile *t) {
    int gates = job->cell->phase[job->phase].gates;
    real tile[FC_TILE_REALS];
    void *tile_rows[FC_MAX_ROWS];
    const ptrdiff_t tiles = split_rows(t->rows, w->width).tiles;
    const bool far = are_far(w);
    fc_run run;
    for (ptrdiff_t vector = 0; vector < w->vectors; vector += run.width * run.panels) {
        run = next_run(w, vector, t->rows);
        ptrdiff_t reals = run.width * run.panels * V;
        for (int r = 0; r < FC_MAX_ROWS; r++)
            tile_rows[r] = tile + r * reals;
        ptrdiff_t share = 0;
        if (tiles && far)
            share = fetch_ahead(w, &run, tiles, 1);
        int rows;
        for (ptrdiff_t row = 0; row < t->rows; row += rows) {
            rows = next_rows(t->rows - row, w->width);
            run_tile(w, &run, rows, operands, row, false, tile_rows, 0);
            if (share)
                run.ahead += share;
            fc_tile at = tile_at(t, row, rows);
            at.unit = t->unit + vector * V / gates;
            at.units = reals / gates;
            at.recurrent = tile;
            job->forward(&at);
        }
    }
}

#endif

/* For cells that need all units of a row: all panels first, then the cell. */
static void step_rows(const fc_panels *w, const fc_step_job *job, const fc_tile *t,
                      const void *const *a) {
    ptrdiff_t columns = w->vectors * V;
    void *rows_out[FC_MAX_ROWS];
    for (int r = 0; r < FC_MAX_ROWS; r++)
        rows_out[r] = (real *)job->row_buffer + r * columns;
    int rows;
    for (ptrdiff_t row = 0; row < t->rows; row += rows) {
        rows = next_rows(t->rows - row, w->width);
        fc_product p = {.a = a + row,
                        .out = rows_out,
                        .rows = rows,
                        .columns = columns,
                        .scratch = job->scratch};
        product(w, &p);
        fc_tile at = tile_at(t, row, rows);
        at.units = columns / job->cell->phase[job->phase].gates;
        at.recurrent = job->row_buffer;
        job->forward(&at);
    }
}

static void step(const fc_panels *w, const fc_step_job *job) {
    if (job->cell->whole_row) {
        step_rows(w, job, job->t, job->a);
        return;
    }
    fc_operands operands;
    for (ptrdiff_t row = 0; row < job->t->rows; row += operands.rows) {
        next_operands(&operands, w, job->a + row, job->t->rows - row, job->scratch,
                      job->cell->phase[job->phase].bounded);
        fc_tile t = tile_at(job->t, row, operands.rows);
        step_tiles(w, job, &operands, &t);
    }
}

#endif
