/* Backward, layer by layer from the last: the time loops of both directions, rows
 * shared out; then the gradients of inputs and weights as large products over all
 * pairs, steps and units shared out.  Every sum runs in one order for any number of
 * threads. */
#include <string.h>

#include "blas.h"
#include "stack.h"

/* Rows of all pairs of one direction, as pointers. */
typedef struct pair_rows {
    const void **x, **h_prev, **middle;
} pair_rows;

struct fc_backward_scratch {
    fc_sharing sharing;
    ptrdiff_t *bound[FC_MAX_DIRECTIONS];
    fc_loop_scratch *loop; /* [directions * row_parts * members] */
    fc_barrier *barrier;   /* [directions * row_parts] */
    char *state_dh[FC_MAX_DIRECTIONS], *state_dc[FC_MAX_DIRECTIONS],
        *state_dmiddle[FC_MAX_DIRECTIONS];
    pair_rows pairs[FC_MAX_DIRECTIONS];
    char *between; /* gradient of a layer's input, then of the layer below's output */
    char *dtable[FC_MAX_DIRECTIONS];
    const void **table_x; /* rows of x behind the index */
    char *gradient;       /* [threads][gradient_bytes] */
    size_t gradient_bytes;
};

void fc_backward_scratch_layout(fc_backward_scratch *scratch, fc_arena *arena,
                                const fc_stack *stack, const fc_batch *batch,
                                ptrdiff_t total) {
    fc_backward_scratch measured;
    fc_backward_scratch *s = scratch ? scratch : &measured;
    fc_shape shape;
    fc_shape_of(stack, 0, &shape);
    size_t real = shape.k->real_size, rows = (size_t)batch->rows;
    ptrdiff_t widest = stack->directions * shape.out;
    widest = widest > shape.in ? widest : shape.in;
    widest = widest > shape.units ? widest : shape.units;

    s->sharing = fc_share_work(stack, batch, &shape, FC_PACK_BACKWARD, total);
    fc_plan plan = {.steps = batch->steps, .rows = batch->rows, .total = total};
    for (int d = 0; d < stack->directions; d++) {
        s->bound[d] =
            fc_take(arena, (size_t)s->sharing.row_parts + 1, sizeof(ptrdiff_t));
        s->state_dh[d] = fc_take2(arena, rows, (size_t)shape.out_padded, real);
        s->state_dc[d] = fc_take2(arena, rows, (size_t)shape.padded, real);
        s->state_dmiddle[d] = fc_take2(arena, rows, (size_t)shape.padded, real);
        s->pairs[d].x = fc_take(arena, (size_t)total, sizeof(void *));
        s->pairs[d].h_prev = fc_take(arena, (size_t)total, sizeof(void *));
        s->pairs[d].middle = fc_take(arena, (size_t)total, sizeof(void *));
        s->dtable[d] = batch->index ? fc_take2(arena, (size_t)batch->x_rows,
                                               (size_t)fc_input_columns(&shape), real)
                                    : NULL;
    }
    s->table_x =
        batch->index ? fc_take(arena, (size_t)batch->x_rows, sizeof(void *)) : NULL;
    size_t tasks = (size_t)(stack->directions * s->sharing.row_parts);
    size_t loops = tasks * (size_t)s->sharing.members;
    s->barrier = fc_take(arena, tasks, sizeof *s->barrier);
    s->loop = fc_take(arena, loops, sizeof *s->loop);
    size_t operand_bytes = fc_operand_bytes(&shape, stack->directions);
    for (size_t i = 0; i < loops; i++) {
        fc_loop_scratch loop;
        fc_loop_scratch_layout(&shape, &plan, false, operand_bytes,
                               s->loop ? &s->loop[i] : &loop, arena);
    }
    if (stack->layers > 1)
        s->between = fc_take2(arena, (size_t)(batch->steps * batch->rows),
                              (size_t)(stack->directions * shape.out), real);
    s->gradient_bytes = shape.k->trains ? shape.k->weight_gradient_scratch(widest) : 0;
    if (s->gradient_bytes < operand_bytes) /* the products of dx use it too */
        s->gradient_bytes = operand_bytes;
    s->gradient_bytes =
        (s->gradient_bytes + FC_ALIGNMENT - 1) / FC_ALIGNMENT * FC_ALIGNMENT;
    s->gradient = fc_take(arena, (size_t)s->sharing.threads, s->gradient_bytes);
}

