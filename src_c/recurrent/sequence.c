/* Forward through time.  The input product is computed for a chunk of steps at once, so
 * large that its result fits the second-level cache; then follow, step by step, the
 * recurrent product and the cell. */
#include "recurrent/sequence.h"

#include <string.h>

enum { CHUNK_BYTES = 512 * 1024, CHUNK_LEAST = 8 };

void fc_loop_scratch_layout(const fc_shape *shape, const fc_plan *plan, bool chunks,
                            size_t operand_bytes, fc_loop_scratch *scratch,
                            fc_arena *arena) {
    size_t row_bytes = fc_bytes(shape, fc_input_columns(shape));
    ptrdiff_t capacity = (ptrdiff_t)(CHUNK_BYTES / row_bytes);
    if (capacity < CHUNK_LEAST)
        capacity = CHUNK_LEAST;
    if (capacity > plan->total)
        capacity = plan->total;
    if (capacity < plan->rows)
        capacity = plan->rows; /* a chunk is one step at least */
    *scratch = (fc_loop_scratch){.capacity = capacity};
    if (chunks) {
        scratch->x = fc_take(arena, (size_t)capacity, sizeof(void *));
        scratch->input = fc_take(arena, (size_t)capacity, sizeof(void *));
        scratch->input_parts = fc_take(arena, (size_t)capacity, row_bytes);
    }
    if (shape->cell->whole_row)
        scratch->step.row_buffer = fc_take(arena, FC_MAX_ROWS, row_bytes);
    scratch->step.operands = fc_take(arena, 1, operand_bytes);
    scratch->pointers =
        fc_take2(arena, FC_POINTER_ARRAYS, (size_t)plan->rows, sizeof(void *));
    if (shape->zone_h > 0 || shape->zone_c > 0 || shape->drop > 0)
        scratch->factors = fc_take(arena, 1, fc_bytes(shape, fc_mask_reals(shape)));
    if (shape->options->update_dropout > 0)
        scratch->updates = fc_take2(arena, (size_t)plan->rows,
                                    (size_t)fc_mask_reals(shape), shape->k->real_size);
    scratch->now = fc_take(arena, (size_t)plan->rows, sizeof *scratch->now);
}

/* The pairs of step s whose rows are first .. last-1: *begin .. *end-1. */
static void pairs_of(const fc_plan *plan, ptrdiff_t s, ptrdiff_t first, ptrdiff_t last,
                     ptrdiff_t *begin, ptrdiff_t *end) {
    *begin = fc_plan_find(plan, plan->offset[s], plan->offset[s + 1], first);
    *end = fc_plan_find(plan, plan->offset[s], plan->offset[s + 1], last);
}

/* The input part of (t, row), by its index into the table. */
static char *input_row(const fc_direction *direction, ptrdiff_t t, ptrdiff_t row) {
    ptrdiff_t index = direction->batch->index[t * direction->batch->rows + row];
    return direction->table +
           index * (ptrdiff_t)fc_bytes(&direction->shape,
                                       fc_input_columns(&direction->shape));
}

/* Add to the input parts of some steps, of the member's units. */
static void add_gates(const fc_direction *direction, ptrdiff_t begin_step,
                      ptrdiff_t end_step, ptrdiff_t first, ptrdiff_t last,
                      void *const *input, fc_units units) {
    const fc_shape *shape = &direction->shape;
    const fc_plan *plan = direction->plan;
    for (ptrdiff_t s = begin_step; s < end_step; s++) {
        ptrdiff_t begin, end, t = fc_time(plan, s);
        pairs_of(plan, s, first, last, &begin, &end);
        for (ptrdiff_t p = begin; p < end; p++)
            shape->k->add_gates(*input++, fc_at(&direction->added, t, plan->row[p]),
                                shape->cell->gates, shape->units, units.first,
                                units.first + units.count);
    }
}

/* Computes the input parts, of the member's units, of the steps from s on that fit one
 * chunk.  Returns the step after the chunk. */
