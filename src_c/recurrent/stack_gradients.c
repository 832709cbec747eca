/* Gradients of inputs and weights, after the time loop.
 *
 * Each sum has one order, for any number of threads and any chunks of steps: threads
 * share units and not the sums over pairs; and pairs go from the last to the first, in
 * blocks that begin at multiples of the kernel's block. */
#include "recurrent/stack_gradients.h"

#include <string.h>

#include "recurrent/carry.h"

/* The input part's gradients of pair p. */
static char *x_gradients(const fc_direction *direction, ptrdiff_t p) {
    const fc_shape *shape = &direction->shape;
    return fc_slots(shape, &direction->memory, p, 0) +
           fc_bytes(shape, shape->cell->x_slot * shape->padded);
}

/* The scratch of one part. */
static void *part_scratch(const fc_layer_job *job, int part) {
    return job->scratch->gradient + (size_t)part * job->scratch->gradient_bytes;
}

/* A block of rows for dx = a . W, or dx += a . W: pushed one by one, multiplied at
 * once. */
typedef struct row_block {
    const void *a[128];
    void *out[128];
    ptrdiff_t count;
    void *scratch;
} row_block;

static void flush(row_block *block, const fc_direction *direction, bool accumulate) {
    fc_product product = {.a = block->a,
                          .out = block->out,
                          .rows = block->count,
                          .columns = direction->shape.in,
                          .accumulate = accumulate,
                          .scratch = block->scratch};
    if (!fc_stops(direction->watch, fc_product_work(&direction->shape, block->count,
                                                    direction->shape.in)))
        direction->shape.k->product(&direction->packed.x, &product);
    block->count = 0;
}

static void push(row_block *block, const fc_direction *direction, bool accumulate,
                 const void *a, void *out) {
    block->a[block->count] = a;
    block->out[block->count++] = out;
    if (block->count == 128)
        flush(block, direction, accumulate);
}

/* dx of the part's range of times: the forward direction writes, the reverse one adds.
 */
static void input_gradient(const fc_layer_job *job, int part, int parts) {
    const fc_direction *leader = &job->direction[job->first];
    const fc_plan *plan = leader->plan;
    ptrdiff_t first = fc_plan_split_steps(plan, job->begin, job->end, part, parts);
    ptrdiff_t last = fc_plan_split_steps(plan, job->begin, job->end, part + 1, parts);
    if (job->first == 0 && plan->total < plan->steps * plan->rows)
        for (ptrdiff_t t = first; t < last; t++) /* step t of the forward direction */
            for (ptrdiff_t row = 0; row < plan->rows; row++)
                memset(fc_at(&leader->dx, t, row), 0,
                       fc_bytes(&leader->shape, leader->shape.in));
    for (int d = job->first; d < job->first + job->directions; d++) {
        row_block block = {.scratch = part_scratch(job, part)};
        const fc_direction *direction = &job->direction[d];
        for (ptrdiff_t s = first; s < last; s++) {
            ptrdiff_t t = fc_time(plan, s);
            ptrdiff_t own = fc_time(direction->plan, t); /* its own inverse */
            for (ptrdiff_t p = direction->plan->offset[own];
                 p < direction->plan->offset[own + 1]; p++)
                push(&block, direction, d > 0, x_gradients(direction, p),
                     fc_at(&direction->dx, t, direction->plan->row[p]));
        }
        flush(&block, direction, d > 0);
    }
}