typedef struct layer_job {
    const fc_backward_scratch *scratch;
    int directions;
    fc_pass pass[FC_MAX_DIRECTIONS];
    const fc_gradients *gradients; /* [directions], or NULL */
    const fc_blas *blas;
} layer_job;

/* With fewer parts than were planned, each is alone in its team. */
static void run_rows(void *context, int part, int parts) {
    const layer_job *job = context;
    const fc_backward_scratch *s = job->scratch;
    int rows = s->sharing.row_parts, tasks = job->directions * rows, members = 1;
    if (parts > 1 && parts == tasks * s->sharing.members)
        members = s->sharing.members;
    for (int task = part / members; task < tasks; task += parts / members) {
        const fc_pass *pass = &job->pass[task / rows];
        const ptrdiff_t *bound = s->bound[task / rows] + task % rows;
        fc_team team = {part % members, members, &s->barrier[task]};
        fc_pass_backward(pass, bound[0], bound[1], &s->loop[task * members + team.part],
                         team);
    }
}

/* The input part's gradients of pair p. */
static char *x_gradients(const fc_pass *pass, ptrdiff_t p) {
    const fc_shape *shape = &pass->shape;
    return pass->memory.slots + (size_t)p * fc_slots_bytes(shape) +
           fc_bytes(shape, shape->cell->x_slot * shape->padded);
}

static void *part_scratch(const layer_job *job, int part) {
    return job->scratch->gradient + (size_t)part * job->scratch->gradient_bytes;
}

/* dx (+)= rows a . W, a block of rows at a time. */
typedef struct row_block {
    const void *a[128];
    void *out[128];
    ptrdiff_t count;
    void *scratch;
} row_block;

static void flush(row_block *block, const fc_pass *pass, bool accumulate) {
    fc_product product = {.a = block->a,
                          .out = block->out,
                          .rows = block->count,
                          .columns = pass->shape.in,
                          .accumulate = accumulate,
                          .scratch = block->scratch};
    pass->shape.k->product(&pass->packed.x, &product);
    block->count = 0;
}

static void push(row_block *block, const fc_pass *pass, bool accumulate, const void *a,
                 void *out) {
    block->a[block->count] = a;
    block->out[block->count++] = out;
    if (block->count == 128)
        flush(block, pass, accumulate);
}

/* dx of the part's times: the forward direction writes, the reverse one adds. */
static void input_gradient(const layer_job *job, int part, int parts) {
    const fc_pass *pass = &job->pass[0];
    const fc_plan *plan = pass->plan;
    ptrdiff_t first = fc_plan_split_steps(plan, part, parts);
    ptrdiff_t last = fc_plan_split_steps(plan, part + 1, parts);
    if (plan->total < plan->steps * plan->rows)
        for (ptrdiff_t t = first; t < last; t++)
            for (ptrdiff_t row = 0; row < plan->rows; row++)
                memset(fc_at(&pass->dx, t, row), 0,
                       fc_bytes(&pass->shape, pass->shape.in));
    for (int d = 0; d < job->directions; d++) {
        row_block block = {.scratch = part_scratch(job, part)};
        pass = &job->pass[d];
        plan = pass->plan;
        for (ptrdiff_t t = first; t < last; t++) {
            ptrdiff_t s = fc_time(plan, t); /* its own inverse */
            for (ptrdiff_t p = plan->offset[s]; p < plan->offset[s + 1]; p++)
                push(&block, pass, d > 0, x_gradients(pass, p),
                     fc_at(&pass->dx, t, plan->row[p]));
        }
        flush(&block, pass, d > 0);
    }
}