static ptrdiff_t make_input_parts(const fc_direction *direction, ptrdiff_t s,
                                  ptrdiff_t end_step, ptrdiff_t first, ptrdiff_t last,
                                  const fc_loop_scratch *scratch, fc_team team) {
    const fc_plan *plan = direction->plan;
    ptrdiff_t columns = fc_input_columns(&direction->shape), count = 0, first_step = s;
    for (; s < end_step; s++) {
        ptrdiff_t begin, end, t = fc_time(plan, s);
        pairs_of(plan, s, first, last, &begin, &end);
        if (count + end - begin > scratch->capacity)
            break;
        for (ptrdiff_t p = begin; p < end; p++, count++) {
            if (direction->table) {
                scratch->input[count] = input_row(direction, t, plan->row[p]);
            } else {
                scratch->x[count] = fc_at(&direction->x, t, plan->row[p]);
                scratch->input[count] =
                    scratch->input_parts + fc_bytes(&direction->shape, count * columns);
            }
        }
    }
    if (!direction->table) {
        int gates = direction->shape.cell->gates;
        fc_units units =
            fc_team_units(&direction->shape, direction->shape.padded, team);
        fc_panels panels =
            fc_team_panels(&direction->shape, &direction->packed.x, gates, units, team);
        ptrdiff_t block = fc_rows_between_stops(&direction->shape, direction->shape.in);
        for (ptrdiff_t row = 0; row < count; row += block) {
            fc_product product = {.a = scratch->x + row,
                                  .out = scratch->input + row,
                                  .rows = count - row < block ? count - row : block,
                                  .columns = units.count * gates,
                                  .first = units.first * gates,
                                  .scratch = scratch->step.operands};
            if (fc_stops(direction->watch,
                         fc_product_work(&direction->shape, product.rows,
                                         direction->shape.in)))
                break;
            direction->shape.k->product(&panels, &product);
        }
        if (direction->added.data)
            add_gates(direction, first_step, s, first, last, scratch->input, units);
    }
    return s;
}

/* The member's units of a row of h, without padding. */
static fc_units output_units(const fc_shape *shape, fc_team team) {
    fc_units units = fc_share_units(shape, FC_PACK_FORWARD, shape->out_padded,
                                    team.part, team.parts);
    if (units.first + units.count > shape->out)
        units.count = shape->out - units.first;
    return units;
}

/* Writes the member's units of y at (t, row): h, times the dropout factors.  An active
 * row gives its new h, a masked row its old one. */
static void emit(const fc_direction *direction, ptrdiff_t t, ptrdiff_t row,
                 const char *h, fc_units units) {
    size_t skip = fc_bytes(&direction->shape, units.first);
    char *y = fc_at(&direction->y, t, row) + skip;
    if (direction->dropout)
        direction->shape.k->multiply(
            y, h + skip, direction->dropout + (y - direction->y.data), units.count);
    else
        memcpy(y, h + skip, fc_bytes(&direction->shape, units.count));
}

/* Prefetches the units of h that other members have just written.  Each line is in
 * another core's cache, and a product would load them one after the other. */
static void fetch_states(const fc_shape *shape, void *const *h, ptrdiff_t rows,
                         fc_team team) {
    enum { LINE = 64 };
    fc_units own = fc_share_units(shape, FC_PACK_FORWARD, shape->out_padded, team.part,
                                  team.parts);
    ptrdiff_t from = (ptrdiff_t)fc_bytes(shape, own.first),
              to = from + (ptrdiff_t)fc_bytes(shape, own.count),
              end = (ptrdiff_t)fc_bytes(shape, shape->out_padded);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t at = 0; at < end; at += LINE)
            if (at < from || at >= to)
                __builtin_prefetch((const char *)h[r] + at);
}

/* The states but h of one step, of the member's units that exist. */
static void emit_states(const fc_direction *direction, ptrdiff_t t, ptrdiff_t row,
                        ptrdiff_t state, fc_team team) {
    const fc_shape *shape = &direction->shape;
    fc_units units = fc_team_units(shape, shape->padded, team);
    size_t from = fc_bytes(shape, units.first);
    if (units.first + units.count > shape->units)
        units.count = shape->units - units.first;
    const char *c =
        direction->memory.c + (size_t)state * fc_bytes(shape, shape->c_row) + from;
    char *to = fc_at(&direction->cs, t, row) + from;
    for (int i = 1; i < shape->cell->states; i++) {
        memcpy(to, c, fc_bytes(shape, units.count));
        to += direction->cs_state;
        c += fc_bytes(shape, shape->padded);
    }
}

