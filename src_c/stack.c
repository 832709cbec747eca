/* A stack: layers one after another, in each of them both directions, rows shared out
 * to threads.  This file holds the checks, the sharing and the packed weights, saved.c
 * what is kept; stack_forward.c and stack_backward.c do the work. */
#include "stack.h"

#include <string.h>

#include "costs.h"

/* FLOP below which a wake-up pays on no machine; one that is awake; in one step, a
 * barrier (costs.h tells what this machine wants beyond those); that are done in less
 * than a time slice. */
enum { WORK_OF_A_THREAD = 1000 * 1000, LEAST_OF_A_THREAD = 250 * 1000 };
enum { BRIEF_WORK = 200 * 1000 * 1000 };
enum { WORK_OF_A_MEMBER = 12 * 1000 };
enum { PACKED_BYTES_OF_A_THREAD = 64 * 1024 };
enum { LEAST_ROWS = 2, ROWS_BEFORE_TEAMS = 4 };

fc_status fc_check_sizes(const fc_stack *stack, const fc_batch *batch,
                         fc_shape *shape) {
    const ptrdiff_t most = PTRDIFF_MAX / 1024;
    ptrdiff_t pairs;
    fc_status status = fc_shape_of(stack, 0, shape);
    if (status)
        return status;
    if (!batch || batch->steps < 0 || batch->rows < 0 || batch->threads < 1 ||
        (batch->index && batch->x_rows < 0))
        return FC_BAD_ARGUMENT;
    if (batch->steps > most || batch->rows > INT32_MAX ||
        __builtin_mul_overflow(batch->steps, batch->rows, &pairs))
        return FC_TOO_LARGE;
    return FC_OK;
}

fc_status fc_check_batch(const fc_stack *stack, const fc_batch *batch, fc_shape *shape,
                         ptrdiff_t *total) {
    fc_status status = fc_check_sizes(stack, batch, shape);
    return status ? status : fc_plan_count(batch, total);
}

