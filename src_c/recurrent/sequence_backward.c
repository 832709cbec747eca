/* Backward through time, step by step: the cell writes gate gradients over the saved
 * values, and products with R give the gradient of h_{t-1}.  Gradients of weights and
 * inputs follow after the loop, as large products over all pairs (stack_gradients.c).
 */
#include <string.h>

#include "recurrent/sequence.h"

/* The member's share of `padded` units, in backward. */
static fc_units share_units(const fc_shape *shape, ptrdiff_t padded, fc_team team) {
    return fc_share_units(shape, FC_PACK_BACKWARD, padded, team.part, team.parts);
}

/* dh += dy of time t, for each row that exists there.  A masked row counts too: its y
 * is its h. */
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

/* dh += gate gradients . R for the diagonal blocks of the product's units, gate by
 * gate. `a`: [rows] scratch for pointers at the operand. */
static void multiply_blocks(const fc_shape *shape, const fc_packed *packed,
                            const fc_product *units, void *const *saved,
                            const void **a) {
    const fc_phase *phase = &shape->cell->phase[0];
    fc_product product = *units;
    product.a = a;
    product.columns = shape->head;
    for (ptrdiff_t end = units->first + units->columns; product.first < end;
         product.first += shape->head)
        for (int j = 0; j < phase->gates; j++) {
            product.accumulate = units->accumulate || j > 0;
            ptrdiff_t block = product.first / shape->head * phase->gates + j;
            fc_panels panels = fc_panels_of_block(packed, block);
            fc_rows_from(shape, a, (const void *const *)saved, units->rows,
                         (phase->slot + j) * shape->padded + product.first);
            shape->k->product(&panels, &product);
        }
}

/* Zoneout, before the cell: dh and dc become the gradients of what the cell wrote;
 * passed_h and passed_c become the part of the units that kept their old state. */
static void pass_by(const fc_direction *direction, const fc_mask_rows *rows,
                    const fc_back_tile *tile, fc_team team) {
    const fc_shape *shape = &direction->shape;
    fc_units h = share_units(shape, shape->out_padded, team);
    fc_units c = share_units(shape, shape->padded, team);
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        size_t row = (size_t)rows->row[i];
        if (direction->passed_h)
            fc_zone_backward(
                shape, rows, FC_MASK_H, i, tile->dh[i],
                direction->passed_h + row * fc_bytes(shape, shape->out_padded), h);
        if (direction->passed_c)
            fc_zone_backward(shape, rows, FC_MASK_C, i, tile->dc[i],
                             direction->passed_c + row * fc_bytes(shape, shape->c_row),
                             c);
    }
}

/* Zoneout, after the cell: adds that part to the gradients of h_{t-1} and c_{t-1}. */
static void add_passed(const fc_direction *direction, const fc_mask_rows *rows,
                       const fc_back_tile *tile, fc_team team) {
    const fc_shape *shape = &direction->shape;
    fc_units h = share_units(shape, shape->out_padded, team);
    fc_units c = share_units(shape, shape->padded, team);
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        ptrdiff_t row = rows->row[i];
        if (direction->passed_h) {
            size_t at = fc_bytes(shape, row * shape->out_padded + h.first);
            shape->k->add((char *)tile->dh[i] + fc_bytes(shape, h.first),
                          direction->passed_h + at, h.count);
        }
        for (ptrdiff_t v = 0; direction->passed_c && v < shape->c_row;
             v += shape->padded) {
            size_t at = fc_bytes(shape, row * shape->c_row + v + c.first);
            shape->k->add((char *)tile->dc[i] + fc_bytes(shape, v + c.first),
                          direction->passed_c + at, c.count);
        }
    }
}

/* Recurrent dropout: d, the gradient of a dropped operand, becomes that of the operand
 * before dropout, and is added to `to`.  `to` may be NULL. */
static void undrop(const fc_shape *shape, const fc_mask_rows *rows, void *const *d,
                   void *const *to, fc_units units) {
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        fc_drop(shape, rows, i, d[i], d[i], units);
        if (to)
            shape->k->add((char *)to[i] + fc_bytes(shape, units.first),
                          (const char *)d[i] + fc_bytes(shape, units.first),
                          units.count);
    }
}

/* Bounds what the step gave to h_{t-1}, unless that is the initial state of the whole
 * sequence.  (The slots of initial states come first.) */
static void clip_dh(const fc_direction *direction, ptrdiff_t begin, ptrdiff_t end,
                    void *const *dh, fc_team team) {
    const fc_shape *shape = &direction->shape;
    const fc_plan *plan = direction->plan;
    fc_units units = share_units(shape, shape->out_padded, team);
    for (ptrdiff_t p = begin; p < end; p++)
        if (plan->previous[p] >= plan->rows || direction->continues) {
            const fc_parameter row = {.p = (char *)dh[p - begin] +
                                           fc_bytes(shape, units.first),
                                      .n = units.count};
            shape->k->update[FC_CLIP](&shape->options->recurrent_grad_clip, &row);
        }
}

/* Pairs begin .. end-1, all of time t.  Sets team->parts to 0 if this member is to end.
 */