/* After a step, for the member's units: zoneout, from what the cell wrote to the
 * states, and recurrent dropout, from h to the operand of the next step's products. */
static void mask_step(const fc_direction *direction, const fc_mask_rows *step,
                      ptrdiff_t begin, const fc_tile *tile, fc_team team) {
    const fc_shape *shape = &direction->shape;
    const fc_memory *memory = &direction->memory;
    size_t h_row = fc_bytes(shape, shape->out_padded),
           c_row = fc_bytes(shape, shape->c_row);
    fc_units out = fc_team_units(shape, shape->out_padded, team);
    fc_units units = fc_team_units(shape, shape->padded, team);
    fc_mask_rows rows = *step;
    rows.masks = &direction->masks;
    for (ptrdiff_t i = 0; i < rows.count; i++) {
        size_t next = (size_t)direction->plan->next[begin + i];
        char *h = memory->h + next * h_row;
        if (memory->fresh_c)
            fc_zone(shape, &rows, FC_MASK_C, i, memory->c + next * c_row, tile->c[i],
                    tile->c_prev[i], units);
        if (memory->fresh_h)
            fc_zone(shape, &rows, FC_MASK_H, i, h, tile->h[i], tile->h_prev[i], out);
        if (memory->dropped)
            fc_drop(shape, &rows, i, memory->dropped + next * h_row, h, out);
    }
}

/* Recurrent dropout of the initial states. */
static void drop_initial(const fc_direction *direction, ptrdiff_t first, ptrdiff_t last,
                         char *factors) {
    const fc_shape *shape = &direction->shape;
    size_t h_row = fc_bytes(shape, shape->out_padded);
    char *dropped = direction->memory.dropped;
    for (ptrdiff_t row = first; row < last; row++) {
        int32_t number = (int32_t)row;
        const fc_mask_rows one = {&direction->masks, &number, 0, 1, factors};
        fc_drop(shape, &one, 0, dropped + (size_t)row * h_row,
                direction->memory.h + (size_t)row * h_row,
                (fc_units){0, shape->out_padded});
    }
}

static void run_step(const fc_direction *direction, ptrdiff_t s, ptrdiff_t begin,
                     ptrdiff_t end, void *const *input, const fc_loop_scratch *scratch,
                     ptrdiff_t rows, fc_team team) {
    const fc_shape *shape = &direction->shape;
    const fc_plan *plan = direction->plan;
    const fc_memory *memory = &direction->memory;
    size_t h_row = fc_bytes(shape, shape->out_padded),
           c_row = fc_bytes(shape, shape->c_row),
           middle_row = fc_bytes(shape, shape->padded);
    void **h_prev = scratch->pointers, **h = h_prev + rows, **c_prev = h + rows,
         **c = c_prev + rows, **middle = c + rows, **saved = middle + rows,
         **dropped = saved + rows;

    for (ptrdiff_t p = begin; p < end; p++) {
        ptrdiff_t i = p - begin, kept = plan->kept ? p : plan->row[p];
        h_prev[i] = memory->h + (size_t)plan->previous[p] * h_row;
        h[i] = memory->fresh_h ? memory->fresh_h + (size_t)kept * h_row
                               : memory->h + (size_t)plan->next[p] * h_row;
        if (memory->c) {
            c_prev[i] = memory->c + (size_t)plan->previous[p] * c_row;
            c[i] = memory->fresh_c ? memory->fresh_c + (size_t)kept * c_row
                                   : memory->c + (size_t)plan->next[p] * c_row;
        }
        if (memory->dropped)
            dropped[i] = memory->dropped + (size_t)plan->previous[p] * h_row;
        if (memory->middle)
            middle[i] = memory->middle + (size_t)kept * middle_row;
        if (memory->slots)
            saved[i] = fc_slots(shape, memory, p, plan->row[p]);
    }
    if (team.parts > 1)
        fetch_states(shape, h_prev, end - begin, team);
    fc_tile tile = {
        .rows = end - begin,
        .input = (const void *const *)input,
        .h_prev = (const void *const *)h_prev,
        .h = h,
        .c_prev = memory->c ? (const void *const *)c_prev : NULL,
        .c = memory->c ? c : NULL,
        .middle = memory->middle ? middle : NULL,
        .saved = memory->slots ? saved : NULL,
    };
    ptrdiff_t t = fc_time(plan, s);
    const fc_mask_rows masks = {memory->dropped ? &direction->masks : NULL,
                                plan->row + begin, t, end - begin, scratch->factors};
    if (scratch->updates && direction->masks.random) {
        const fc_mask_rows drawn = {&direction->masks, masks.row, t, masks.count, NULL};
        tile.update = FC_UPDATE_POINTERS * rows;
        fc_make_updates(shape, &drawn, scratch->updates, h_prev + tile.update,
                        fc_team_units(shape, shape->padded, team));
    }
    const fc_step_operands operands = {
        .h = memory->dropped ? (const void *const *)dropped : tile.h_prev,
        .block = (const void **)(dropped + rows),
        .drops = masks,
    };
    fc_run_phases(shape, &direction->packed, &tile, &scratch->step, &operands, team);
    if (fc_is_masked(direction))
        mask_step(direction, &masks, begin, &tile, team);
    fc_units out = output_units(shape, team);
    for (ptrdiff_t p = begin; p < end && direction->y.data; p++)
        emit(direction, t, plan->row[p], memory->h + (size_t)plan->next[p] * h_row,
             out);
    for (ptrdiff_t p = begin; p < end && direction->cs.data; p++)
        emit_states(direction, t, plan->row[p], plan->next[p], team);
}

