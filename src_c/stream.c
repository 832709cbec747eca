/* Streaming: one step of every layer, states in the caller's memory, nothing planned,
 * nothing allocated. */
#include <string.h>

#include "pass.h"
#include "pool.h"

/* Some of the streams; `which` NULL: all of them, in order. */
typedef struct selection {
    const int64_t *which;
    ptrdiff_t count;
} selection;

static ptrdiff_t selected(const selection *some, ptrdiff_t i) {
    return some->which ? (ptrdiff_t)some->which[i] : i;
}

/* One layer of `rows` streams.  h has two sides: a step reads one and writes the other
 * (all units of h_{t-1} are needed until the last tile); c is updated in place. */
typedef struct layer_stream {
    char *h[2];
    char *c;
    char *middle, *slots, *input_parts, *row_buffer, *operands;
} layer_stream;

enum { POINTERS = 6 };

typedef struct stream {
    uint8_t *side;   /* [rows] of h that holds the state */
    uint8_t *seen;   /* [rows] zeros between calls */
    void **pointers; /* [POINTERS][rows] */
    fc_arena arena;
} stream;

static stream stream_at(fc_arena arena, ptrdiff_t rows) {
    stream s;
    s.side = fc_take(&arena, (size_t)rows, 1);
    s.seen = fc_take(&arena, (size_t)rows, 1);
    s.pointers = fc_take2(&arena, POINTERS, (size_t)rows, sizeof(void *));
    s.arena = arena;
    return s;
}

/* The next layer's memory. */
static layer_stream next_layer(stream *s, const fc_shape *shape, ptrdiff_t rows) {
    const fc_cell *cell = shape->cell;
    size_t real = shape->k->real_size, n = (size_t)rows;
    layer_stream layer = {0};
    for (int side = 0; side < 2; side++)
        layer.h[side] = fc_take2(&s->arena, n, (size_t)shape->out_padded, real);
    if (cell->states > 1)
        layer.c = fc_take2(&s->arena, n, (size_t)shape->padded, real);
    if (cell->has_middle)
        layer.middle = fc_take2(&s->arena, n, (size_t)shape->padded, real);
    if (cell->phases > 1)
        layer.slots =
            fc_take2(&s->arena, n, (size_t)(cell->slots * shape->padded), real);
    layer.input_parts =
        fc_take2(&s->arena, n, (size_t)(cell->gates * shape->padded), real);
    if (cell->whole_row)
        layer.row_buffer = fc_take2(&s->arena, FC_MAX_ROWS,
                                    (size_t)(cell->gates * shape->padded), real);
    layer.operands = fc_take(&s->arena, 1, fc_operand_bytes(shape, 1));
    return layer;
}

static fc_status check(const fc_stack *stack, ptrdiff_t rows, const void *memory) {
    fc_shape shape;
    fc_status status = fc_shape_of(stack, 0, &shape);
    if (!status && (stack->directions != 1 || rows < 0 || !memory))
        status = FC_BAD_ARGUMENT;
    return status;
}

/* Every stream once at most. */
static fc_status check_selection(const selection *some, ptrdiff_t rows, stream *s) {
    if (some->count < 0 || (!some->which && some->count && some->count != rows))
        return FC_BAD_ARGUMENT;
    if (!some->which)
        return FC_OK;
    ptrdiff_t good = 0;
    for (; good < some->count; good++) {
        int64_t row = some->which[good];
        if (row < 0 || row >= rows || s->seen[row])
            break;
        s->seen[row] = 1;
    }
    for (ptrdiff_t i = 0; i < good; i++)
        s->seen[some->which[i]] = 0;
    return good < some->count ? FC_BAD_INDEX : FC_OK;
}

fc_status fc_stream_size(const fc_stack *stack, ptrdiff_t rows, size_t *bytes) {
    fc_status status = check(stack, rows, bytes);
    if (status)
        return status;
    stream s = stream_at((fc_arena){0}, rows);
    for (int layer = 0; layer < stack->layers && !s.arena.failed; layer++) {
        fc_shape shape;
        fc_shape_of(stack, layer, &shape);
        next_layer(&s, &shape, rows);
    }
    *bytes = fc_arena_bytes(&s.arena);
    return s.arena.failed ? FC_TOO_LARGE : FC_OK;
}

static void set_state(const fc_shape *shape, char *to, ptrdiff_t padded,
                      const char *from, ptrdiff_t n) {
    if (from)
        memcpy(to, from, fc_bytes(shape, n));
    memset(to + (from ? fc_bytes(shape, n) : 0), 0,
           fc_bytes(shape, padded - (from ? n : 0)));
}