/* The same where x is indexed: gate gradients are already summed per row of x. */
static void table_gradient(const layer_job *job, int part, int parts) {
    ptrdiff_t rows = job->pass[0].batch->x_rows;
    for (int d = 0; d < job->directions; d++) {
        row_block block = {.scratch = part_scratch(job, part)};
        const fc_pass *pass = &job->pass[d];
        size_t columns = fc_bytes(&pass->shape, fc_input_columns(&pass->shape));
        for (ptrdiff_t row = rows * part / parts; row < rows * (part + 1) / parts;
             row++)
            push(&block, pass, d > 0, pass->dtable + (size_t)row * columns,
                 pass->dx.data + row * pass->dx.row);
        flush(&block, pass, d > 0);
    }
}

/* Share [0, n) among parts at multiples of `grain`. */
static ptrdiff_t share(ptrdiff_t n, ptrdiff_t grain, int part, int parts) {
    ptrdiff_t grains = (n + grain - 1) / grain, at = grains * part / parts * grain;
    return at < n ? at : n;
}

static void weight_gradients(const layer_job *job, int d, int part, int parts) {
    const fc_pass *pass = &job->pass[d];
    const fc_shape *shape = &pass->shape;
    const fc_cell *cell = shape->cell;
    const fc_gradients *out = &job->gradients[d];
    const pair_rows *pairs = &job->scratch->pairs[d];
    ptrdiff_t lanes = shape->k->lanes;
    fc_weight_gradient g = {
        .d = pass->dtable ? pass->dtable : x_gradients(pass, 0),
        .d_row = pass->dtable ? fc_input_columns(shape) : fc_slots_row(shape),
        .d_gate = shape->padded,
        .x = pass->dtable ? job->scratch->table_x : pairs->x,
        .rows = pass->dtable ? pass->batch->x_rows : pass->plan->total,
        .depth = shape->in,
        .gates = cell->gates,
        .gate_order = cell->x_gate,
        .units = shape->units,
        .first_unit = share(shape->units, lanes, part, parts),
        .last_unit = share(shape->units, lanes, part + 1, parts),
        .out = out->w_ih,
        .bias = out->b_ih,
        .scratch = part_scratch(job, part),
    };
    fc_weight_gradient_of(shape->k, job->blas, &g);
    for (int i = 0; i < cell->phases; i++) {
        const fc_phase *phase = &cell->phase[i];
        unsigned char order[FC_MAX_GATES];
        for (int j = 0; j < phase->gates; j++)
            order[j] = (unsigned char)(phase->first_gate + j);
        g.d = pass->memory.slots + fc_bytes(shape, phase->slot * shape->padded);
        g.d_row = fc_slots_row(shape);
        g.x = phase->from_middle ? pairs->middle : pairs->h_prev;
        g.rows = pass->plan->total;
        g.depth = fc_operand_units(shape, phase);
        g.gates = phase->gates;
        g.gate_order = order;
        g.units = fc_phase_units(shape, phase);
        g.first_unit = share(g.units, lanes, part, parts);
        g.last_unit = share(g.units, lanes, part + 1, parts);
        g.out = phase->projects ? out->w_hr : out->w_hh;
        g.bias = phase->projects ? NULL : out->b_hh;
        fc_weight_gradient_of(shape->k, job->blas, &g);
    }
}

static void run_gradients(void *context, int part, int parts) {
    const layer_job *job = context;
    if (job->pass[0].dx.data) {
        if (job->pass[0].dtable)
            table_gradient(job, part, parts);
        else
            input_gradient(job, part, parts);
    }
    bool blas = fc_uses_blas(job->pass[0].shape.k, job->blas);
    if (!job->gradients || (blas && part > 0))
        return;
    for (int d = 0; d < job->directions; d++)
        weight_gradients(job, d, part, blas ? 1 : parts);
}

