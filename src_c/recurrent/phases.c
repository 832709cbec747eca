#include "recurrent/phases.h"

void fc_run_phases(const fc_shape *shape, const fc_packed *packed, fc_tile *tile,
                   const fc_step_scratch *scratch, fc_team team) {
    const fc_cell *cell = shape->cell;
    tile->slot = shape->padded;
    tile->hidden = shape->units;
    tile->params = packed->params;
    for (int i = 0; i < cell->phases; i++) {
        const fc_phase *phase = &cell->phase[i];
        fc_units units;
        fc_panels panels = fc_team_panels(
            shape, &packed->phase[i], phase->gates,
            phase->projects ? shape->out_padded : shape->padded, team, &units);
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
        shape->k->step(&panels, &job);
    }
}
