/* Backward through a stack, from the last layer to the first: the time loops of both
 * directions, shared by threads; then the gradients of inputs and weights
 * (stack_gradients.c). */
#include "recurrent/stack_backward.h"

#include <string.h>

#include "recurrent/carry.h"
#include "recurrent/saved.h"
#include "recurrent/stack.h"
#include "recurrent/stack_gradients.h"

enum { GATE_PAIRS = 1024 }; /* pairs of a chunk, with recompute */

/* The stack by which work is shared: with recompute, one direction at a time. */
static fc_stack shared_stack(const fc_stack *stack, const fc_batch *batch) {
    fc_stack shared = *stack;
    if (batch->recompute)
        shared.directions = 1;
    return shared;
}

void fc_backward_scratch_layout(fc_backward_scratch *scratch, fc_arena *arena,
                                const fc_stack *stack, const fc_shape *first,
                                const fc_batch *batch) {
    fc_backward_scratch measured;
    fc_backward_scratch *s = scratch ? scratch : &measured;
    ptrdiff_t total = batch->steps * batch->rows;
    size_t real = first->k->real_size, rows = (size_t)batch->rows;
    ptrdiff_t widest = stack->directions * first->out;
    widest = widest > first->in ? widest : first->in;
    widest = widest > first->units ? widest : first->units;

    fc_stack shared = shared_stack(stack, batch);
    s->sharing = fc_share_most(&shared, batch, first, FC_PACK_BACKWARD);
    fc_plan plan = {.steps = batch->steps, .rows = batch->rows, .total = total};
    for (int d = 0; d < stack->directions; d++) {
        s->bound[d] =
            fc_take(arena, (size_t)s->sharing.row_parts + 1, sizeof(ptrdiff_t));
        s->state_dh[d] = fc_take2(arena, rows, (size_t)first->out_padded, real);
        s->state_dc[d] = fc_take2(arena, rows, (size_t)first->c_row, real);
        s->state_dmiddle[d] = fc_take2(arena, rows, (size_t)first->padded, real);
        s->passed_h[d] = first->zone_h > 0
                             ? fc_take2(arena, rows, (size_t)first->out_padded, real)
                             : NULL;
        s->passed_c[d] = first->zone_c > 0
                             ? fc_take2(arena, rows, (size_t)first->c_row, real)
                             : NULL;
        s->state_dropped[d] =
            first->drop > 0 && batch->random
                ? fc_take2(arena, rows, (size_t)first->out_padded, real)
                : NULL;
        s->pairs[d].x = fc_take(arena, (size_t)total, sizeof(void *));
        s->pairs[d].h_prev = fc_take(arena, (size_t)total, sizeof(void *));
        s->pairs[d].middle = fc_take(arena, (size_t)total, sizeof(void *));
        s->pairs[d].c_prev = fc_sums_read(first->cell, FC_BY_C_PREV)
                                 ? fc_take(arena, (size_t)total, sizeof(void *))
                                 : NULL;
        s->pairs[d].c = fc_sums_read(first->cell, FC_BY_C)
                            ? fc_take(arena, (size_t)total, sizeof(void *))
                            : NULL;
        s->dtable[d] = batch->index ? fc_take2(arena, (size_t)batch->x_rows,
                                               (size_t)fc_input_columns(first), real)
                                    : NULL;
    }
    s->table_x =
        batch->index ? fc_take(arena, (size_t)batch->x_rows, sizeof(void *)) : NULL;
    size_t tasks = (size_t)(shared.directions * s->sharing.row_parts);
    size_t loops = tasks * (size_t)s->sharing.members;
    s->barrier = fc_take(arena, tasks, sizeof *s->barrier);
    s->loop = fc_take(arena, loops, sizeof *s->loop);
    size_t operand_bytes = fc_operand_bytes(first, stack->directions);
    for (size_t i = 0; i < loops; i++) {
        fc_loop_scratch loop;
        fc_loop_scratch_layout(first, &plan, batch->recompute, operand_bytes,
                               s->loop ? &s->loop[i] : &loop, arena);
    }
    /* Two with recompute, where one direction's dx would overwrite the other's dy. */
    int betweens = stack->layers == 1                          ? 0
                   : batch->recompute && stack->directions > 1 ? 2
                                                               : 1;
    for (int i = 0; i < betweens; i++)
        s->between[i] = fc_take2(arena, (size_t)(batch->steps * batch->rows),
                                 (size_t)(stack->directions * first->out), real);
    if (betweens == 1)
        s->between[1] = s->between[0];
    if (batch->recompute) {
        s->gate_pairs = batch->rows > GATE_PAIRS ? batch->rows : GATE_PAIRS;
        s->gates = fc_take2(arena, (size_t)(s->gate_pairs + first->k->gradient_block),
                            1, fc_slots_bytes(first));
        s->table = batch->index ? fc_take2(arena, (size_t)batch->x_rows,
                                           (size_t)fc_input_columns(first), real)
                                : NULL;
    }
    s->gradient_bytes =
        first->k->trains ? first->k->weight_gradient_scratch(widest) : 0;
    if (s->gradient_bytes < operand_bytes) /* the products of dx use it too */
        s->gradient_bytes = operand_bytes;
    s->gradient_bytes =
        (s->gradient_bytes + FC_ALIGNMENT - 1) / FC_ALIGNMENT * FC_ALIGNMENT;
    s->gradient = fc_take(arena, (size_t)s->sharing.threads, s->gradient_bytes);
}