/* y of the rows that are masked in step s.  `now` has the state slot of each row,
 * counted from `first`, and is brought up to date. */
static void emit_masked(const fc_direction *direction, ptrdiff_t s, ptrdiff_t first,
                        ptrdiff_t last, int64_t *now, fc_team team) {
    const fc_plan *plan = direction->plan;
    fc_units out = output_units(&direction->shape, team);
    ptrdiff_t begin, end, t = fc_time(plan, s);
    pairs_of(plan, s, first, last, &begin, &end);
    for (ptrdiff_t p = begin; p < end; p++)
        now[plan->row[p] - first] = plan->next[p];
    for (ptrdiff_t row = first; row < last; row++) {
        if (!fc_skipped(direction->batch, t, row))
            continue;
        if (fc_begins(direction->batch, plan->reverse, t, row))
            now[row - first] = plan->states;
        emit(direction, t, row,
             direction->memory.h +
                 (size_t)now[row - first] *
                     fc_bytes(&direction->shape, direction->shape.out_padded),
             out);
        if (direction->cs.data)
            emit_states(direction, t, row, (ptrdiff_t)now[row - first], team);
    }
}

/* Sets y to 0 past the lengths. */
static void clear_past_lengths(const fc_direction *direction, ptrdiff_t first,
                               ptrdiff_t last) {
    if (!direction->batch->lengths || !direction->y.data)
        return;
    for (ptrdiff_t row = first; row < last; row++)
        for (ptrdiff_t t = (ptrdiff_t)direction->batch->lengths[row];
             t < direction->plan->steps; t++) {
            memset(fc_at(&direction->y, t, row), 0,
                   fc_bytes(&direction->shape, direction->shape.out));
            if (direction->cs.data)
                for (int i = 1; i < direction->shape.cell->states; i++)
                    memset(fc_at(&direction->cs, t, row) +
                               (i - 1) * direction->cs_state,
                           0, fc_bytes(&direction->shape, direction->shape.units));
        }
}

/* Copies the final state of each row from its slot. */
static void get_final(const fc_plan *plan, const fc_states *states, const char *memory,
                      char *to, ptrdiff_t first, ptrdiff_t last) {
    size_t bytes = fc_state_bytes(states), padded = fc_padded_state_bytes(states);
    for (ptrdiff_t row = first; to && row < last; row++)
        fc_get_state(states, memory + (size_t)plan->final[row] * padded,
                     to + (size_t)row * bytes);
}