/* Either the steps of a row stand within the rows of a step, or the other way round. */
bool fc_rows_are_apart(const fc_batch *batch, ptrdiff_t step, ptrdiff_t row,
                       ptrdiff_t n) {
    const ptrdiff_t most = PTRDIFF_MAX / 16; /* in bytes, too */
    ptrdiff_t steps = batch->steps, rows = batch->rows, extent;
    if (step < -most || step > most || row < -most || row > most)
        return false;
    if (steps < 1 || rows < 1 || n < 1)
        return true;
    step = step < 0 ? -step : step;
    row = row < 0 ? -row : row;
    if (steps == 1 || rows == 1)
        return (steps == 1 || step >= n) && (rows == 1 || row >= n);
    bool rows_within = row < step;
    ptrdiff_t inner = rows_within ? row : step, outer = rows_within ? step : row;
    return inner >= n &&
           !__builtin_mul_overflow(inner, (rows_within ? rows : steps) - 1, &extent) &&
           outer - n >= extent;
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

static double work_of_call(const fc_shape *shape, ptrdiff_t total) {
    return 2.0 * (double)total * (double)fc_input_columns(shape) *
           (double)(shape->in + shape->out);
}

static int thread_count(const fc_batch *batch, const fc_shape *shape, ptrdiff_t total,
                        fc_sharing *sharing) {
    double work = work_of_call(shape, total);
    int useful = (int)((work < 1e9 ? work : 1e9) / LEAST_OF_A_THREAD);
    int threads = batch->threads < useful ? batch->threads : useful > 1 ? useful : 1;
    sharing->small = work / WORK_OF_A_THREAD < threads;
    sharing->brief = work < BRIEF_WORK;
    return threads;
}

/* FLOP of the recurrent product of a step. */
static double work_of_step(const fc_batch *batch, const fc_shape *shape,
                           ptrdiff_t total) {
    double rows = (double)total / (double)(batch->steps ? batch->steps : 1);
    return 2.0 * rows * (double)fc_input_columns(shape) * (double)shape->out;
}

/* Members with `each` FLOP of a step at least. */
static ptrdiff_t members_of(double step, double each, ptrdiff_t most) {
    return step / each < (double)most ? (ptrdiff_t)(step / each) : most;
}

/* That the work of a step occupies on any machine. */
static ptrdiff_t member_count(const fc_batch *batch, const fc_shape *shape,
                              fc_pack_kind kind, ptrdiff_t total) {
    return members_of(work_of_step(batch, shape, total), WORK_OF_A_MEMBER,
                      fc_most_members(shape, kind));
}

/* Of so many, for `parts` threads, those that pay on this one. */
static ptrdiff_t paying_members(const fc_shape *shape, double step, ptrdiff_t most,
                                int parts) {
    if (most > parts)
        most = parts;
    double least =
        most > 1 ? fc_least_of_a_member(step / (double)most, shape->cell->phases) : 0;
    return least > 0 ? members_of(step, least, most) : most;
}

/* Threads of which each has more work than it costs to hand over; and is it also more
 * than to wake them? */
static void weigh_parts(fc_sharing *sharing, double work) {
    double each = work / sharing->threads, least = fc_least_of_a_part(each, true);
    if (least > each)
        sharing->threads = fc_useful_parts(work / least, sharing->threads);
    each = work / sharing->threads;
    if (sharing->threads > 1 && !sharing->small)
        sharing->small = each < fc_least_of_a_part(each, false);
}

fc_sharing fc_share_most(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind) {
    fc_sharing sharing = {.row_parts = 1, .members = 1};
    ptrdiff_t total = batch->steps * batch->rows;
    sharing.threads =
        batch->threads > 1 ? thread_count(batch, shape, total, &sharing) : 1;
    int parts = sharing.threads / stack->directions;
    if (parts < 2)
        return sharing;
    /* Ranges of rows each with a thread, or fewer of them with a team each. */
    ptrdiff_t members = member_count(batch, shape, kind, total);
    ptrdiff_t teams = batch->rows / ROWS_BEFORE_TEAMS;
    members = members < 1 ? 1 : members < parts ? members : parts;
    ptrdiff_t most = (teams < 1 ? 1 : teams) * members;
    if (most < batch->rows / LEAST_ROWS)
        most = batch->rows / LEAST_ROWS;
    sharing.row_parts = most < parts ? (int)most : parts;
    return sharing;
}

fc_sharing fc_share_work(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind, ptrdiff_t total) {
    fc_sharing sharing = {.row_parts = 1, .members = 1};
    sharing.threads = thread_count(batch, shape, total, &sharing);
    sharing.step_flop = work_of_step(batch, shape, total);
    if (sharing.threads > 1)
        weigh_parts(&sharing, work_of_call(shape, total));
    int parts = sharing.threads / stack->directions;
    sharing.why = batch->threads == 1    ? FC_SHARED_ONE_THREAD
                  : sharing.threads == 1 ? FC_SHARED_LITTLE
                                         : FC_SHARED_DIRECTIONS;
    if (parts < 2)
        return sharing;
    ptrdiff_t most_members = member_count(batch, shape, kind, total);
    sharing.why = fc_most_members(shape, kind) > 1 ? FC_SHARED_SHORT : FC_SHARED_NARROW;
    /* Where rows are enough no team is made, whatever it would cost. */
    if (batch->rows < ROWS_BEFORE_TEAMS * (ptrdiff_t)parts)
        most_members = paying_members(shape, sharing.step_flop, most_members, parts);
    /* Few rows make slow products: the weights are read for those alone. */
    ptrdiff_t most = batch->rows / (most_members > 1 ? ROWS_BEFORE_TEAMS : LEAST_ROWS);
    sharing.row_parts = most < 1 ? 1 : most < parts ? (int)most : parts;
    int members = parts / sharing.row_parts;
    if (most_members > 1)
        sharing.members = members < most_members ? members : (int)most_members;
    if (sharing.members > 1)
        sharing.why = FC_SHARED_UNITS;
    else if (sharing.row_parts > 1)
        sharing.why = FC_SHARED_ROWS;
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

fc_status fc_pack_size(const fc_stack *stack, fc_pack_kind kind, size_t *bytes) {
    fc_arena arena = fc_arena_behind_seal(NULL);
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
    fc_arena arena = fc_arena_behind_seal((void *)memory);
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
    fc_arena arena = fc_arena_behind_seal(job->packed);
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
    if (!status && (!weights || threads < 1))
        status = FC_BAD_ARGUMENT;
    if (!status)
        status = fc_check_alignment(packed);
    if (status)
        return status;
    for (int i = 0; i < stack->layers * stack->directions; i++)
        if (!weights[i].w_ih || !weights[i].w_hh ||
            (stack->proj_size && !weights[i].w_hr))
            return FC_BAD_ARGUMENT;
    pack_context job = {stack, kind, weights, packed};
    size_t most = bytes / PACKED_BYTES_OF_A_THREAD;
    int parts = most < 2 ? 1 : most < (size_t)threads ? (int)most : threads;
    memset(packed, 0, sizeof(fc_seal)); /* nobody's, until all is there */
    fc_run_brief_parts(run_pack, &job, parts);
    fc_seal seal = fc_pack_seal(kind, stack, fc_kernels_of(stack->dtype));
    memcpy(packed, &seal, sizeof seal);
    return FC_OK;
}

fc_status fc_scratch_size(const fc_stack *stack, const fc_batch *batch, int training,
                          size_t *bytes) {
    fc_shape shape;
    fc_status status = fc_check_sizes(stack, batch, &shape);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    fc_arena arena = {0};
    if (training == 2)
        fc_backward_scratch_layout(NULL, &arena, stack, &shape, batch);
    else
        fc_forward_scratch_layout(NULL, &arena, stack, &shape, batch, training);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}