/* With fewer parts than planned, each is alone in its team. */
static void run_rows(void *context, int part, int parts) {
    const fc_layer_job *job = context;
    const fc_backward_scratch *s = job->scratch;
    int rows = s->sharing.row_parts, tasks = job->directions * rows, members = 1;
    if (parts > 1 && parts == tasks * s->sharing.members)
        members = s->sharing.members;
    for (int task = part / members; task < tasks; task += parts / members) {
        int d = job->first + task / rows;
        const ptrdiff_t *bound = s->bound[d] + task % rows;
        fc_team team = {part % members, members, &s->barrier[task]};
        const fc_loop_scratch *loop = &s->loop[task * members + team.part];
        if (job->forward && !fc_direction_steps(job->forward, bound[0], bound[1],
                                                job->begin, job->end, loop, &team))
            continue;
        fc_direction_backward(&job->direction[d], bound[0], bound[1], job->begin,
                              job->end, loop, team);
    }
}

/* A chunk of steps, or all: the time loops, then the gradients of pairs that are due.
 */
static void run_chunk(fc_layer_job *job) {
    const fc_backward_scratch *s = job->scratch;
    size_t tasks = (size_t)(job->directions * s->sharing.row_parts);
    memset(s->barrier, 0, tasks * sizeof *s->barrier);
    fc_run_shared(run_rows, job, &s->sharing, job->directions);
    if (fc_stopped(job->watch))
        return;
    if (job->direction[0].dtable)
        fc_run_parts(fc_scatter, job, s->sharing.now);
    if (job->carry)
        fc_carry_begin(job);
    fc_run_parts(fc_pair_gradients, job, s->sharing.now);
    if (job->carry)
        fc_carry_end(job);
}

static void run_table(void *context, int part, int parts) {
    const fc_layer_job *job = context;
    const fc_direction *forward = job->forward;
    ptrdiff_t rows = forward->batch->x_rows;
    fc_direction_table(forward, rows * part / parts, rows * (part + 1) / parts,
                       job->scratch->gradient +
                           (size_t)part * job->scratch->gradient_bytes);
}

/* One direction of a layer, with recompute: chunks of steps from the last, and in each
 * forward from the saved states, then backward.  Weight gradients of a block of pairs
 * are due with the chunk of its first pair.  Slots of an incomplete block move after
 * those of the next chunk; in a segment the carry stores them. */
