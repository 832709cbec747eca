/* How a cell's file reads and writes a tile: one vector of V units at a time. */
#ifndef FC_TILE_H
#define FC_TILE_H

#include "cells/cell.h"
#include "math/elementary.h"

/* Every row r and every block of V units u (counted from unit 0) of a tile. */
#define FOR_EACH_BLOCK(t, r, u)                                                        \
    for (ptrdiff_t r = 0; r < (t)->rows; r++)                                          \
        for (ptrdiff_t u = (t)->unit; u < (t)->unit + (t)->units; u += V)
#define FOR_EACH_BACK_BLOCK(t, r, u)                                                   \
    for (ptrdiff_t r = 0; r < (t)->rows; r++)                                          \
        for (ptrdiff_t u = (t)->unit; u < (t)->unit + (t)->units; u += V)

/* Input part of gate g, of a cell with `gates` gates. */
FC_INLINE vreal input_gate(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g,
                           int gates) {
    return vload((const real *)t->input[r] + u * gates + g * V);
}
/* Recurrent part of the phase's gate g, of `gates` in this phase. */
FC_INLINE vreal recurrent_gate(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g,
                               int gates) {
    return vload((const real *)t->recurrent + (r * t->units + u - t->unit) * gates +
                 g * V);
}
FC_INLINE vreal load_row(const void *const *rows, ptrdiff_t r, ptrdiff_t u) {
    return vload((const real *)rows[r] + u);
}
FC_INLINE vreal load_mutable(void *const *rows, ptrdiff_t r, ptrdiff_t u) {
    return vload((const real *)rows[r] + u);
}
/* Where unit u of a state is in a row of c, c_prev or dc; the first is state 1. */
FC_INLINE ptrdiff_t state_at(ptrdiff_t slot, int state, ptrdiff_t u) {
    return (state - 1) * slot + u;
}
FC_INLINE void store_row(void *const *rows, ptrdiff_t r, ptrdiff_t u, vreal x) {
    vstore((real *)rows[r] + u, x);
}
/* Vector `vector` of the cell's own parameters. */
FC_INLINE vreal unit_param(const fc_tile *t, int vector, ptrdiff_t u) {
    return vload((const real *)t->params + vector * t->slot + u);
}
FC_INLINE vreal back_param(const fc_back_tile *t, int vector, ptrdiff_t u) {
    return vload((const real *)t->params + vector * t->slot + u);
}
FC_INLINE void save_slot(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int slot,
                         vreal x) {
    if (t->saved)
        vstore((real *)t->saved[r] + slot * t->slot + u, x);
}
/* A value saved by this step's earlier phase. */
FC_INLINE vreal load_slot(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u, int slot) {
    return vload((const real *)t->saved[r] + slot * t->slot + u);
}
FC_INLINE void store_slot(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u, int slot,
                          vreal x) {
    vstore((real *)t->saved[r] + slot * t->slot + u, x);
}

#endif
