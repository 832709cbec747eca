/* Forward through a stack: layer by layer, the time loops of both directions, shared by
 * threads. */
#include "recurrent/stack_forward.h"

#include <string.h>

#include "recurrent/saved.h"
#include "recurrent/sequence.h"
#include "recurrent/sharing.h"
#include "recurrent/stack.h"

/* Scratch of forward, for all layers in turn. */
struct fc_forward_scratch {
    fc_saved inference;             /* plans and memories; not used in training */
    char *table[FC_MAX_DIRECTIONS]; /* [x_rows][input columns]; NULL without an index */
    fc_sharing sharing;
    size_t operand_bytes;
    char *table_operands;                /* [threads][operand_bytes] */
    ptrdiff_t *bound[FC_MAX_DIRECTIONS]; /* [row_parts + 1] */
    fc_loop_scratch *loop;               /* [directions * row_parts * members] */
    fc_barrier *barrier;                 /* [directions * row_parts] */
};

void fc_forward_scratch_layout(fc_forward_scratch *scratch, fc_arena *arena,
                               const fc_stack *stack, const fc_shape *first,
                               const fc_batch *batch, bool training) {
    fc_forward_scratch measured;
    fc_forward_scratch *s = scratch ? scratch : &measured;
    s->sharing = fc_share_most(stack, batch, first, FC_PACK_FORWARD);
    fc_saved_layout(&s->inference, arena, stack, first, batch,
                    batch->steps * batch->rows, 0);
    if (training) /* it was placed for its sizes only; `saved` takes its place */
        arena->used = 0;
    for (int d = 0; d < stack->directions; d++) {
        s->table[d] = batch->index ? fc_take2(arena, (size_t)batch->x_rows,
                                              (size_t)fc_input_columns(first),
                                              first->k->real_size)
                                   : NULL;
        s->bound[d] =
            fc_take(arena, (size_t)s->sharing.row_parts + 1, sizeof(ptrdiff_t));
    }
    size_t tasks = (size_t)(stack->directions * s->sharing.row_parts);
    size_t loops = tasks * (size_t)s->sharing.members;
    s->barrier = fc_take(arena, tasks, sizeof *s->barrier);
    s->loop = fc_take(arena, loops, sizeof *s->loop);
    s->operand_bytes = fc_operand_bytes(first, stack->directions);
    s->table_operands = fc_take(arena, (size_t)s->sharing.threads, s->operand_bytes);
    for (size_t i = 0; i < loops; i++) {
        fc_loop_scratch loop;
        fc_loop_scratch_layout(first, &s->inference.plan[0], true, s->operand_bytes,
                               s->loop ? &s->loop[i] : &loop, arena);
    }
}

/* The job of one layer, for all threads. */
typedef struct layer_job {
    const fc_forward_scratch *scratch;
    int directions;
    fc_direction direction[FC_MAX_DIRECTIONS];
} layer_job;

static void run_table(void *context, int part, int parts) {
    const layer_job *job = context;
    ptrdiff_t rows = job->direction[0].batch->x_rows;
    for (int d = 0; d < job->directions; d++)
        fc_direction_table(
            &job->direction[d], rows * part / parts, rows * (part + 1) / parts,
            job->scratch->table_operands + (size_t)part * job->scratch->operand_bytes);
}

/* With fewer parts than planned, each is alone in its team. */
static void run_rows(void *context, int part, int parts) {
    const layer_job *job = context;
    const fc_forward_scratch *s = job->scratch;
    int rows = s->sharing.row_parts, tasks = job->directions * rows, members = 1;
    if (parts > 1 && parts == tasks * s->sharing.members)
        members = s->sharing.members;
    for (int task = part / members; task < tasks; task += parts / members) {
        const fc_direction *direction = &job->direction[task / rows];
        const ptrdiff_t *bound = s->bound[task / rows] + task % rows;
        fc_team team = {part % members, members, &s->barrier[task]};
        fc_direction_forward(direction, bound[0], bound[1],
                             &s->loop[task * members + team.part], team);
    }
}

