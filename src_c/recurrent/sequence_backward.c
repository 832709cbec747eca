/* Backward through time: gate gradients over the saved gates, and the gradient of the
 * state carried from step to step.  Weight and input gradients follow after the loop
 * (stack_gradients.c), as large products over all pairs. */
#include <string.h>

#include "recurrent/sequence.h"

static void set_rows(char *to, ptrdiff_t to_row, const char *from, ptrdiff_t from_row,
                     ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t row = first; row < last; row++) {
        memset(to + row * to_row, 0, (size_t)to_row);
        if (from)
            memcpy(to + row * to_row, from + row * from_row, (size_t)from_row);
    }
}

static void get_rows(char *to, ptrdiff_t to_row, const char *from, ptrdiff_t from_row,
                     ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t row = first; to && row < last; row++)
        memcpy(to + row * to_row, from + row * from_row, (size_t)to_row);
}

static fc_units share_units(const fc_shape *shape, ptrdiff_t padded, fc_team team) {
    return fc_share_units(shape, FC_PACK_BACKWARD, padded, team.part, team.parts);
}

/* dh += dy, if there is any, where the step exists: a masked step's y is h, so its dy
 * counts too. */
static void add_dy(const fc_direction *direction, ptrdiff_t t, ptrdiff_t first,
                   ptrdiff_t last, fc_team team) {
    if (!direction->dy.data)
        return;
    const fc_shape *shape = &direction->shape;
    size_t h_row = fc_bytes(shape, shape->out_padded);
    fc_units units = share_units(shape, shape->out_padded, team);
    size_t skip = fc_bytes(shape, units.first);
    if (units.first + units.count > shape->out)
        units.count = shape->out - units.first;
    for (ptrdiff_t row = first; row < last; row++)
        if (fc_exists(direction->batch, t, row))
            shape->k->add(direction->state_dh + (size_t)row * h_row + skip,
                          fc_at(&direction->dy, t, row) + skip, units.count);
}

static void run_step_backward(const fc_direction *direction, ptrdiff_t begin,
                              ptrdiff_t end, const fc_loop_scratch *scratch,
                              ptrdiff_t rows, fc_team *team, bool stops) {
    const fc_shape *shape = &direction->shape;
    const fc_cell *cell = shape->cell;
    const fc_plan *plan = direction->plan;
    const fc_memory *memory = &direction->memory;
    size_t h_row = fc_bytes(shape, shape->out_padded),
           c_row = fc_bytes(shape, shape->padded);
    void **h_prev = scratch->pointers, **h = h_prev + rows, **c_prev = h + rows,
         **c = c_prev + rows, **dh = c + rows, **dc = dh + rows, **dmiddle = dc + rows,
         **saved = dmiddle + rows, **a = saved + rows;

    for (ptrdiff_t p = begin; p < end; p++) {
        ptrdiff_t i = p - begin;
        size_t row = (size_t)plan->row[p];
        h_prev[i] = memory->h + (size_t)plan->previous[p] * h_row;
        h[i] = memory->h + (size_t)plan->next[p] * h_row;
        dh[i] = direction->state_dh + row * h_row;
        if (memory->c) {
            c_prev[i] = memory->c + (size_t)plan->previous[p] * c_row;
            c[i] = memory->c + (size_t)plan->next[p] * c_row;
            dc[i] = direction->state_dc + row * c_row;
        }
        if (memory->middle)
            dmiddle[i] = direction->state_dmiddle + row * c_row;
        saved[i] = fc_slots(shape, memory, p, plan->row[p]);
    }
    fc_back_tile tile = {
        .rows = end - begin,
        .h_prev = (const void *const *)h_prev,
        .h = (const void *const *)h,
        .c_prev = (const void *const *)c_prev,
        .c = (const void *const *)c,
        .dh = dh,
        .dc = dc,
        .dmiddle = dmiddle,
        .saved = saved,
        .slot = shape->padded,
        .hidden = shape->units,
        .params = direction->packed.params,
    };
    for (int i = cell->phases - 1; i >= 0; i--) {
        const fc_phase *phase = &cell->phase[i];
        const fc_panels *panels = &direction->packed.phase[i];
        fc_units units = share_units(
            shape, phase->projects ? shape->out_padded : shape->padded, *team);
        tile.unit = units.first;
        tile.units = units.count;
        cell->backward[i](&tile);
        for (ptrdiff_t r = 0; r < tile.rows; r++)
            a[r] = (char *)saved[r] + fc_bytes(shape, phase->slot * shape->padded);
        /* The product needs the gradients of all units.  What it makes is read by the
         * member that made it, so there is no second barrier. */
        team->parts = fc_barrier_last(team->barrier, team->part, team->parts, stops);
        if (team->parts == 0)
            return;
        units = share_units(
            shape, phase->from_middle ? shape->padded : shape->out_padded, *team);
        fc_panels share = fc_panels_of(shape, panels, 1, units);
        fc_product product = {
            .a = (const void *const *)a,
            .out = phase->from_middle ? dmiddle : dh,
            .rows = tile.rows,
            .columns = units.count,
            .accumulate = !phase->from_middle,
            .first = units.first,
            .scratch = scratch->step.operands,
        };
        shape->k->product(&share, &product);
    }
}

