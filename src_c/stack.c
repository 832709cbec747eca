/* A stack: layers one after another, in each of them both directions, rows shared out
 * to threads.  This file holds the memory map; stack_forward.c and stack_backward.c
 * do the work. */
#include "stack.h"

#include <string.h>

/* FLOP below which a wake-up does not pay; one that is awake; in one step, a barrier;
 * that are done in less than a time slice. */
enum { WORK_OF_A_THREAD = 1000 * 1000, LEAST_OF_A_THREAD = 250 * 1000 };
enum { BRIEF_WORK = 200 * 1000 * 1000 };
enum { WORK_OF_A_MEMBER = 12 * 1000 };
enum { PACKED_BYTES_OF_A_THREAD = 64 * 1024 };
enum { LEAST_ROWS = 2, ROWS_BEFORE_TEAMS = 4 };

fc_status fc_check_batch(const fc_stack *stack, const fc_batch *batch,
                         ptrdiff_t *total) {
    const ptrdiff_t most = PTRDIFF_MAX / 1024;
    fc_shape shape;
    fc_status status = fc_shape_of(stack, 0, &shape);
    if (status)
        return status;
    if (!batch || batch->steps < 0 || batch->rows < 0 || batch->threads < 1 ||
        (batch->index && batch->x_rows < 0))
        return FC_BAD_ARGUMENT;
    if (batch->steps > most || batch->rows > most)
        return FC_TOO_LARGE;
    return fc_plan_count(batch, total);
}

bool fc_reads_x(const fc_batch *batch, ptrdiff_t total) {
    return total || (batch->index && batch->x_rows);
}

fc_status fc_check_index(const fc_batch *batch) {
    for (ptrdiff_t t = 0; batch->index && t < batch->steps; t++)
        for (ptrdiff_t row = 0; row < batch->rows; row++) {
            int32_t index = batch->index[t * batch->rows + row];
            if ((index < 0 || index >= batch->x_rows) && fc_active(batch, t, row))
                return FC_BAD_INDEX;
        }
    return FC_OK;
}

static int thread_count(const fc_batch *batch, const fc_shape *shape, ptrdiff_t total,
                        fc_sharing *sharing) {
    double work = 2.0 * (double)total * (double)fc_input_columns(shape) *
                  (double)(shape->in + shape->out);
    int useful = (int)(work < 1e9 ? work / LEAST_OF_A_THREAD : 1000);
    int threads = batch->threads < useful ? batch->threads : useful > 1 ? useful : 1;
    sharing->small = work / WORK_OF_A_THREAD < threads;
    sharing->brief = work < BRIEF_WORK;
    return threads;
}

fc_sharing fc_share_work(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind, ptrdiff_t total) {
    fc_sharing sharing = {.row_parts = 1, .members = 1};
    sharing.threads = thread_count(batch, shape, total, &sharing);
    int parts = sharing.threads / stack->directions;
    if (parts < 2)
        return sharing;
    double rows = (double)total / (double)batch->steps; /* active, of a step */
    double step_work =
        2.0 * rows * (double)fc_input_columns(shape) * (double)shape->out;
    ptrdiff_t most_members = fc_most_members(shape, kind);
    if (step_work / WORK_OF_A_MEMBER < (double)most_members)
        most_members = (ptrdiff_t)(step_work / WORK_OF_A_MEMBER);
    /* Few rows make slow products: the weights are read for those alone. */
    ptrdiff_t most = batch->rows / (most_members > 1 ? ROWS_BEFORE_TEAMS : LEAST_ROWS);
    sharing.row_parts = most < 1 ? 1 : most < parts ? (int)most : parts;
    int members = parts / sharing.row_parts;
    if (most_members > 1)
        sharing.members = members < most_members ? members : (int)most_members;
    return sharing;
}

void fc_sharing_begin(fc_sharing *sharing) {
    sharing->now = sharing->small && !fc_calls_are_frequent() ? 1 : sharing->threads;
    if (sharing->brief)
        sharing->now = fc_parts_of_brief_work(sharing->now);
}

void fc_run_shared(fc_part_fn *fn, void *context, const fc_sharing *sharing,
                   int directions) {
    int tasks = directions * sharing->row_parts;
    if (sharing->now == 1)
        fn(context, 0, 1);
    else if (sharing->members > 1)
        fc_run_team(fn, context, tasks * sharing->members);
    else
        fc_run_parts(fn, context, tasks < sharing->threads ? tasks : sharing->threads);
}

