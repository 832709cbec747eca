/* The dense layer and softmax cross-entropy, with the kernels and threads of recurrent
 * layers. */
#include <string.h>

#include "runtime/arena.h"
#include "runtime/blas.h"
#include "runtime/cache.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"
#include "runtime/seal.h"
#include "runtime/watch.h"

enum { ROWS_OF_A_PART = 16, BLOCK = 128, WORK_OF_A_LOGIT = 64 };

/* Pointers to the rows of x, and the scratch of each part. */
typedef struct linear_scratch {
    const void **x_rows;
    char *parts;
    size_t part_bytes;
} linear_scratch;

typedef struct linear_job {
    const fc_kernels *k;
    ptrdiff_t in, out, rows;
    fc_panels panels;
    const char *x, *dy;
    char *y, *dx, *dw, *db;
    linear_scratch scratch;
    const fc_blas *blas;
    fc_watch *watch;
} linear_job;

static fc_status check(fc_dtype dtype, ptrdiff_t in, ptrdiff_t out, ptrdiff_t rows) {
    if ((dtype != FC_F32 && dtype != FC_F64) || in < 0 || out < 1 || rows < 0)
        return FC_BAD_ARGUMENT;
    ptrdiff_t reals;
    if (in > FC_MOST_ON_AXIS || out > FC_MOST_ON_AXIS ||
        __builtin_mul_overflow(rows, in > out ? in : out, &reals) ||
        reals > PTRDIFF_MAX / 1024)
        return FC_TOO_LARGE;
    return FC_OK;
}

static fc_status check_layer(const fc_linear *layer, ptrdiff_t rows) {
    return layer ? check(layer->dtype, layer->in, layer->out, rows) : FC_BAD_ARGUMENT;
}

static fc_seal seal_of(const fc_linear *layer, fc_pack_kind kind) {
    const fc_stack sizes = {
        .dtype = layer->dtype, .input_size = layer->in, .hidden_size = layer->out};
    return fc_seal_of(kind == FC_PACK_FORWARD ? FC_SEAL_LINEAR_FORWARD
                                              : FC_SEAL_LINEAR_BACKWARD,
                      &sizes, fc_kernels_of(layer->dtype), 0);
}

static fc_status check_pack(const void *packed, const fc_linear *layer,
                            fc_pack_kind kind) {
    fc_seal expected = seal_of(layer, kind);
    return fc_check_seal(packed, &expected);
}

/* The panels in `packed`; for NULL, their size only.  Forward: depth I, columns O.
 * Backward: depth O, columns I. */
static fc_panels layout(const fc_kernels *k, const fc_linear *layer, fc_pack_kind kind,
                        const void *packed, fc_arena *arena) {
    *arena = fc_arena_behind_seal((void *)packed);
    bool forward = kind == FC_PACK_FORWARD;
    ptrdiff_t columns = forward ? layer->out : layer->in;
    fc_panels panels = {.depth = forward ? layer->in : layer->out,
                        .vectors = (columns + k->lanes - 1) / k->lanes,
                        .width = k->panel,
                        .near_bytes = fc_near_bytes()};
    panels.k = panels.depth;
    size_t padded = (size_t)(panels.vectors * k->lanes);
    panels.data = fc_take2(arena, padded, (size_t)panels.depth, k->real_size);
    if (forward)
        panels.bias = fc_take(arena, padded, k->real_size);
    return panels;
}