/* A reset cuts the past off: no gradient flows through it. */
static void cut_at_resets(const fc_direction *direction, ptrdiff_t t, ptrdiff_t first,
                          ptrdiff_t last, fc_team team) {
    const fc_shape *shape = &direction->shape;
    fc_units h = share_units(shape, shape->out_padded, team);
    fc_units c = share_units(shape, shape->padded, team);
    for (ptrdiff_t row = first; row < last; row++) {
        if (!fc_exists(direction->batch, t, row) ||
            !fc_begins(direction->batch, direction->plan->reverse, t, row))
            continue;
        memset(direction->state_dh + fc_bytes(shape, row * shape->out_padded + h.first),
               0, fc_bytes(shape, h.count));
        if (direction->memory.c)
            memset(direction->state_dc + fc_bytes(shape, row * shape->padded + c.first),
                   0, fc_bytes(shape, c.count));
    }
}

void fc_direction_backward(const fc_direction *direction, ptrdiff_t first,
                           ptrdiff_t last, ptrdiff_t begin_step, ptrdiff_t end_step,
                           const fc_loop_scratch *scratch, fc_team team) {
    const fc_shape *shape = &direction->shape;
    const fc_plan *plan = direction->plan;
    ptrdiff_t h_row = (ptrdiff_t)fc_bytes(shape, shape->out_padded);
    ptrdiff_t c_row = (ptrdiff_t)fc_bytes(shape, shape->padded);
    ptrdiff_t out = (ptrdiff_t)fc_bytes(shape, shape->out);
    ptrdiff_t units = (ptrdiff_t)fc_bytes(shape, shape->units);

    if (team.part == 0 && end_step == plan->steps) {
        set_rows(direction->state_dh, h_row, direction->dh, out, first, last);
        if (direction->memory.c)
            set_rows(direction->state_dc, c_row, direction->dc, units, first, last);
    }
    ptrdiff_t block = fc_rows_between_stops(shape, shape->out);
    int64_t work = fc_product_work(shape, 1, shape->out),
            rest = (last - first) * shape->out_padded, left = FC_WORK_BETWEEN_LOOKS;
    fc_barrier_wait(team.barrier, team.part, team.parts);
    for (ptrdiff_t s = end_step - 1; s >= begin_step; s--) {
        ptrdiff_t begin =
            fc_plan_find(plan, plan->offset[s], plan->offset[s + 1], first);
        ptrdiff_t end = fc_plan_find(plan, plan->offset[s], plan->offset[s + 1], last);
        add_dy(direction, fc_time(plan, s), first, last, team);
        bool stops =
            team.part == 0 &&
            fc_stops_step(direction->watch, work * (end - begin) + rest, &left);
        if (stops && team.parts == 1)
            return;
        for (ptrdiff_t p = begin, rows; p < end; p += rows) {
            rows = end - p < block || team.parts > 1 ? end - p : block;
            if (p > begin && fc_stops(direction->watch, FC_MOST_PRODUCT_WORK))
                return;
            run_step_backward(direction, p, p + rows, scratch, last - first, &team,
                              stops);
            if (team.parts == 0)
                return;
        }
        if (direction->batch->reset)
            cut_at_resets(direction, fc_time(plan, s), first, last, team);
    }
    fc_stops(direction->watch, FC_WORK_BETWEEN_LOOKS - left); /* counts */
    fc_barrier_wait(team.barrier, team.part, team.parts);
    if (team.part > 0 || begin_step > 0)
        return;
    get_rows(direction->dh0, out, direction->state_dh, h_row, first, last);
    if (direction->memory.c)
        get_rows(direction->dc0, units, direction->state_dc, c_row, first, last);
}