/* What training keeps: plans, states and slots of each pass, outputs between layers. */
void fc_saved_layout(fc_saved *saved, fc_arena *arena, const fc_stack *stack,
                     const fc_batch *batch, ptrdiff_t total, bool kept) {
    fc_shape shape;
    for (int d = 0; d < stack->directions; d++)
        fc_plan_layout(&saved->plan[d], arena, batch, total, kept);
    fc_shape_of(stack, 0, &shape);
    saved->between_row = fc_bytes(&shape, stack->directions * shape.out);
    size_t pairs = (size_t)(batch->steps * batch->rows);
    saved->between = fc_take2(arena, pairs,
                              (size_t)(kept                ? stack->layers - 1
                                       : stack->layers > 1 ? 2
                                                           : 0),
                              saved->between_row);
    saved->between_layer = pairs * saved->between_row;
    saved->passes = arena->base ? arena->base + arena->used : NULL;
    size_t before = arena->used;
    fc_memory memory;
    for (int d = 0; d < stack->directions; d++)
        fc_memory_layout(&shape, &saved->plan[d], &memory, arena);
    saved->layer_bytes = arena->used - before;
    if (kept) /* memory of a pass does not depend on its layer */
        fc_take2(arena, (size_t)(stack->layers - 1), 1, saved->layer_bytes);
}

void fc_saved_memory(const fc_saved *saved, const fc_shape *shape, int layer,
                     int direction, fc_memory *memory) {
    fc_arena arena = {.base = saved->passes};
    arena.used = (saved->plan[0].kept ? (size_t)layer : 0) * saved->layer_bytes;
    for (int d = 0; d <= direction; d++)
        fc_memory_layout(shape, &saved->plan[d], memory, &arena);
}

fc_array fc_saved_between(const fc_saved *saved, const fc_batch *batch, int layer) {
    int slot = saved->plan[0].kept ? layer : layer & 1;
    return (fc_array){.data = saved->between + (size_t)slot * saved->between_layer,
                      .step = (ptrdiff_t)saved->between_row * batch->rows,
                      .row = (ptrdiff_t)saved->between_row};
}

fc_status fc_pack_size(const fc_stack *stack, fc_pack_kind kind, size_t *bytes) {
    fc_arena arena = {0};
    fc_shape shape;
    fc_status status = fc_shape_of(stack, 0, &shape);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    for (int layer = 0; layer < stack->layers && !arena.failed; layer++) {
        fc_packed packed;
        fc_shape_of(stack, layer, &shape);
        for (int d = 0; d < stack->directions; d++)
            fc_packed_layout(&shape, kind, &packed, &arena);
    }
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

fc_status fc_packed_of(const fc_stack *stack, fc_pack_kind kind, const void *memory,
                       int layer, int direction, fc_packed *packed) {
    fc_arena arena = fc_arena_at((void *)memory);
    for (int l = 0; l <= layer; l++) {
        fc_shape shape;
        fc_status status = fc_shape_of(stack, l, &shape);
        if (status)
            return status;
        for (int d = 0; d < (l < layer ? stack->directions : direction + 1); d++)
            fc_packed_layout(&shape, kind, packed, &arena);
    }
    return FC_OK;
}

typedef struct pack_context {
    const fc_stack *stack;
    fc_pack_kind kind;
    const fc_weights *weights;
    void *packed;
} pack_context;

static void run_pack(void *context, int part, int parts) {
    const pack_context *job = context;
    const fc_weights *weights = job->weights;
    fc_arena arena = fc_arena_at(job->packed);
    for (int layer = 0; layer < job->stack->layers; layer++) {
        fc_shape shape;
        fc_packed layout;
        fc_shape_of(job->stack, layer, &shape);
        for (int d = 0; d < job->stack->directions; d++, weights++) {
            fc_packed_layout(&shape, job->kind, &layout, &arena);
            fc_pack_weights(&shape, job->kind, &layout, weights, part, parts);
        }
    }
}

fc_status fc_pack(const fc_stack *stack, fc_pack_kind kind, const fc_weights *weights,
                  void *packed, int threads) {
    size_t bytes;
    fc_status status = fc_pack_size(stack, kind, &bytes);
    if (!status && (!weights || !packed || threads < 1))
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    for (int i = 0; i < stack->layers * stack->directions; i++)
        if (!weights[i].w_ih || !weights[i].w_hh ||
            (stack->proj_size && !weights[i].w_hr))
            return FC_BAD_ARGUMENT;
    pack_context job = {stack, kind, weights, packed};
    size_t most = bytes / PACKED_BYTES_OF_A_THREAD;
    int parts = most < 2 ? 1 : most < (size_t)threads ? (int)most : threads;
    fc_run_brief_parts(run_pack, &job, parts);
    return FC_OK;
}

fc_status fc_saved_size(const fc_stack *stack, const fc_batch *batch, size_t *bytes) {
    ptrdiff_t total;
    fc_status status = fc_check_batch(stack, batch, &total);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    fc_arena arena = {0};
    fc_saved saved;
    fc_saved_layout(&saved, &arena, stack, batch, total, true);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

fc_status fc_scratch_size(const fc_stack *stack, const fc_batch *batch, int training,
                          size_t *bytes) {
    ptrdiff_t total;
    fc_status status = fc_check_batch(stack, batch, &total);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    fc_arena arena = {0};
    if (training == 2)
        fc_backward_scratch_layout(NULL, &arena, stack, batch, total);
    else
        fc_forward_scratch_layout(NULL, &arena, stack, batch, total, training);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}