static void set_states(const fc_stack *stack, ptrdiff_t rows, const selection *some,
                       stream s, const char *h, const char *c) {
    for (ptrdiff_t i = 0; i < some->count; i++)
        s.side[selected(some, i)] = 0;
    for (int l = 0; l < stack->layers; l++) {
        fc_shape shape;
        fc_shape_of(stack, l, &shape);
        layer_stream layer = next_layer(&s, &shape, rows);
        for (ptrdiff_t i = 0; i < some->count; i++) {
            ptrdiff_t row = selected(some, i), at = l * some->count + i;
            set_state(&shape, layer.h[0] + fc_bytes(&shape, row * shape.out_padded),
                      shape.out_padded, h ? h + fc_bytes(&shape, at * shape.out) : NULL,
                      shape.out);
            if (layer.c)
                set_state(&shape, layer.c + fc_bytes(&shape, row * shape.padded),
                          shape.padded,
                          c ? c + fc_bytes(&shape, at * shape.units) : NULL,
                          shape.units);
        }
    }
}

static void get_states(const fc_stack *stack, ptrdiff_t rows, const selection *some,
                       stream s, char *h, char *c) {
    for (int l = 0; l < stack->layers; l++) {
        fc_shape shape;
        fc_shape_of(stack, l, &shape);
        layer_stream layer = next_layer(&s, &shape, rows);
        for (ptrdiff_t i = 0; i < some->count; i++) {
            ptrdiff_t row = selected(some, i), at = l * some->count + i;
            if (h)
                memcpy(h + fc_bytes(&shape, at * shape.out),
                       layer.h[s.side[row]] + fc_bytes(&shape, row * shape.out_padded),
                       fc_bytes(&shape, shape.out));
            if (c && layer.c)
                memcpy(c + fc_bytes(&shape, at * shape.units),
                       layer.c + fc_bytes(&shape, row * shape.padded),
                       fc_bytes(&shape, shape.units));
        }
    }
}

/* Checks the arguments of a call for some streams, and finds their memory. */
static fc_status open_some(const fc_stack *stack, ptrdiff_t rows, void *memory,
                           const selection *some, stream *s) {
    fc_status status = check(stack, rows, memory);
    if (status)
        return status;
    *s = stream_at(fc_arena_at(memory), rows);
    return check_selection(some, rows, s);
}

fc_status fc_stream_set_some(const fc_stack *stack, ptrdiff_t rows, void *memory,
                             const int64_t *which, ptrdiff_t count, const void *h,
                             const void *c) {
    selection some = {which, count};
    stream s;
    fc_status status = open_some(stack, rows, memory, &some, &s);
    if (!status)
        set_states(stack, rows, &some, s, h, c);
    return status;
}

fc_status fc_stream_get_some(const fc_stack *stack, ptrdiff_t rows, void *memory,
                             const int64_t *which, ptrdiff_t count, void *h, void *c) {
    selection some = {which, count};
    stream s;
    fc_status status = open_some(stack, rows, memory, &some, &s);
    if (!status)
        get_states(stack, rows, &some, s, h, c);
    return status;
}

fc_status fc_stream_set(const fc_stack *stack, ptrdiff_t rows, void *memory,
                        const void *h, const void *c) {
    return fc_stream_set_some(stack, rows, memory, NULL, rows, h, c);
}

fc_status fc_stream_get(const fc_stack *stack, ptrdiff_t rows, const void *memory,
                        void *h, void *c) {
    return fc_stream_get_some(stack, rows, (void *)memory, NULL, rows, h, c);
}

/* A step of the streams number `first` to `last`-1 of a selection. */
typedef struct step_job {
    const fc_stack *stack;
    const void *packed;
    ptrdiff_t rows;
    selection some;
    stream s;
    const char *x;
    char *y;
} step_job;

/* Point at the memory of each stream, or, with `some` NULL, at consecutive rows. */
static void point(void **to, const char *data, size_t bytes, const selection *some,
                  ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t i = first; i < last; i++)
        to[i] = (void *)(data + (size_t)(some ? selected(some, i) : i) * bytes);
}