/* Sets the arrays of one direction (`which`) of a layer. */
static void set_direction(fc_direction *direction, const fc_stack *stack,
                          const fc_batch *batch, const fc_output *output,
                          fc_saved *saved, int layer, int which) {
    const fc_shape *shape = &direction->shape;
    const fc_states h = fc_states_h(shape), c = fc_states_c(shape);
    size_t out = fc_bytes(shape, shape->out);
    size_t index = (size_t)(layer * stack->directions + which);
    size_t h_at = index * (size_t)batch->rows * fc_state_bytes(&h),
           c_at = index * (size_t)batch->rows * fc_state_bytes(&c);
    ptrdiff_t real = (ptrdiff_t)shape->k->real_size;

    direction->plan = &saved->plan[which];
    direction->batch = batch;
    direction->masks = fc_masks_of(batch, layer * stack->directions + which);
    direction->x =
        layer ? fc_saved_between(saved, batch, layer - 1)
              : (fc_array){(char *)batch->x, batch->x_step * real, batch->x_row * real};
    direction->y =
        layer < stack->layers - 1
            ? fc_saved_between(saved, batch, layer)
            : (fc_array){output->y, output->y_step * real, output->y_row * real};
    if (direction->y.data)
        direction->y.data += (size_t)which * out;
    if (output->cs && layer == stack->layers - 1) {
        direction->cs = (fc_array){(char *)output->cs +
                                       (size_t)which * fc_bytes(shape, shape->units),
                                   output->cs_step * real, output->cs_row * real};
        direction->cs_state = output->cs_state * real;
    }
    direction->added = fc_added(batch, shape, layer, which);
    if (batch->dropout && layer < stack->layers - 1)
        direction->dropout = (const char *)batch->dropout +
                             (size_t)layer * saved->between_layer + (size_t)which * out;
    direction->h0 = batch->h0 ? (const char *)batch->h0 + h_at : NULL;
    direction->c0 = batch->c0 ? (const char *)batch->c0 + c_at : NULL;
    direction->h = output->h ? (char *)output->h + h_at : NULL;
    direction->c = output->c ? (char *)output->c + c_at : NULL;
    fc_saved_memory(saved, shape, layer, which, &direction->memory);
    /* The slot of zeros, which the first step of an episode reads. */
    ptrdiff_t zeros = direction->plan->states;
    fc_set_states(&h, direction->memory.h, NULL, zeros, zeros + 1);
    if (direction->memory.c)
        fc_set_states(&c, direction->memory.c, NULL, zeros, zeros + 1);
    if (direction->memory.dropped)
        fc_set_states(&h, direction->memory.dropped, NULL, zeros, zeros + 1);
}

fc_status fc_forward(const fc_stack *stack, const void *packed, const fc_batch *batch,
                     const fc_output *output, void *saved_memory,
                     void *scratch_memory) {
    ptrdiff_t total;
    fc_shape shape;
    fc_status status = fc_check_batch(stack, batch, &shape, &total);
    if (!status)
        status = fc_check_index(batch);
    if (status)
        return status;
    if (saved_memory && !shape.k->trains)
        return FC_BAD_ARGUMENT;
    if (!output || (fc_reads_x(batch, total) && !batch->x) ||
        (output->y && !fc_rows_are_apart(batch, output->y_step, output->y_row,
                                         stack->directions * shape.out)) ||
        (output->cs &&
         (!output->y || !fc_rows_are_apart(batch, output->cs_step, output->cs_row,
                                           stack->directions * shape.units))))
        return FC_BAD_ARGUMENT;
    status = fc_check_pack(packed, FC_PACK_FORWARD, stack, shape.k);
    if (!status)
        status = fc_check_alignment(scratch_memory);
    if (!status && saved_memory)
        status = fc_check_alignment(saved_memory);
    if (status)
        return status;

    fc_arena arena = fc_arena_at(scratch_memory);
    fc_forward_scratch scratch;
    fc_forward_scratch_layout(&scratch, &arena, stack, &shape, batch,
                              saved_memory != NULL);
    scratch.sharing = fc_share_work(stack, batch, &shape, FC_PACK_FORWARD, total);
    fc_saved training, *saved = &scratch.inference;
    fc_batch kept;
    if (saved_memory) {
        saved = &training;
        fc_saved_begin(saved, saved_memory, stack, &shape, batch, total);
        kept = fc_saved_batch(saved, batch);
        batch = &kept;
    }
    fc_watch watch;
    fc_watch_begin(&watch);
    for (int d = 0; d < stack->directions; d++) {
        saved->plan[d].total = total;
        fc_plan_make(&saved->plan[d], batch, d == 1, &watch);
        fc_plan_split_rows(&saved->plan[d], scratch.sharing.row_parts,
                           scratch.bound[d]);
    }
    size_t tasks = (size_t)(stack->directions * scratch.sharing.row_parts);
    fc_sharing_begin(&scratch.sharing);
    for (int layer = 0; layer < stack->layers && !fc_stopped(&watch); layer++) {
        layer_job job = {.scratch = &scratch, .directions = stack->directions};
        for (int d = 0; d < stack->directions; d++) {
            fc_direction *direction = &job.direction[d];
            fc_shape_of(stack, layer, &direction->shape);
            fc_packed_of(stack, FC_PACK_FORWARD, packed, layer, d, &direction->packed);
            set_direction(direction, stack, batch, output, saved, layer, d);
            direction->watch = &watch;
            direction->table = layer ? NULL : scratch.table[d];
        }
        if (layer == 0 && batch->index)
            fc_run_parts(run_table, &job, scratch.sharing.now);
        memset(scratch.barrier, 0, tasks * sizeof *scratch.barrier);
        fc_run_shared(run_rows, &job, &scratch.sharing, stack->directions);
    }
    if (saved_memory && !fc_stopped(&watch))
        fc_saved_seal(saved, stack, batch);
    fc_call_ended();
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}