fc_status fc_linear_pack_size(const fc_linear *layer, fc_pack_kind kind,
                              size_t *bytes) {
    fc_status status = check_layer(layer, 0);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    fc_arena arena;
    layout(fc_kernels_of(layer->dtype), layer, kind, NULL, &arena);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

fc_status fc_linear_pack(const fc_linear *layer, fc_pack_kind kind, const void *w,
                         const void *b, void *packed) {
    fc_status status = check_layer(layer, 0);
    if (!status && layer->in && !w)
        status = FC_BAD_ARGUMENT;
    if (!status)
        status = fc_check_alignment(packed);
    if (status)
        return status;
    const fc_kernels *k = fc_kernels_of(layer->dtype);
    ptrdiff_t in = layer->in, out = layer->out;
    bool forward = kind == FC_PACK_FORWARD;
    fc_arena arena;
    fc_panels panels = layout(k, layer, kind, packed, &arena);
    memset(packed, 0, sizeof(fc_seal)); /* invalid until all is packed */
    ptrdiff_t columns = forward ? out : in;
    ptrdiff_t whole = columns / k->lanes / panels.width * panels.width; /* full */
    size_t vector_bytes = (size_t)(panels.depth * k->lanes) * k->real_size;
    memset((char *)panels.data + (size_t)whole * vector_bytes, 0,
           (size_t)(panels.vectors - whole) * vector_bytes);
    if (forward)
        memset((void *)panels.bias, 0,
               (size_t)(panels.vectors * k->lanes) * k->real_size);
    for (ptrdiff_t vector = 0; vector < panels.vectors; vector++) {
        ptrdiff_t first = vector * k->lanes;
        ptrdiff_t here = columns - first < k->lanes ? columns - first : k->lanes;
        fc_columns from = {.data = (const char *)w + (size_t)first *
                                                         (forward ? (size_t)in : 1) *
                                                         k->real_size,
                           .k_stride = forward ? 1 : in,
                           .lane_stride = forward ? in : 1,
                           .lanes = here,
                           .count_k = panels.k};
        k->pack(&panels, vector, &from);
    }
    if (forward && b)
        memcpy((void *)panels.bias, b, (size_t)out * k->real_size);
    fc_seal seal = seal_of(layer, kind);
    memcpy(packed, &seal, sizeof seal);
    return FC_OK;
}

/* Rows first .. last-1 of out = a . panels. */
static void product_rows(const linear_job *l, const char *a, char *out, ptrdiff_t first,
                         ptrdiff_t last) {
    bool forward = a == l->x;
    ptrdiff_t columns = forward ? l->out : l->in;
    const void *a_rows[BLOCK];
    void *out_rows[BLOCK];
    while (first < last) {
        ptrdiff_t rows = last - first < BLOCK ? last - first : BLOCK;
        for (ptrdiff_t i = 0; i < rows; i++) {
            a_rows[i] = a + (size_t)((first + i) * l->panels.depth) * l->k->real_size;
            out_rows[i] = out + (size_t)((first + i) * columns) * l->k->real_size;
        }
        fc_product product = {
            .a = a_rows, .out = out_rows, .rows = rows, .columns = columns};
        if (fc_stops(l->watch, (int64_t)(2 * rows) * l->in * l->out))
            return;
        l->k->product(&l->panels, &product);
        first += rows;
    }
}

static int useful_parts(ptrdiff_t rows, int threads) {
    return fc_useful_parts((double)rows / ROWS_OF_A_PART, threads);
}

static void run_forward(void *context, int part, int parts) {
    const linear_job *l = context;
    product_rows(l, l->x, l->y, l->rows * part / parts, l->rows * (part + 1) / parts);
}

fc_status fc_linear_forward(const fc_linear *layer, const void *packed, ptrdiff_t rows,
                            const void *x, void *y, int threads) {
    fc_status status = check_layer(layer, rows);
    if (!status && (threads < 1 || (rows && ((layer->in && !x) || !y))))
        status = FC_BAD_ARGUMENT;
    if (!status)
        status = check_pack(packed, layer, FC_PACK_FORWARD);
    if (status)
        return status;
    linear_job l = {.k = fc_kernels_of(layer->dtype),
                    .in = layer->in,
                    .out = layer->out,
                    .rows = rows,
                    .x = x,
                    .y = y};
    fc_arena arena;
    l.panels = layout(l.k, layer, FC_PACK_FORWARD, packed, &arena);
    fc_watch watch;
    fc_watch_begin(&watch);
    l.watch = &watch;
    fc_run_brief_parts(run_forward, &l, useful_parts(rows, threads));
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}

static linear_scratch scratch_layout(const fc_kernels *k, ptrdiff_t in, ptrdiff_t rows,
                                     int threads, fc_arena *arena) {
    linear_scratch s = {.x_rows = fc_take(arena, (size_t)rows, sizeof(void *))};
    size_t bytes = k->weight_gradient_scratch(in);
    s.part_bytes = (bytes + FC_ALIGNMENT - 1) / FC_ALIGNMENT * FC_ALIGNMENT;
    s.parts = fc_take(arena, (size_t)useful_parts(rows, threads), s.part_bytes);
    return s;
}

fc_status fc_linear_scratch_size(const fc_linear *layer, ptrdiff_t rows, int threads,
                                 size_t *bytes) {
    fc_status status = check_layer(layer, rows);
    if (!status && (threads < 1 || !bytes))
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    fc_arena arena = {0};
    scratch_layout(fc_kernels_of(layer->dtype), layer->in, rows, threads, &arena);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

static void run_backward(void *context, int part, int parts) {
    static const unsigned char only_gate[] = {0};
    const linear_job *l = context;
    if (l->dx)
        product_rows(l, l->dy, l->dx, l->rows * part / parts,
                     l->rows * (part + 1) / parts);
    bool blas = fc_uses_blas(l->k, l->blas);
    if (!l->dw || (blas && part > 0))
        return;
    if (blas)
        parts = 1;
    ptrdiff_t grain = l->k->lanes, grains = (l->out + grain - 1) / grain;
    ptrdiff_t first = grains * part / parts * grain,
              last = grains * (part + 1) / parts * grain;
    fc_weight_gradient g = {
        .d = l->dy,
        .d_row = l->out,
        .x = l->scratch.x_rows,
        .rows = l->rows,
        .depth = l->in,
        .gates = 1,
        .gate_order = only_gate,
        .units = l->out,
        .first_unit = first < l->out ? first : l->out,
        .last_unit = last < l->out ? last : l->out,
        .out = l->dw,
        .bias = l->db,
        .scratch = l->scratch.parts + (size_t)part * l->scratch.part_bytes,
        .watch = l->watch,
    };
    fc_weight_gradient_of(l->k, l->blas, &g);
}

fc_status fc_linear_backward(const fc_linear *layer, const void *packed, ptrdiff_t rows,
                             const fc_linear_backward_io *io, void *scratch,
                             int threads) {
    fc_status status = check_layer(layer, rows);
    if (!status && (threads < 1 || !io || (rows && ((layer->in && !io->x) || !io->dy))))
        status = FC_BAD_ARGUMENT;
    if (!status)
        status = check_pack(packed, layer, FC_PACK_BACKWARD);
    if (!status)
        status = fc_check_alignment(scratch);
    if (status)
        return status;
    linear_job l = {.k = fc_kernels_of(layer->dtype),
                    .in = layer->in,
                    .out = layer->out,
                    .rows = rows,
                    .dy = io->dy,
                    .dx = io->dx,
                    .dw = io->dw,
                    .db = io->db,
                    .blas = io->blas};
    fc_arena packed_arena, arena = fc_arena_at(scratch);
    l.panels = layout(l.k, layer, FC_PACK_BACKWARD, packed, &packed_arena);
    l.scratch = scratch_layout(l.k, l.in, rows, threads, &arena);
    for (ptrdiff_t row = 0; row < rows; row++)
        l.scratch.x_rows[row] =
            (const char *)io->x + (size_t)(row * l.in) * l.k->real_size;
    fc_watch watch;
    fc_watch_begin(&watch);
    l.watch = &watch;
    fc_run_brief_parts(run_backward, &l, useful_parts(rows, threads));
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}

typedef struct loss_job {
    const fc_kernels *k;
    const fc_softmax_loss *of;
    double *loss;
    char *dlogits;
    fc_watch *watch;
} loss_job;

static void run_loss(void *context, int part, int parts) {
    const loss_job *job = context;
    const fc_softmax_loss *of = job->of;
    size_t row_bytes = (size_t)of->n * job->k->real_size;
    for (ptrdiff_t row = of->rows * part / parts; row < of->rows * (part + 1) / parts;
         row++) {
        if (fc_stops(job->watch, WORK_OF_A_LOGIT * of->n))
            return;
        char *dlogits = job->dlogits + (size_t)row * row_bytes;
        if (of->targets[row] == of->ignore_index) {
            job->loss[row] = 0;
            memset(dlogits, 0, row_bytes);
        } else {
            job->loss[row] = job->k->cross_entropy(
                (const char *)of->logits + (size_t)row * row_bytes, of->n,
                (ptrdiff_t)of->targets[row], of->smoothing, of->scale, dlogits);
        }
    }
}

fc_status fc_cross_entropy(const fc_softmax_loss *problem, double *loss, void *dlogits,
                           int threads) {
    if (!problem)
        return FC_BAD_ARGUMENT;
    ptrdiff_t rows = problem->rows, n = problem->n;
    fc_status status = check(problem->dtype, 0, n, rows);
    if (!status && (threads < 1 || (rows && (!problem->logits || !problem->targets ||
                                             !loss || !dlogits))))
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    for (ptrdiff_t row = 0; row < rows; row++) {
        int64_t target = problem->targets[row];
        if (target != problem->ignore_index && (target < 0 || target >= n))
            return FC_BAD_INDEX;
    }
    fc_watch watch;
    fc_watch_begin(&watch);
    loss_job job = {fc_kernels_of(problem->dtype), problem, loss, dlogits, &watch};
    fc_run_brief_parts(run_loss, &job, useful_parts(rows, threads));
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}

static fc_status elementary(int function, fc_dtype dtype, ptrdiff_t n, const void *x,
                            void *y) {
    fc_status status = check(dtype, 0, 1, n);
    if (!status && n && (!x || !y))
        status = FC_BAD_ARGUMENT;
    if (!status)
        fc_kernels_of(dtype)->elementary(function, x, y, n);
    return status;
}
fc_status fc_exp(fc_dtype dtype, ptrdiff_t n, const void *x, void *y) {
    return elementary(FC_EXP, dtype, n, x, y);
}
fc_status fc_sigmoid(fc_dtype dtype, ptrdiff_t n, const void *x, void *y) {
    return elementary(FC_SIGMOID, dtype, n, x, y);
}
fc_status fc_tanh(fc_dtype dtype, ptrdiff_t n, const void *x, void *y) {
    return elementary(FC_TANH, dtype, n, x, y);
}