/* dtable[index] += the input part's gradients: columns shared out, pairs in order. */
static void run_scatter(void *context, int part, int parts) {
    const layer_job *job = context;
    for (int d = 0; d < job->directions; d++) {
        const fc_pass *pass = &job->pass[d];
        const fc_shape *shape = &pass->shape;
        const fc_batch *batch = pass->batch;
        const fc_plan *plan = pass->plan;
        ptrdiff_t columns = fc_input_columns(shape);
        ptrdiff_t first = share(columns, shape->k->lanes, part, parts);
        ptrdiff_t count = share(columns, shape->k->lanes, part + 1, parts) - first;
        size_t row_bytes = fc_bytes(shape, columns), skip = fc_bytes(shape, first);
        for (ptrdiff_t i = 0; i < batch->x_rows; i++)
            memset(pass->dtable + (size_t)i * row_bytes + skip, 0,
                   fc_bytes(shape, count));
        for (ptrdiff_t s = 0; s < plan->steps; s++) {
            const int32_t *index = batch->index + fc_time(plan, s) * batch->rows;
            for (ptrdiff_t p = plan->offset[s]; p < plan->offset[s + 1]; p++)
                shape->k->add(pass->dtable + (size_t)index[plan->row[p]] * row_bytes +
                                  skip,
                              x_gradients(pass, p) + skip, count);
        }
    }
}

static void run_dropout(void *context, int part, int parts) {
    const layer_job *job = context;
    const fc_pass *pass = &job->pass[0];
    ptrdiff_t steps = pass->plan->steps, first = steps * part / parts;
    size_t skip = (size_t)(first * pass->dx.step);
    ptrdiff_t count =
        (steps * (part + 1) / parts - first) * pass->plan->rows * pass->shape.in;
    pass->shape.k->multiply(pass->dx.data + skip, pass->dx.data + skip,
                            pass->dropout + skip, count);
}

static void point_at_pairs(const fc_pass *pass, pair_rows *pairs) {
    const fc_shape *shape = &pass->shape;
    const fc_plan *plan = pass->plan;
    for (ptrdiff_t s = 0; s < plan->steps; s++) {
        ptrdiff_t t = fc_time(plan, s);
        for (ptrdiff_t p = plan->offset[s]; p < plan->offset[s + 1]; p++) {
            pairs->x[p] = fc_at(&pass->x, t, plan->row[p]);
            pairs->h_prev[p] = pass->memory.h + (size_t)plan->previous[p] *
                                                    fc_bytes(shape, shape->out_padded);
            if (pass->memory.middle)
                pairs->middle[p] =
                    pass->memory.middle + (size_t)p * fc_bytes(shape, shape->padded);
        }
    }
}

static void set_pass(fc_pass *pass, const fc_stack *stack, const fc_batch *batch,
                     const fc_backward_io *io, const fc_saved *saved,
                     const fc_backward_scratch *s, int layer, int direction) {
    const fc_shape *shape = &pass->shape;
    size_t out = fc_bytes(shape, shape->out), units = fc_bytes(shape, shape->units);
    size_t index = (size_t)(layer * stack->directions + direction);
    size_t h_at = index * (size_t)batch->rows * out,
           c_at = index * (size_t)batch->rows * units;
    ptrdiff_t real = (ptrdiff_t)shape->k->real_size;
    fc_array below = {s->between, (ptrdiff_t)saved->between_row * batch->rows,
                      (ptrdiff_t)saved->between_row};

    pass->plan = &saved->plan[direction];
    pass->batch = batch;
    pass->x =
        layer ? fc_saved_between(saved, batch, layer - 1)
              : (fc_array){(char *)batch->x, batch->x_step * real, batch->x_row * real};
    pass->dy = layer < stack->layers - 1
                   ? below
                   : (fc_array){(char *)io->dy, io->dy_step * real, io->dy_row * real};
    if (pass->dy.data)
        pass->dy.data += (size_t)direction * out;
    pass->dx =
        layer ? below : (fc_array){io->dx, io->dx_step * real, io->dx_row * real};
    if (layer == 0 && batch->index) {
        pass->dx.row = (ptrdiff_t)fc_bytes(shape, shape->in);
        pass->dtable = s->dtable[direction];
    }
    if (batch->dropout && layer) /* of this layer's input */
        pass->dropout =
            (const char *)batch->dropout + (size_t)(layer - 1) * saved->between_layer;
    pass->dh = io->dh ? (const char *)io->dh + h_at : NULL;
    pass->dc = io->dc ? (const char *)io->dc + c_at : NULL;
    pass->dh0 = io->dh0 ? (char *)io->dh0 + h_at : NULL;
    pass->dc0 = io->dc0 ? (char *)io->dc0 + c_at : NULL;
    pass->state_dh = s->state_dh[direction];
    pass->state_dc = s->state_dc[direction];
    pass->state_dmiddle = s->state_dmiddle[direction];
    fc_saved_memory(saved, shape, layer, direction, &pass->memory);
}

