#include "recurrent/phases.h"

fc_panels fc_team_panels(const fc_shape *shape, const fc_panels *panels, int gates,
                         ptrdiff_t padded, fc_team team, fc_units *units) {
    *units = (fc_units){0, padded};
    if (team.parts == 1)
        return *panels;
    *units = fc_share_units(shape, FC_PACK_FORWARD, padded, team.part, team.parts);
    return fc_panels_of(shape, panels, gates, *units);
}

void fc_run_phases(const fc_shape *shape, const fc_packed *packed,
                   const fc_step_rows *rows, const fc_step_scratch *scratch,
                   fc_team team) {
    const fc_cell *cell = shape->cell;
    fc_tile tile = {
        .rows = rows->rows,
        .input = (const void *const *)rows->input,
        .h_prev = (const void *const *)rows->h_prev,
        .c_prev = (const void *const *)rows->c_prev,
        .h = rows->h,
        .c = rows->c,
        .middle = rows->middle,
        .saved = rows->saved,
        .slot = shape->padded,
        .hidden = shape->units,
        .params = packed->params,
    };
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
            .a =
                (const void *const *)(phase->from_middle ? rows->middle : rows->h_prev),
            .t = &tile,
        };
        tile.unit = units.first;
        if (i > 0)
            fc_barrier_wait(team.barrier, team.part, team.parts);
        shape->k->step(&panels, &job);
    }
}
