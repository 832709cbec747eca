/* One step of some rows: phase by phase, the product and the cell. */
#include "recurrent/phases.h"

/* A phase without a product: the cell, on all rows and units at once. */
static void run_cell(const fc_step_job *job, fc_tile *tile, fc_units units) {
    tile->units = units.count;
    tile->recurrent = NULL;
    job->forward(tile);
}

/* A phase of an R in diagonal blocks: those of the member's units, one by one. */
static void run_blocks(const fc_shape *shape, const fc_packed *packed, fc_step_job *job,
                       fc_tile *tile, const fc_step_operands *operands,
                       fc_units units) {
    for (ptrdiff_t first = units.first; first < units.first + units.count;
         first += shape->head) {
        fc_panels panels = fc_panels_of_block(packed, first / shape->head);
        job->a = fc_rows_from(shape, operands->block, operands->h, tile->rows, first);
        tile->unit = first;
        shape->k->step(&panels, job);
    }
}

/* Recurrent dropout of the middle row, which the next product with R reads. */
static void drop_middle(const fc_shape *shape, const fc_step_operands *operands,
                        const fc_tile *tile, fc_units units) {
    for (ptrdiff_t r = 0; r < tile->rows; r++)
        fc_drop(shape, &operands->drops, r, tile->middle[r], tile->middle[r], units);
}

void fc_run_phases(const fc_shape *shape, const fc_packed *packed, fc_tile *tile,
                   const fc_step_scratch *scratch, const fc_step_operands *operands,
                   fc_team team) {
    const fc_cell *cell = shape->cell;
    tile->slot = shape->padded;
    tile->hidden = shape->units;
    tile->params = packed->params;
    tile->options = shape->options;
    for (int i = 0; i < cell->phases; i++) {
        const fc_phase *phase = &cell->phase[i];
        ptrdiff_t padded = phase->projects ? shape->out_padded : shape->padded;
        fc_units units = fc_team_units(shape, padded, team);
        fc_step_job job = {
            .cell = cell,
            .phase = i,
            .forward = tile->update ? cell->forward_dropped[i] : cell->forward[i],
            .row_buffer = scratch->row_buffer,
            .scratch = scratch->operands,
            .a = phase->from_middle ? (const void *const *)tile->middle : operands->h,
            .t = tile,
        };
        tile->unit = units.first;
        if (i > 0)
            fc_barrier_wait(team.barrier, team.part, team.parts);
        if (phase->gates == 0) {
            run_cell(&job, tile, units);
        } else if (shape->blocks > 1) {
            run_blocks(shape, packed, &job, tile, operands, units);
        } else {
            fc_panels panels =
                fc_team_panels(shape, &packed->phase[i], phase->gates, units, team);
            shape->k->step(&panels, &job);
        }
        if (operands->drops.masks && i + 1 < cell->phases && !phase[1].projects)
            drop_middle(shape, operands, tile, units);
    }
}