/* The gradient of what was added to the input parts: the gate gradients themselves. */
static void added_gradient(const fc_layer_job *job, int part, int parts) {
    for (int d = job->first; d < job->first + job->directions; d++) {
        const fc_direction *direction = &job->direction[d];
        const fc_shape *shape = &direction->shape;
        const fc_plan *plan = direction->plan;
        size_t units = fc_bytes(shape, shape->units),
               padded = fc_bytes(shape, shape->padded);
        ptrdiff_t first = fc_plan_split_steps(plan, job->begin, job->end, part, parts);
        ptrdiff_t last =
            fc_plan_split_steps(plan, job->begin, job->end, part + 1, parts);
        for (ptrdiff_t s = first; s < last; s++) {
            ptrdiff_t t = fc_time(plan, s), end = plan->offset[s + 1];
            for (ptrdiff_t row = 0;
                 end - plan->offset[s] < plan->rows && row < plan->rows; row++)
                memset(fc_at(&direction->dadded, t, row), 0,
                       (size_t)shape->cell->gates * units);
            for (ptrdiff_t p = plan->offset[s]; p < end; p++) {
                const char *from = x_gradients(direction, p);
                char *to = fc_at(&direction->dadded, t, plan->row[p]);
                for (int j = 0; j < shape->cell->gates; j++, from += padded)
                    memcpy(to + shape->cell->x_gate[j] * units, from, units);
            }
        }
    }
}

/* Where a part of [0, n) begins: at multiples of `grain`. */
static ptrdiff_t share(ptrdiff_t n, ptrdiff_t grain, int part, int parts) {
    ptrdiff_t grains = (n + grain - 1) / grain, at = grains * part / parts * grain;
    return at < n ? at : n;
}

/* A part's units of a weight gradient.  The caller sets the sizes, d, x, out and bias.
 */
static void run_gradient(const fc_layer_job *job, const fc_direction *direction,
                         fc_weight_gradient *g, int part, int parts) {
    const fc_kernels *k = direction->shape.k;
    bool blas = fc_uses_blas(k, job->blas);
    if (!g->out || (blas && part > 0)) /* frozen, or computed by part 0 */
        return;
    if (blas)
        parts = 1;
    g->watch = job->watch;
    g->d_gate = direction->shape.padded;
    g->first_unit = share(g->units, k->lanes, part, parts);
    g->last_unit = share(g->units, k->lanes, part + 1, parts);
    g->scratch = part_scratch(job, part);
    fc_weight_gradient_of(k, job->blas, g);
}

/* The same of an R with heads: each head's units, with the h of that head. */
static void head_gradients(const fc_layer_job *job, const fc_direction *direction,
                           fc_weight_gradient *g, int part, int parts) {
    const fc_shape *shape = &direction->shape;
    ptrdiff_t first = share(g->units, shape->k->lanes, part, parts);
    ptrdiff_t last = share(g->units, shape->k->lanes, part + 1, parts);
    if (!g->out)
        return;
    g->watch = job->watch;
    g->d_gate = shape->padded;
    g->depth = shape->head;
    g->scratch = part_scratch(job, part);
    for (g->first_unit = first; g->first_unit < last; g->first_unit = g->last_unit) {
        ptrdiff_t head = g->first_unit / shape->head;
        g->last_unit = (head + 1) * shape->head;
        if (g->last_unit > last)
            g->last_unit = last;
        g->first_column = head * shape->head;
        shape->k->weight_gradient(g);
    }
}

/* Some pairs: `rows` rows of slots, one below the other, and pointers at their rows of
 * other values. */
typedef struct pair_range {
    char *slots;
    fc_pair_rows at;
    ptrdiff_t rows;
} pair_range;

/* One sum of the cell: gradients of its own parameters, of the part's units. */
static void unit_sums(const fc_layer_job *job, const fc_direction *direction,
                      const pair_range *pairs, const fc_sum *sum,
                      const fc_own_arrays *out, int part, int parts) {
    const fc_shape *shape = &direction->shape;
    int which = 0, vector = sum->to;
    for (; vector >= out->vectors[which]; which++)
        vector -= out->vectors[which];
    if (!out->array[which])
        return;
    fc_unit_sum s = {
        .d = pairs->slots + fc_bytes(shape, sum->slot * shape->padded),
        .d_row = fc_slots_row(shape),
        .d_vector = shape->padded,
        .rows = pairs->rows,
        .vectors = sum->vectors,
        .units = shape->units,
        .first_unit = share(shape->units, shape->k->lanes, part, parts),
        .last_unit = share(shape->units, shape->k->lanes, part + 1, parts),
        .out = (char *)out->array[which] + fc_bytes(shape, vector * shape->units),
    };
    if (sum->factor == FC_BY_SLOT)
        s.by_slot = pairs->slots + fc_bytes(shape, sum->by_slot * shape->padded);
    else if (sum->factor != FC_BY_ONE)
        s.by_row = sum->factor == FC_BY_C        ? pairs->at.c
                   : sum->factor == FC_BY_C_PREV ? pairs->at.c_prev
                                                 : pairs->at.h_prev;
    if (!fc_stops(job->watch,
                  sum->vectors * pairs->rows * (s.last_unit - s.first_unit)))
        shape->k->unit_sum(&s);
}