static void run_direction(const fc_layer_job *layer_job, const fc_stack *stack,
                          const void *packed_forward, int layer, int d) {
    const fc_backward_scratch *s = layer_job->scratch;
    fc_layer_job job = *layer_job;
    fc_direction *direction = &job.direction[d], forward = *direction;
    const fc_plan *plan = direction->plan;
    size_t slots = fc_slots_bytes(&direction->shape);
    ptrdiff_t block = direction->shape.k->gradient_block;

    job.first = d;
    job.directions = 1;
    job.forward = &forward;
    fc_packed_of(stack, FC_PACK_FORWARD, packed_forward, layer, d, &forward.packed);
    forward.y.data = NULL;
    forward.table = direction->dtable ? s->table : NULL;
    if (forward.table)
        fc_run_parts(run_table, &job, s->sharing.now);
    direction->memory.slots = s->gates;
    direction->memory.slots_by_pair = true;
    direction->memory.first_pair = job.low = plan->total;
    for (job.end = plan->steps;; job.end = job.begin) {
        ptrdiff_t after = direction->memory.first_pair;
        job.high = job.low;
        job.begin = job.end;
        while (job.begin > 0 && after - plan->offset[job.begin - 1] <= s->gate_pairs)
            job.begin--;
        ptrdiff_t first = plan->offset[job.begin];
        if (!job.carry) {
            job.low = job.begin ? (first + block - 1) / block * block : 0;
            job.low = job.low < job.high ? job.low : job.high;
            memmove(s->gates + (size_t)(after - first) * slots, s->gates,
                    (size_t)(job.high - after) * slots);
        }
        direction->memory.first_pair = first;
        forward.memory = direction->memory;
        run_chunk(&job);
        if (job.begin == 0 || fc_stopped(job.watch))
            return;
    }
}

static void set_carry(fc_layer_job *job, fc_carry *carry, const fc_stack *stack,
                      const fc_batch *batch, const fc_segment *segment, int layer) {
    fc_carry_open(carry, stack, batch, segment, layer);
    if (job->direction[0].dtable)
        job->direction[0].dtable = carry->dtable;
    job->pairs_before = segment->pairs_before;
    if (job->gradients)
        job->carry = carry;
}

/* Sets the pointers at the rows that sums over pairs read. */
static void point_at_pairs(const fc_direction *direction, fc_pair_rows *pairs) {
    const fc_shape *shape = &direction->shape;
    const fc_plan *plan = direction->plan;
    const fc_memory *memory = &direction->memory;
    const char *h_prev = memory->dropped ? memory->dropped : memory->h;
    size_t c_row = fc_bytes(shape, shape->c_row);
    for (ptrdiff_t s = 0; s < plan->steps; s++) {
        ptrdiff_t t = fc_time(plan, s);
        for (ptrdiff_t p = plan->offset[s]; p < plan->offset[s + 1]; p++) {
            pairs->x[p] = fc_at(&direction->x, t, plan->row[p]);
            pairs->h_prev[p] =
                h_prev + (size_t)plan->previous[p] * fc_bytes(shape, shape->out_padded);
            if (pairs->c_prev)
                pairs->c_prev[p] = memory->c + (size_t)plan->previous[p] * c_row;
            if (pairs->c)
                pairs->c[p] = memory->fresh_c
                                  ? memory->fresh_c + (size_t)p * c_row
                                  : memory->c + (size_t)plan->next[p] * c_row;
            if (direction->memory.middle)
                pairs->middle[p] = direction->memory.middle +
                                   (size_t)p * fc_bytes(shape, shape->padded);
        }
    }
}

