/* The phases of one step: a product and the cell's forward for each, over some rows.
 *
 * Whole sequences (sequence.c) and streams (stream_step.c) differ in where the rows
 * are, and in nothing else of a step. */
#ifndef FC_PHASES_H
#define FC_PHASES_H

#include "recurrent/masks.h"
#include "runtime/pool.h"

/* Members that share the units of every step of the same rows, with a barrier a step:
 * where there are too few rows to share. */
typedef struct fc_team {
    int part, parts;
    fc_barrier *barrier; /* or NULL, where parts is 1 */
} fc_team;

/* The share of a member of the team in `padded` units. */
static inline fc_units fc_team_units(const fc_shape *shape, ptrdiff_t padded,
                                     fc_team team) {
    if (team.parts == 1)
        return (fc_units){0, padded};
    return fc_share_units(shape, FC_PACK_FORWARD, padded, team.part, team.parts);
}
/* Those units of some of forward's panels, `gates` vectors for each V of them. */
static inline fc_panels fc_team_panels(const fc_shape *shape, const fc_panels *panels,
                                       int gates, fc_units units, fc_team team) {
    return team.parts == 1 ? *panels : fc_panels_of(shape, panels, gates, units);
}

/* Where products and whole rows are made. */
typedef struct fc_step_scratch {
    void *row_buffer; /* of cells that want whole rows, else NULL */
    void *operands;
} fc_step_scratch;

/* What products read of the rows. */
typedef struct fc_step_operands {
    const void *const *h; /* h_{t-1}, or what recurrent dropout leaves of it */
    const void **block;   /* room for a pointer per row: of an R with diagonal blocks */
    fc_mask_rows drops;   /* of a middle row; its `masks` NULL: none */
} fc_step_operands;

/* All phases, of the member's units.  Of the tile, the caller sets `rows` and the
 * pointers at rows: c_prev and c, middle and saved are NULL where the cell, or the
 * call, has none.  A phase that reads what the one before has made waits for the
 * others. */
void fc_run_phases(const fc_shape *shape, const fc_packed *packed, fc_tile *tile,
                   const fc_step_scratch *scratch, const fc_step_operands *operands,
                   fc_team team);

#endif