static void weight_gradients(const fc_layer_job *job, int d, const pair_range *pairs,
                             int part, int parts) {
    const fc_direction *direction = &job->direction[d];
    const fc_shape *shape = &direction->shape;
    const fc_cell *cell = shape->cell;
    const fc_gradients *out = &job->gradients[d];
    fc_weight_gradient g = {.d_row = fc_slots_row(shape), .rows = pairs->rows};
    if (!direction->dtable) {
        g.d = pairs->slots + fc_bytes(shape, cell->x_slot * shape->padded);
        g.x = pairs->at.x;
        g.depth = shape->in;
        g.gates = cell->gates;
        g.gate_order = cell->x_gate;
        g.units = shape->units;
        g.out = out->w_ih;
        g.bias = cell->own_biases ? NULL : out->b_ih;
        run_gradient(job, direction, &g, part, parts);
    }
    for (int i = 0; i < cell->phases; i++) {
        const fc_phase *phase = &cell->phase[i];
        unsigned char order[FC_MAX_GATES];
        for (int j = 0; j < phase->gates; j++)
            order[j] = (unsigned char)(phase->first_gate + j);
        if (phase->gates == 0)
            continue;
        g.d = pairs->slots + fc_bytes(shape, phase->slot * shape->padded);
        g.x = phase->from_middle ? pairs->at.middle : pairs->at.h_prev;
        g.depth = fc_operand_units(shape, phase);
        g.gates = phase->gates;
        g.gate_order = order;
        g.units = fc_phase_units(shape, phase);
        g.out = phase->projects ? out->w_hr : out->w_hh;
        g.bias = phase->projects || cell->own_biases ? NULL : out->b_hh;
        if (shape->heads > 1)
            head_gradients(job, direction, &g, part, parts);
        else
            run_gradient(job, direction, &g, part, parts);
    }
    if (cell->sums == 0)
        return;
    const fc_own_arrays own =
        fc_own_arrays_of(cell, out->b_ih, out->b_hh, (const void *const *)out->own);
    for (int i = 0; i < cell->sums; i++)
        unit_sums(job, direction, pairs, &cell->sum[i], &own, part, parts);
}

/* Weight gradients of the pairs that are due: those in the carry, then those in place.
 */
static void due_gradients(const fc_layer_job *job, int d, int part, int parts) {
    const fc_direction *direction = &job->direction[d];
    const fc_pair_rows *pairs = &job->scratch->pairs[d];
    if (job->waiting) {
        pair_range waiting = {job->carry->slots, job->carry->at, job->waiting};
        weight_gradients(job, d, &waiting, part, parts);
    }
    if (job->high == job->low)
        return;
    pair_range range = {
        .slots = fc_slots(&direction->shape, &direction->memory, job->low, 0),
        .at = {pairs->x + job->low, pairs->h_prev + job->low, pairs->middle + job->low,
               pairs->c_prev ? pairs->c_prev + job->low : NULL,
               pairs->c ? pairs->c + job->low : NULL},
        .rows = job->high - job->low,
    };
    weight_gradients(job, d, &range, part, parts);
}

void fc_pair_gradients(void *context, int part, int parts) {
    const fc_layer_job *job = context;
    const fc_direction *direction = &job->direction[job->first];
    if (direction->dx.data && !direction->dtable)
        input_gradient(job, part, parts);
    if (direction->dadded.data)
        added_gradient(job, part, parts);
    for (int d = job->first; job->gradients && d < job->first + job->directions; d++)
        due_gradients(job, d, part, parts);
}