static void step_layer(const step_job *job, const fc_shape *shape,
                       const fc_packed *packed, const layer_stream *layer,
                       const char *x, ptrdiff_t first, ptrdiff_t last) {
    const fc_cell *cell = shape->cell;
    const selection *some = &job->some;
    ptrdiff_t columns = cell->gates * shape->padded, rows = job->rows;
    size_t h_row = fc_bytes(shape, shape->out_padded);
    void **input = job->s.pointers, **h_prev = input + rows, **h = h_prev + rows,
         **c = h + rows, **middle = c + rows, **saved = middle + rows;

    /* The rows of x borrow the places of h_prev until the product is made. */
    if (x) {
        point(h_prev, x, fc_bytes(shape, shape->in), NULL, first, last);
    } else {
        for (ptrdiff_t i = first; i < last; i++)
            h_prev[i] = h[i]; /* what the layer below has just written */
    }
    point(input, layer->input_parts, fc_bytes(shape, columns), some, first, last);
    fc_product product = {.a = (const void *const *)h_prev + first,
                          .out = input + first,
                          .rows = last - first,
                          .columns = columns,
                          .scratch = layer->operands};
    shape->k->product(&packed->x, &product);

    for (ptrdiff_t i = first; i < last; i++) {
        ptrdiff_t row = selected(some, i);
        int side = job->s.side[row];
        h_prev[i] = layer->h[side] + (size_t)row * h_row;
        h[i] = layer->h[!side] + (size_t)row * h_row;
    }
    if (layer->c)
        point(c, layer->c, fc_bytes(shape, shape->padded), some, first, last);
    if (layer->middle)
        point(middle, layer->middle, fc_bytes(shape, shape->padded), some, first, last);
    if (layer->slots)
        point(saved, layer->slots, fc_bytes(shape, cell->slots * shape->padded), some,
              first, last);
    fc_tile tile = {
        .rows = last - first,
        .input = (const void *const *)input + first,
        .h_prev = (const void *const *)h_prev + first,
        .h = h + first,
        .c_prev = layer->c ? (const void *const *)c + first : NULL,
        .c = layer->c ? c + first : NULL,
        .middle = layer->middle ? middle + first : NULL,
        .saved = layer->slots ? saved + first : NULL,
        .slot = shape->padded,
    };
    for (int i = 0; i < cell->phases; i++) {
        const fc_phase *phase = &cell->phase[i];
        fc_step_job step = {
            .cell = cell,
            .phase = i,
            .row_buffer = layer->row_buffer,
            .scratch = layer->operands,
            .a = (const void *const *)(phase->from_middle ? middle : h_prev) + first,
            .t = &tile,
        };
        shape->k->step(&packed->phase[i], &step);
    }
}

static void run_step(void *context, int part, int parts) {
    const step_job *job = context;
    ptrdiff_t first = job->some.count * part / parts,
              last = job->some.count * (part + 1) / parts;
    fc_arena packed_arena = fc_arena_at((void *)job->packed);
    stream s = job->s;
    fc_shape shape;
    for (int l = 0; l < job->stack->layers; l++) {
        fc_packed packed;
        fc_shape_of(job->stack, l, &shape);
        fc_packed_layout(&shape, FC_PACK_FORWARD, &packed, &packed_arena);
        layer_stream layer = next_layer(&s, &shape, job->rows);
        step_layer(job, &shape, &packed, &layer, l ? NULL : job->x, first, last);
    }
    size_t y_row = fc_bytes(&shape, shape.out);
    void **h = job->s.pointers + 2 * job->rows;
    for (ptrdiff_t i = first; i < last; i++) {
        memcpy(job->y + (size_t)i * y_row, h[i], y_row);
        job->s.side[selected(&job->some, i)] ^= 1;
    }
}

fc_status fc_stream_step(const fc_stack *stack, const void *packed, ptrdiff_t rows,
                         const void *x, void *y, void *memory) {
    fc_status status = check(stack, rows, memory);
    if (!status && (!packed || (rows && (!x || !y))))
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    step_job job = {
        stack, packed, rows, {NULL, rows}, stream_at(fc_arena_at(memory), rows), x, y};
    if (rows)
        run_step(&job, 0, 1);
    return FC_OK;
}

/* One part where operands need scratch, which there is once. */
static int useful_parts(const fc_stack *stack, ptrdiff_t count, int threads) {
    enum { LEAST_ROWS = 8, LEAST_WORK = 1000 * 1000 };
    fc_shape shape;
    fc_shape_of(stack, 0, &shape);
    double work = 2.0 * (double)count * stack->layers * shape.cell->gates *
                  (double)shape.padded * (double)(shape.in + shape.out);
    ptrdiff_t most = count / LEAST_ROWS;
    if (work / LEAST_WORK < (double)most)
        most = (ptrdiff_t)(work / LEAST_WORK);
    if (fc_operand_bytes(&shape, 1) || shape.cell->whole_row || most < 2)
        return 1;
    return fc_parts_of_brief_work(most < threads ? (int)most : threads);
}

fc_status fc_stream_step_some(const fc_stack *stack, const void *packed, ptrdiff_t rows,
                              const int64_t *which, ptrdiff_t count, const void *x,
                              void *y, void *memory, int threads) {
    step_job job = {.stack = stack,
                    .packed = packed,
                    .rows = rows,
                    .some = {which, count},
                    .x = x,
                    .y = y};
    fc_status status = open_some(stack, rows, memory, &job.some, &job.s);
    if (!status && (!packed || threads < 1 || (count && (!x || !y))))
        status = FC_BAD_ARGUMENT;
    if (!status && count)
        fc_run_parts(run_step, &job, useful_parts(stack, count, threads));
    return status;
}