static void set_direction(fc_direction *direction, const fc_stack *stack,
                          const fc_batch *batch, const fc_backward_io *io,
                          const fc_saved *saved, const fc_backward_scratch *s,
                          int layer, int which) {
    const fc_shape *shape = &direction->shape;
    const fc_states h = fc_states_h(shape), c = fc_states_c(shape);
    size_t out = fc_bytes(shape, shape->out);
    size_t index = (size_t)(layer * stack->directions + which);
    size_t h_at = index * (size_t)batch->rows * fc_state_bytes(&h),
           c_at = index * (size_t)batch->rows * fc_state_bytes(&c);
    ptrdiff_t real = (ptrdiff_t)shape->k->real_size;
    fc_array below = {s->between[layer & 1],
                      (ptrdiff_t)saved->between_row * batch->rows,
                      (ptrdiff_t)saved->between_row};
    fc_array above = below;
    above.data = s->between[!(layer & 1)];

    direction->plan = &saved->plan[which];
    direction->batch = batch;
    direction->masks = fc_masks_of(batch, layer * stack->directions + which);
    direction->x =
        layer ? fc_saved_between(saved, batch, layer - 1)
              : (fc_array){(char *)batch->x, batch->x_step * real, batch->x_row * real};
    direction->dy =
        layer < stack->layers - 1
            ? above
            : (fc_array){(char *)io->dy, io->dy_step * real, io->dy_row * real};
    if (direction->dy.data)
        direction->dy.data += (size_t)which * out;
    direction->dx = below;
    if (layer == 0) /* strides are not read if dx is NULL or has a row for each index */
        direction->dx = io->dx && !batch->index
                            ? (fc_array){io->dx, io->dx_step * real, io->dx_row * real}
                            : (fc_array){.data = io->dx};
    if (layer == 0 && batch->index) {
        direction->dx.row = (ptrdiff_t)fc_bytes(shape, shape->in);
        direction->dtable = s->dtable[which];
    }
    direction->added = fc_added(batch, shape, layer, which);
    if (layer == 0 && io->dadded)
        direction->dadded = (fc_array){(char *)io->dadded + which * shape->cell->gates *
                                                                shape->units * real,
                                       io->dadded_step * real, io->dadded_row * real};
    if (batch->dropout && layer) /* factors of this layer's input */
        direction->dropout =
            (const char *)batch->dropout + (size_t)(layer - 1) * saved->between_layer;
    direction->dh = io->dh ? (const char *)io->dh + h_at : NULL;
    direction->dc = io->dc ? (const char *)io->dc + c_at : NULL;
    direction->dh0 = io->dh0 ? (char *)io->dh0 + h_at : NULL;
    direction->dc0 = io->dc0 ? (char *)io->dc0 + c_at : NULL;
    direction->continues = io->segment && io->segment->steps_before > 0;
    direction->state_dh = s->state_dh[which];
    direction->state_dc = s->state_dc[which];
    direction->state_dmiddle = s->state_dmiddle[which];
    direction->passed_h = s->passed_h[which];
    direction->passed_c = s->passed_c[which];
    direction->state_dropped = s->state_dropped[which];
    fc_saved_memory(saved, shape, layer, which, &direction->memory);
}

/* Checks all arguments but `saved`. */
static fc_status check_backward(const fc_stack *stack, const void *packed,
                                const fc_batch *batch, const fc_backward_io *io,
                                const void *scratch) {
    fc_shape shape;
    fc_status status = fc_check_sizes(stack, batch, &shape);
    if (status)
        return status;
    if (!shape.k->trains || !io || (io->segment && stack->directions > 1) ||
        (io->dy && !fc_rows_are_apart(batch, io->dy_step, io->dy_row,
                                      stack->directions * shape.out)) ||
        (io->dx && !batch->index &&
         !fc_rows_are_apart(batch, io->dx_step, io->dx_row, shape.in)) ||
        (io->dadded &&
         !fc_rows_are_apart(batch, io->dadded_step, io->dadded_row,
                            stack->directions * shape.cell->gates * shape.units)))
        return FC_BAD_ARGUMENT;
    for (int i = 0; io->weights && i < stack->layers * stack->directions; i++) {
        const fc_gradients *g = &io->weights[i];
        if ((g->b_ih && !g->w_ih) || (g->b_hh && !g->w_hh))
            return FC_BAD_ARGUMENT;
    }
    status = fc_check_pack(packed, FC_PACK_BACKWARD, stack, shape.k);
    if (!status && batch->recompute)
        status = fc_check_pack(io->packed_forward, FC_PACK_FORWARD, stack, shape.k);
    return status ? status : fc_check_alignment(scratch);
}