bool fc_direction_steps(const fc_direction *direction, ptrdiff_t first, ptrdiff_t last,
                        ptrdiff_t begin_step, ptrdiff_t end_step,
                        const fc_loop_scratch *scratch, fc_team *team) {
    ptrdiff_t chunk_end = begin_step, done = 0;
    ptrdiff_t block = fc_rows_between_stops(&direction->shape, direction->shape.out);
    int64_t work =
                fc_product_work(&direction->shape, 1, fc_step_depth(&direction->shape)),
            rest = (last - first) * direction->shape.out_padded,
            left = FC_WORK_BETWEEN_LOOKS;
    for (ptrdiff_t s = begin_step; s < end_step; s++) {
        if (s == chunk_end) {
            chunk_end =
                make_input_parts(direction, s, end_step, first, last, scratch, *team);
            done = 0;
        }
        ptrdiff_t begin, end;
        pairs_of(direction->plan, s, first, last, &begin, &end);
        bool stops =
            team->part == 0 &&
            fc_stops_step(direction->watch, work * (end - begin) + rest, &left);
        if (stops && team->parts == 1)
            return false;
        for (ptrdiff_t p = begin, rows; p < end; p += rows) {
            /* A team has few rows, and its members must stop at the same barrier. */
            rows = end - p < block || team->parts > 1 ? end - p : block;
            if (p > begin && fc_stops(direction->watch, FC_MOST_PRODUCT_WORK))
                return false;
            run_step(direction, s, p, p + rows, scratch->input + done, scratch,
                     last - first, *team);
            done += rows;
        }
        if (direction->batch->mask && direction->y.data)
            emit_masked(direction, s, first, last, scratch->now, *team);
        int members = fc_barrier_last(team->barrier, team->part, team->parts, stops);
        if (members < team->parts)
            chunk_end = s + 1; /* the team disbanded: others' input parts are missing */
        team->parts = members;
        if (members == 0)
            return false;
    }
    fc_stops(direction->watch, FC_WORK_BETWEEN_LOOKS - left); /* counts the rest */
    return true;
}

void fc_direction_forward(const fc_direction *direction, ptrdiff_t first,
                          ptrdiff_t last, const fc_loop_scratch *scratch,
                          fc_team team) {
    const fc_shape *shape = &direction->shape;
    const fc_plan *plan = direction->plan;
    const fc_states h = fc_states_h(shape), c = fc_states_c(shape);

    if (team.part == 0) {
        fc_set_states(&h, direction->memory.h, direction->h0, first, last);
        if (direction->memory.c)
            fc_set_states(&c, direction->memory.c, direction->c0, first, last);
        clear_past_lengths(direction, first, last);
        if (direction->memory.dropped)
            drop_initial(direction, first, last, scratch->factors);
    }
    for (ptrdiff_t row = first; row < last; row++)
        scratch->now[row - first] = row;
    fc_barrier_wait(team.barrier, team.part, team.parts);
    if (!fc_direction_steps(direction, first, last, 0, plan->steps, scratch, &team) ||
        team.part > 0)
        return;
    get_final(plan, &h, direction->memory.h, direction->h, first, last);
    if (direction->memory.c)
        get_final(plan, &c, direction->memory.c, direction->c, first, last);
}

void fc_direction_table(const fc_direction *direction, ptrdiff_t first, ptrdiff_t last,
                        void *operands) {
    enum { BLOCK = 128 };
    const void *x[BLOCK];
    void *out[BLOCK];
    ptrdiff_t columns = fc_input_columns(&direction->shape);
    while (first < last) {
        ptrdiff_t rows = last - first < BLOCK ? last - first : BLOCK;
        for (ptrdiff_t i = 0; i < rows; i++) {
            x[i] = direction->x.data + (first + i) * direction->x.row;
            out[i] =
                direction->table + fc_bytes(&direction->shape, (first + i) * columns);
        }
        fc_product product = {
            .a = x, .out = out, .rows = rows, .columns = columns, .scratch = operands};
        if (fc_stops(direction->watch,
                     fc_product_work(&direction->shape, rows, direction->shape.in)))
            return;
        direction->shape.k->product(&direction->packed.x, &product);
        first += rows;
    }
}