static void run_step_backward(const fc_direction *direction, ptrdiff_t t,
                              ptrdiff_t begin, ptrdiff_t end,
                              const fc_loop_scratch *scratch, ptrdiff_t rows,
                              fc_team *team, bool stops) {
    const fc_shape *shape = &direction->shape;
    const fc_cell *cell = shape->cell;
    const fc_plan *plan = direction->plan;
    const fc_memory *memory = &direction->memory;
    size_t h_row = fc_bytes(shape, shape->out_padded),
           c_row = fc_bytes(shape, shape->c_row),
           middle_row = fc_bytes(shape, shape->padded);
    void **h_prev = scratch->pointers, **h = h_prev + rows, **c_prev = h + rows,
         **c = c_prev + rows, **dh = c + rows, **dc = dh + rows, **dmiddle = dc + rows,
         **saved = dmiddle + rows;
    const void **a = (const void **)(saved + rows);

    for (ptrdiff_t p = begin; p < end; p++) {
        ptrdiff_t i = p - begin;
        size_t row = (size_t)plan->row[p];
        h_prev[i] = memory->h + (size_t)plan->previous[p] * h_row;
        h[i] = memory->fresh_h ? memory->fresh_h + (size_t)p * h_row
                               : memory->h + (size_t)plan->next[p] * h_row;
        dh[i] = direction->state_dh + row * h_row;
        if (memory->c) {
            c_prev[i] = memory->c + (size_t)plan->previous[p] * c_row;
            c[i] = memory->fresh_c ? memory->fresh_c + (size_t)p * c_row
                                   : memory->c + (size_t)plan->next[p] * c_row;
            dc[i] = direction->state_dc + row * c_row;
        }
        if (memory->middle)
            dmiddle[i] = direction->state_dmiddle + row * middle_row;
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
        .options = shape->options,
    };
    const fc_mask_rows masks = {&direction->masks, plan->row + begin, t, end - begin,
                                scratch->factors};
    if (scratch->updates && direction->masks.random) {
        tile.update = FC_UPDATE_POINTERS * rows;
        fc_make_updates(shape, &masks, scratch->updates, h_prev + tile.update,
                        share_units(shape, shape->padded, *team));
    }
    if (memory->fresh_h || memory->fresh_c)
        pass_by(direction, &masks, &tile, *team);
    void **dropped = (void **)a + rows;
    for (ptrdiff_t i = 0; memory->dropped && i < masks.count; i++)
        dropped[i] = direction->state_dropped + (size_t)masks.row[i] * h_row;
    for (int i = cell->phases - 1; i >= 0; i--) {
        const fc_phase *phase = &cell->phase[i];
        fc_units units = share_units(
            shape, phase->projects ? shape->out_padded : shape->padded, *team);
        tile.unit = units.first;
        tile.units = units.count;
        (tile.update ? cell->backward_dropped : cell->backward)[i](&tile);
        /* The product needs the gradients of all units.  Its result is read only by the
         * member that computed it, so there is no second barrier. */
        team->parts = fc_barrier_last(team->barrier, team->part, team->parts, stops);
        if (team->parts == 0)
            return;
        if (phase->gates == 0)
            continue;
        units = share_units(
            shape, phase->from_middle ? shape->padded : shape->out_padded, *team);
        fc_product product = {
            .a = a,
            .out = phase->from_middle ? dmiddle
                   : memory->dropped  ? dropped
                                      : dh,
            .rows = tile.rows,
            .columns = units.count,
            .accumulate = !phase->from_middle && !memory->dropped,
            .first = units.first,
            .scratch = scratch->step.operands,
        };
        if (shape->blocks > 1) {
            multiply_blocks(shape, &direction->packed, &product, tile.saved, a);
        } else {
            fc_rows_from(shape, a, (const void *const *)saved, tile.rows,
                         phase->slot * shape->padded);
            fc_panels share =
                fc_panels_of(shape, &direction->packed.phase[i], 1, units);
            shape->k->product(&share, &product);
        }
        if (memory->dropped && !phase->projects)
            undrop(shape, &masks, product.out, phase->from_middle ? NULL : dh, units);
    }
    if (memory->fresh_h || memory->fresh_c)
        add_passed(direction, &masks, &tile, *team);
    if (shape->options->recurrent_grad_clip > 0)
        clip_dh(direction, begin, end, dh, *team);
}

/* A reset before (t, row): no gradient passes to the step before. */
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
        for (ptrdiff_t at = 0; at < shape->c_row; at += shape->padded)
            memset(direction->state_dc +
                       fc_bytes(shape, row * shape->c_row + at + c.first),
                   0, fc_bytes(shape, c.count));
    }
}

void fc_direction_backward(const fc_direction *direction, ptrdiff_t first,
                           ptrdiff_t last, ptrdiff_t begin_step, ptrdiff_t end_step,
                           const fc_loop_scratch *scratch, fc_team team) {
    const fc_shape *shape = &direction->shape;
    const fc_plan *plan = direction->plan;
    const fc_states h = fc_states_h(shape), c = fc_states_c(shape);

    if (team.part == 0 && end_step == plan->steps) {
        fc_set_states(&h, direction->state_dh, direction->dh, first, last);
        if (direction->memory.c)
            fc_set_states(&c, direction->state_dc, direction->dc, first, last);
    }
    ptrdiff_t block = fc_rows_between_stops(shape, shape->out);
    int64_t work = fc_product_work(shape, 1, fc_step_depth(shape)),
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
            run_step_backward(direction, fc_time(plan, s), p, p + rows, scratch,
                              last - first, &team, stops);
            if (team.parts == 0)
                return;
        }
        if (direction->batch->reset)
            cut_at_resets(direction, fc_time(plan, s), first, last, team);
    }
    fc_stops(direction->watch, FC_WORK_BETWEEN_LOOKS - left); /* counts the rest */
    fc_barrier_wait(team.barrier, team.part, team.parts);
    if (team.part > 0 || begin_step > 0)
        return;
    fc_get_states(&h, direction->state_dh, direction->dh0, first, last);
    if (direction->memory.c)
        fc_get_states(&c, direction->state_dc, direction->dc0, first, last);
}
