/* Access to a tile for the cells: one vector of V units at a time. */
#ifndef FC_TILE_H
#define FC_TILE_H

#include "cells/cell.h"
#include "math/elementary.h"

/* Loops over the rows r of a tile and over its blocks of V units: u is the number of a
 * block's first unit. */
#define FOR_EACH_BLOCK(t, r, u)                                                        \
    for (ptrdiff_t r = 0; r < (t)->rows; r++)                                          \
        for (ptrdiff_t u = (t)->unit; u < (t)->unit + (t)->units; u += V)
#define FOR_EACH_BACK_BLOCK(t, r, u)                                                   \
    for (ptrdiff_t r = 0; r < (t)->rows; r++)                                          \
        for (ptrdiff_t u = (t)->unit; u < (t)->unit + (t)->units; u += V)

/* The input part of gate g, of a cell with `gates` gates. */
FC_INLINE vreal input_gate(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g,
                           int gates) {
    return vload((const real *)t->input[r] + u * gates + g * V);
}
/* The recurrent part of the phase's gate g, of the `gates` that the phase has. */
FC_INLINE vreal recurrent_gate(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g,
                               int gates) {
    return vload((const real *)t->recurrent + (r * t->units + u - t->unit) * gates +
                 g * V);
}
/* Units u .. u+V-1 of a row: h_prev, c_prev, and in backward h and c. */
FC_INLINE vreal load_row(const void *const *rows, ptrdiff_t r, ptrdiff_t u) {
    return vload((const real *)rows[r] + u);
}
/* The same of a row that the cell may write. */
FC_INLINE vreal load_mutable(void *const *rows, ptrdiff_t r, ptrdiff_t u) {
    return vload((const real *)rows[r] + u);
}
/* The place of unit u of a state in a row of c, c_prev or dc.  h is state 0, so the row
 * begins with state 1. */
FC_INLINE ptrdiff_t state_at(ptrdiff_t slot, int state, ptrdiff_t u) {
    return (state - 1) * slot + u;
}
FC_INLINE void store_row(void *const *rows, ptrdiff_t r, ptrdiff_t u, vreal x) {
    vstore((real *)rows[r] + u, x);
}
/* A vector of the cell's own parameters, in forward and in backward. */
FC_INLINE vreal unit_param(const fc_tile *t, int vector, ptrdiff_t u) {
    return vload((const real *)t->params + vector * t->slot + u);
}
FC_INLINE vreal back_param(const fc_back_tile *t, int vector, ptrdiff_t u) {
    return vload((const real *)t->params + vector * t->slot + u);
}
/* A candidate x after update dropout, or its gradient before: x times the factor.
 * `drops` is a constant in each call. */
FC_INLINE vreal update_of(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, vreal x,
                          bool drops) {
    if (!drops)
        return x;
    return x * load_row(t->h_prev, r + t->update, u);
}
FC_INLINE vreal back_update_of(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u, vreal x,
                               bool drops) {
    if (!drops)
        return x;
    return x * load_row(t->h_prev, r + t->update, u);
}
/* Defines `name` and `name`_dropped, forward and backward, by name_of(tile, drops). */
#define FORWARD_WITH_UPDATE_DROPOUT(forward)                                           \
    static void forward(const fc_tile *t) { forward##_of(t, false); }                  \
    static void forward##_dropped(const fc_tile *t) { forward##_of(t, true); }
#define WITH_UPDATE_DROPOUT(forward, backward)                                         \
    FORWARD_WITH_UPDATE_DROPOUT(forward)                                               \
    static void backward(const fc_back_tile *t) { backward##_of(t, false); }           \
    static void backward##_dropped(const fc_back_tile *t) { backward##_of(t, true); }

/* Saves a value for backward, and for the next phase: nothing in inference of a cell
 * with one phase. */
FC_INLINE void save_slot(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int slot,
                         vreal x) {
    if (t->saved)
        vstore((real *)t->saved[r] + slot * t->slot + u, x);
}
/* In backward: a saved value, or a gradient in its place. */
FC_INLINE vreal load_slot(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u, int slot) {
    return vload((const real *)t->saved[r] + slot * t->slot + u);
}
FC_INLINE void store_slot(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u, int slot,
                          vreal x) {
    vstore((real *)t->saved[r] + slot * t->slot + u, x);
}
/* x for the units that there are, of H, else zero: what comes of padding may be another
 * number, and a state that grows where there is no unit would not stay finite. */
FC_INLINE vreal of_units(ptrdiff_t hidden, ptrdiff_t u, vreal x) {
    if (u + V <= hidden)
        return x;
    real lane[V];
    vstore(lane, x);
    return vload_part(lane, hidden - u);
}

#endif
