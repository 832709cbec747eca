/* The phases of one step: for each, the product and the cell's forward, over some rows.
 *
 * Sequences (sequence.c) and streams (stream_step.c) both call it; they differ in where
 * the rows are. */
#ifndef FC_PHASES_H
#define FC_PHASES_H

#include "recurrent/masks.h"
#include "runtime/pool.h"

/* A member of a team: threads that share the units of each step of the same rows, with
 * barriers between.  Teams serve where there are too few rows to share. */
typedef struct fc_team {
    int part, parts;     /* this member, and how many there are */
    fc_barrier *barrier; /* shared by the members; may be NULL if parts is 1 */
} fc_team;

/* The member's share of `padded` units. */
static inline fc_units fc_team_units(const fc_shape *shape, ptrdiff_t padded,
                                     fc_team team) {
    if (team.parts == 1)
        return (fc_units){0, padded};
    return fc_share_units(shape, FC_PACK_FORWARD, padded, team.part, team.parts);
}
/* Forward's panels of those units, with `gates` vectors for each V units. */
static inline fc_panels fc_team_panels(const fc_shape *shape, const fc_panels *panels,
                                       int gates, fc_units units, fc_team team) {
    return team.parts == 1 ? *panels : fc_panels_of(shape, panels, gates, units);
}

/* Scratch of products, written by the kernels. */
typedef struct fc_step_scratch {
    void *row_buffer; /* [FC_MAX_ROWS][input columns]; NULL unless the cell needs whole
                       * rows */
    void *operands;   /* fc_operand_bytes: narrowed operands; of 0 bytes for reals */
} fc_step_scratch;

/* The operands of products, besides those in the tile: set by the caller. */
typedef struct fc_step_operands {
    const void *const *h; /* [rows] h_{t-1}, or the dropped one (masks.h) */
    const void **block;   /* [rows] scratch: the operand of a diagonal block of R */
    fc_mask_rows drops;   /* recurrent dropout of a middle row; `masks` NULL: none */
} fc_step_operands;

/* Runs all phases for the member's units.  The caller sets the tile's `rows` and its
 * pointers at rows (cell.h says which may be NULL); this function sets the rest.
 * Members wait for one another before each phase but the first. */
void fc_run_phases(const fc_shape *shape, const fc_packed *packed, fc_tile *tile,
                   const fc_step_scratch *scratch, const fc_step_operands *operands,
                   fc_team team);

#endif