void fc_clear_table(void *context, int part, int parts) {
    const fc_layer_job *job = context;
    for (int d = job->first; d < job->first + job->directions; d++) {
        const fc_direction *direction = &job->direction[d];
        size_t row_bytes =
            fc_bytes(&direction->shape, fc_input_columns(&direction->shape));
        ptrdiff_t rows = direction->batch->x_rows, first = rows * part / parts,
                  last = rows * (part + 1) / parts;
        for (; first < last && !fc_stops(direction->watch, (int64_t)row_bytes); first++)
            memset(direction->dtable + (size_t)first * row_bytes, 0, row_bytes);
    }
}

/* dtable[index] += the input part's gradient of each pair, in order: threads share
 * columns. */
void fc_scatter(void *context, int part, int parts) {
    const fc_layer_job *job = context;
    for (int d = job->first; d < job->first + job->directions; d++) {
        const fc_direction *direction = &job->direction[d];
        const fc_shape *shape = &direction->shape;
        const fc_plan *plan = direction->plan;
        ptrdiff_t columns = fc_input_columns(shape);
        ptrdiff_t first = share(columns, shape->k->lanes, part, parts);
        ptrdiff_t count = share(columns, shape->k->lanes, part + 1, parts) - first;
        size_t row_bytes = fc_bytes(shape, columns), skip = fc_bytes(shape, first);
        for (ptrdiff_t s = job->end - 1; s >= job->begin; s--) {
            const int32_t *index =
                direction->batch->index + fc_time(plan, s) * direction->batch->rows;
            if (fc_stops(direction->watch,
                         count * (plan->offset[s + 1] - plan->offset[s])))
                return;
            for (ptrdiff_t p = plan->offset[s + 1] - 1; p >= plan->offset[s]; p--)
                shape->k->add(direction->dtable +
                                  (size_t)index[plan->row[p]] * row_bytes + skip,
                              x_gradients(direction, p) + skip, count);
        }
    }
}

void fc_table_gradients(void *context, int part, int parts) {
    const fc_layer_job *job = context;
    ptrdiff_t rows = job->direction[0].batch->x_rows;
    for (int d = 0; d < job->directions; d++) {
        const fc_direction *direction = &job->direction[d];
        const fc_shape *shape = &direction->shape;
        row_block block = {.scratch = part_scratch(job, part)};
        size_t columns = fc_bytes(shape, fc_input_columns(shape));
        ptrdiff_t first = direction->dx.data ? rows * part / parts : 0,
                  last = direction->dx.data ? rows * (part + 1) / parts : 0;
        for (ptrdiff_t row = first; row < last; row++)
            push(&block, direction, d > 0, direction->dtable + (size_t)row * columns,
                 direction->dx.data + row * direction->dx.row);
        flush(&block, direction, d > 0);
        if (!job->gradients)
            continue;
        fc_weight_gradient g = {
            .d = direction->dtable,
            .d_row = fc_input_columns(shape),
            .rows = rows,
            .x = job->scratch->table_x,
            .depth = shape->in,
            .gates = shape->cell->gates,
            .gate_order = shape->cell->x_gate,
            .units = shape->units,
            .out = job->gradients[d].w_ih,
            .bias = shape->cell->own_biases ? NULL : job->gradients[d].b_ih};
        run_gradient(job, direction, &g, part, parts);
    }
}

void fc_input_dropout(void *context, int part, int parts) {
    const fc_layer_job *job = context;
    const fc_direction *direction = &job->direction[0];
    ptrdiff_t steps = direction->plan->steps, first = steps * part / parts;
    size_t skip = (size_t)(first * direction->dx.step);
    ptrdiff_t count = (steps * (part + 1) / parts - first) * direction->plan->rows *
                      direction->shape.in;
    direction->shape.k->multiply(direction->dx.data + skip, direction->dx.data + skip,
                                 direction->dropout + skip, count);
}