fc_status fc_backward(const fc_stack *stack, const void *packed, const fc_batch *given,
                      const fc_backward_io *io, void *saved_memory,
                      void *scratch_memory) {
    fc_saved saved;
    fc_status status = check_backward(stack, packed, given, io, scratch_memory);
    if (!status)
        status = fc_saved_open(&saved, saved_memory, stack, given);
    if (status)
        return status;
    const fc_batch kept = fc_saved_batch(&saved, given), *batch = &kept;
    const ptrdiff_t total = saved.plan[0].total;
    const fc_segment *segment = io->segment;
    if (fc_reads_x(batch, total) && !batch->x)
        return FC_BAD_ARGUMENT;
    if (segment)
        status = fc_carry_check(stack, batch, segment, total);
    if (!status)
        status = fc_saved_take(&saved);
    if (status)
        return status;
    if (segment)
        fc_carry_unseal(segment);

    fc_arena arena = fc_arena_at(scratch_memory);
    fc_backward_scratch scratch = {0};
    fc_shape shape;
    fc_stack shared = shared_stack(stack, batch);
    fc_shape_of(stack, 0, &shape);
    fc_backward_scratch_layout(&scratch, &arena, stack, &shape, batch);
    scratch.sharing = fc_share_work(&shared, batch, &shape, FC_PACK_BACKWARD, total);
    for (int d = 0; d < stack->directions; d++) {
        saved.plan[d].reverse = d == 1;
        fc_plan_split_rows(&saved.plan[d], scratch.sharing.row_parts, scratch.bound[d]);
    }
    fc_watch watch;
    fc_watch_begin(&watch);
    fc_sharing_begin(&scratch.sharing);
    for (int layer = stack->layers - 1; layer >= 0 && !fc_stopped(&watch); layer--) {
        fc_layer_job job = {.scratch = &scratch,
                            .directions = stack->directions,
                            .blas = io->blas,
                            .watch = &watch};
        if (io->weights)
            job.gradients = io->weights + layer * stack->directions;
        for (int d = 0; d < stack->directions; d++) {
            fc_direction *direction = &job.direction[d];
            fc_shape_of(stack, layer, &direction->shape);
            fc_packed_of(stack, FC_PACK_BACKWARD, packed, layer, d, &direction->packed);
            set_direction(direction, stack, batch, io, &saved, &scratch, layer, d);
            direction->watch = &watch;
            point_at_pairs(direction, &scratch.pairs[d]);
        }
        fc_carry carry;
        if (segment)
            set_carry(&job, &carry, stack, batch, segment, layer);
        bool indexed = job.direction[0].dtable;
        for (ptrdiff_t i = 0; indexed && i < batch->x_rows; i++)
            scratch.table_x[i] = job.direction[0].x.data + i * job.direction[0].x.row;
        if (indexed && !(segment && segment->steps_after))
            fc_run_parts(fc_clear_table, &job, scratch.sharing.now);
        if (batch->recompute) {
            for (int d = 0; d < stack->directions; d++)
                run_direction(&job, stack, io->packed_forward, layer, d);
        } else {
            job.end = batch->steps;
            job.high = total;
            run_chunk(&job);
        }
        if (indexed && !(segment && segment->steps_before))
            fc_run_parts(fc_table_gradients, &job, scratch.sharing.now);
        if (job.direction[0].dropout)
            fc_run_parts(fc_input_dropout, &job, scratch.sharing.now);
    }
    if (segment && !fc_stopped(&watch))
        fc_carry_seal(stack, batch, segment);
    fc_call_ended();
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}