fc_status fc_backward(const fc_stack *stack, const void *packed, const fc_batch *batch,
                      const fc_backward_io *io, void *saved_memory,
                      void *scratch_memory) {
    ptrdiff_t total;
    fc_status status = fc_check_batch(stack, batch, &total);
    if (!status)
        status = fc_check_index(batch);
    if (status)
        return status;
    if (!fc_kernels_of(stack->dtype)->trains)
        return FC_BAD_ARGUMENT;
    if (!packed || !io || !saved_memory || !scratch_memory ||
        (fc_reads_x(batch, total) && !batch->x) ||
        (batch->steps && batch->rows && !io->dy))
        return FC_BAD_ARGUMENT;
    for (int i = 0; io->weights && i < stack->layers * stack->directions; i++)
        if (!io->weights[i].w_ih || !io->weights[i].w_hh ||
            (stack->proj_size && !io->weights[i].w_hr))
            return FC_BAD_ARGUMENT;

    fc_arena arena = fc_arena_at(scratch_memory), kept = fc_arena_at(saved_memory);
    fc_backward_scratch scratch = {0};
    fc_saved saved;
    fc_backward_scratch_layout(&scratch, &arena, stack, batch, total);
    fc_saved_layout(&saved, &kept, stack, batch, total, true);
    for (int d = 0; d < stack->directions; d++) {
        saved.plan[d].reverse = d == 1;
        fc_plan_split_rows(&saved.plan[d], scratch.sharing.row_parts, scratch.bound[d]);
    }
    size_t tasks = (size_t)(stack->directions * scratch.sharing.row_parts);
    fc_sharing_begin(&scratch.sharing);
    for (int layer = stack->layers - 1; layer >= 0; layer--) {
        layer_job job = {
            .scratch = &scratch, .directions = stack->directions, .blas = io->blas};
        if (io->weights)
            job.gradients = io->weights + layer * stack->directions;
        for (int d = 0; d < stack->directions; d++) {
            fc_pass *pass = &job.pass[d];
            fc_shape_of(stack, layer, &pass->shape);
            fc_packed_of(stack, FC_PACK_BACKWARD, packed, layer, d, &pass->packed);
            set_pass(pass, stack, batch, io, &saved, &scratch, layer, d);
            point_at_pairs(pass, &scratch.pairs[d]);
        }
        memset(scratch.barrier, 0, tasks * sizeof *scratch.barrier);
        fc_run_shared(run_rows, &job, &scratch.sharing, stack->directions);
        if (job.pass[0].dtable) {
            for (ptrdiff_t i = 0; i < batch->x_rows; i++)
                scratch.table_x[i] = job.pass[0].x.data + i * job.pass[0].x.row;
            fc_run_parts(run_scatter, &job, scratch.sharing.now);
        }
        fc_run_parts(run_gradients, &job, scratch.sharing.now);
        if (job.pass[0].dropout)
            fc_run_parts(run_dropout, &job, scratch.sharing.now);
    }
    fc_call_ended();
    return FC_OK;
}
