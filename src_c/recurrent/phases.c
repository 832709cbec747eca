#include "recurrent/phases.h"

/* The cell alone. */
static void run_cell(const fc_cell *cell, int phase, fc_tile *tile, fc_units units) {
    tile->units = units.count;
    tile->recurrent = NULL;
    cell->forward[phase](tile);
}

/* The diagonal blocks of the member's units, one by one. */
static void run_blocks(const fc_shape *shape, const fc_packed *packed, fc_step_job *job,
                       fc_tile *tile, const void **operand, fc_units units) {
    for (ptrdiff_t first = units.first; first < units.first + units.count;
         first += shape->head) {
        fc_panels panels = fc_panels_of_block(packed, first / shape->head);
        job->a = fc_rows_from(shape, operand, tile->h_prev, tile->rows, first);
        tile->unit = first;
        shape->k->step(&panels, job);
    }
}

void fc_run_phases(const fc_shape *shape, const fc_packed *packed, fc_tile *tile,
                   const fc_step_scratch *scratch, const void **operand, fc_team team) {
    const fc_cell *cell = shape->cell;
    tile->slot = shape->padded;
    tile->hidden = shape->units;
    tile->params = packed->params;
    for (int i = 0; i < cell->phases; i++) {
        const fc_phase *phase = &cell->phase[i];
        ptrdiff_t padded = phase->projects ? shape->out_padded : shape->padded;
        fc_units units = fc_team_units(shape, padded, team);
        fc_step_job job = {
            .cell = cell,
            .phase = i,
            .row_buffer = scratch->row_buffer,
            .scratch = scratch->operands,
            .a = phase->from_middle ? (const void *const *)tile->middle : tile->h_prev,
            .t = tile,
        };
        tile->unit = units.first;
        if (i > 0)
            fc_barrier_wait(team.barrier, team.part, team.parts);
        if (phase->gates == 0) {
            run_cell(cell, i, tile, units);
        } else if (shape->blocks > 1) {
            run_blocks(shape, packed, &job, tile, operand, units);
        } else {
            fc_panels panels =
                fc_team_panels(shape, &packed->phase[i], phase->gates, units, team);
            shape->k->step(&panels, &job);
        }
    }
}
