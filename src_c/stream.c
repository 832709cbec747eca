/* Streaming: one step of every layer, states in the caller's memory, nothing planned,
 * nothing allocated. */
#include <string.h>

#include "pass.h"

/* One layer of `rows` streams.  h has two sides: a step reads one and writes the other
 * (all units of h_{t-1} are needed until the last tile); c is updated in place. */
typedef struct layer_stream {
    char *h[2];
    char *c;
    char *middle, *slots, *input_parts, *row_buffer, *operands;
} layer_stream;

typedef struct stream {
    int64_t *side;   /* of h that holds the state */
    void **pointers; /* [6][rows] */
    fc_arena arena;
} stream;

static stream stream_at(fc_arena arena, ptrdiff_t rows) {
    stream s;
    s.side = fc_take(&arena, 1, sizeof *s.side);
    s.pointers = fc_take2(&arena, 6, (size_t)rows, sizeof(void *));
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

/* Copy one state between the padded rows of a stream and contiguous (rows, n). */
static void set_state(const fc_shape *shape, char *to, ptrdiff_t padded,
                      const char *from, ptrdiff_t n, ptrdiff_t rows) {
    memset(to, 0, fc_bytes(shape, padded * rows));
    for (ptrdiff_t row = 0; from && row < rows; row++)
        memcpy(to + fc_bytes(shape, row * padded), from + fc_bytes(shape, row * n),
               fc_bytes(shape, n));
}
static void get_state(const fc_shape *shape, const char *from, ptrdiff_t padded,
                      char *to, ptrdiff_t n, ptrdiff_t rows) {
    for (ptrdiff_t row = 0; to && row < rows; row++)
        memcpy(to + fc_bytes(shape, row * n), from + fc_bytes(shape, row * padded),
               fc_bytes(shape, n));
}

fc_status fc_stream_set(const fc_stack *stack, ptrdiff_t rows, void *memory,
                        const void *h, const void *c) {
    fc_status status = check(stack, rows, memory);
    if (status)
        return status;
    stream s = stream_at(fc_arena_at(memory), rows);
    *s.side = 0;
    for (int l = 0; l < stack->layers; l++) {
        fc_shape shape;
        fc_shape_of(stack, l, &shape);
        layer_stream layer = next_layer(&s, &shape, rows);
        set_state(&shape, layer.h[0], shape.out_padded,
                  h ? (const char *)h + fc_bytes(&shape, l * rows * shape.out) : NULL,
                  shape.out, rows);
        if (layer.c)
            set_state(&shape, layer.c, shape.padded,
                      c ? (const char *)c + fc_bytes(&shape, l * rows * shape.units)
                        : NULL,
                      shape.units, rows);
    }
    return FC_OK;
}

fc_status fc_stream_get(const fc_stack *stack, ptrdiff_t rows, const void *memory,
                        void *h, void *c) {
    fc_status status = check(stack, rows, memory);
    if (status)
        return status;
    stream s = stream_at(fc_arena_at((void *)memory), rows);
    for (int l = 0; l < stack->layers; l++) {
        fc_shape shape;
        fc_shape_of(stack, l, &shape);
        layer_stream layer = next_layer(&s, &shape, rows);
        get_state(&shape, layer.h[*s.side], shape.out_padded,
                  h ? (char *)h + fc_bytes(&shape, l * rows * shape.out) : NULL,
                  shape.out, rows);
        if (layer.c)
            get_state(&shape, layer.c, shape.padded,
                      c ? (char *)c + fc_bytes(&shape, l * rows * shape.units) : NULL,
                      shape.units, rows);
    }
    return FC_OK;
}

/* Point at `rows` consecutive rows of `bytes` bytes. */
static void point(void **to, const char *data, size_t bytes, ptrdiff_t rows) {
    for (ptrdiff_t row = 0; row < rows; row++)
        to[row] = (void *)(data + (size_t)row * bytes);
}

static void step_layer(const fc_shape *shape, const fc_packed *packed,
                       const layer_stream *layer, int64_t side, void **pointers,
                       ptrdiff_t rows, const char *x, size_t x_bytes) {
    const fc_cell *cell = shape->cell;
    ptrdiff_t columns = cell->gates * shape->padded;
    void **input = pointers, **h_prev = input + rows, **h = h_prev + rows,
         **c = h + rows, **middle = c + rows, **saved = middle + rows;

    /* The rows of x borrow the places of h_prev until the product is made. */
    point(h_prev, x, x_bytes, rows);
    point(input, layer->input_parts, fc_bytes(shape, columns), rows);
    fc_product product = {.a = (const void *const *)h_prev,
                          .out = input,
                          .rows = rows,
                          .columns = columns,
                          .scratch = layer->operands};
    shape->k->product(&packed->x, &product);

    point(h_prev, layer->h[side], fc_bytes(shape, shape->out_padded), rows);
    point(h, layer->h[!side], fc_bytes(shape, shape->out_padded), rows);
    if (layer->c)
        point(c, layer->c, fc_bytes(shape, shape->padded), rows);
    if (layer->middle)
        point(middle, layer->middle, fc_bytes(shape, shape->padded), rows);
    if (layer->slots)
        point(saved, layer->slots, fc_bytes(shape, cell->slots * shape->padded), rows);
    fc_tile tile = {
        .rows = rows,
        .input = (const void *const *)input,
        .h_prev = (const void *const *)h_prev,
        .h = h,
        .c_prev = layer->c ? (const void *const *)c : NULL,
        .c = layer->c ? c : NULL,
        .middle = layer->middle ? middle : NULL,
        .saved = layer->slots ? saved : NULL,
        .slot = shape->padded,
    };
    for (int i = 0; i < cell->phases; i++) {
        fc_step_job job = {
            .cell = cell,
            .phase = i,
            .row_buffer = layer->row_buffer,
            .scratch = layer->operands,
            .a = (const void *const *)(cell->phase[i].from_middle ? middle : h_prev),
            .t = &tile,
        };
        shape->k->step(&packed->phase[i], &job);
    }
}

fc_status fc_stream_step(const fc_stack *stack, const void *packed_memory,
                         ptrdiff_t rows, const void *x, void *y, void *memory) {
    fc_status status = check(stack, rows, memory);
    if (!status && (!packed_memory || (rows && (!x || !y))))
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    stream s = stream_at(fc_arena_at(memory), rows);
    fc_arena packed_arena = fc_arena_at((void *)packed_memory);
    int64_t side = *s.side;
    const char *below = x;
    size_t below_bytes = 0;
    for (int l = 0; l < stack->layers; l++) {
        fc_shape shape;
        fc_packed packed;
        fc_shape_of(stack, l, &shape);
        fc_packed_layout(&shape, FC_PACK_FORWARD, &packed, &packed_arena);
        layer_stream layer = next_layer(&s, &shape, rows);
        if (l == 0)
            below_bytes = fc_bytes(&shape, shape.in);
        step_layer(&shape, &packed, &layer, side, s.pointers, rows, below, below_bytes);
        below = layer.h[!side];
        below_bytes = fc_bytes(&shape, shape.out_padded);
        if (l == stack->layers - 1)
            get_state(&shape, below, shape.out_padded, y, shape.out, rows);
    }
    *s.side = !side;
    return FC_OK;
}
