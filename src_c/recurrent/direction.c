#include "recurrent/direction.h"

#include "runtime/cache.h"

#include <string.h>

/* Lanes are a power of two. */
static ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t lanes) {
    return (n + lanes - 1) & -lanes;
}

fc_status fc_shape_of(const fc_stack *stack, int layer, fc_shape *shape) {
    if (!stack || stack->dtype < FC_F32 || stack->dtype > FC_INT8)
        return FC_BAD_ARGUMENT;
    const fc_kernels *k = fc_kernels_of(stack->dtype);
    if (stack->cell < 0 || stack->cell >= k->cell_count || stack->layers < 1 ||
        layer < 0 || layer >= stack->layers || stack->directions < 1 ||
        stack->directions > FC_MAX_DIRECTIONS || stack->input_size < 0 ||
        stack->hidden_size < 1 || stack->proj_size < 0 ||
        stack->proj_size > stack->hidden_size)
        return FC_BAD_ARGUMENT;
    if (stack->input_size > FC_MOST_ON_AXIS || stack->hidden_size > FC_MOST_ON_AXIS)
        return FC_TOO_LARGE;
    const fc_cell *cell = k->cells[stack->cell];
    bool projects = cell->phase[cell->phases - 1].projects;
    if (projects != (stack->proj_size > 0))
        return FC_BAD_ARGUMENT;
    shape->k = k;
    shape->cell = cell;
    shape->units = stack->hidden_size;
    shape->padded = round_up(shape->units, k->lanes);
    shape->out = projects ? stack->proj_size : shape->units;
    shape->out_padded = round_up(shape->out, k->lanes);
    shape->in = layer ? stack->directions * shape->out : stack->input_size;
    return FC_OK;
}

ptrdiff_t fc_phase_units(const fc_shape *shape, const fc_phase *phase) {
    return phase->projects ? shape->out : shape->units;
}

ptrdiff_t fc_operand_units(const fc_shape *shape, const fc_phase *phase) {
    return phase->from_middle ? shape->units : shape->out;
}

size_t fc_operand_bytes(const fc_shape *shape, int directions) {
    ptrdiff_t most = shape->in, layers = directions * shape->out;
    ptrdiff_t gates = shape->cell->gates * shape->padded;
    most = most > layers ? most : layers;
    return shape->k->operand_scratch(most > gates ? most : gates);
}

int fc_own_vectors(const fc_cell *cell) {
    int vectors = cell->own_biases ? 2 * cell->gates : 0;
    for (int i = 0; i < cell->owns; i++)
        vectors += cell->own[i].vectors;
    return vectors;
}

fc_own_arrays fc_own_arrays_of(const fc_cell *cell, const void *b_ih, const void *b_hh,
                               const void *const *own) {
    fc_own_arrays all = {0};
    if (cell->own_biases) {
        all.count = 2;
        all.vectors[0] = all.vectors[1] = cell->gates;
        all.array[0] = b_ih;
        all.array[1] = b_hh;
    }
    for (int i = 0; i < cell->owns; i++, all.count++) {
        all.vectors[all.count] = cell->own[i].vectors;
        all.array[all.count] = own[i];
    }
    return all;
}

/* A panel holds as many vectors as it may, but where all gates of a block of units fit,
 * whole blocks. */
static int panel_width(const fc_shape *shape, int gates) {
    int most = shape->k->panel;
    return most < gates ? most : gates * (most / gates);
}

static fc_panels gate_panels(const fc_shape *shape, fc_arena *arena, ptrdiff_t depth,
                             ptrdiff_t units, int gates, bool bias) {
    ptrdiff_t lanes = shape->k->lanes;
    fc_panels panels = {.k = depth,
                        .depth = (depth + shape->k->group - 1) / shape->k->group,
                        .vectors = (units + lanes - 1) / lanes * gates,
                        .width = panel_width(shape, gates),
                        .near_bytes = fc_near_bytes()};
    size_t columns = (size_t)(panels.vectors * lanes);
    panels.data = fc_take2(arena, columns, (size_t)panels.depth, shape->k->real_size);
    if (bias)
        panels.bias = fc_take(arena, columns, shape->k->real_size);
    if (shape->k->scales) {
        panels.scale = fc_take(arena, columns, shape->k->real_size);
        panels.zero = fc_take(arena, columns, sizeof(int32_t));
    }
    return panels;
}

/* Not inline: most cells have none, and every step of a stream lays out its layers. */
static __attribute__((noinline)) void take_params(const fc_shape *shape,
                                                  fc_packed *packed, fc_arena *arena) {
    packed->params = fc_take2(arena, (size_t)fc_own_vectors(shape->cell),
                              (size_t)shape->padded, shape->k->real_size);
}

void fc_packed_layout(const fc_shape *shape, fc_pack_kind kind, fc_packed *packed,
                      fc_arena *arena) {
    const fc_cell *cell = shape->cell;
    bool forward = kind == FC_PACK_FORWARD, bias = !cell->own_biases;
    packed->x =
        forward ? gate_panels(shape, arena, shape->in, shape->units, cell->gates, bias)
                : gate_panels(shape, arena, cell->gates * shape->padded, shape->in, 1,
                              false);
    for (int i = 0; i < cell->phases; i++) {
        const fc_phase *phase = &cell->phase[i];
        ptrdiff_t units = fc_phase_units(shape, phase);
        ptrdiff_t operand = fc_operand_units(shape, phase);
        ptrdiff_t padded = phase->projects ? shape->out_padded : shape->padded;
        packed->phase[i] = forward ? gate_panels(shape, arena, operand, units,
                                                 phase->gates, bias && !phase->projects)
                                   : gate_panels(shape, arena, phase->gates * padded,
                                                 operand, 1, false);
    }
    packed->params = NULL;
    if (cell->sums) /* parameters of a cell's own have them */
        take_params(shape, packed, arena);
}

/* The vectors first .. last-1 of some panels, and what they are made of. */
typedef struct pack_job {
    const fc_shape *shape;
    const fc_panels *panels;
    ptrdiff_t first, last;
} pack_job;

/* The share of a part, whole panels, cleared. */
static pack_job share_panels(const fc_shape *shape, const fc_panels *panels, int part,
                             int parts) {
    ptrdiff_t count = (panels->vectors + panels->width - 1) / panels->width;
    pack_job job = {shape, panels, count * part / parts * panels->width,
                    count * (part + 1) / parts * panels->width};
    if (job.last > panels->vectors)
        job.last = panels->vectors;
    size_t vector = fc_bytes(shape, shape->k->lanes);
    memset((char *)panels->data + (size_t)(job.first * panels->depth) * vector, 0,
           (size_t)((job.last - job.first) * panels->depth) * vector);
    const void *columns[] = {panels->bias, panels->scale, panels->zero};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (columns[i])
            memset((char *)columns[i] + (size_t)job.first * vector, 0,
                   (size_t)(job.last - job.first) * vector);
    return job;
}

/* W rows [gate * units + u] of `depth` columns, bias likewise -> forward panels. */
static void pack_forward(const pack_job *job, int gates, int first_gate,
                         ptrdiff_t units, const char *w, const char *bias) {
    const fc_shape *shape = job->shape;
    const fc_panels *panels = job->panels;
    ptrdiff_t lanes = shape->k->lanes;
    for (ptrdiff_t vector = job->first; vector < job->last; vector++) {
        ptrdiff_t first = vector / gates * lanes;
        ptrdiff_t here = units - first < lanes ? units - first : lanes;
        ptrdiff_t row = (first_gate + vector % gates) * units + first;
        fc_columns from = {.data = w + fc_bytes(shape, row * panels->k),
                           .k_stride = 1,
                           .lane_stride = panels->k,
                           .lanes = here,
                           .count_k = panels->k};
        shape->k->pack(panels, vector, &from);
        if (panels->bias && bias)
            memcpy((char *)panels->bias + fc_bytes(shape, vector * lanes),
                   bias + fc_bytes(shape, row), fc_bytes(shape, here));
    }
}

/* The transpose: depth runs over gate slots of `padded` units, columns over W's. */
static void pack_backward(const pack_job *job, int gates, const unsigned char *order,
                          ptrdiff_t units, ptrdiff_t padded, ptrdiff_t columns,
                          const char *w) {
    const fc_shape *shape = job->shape;
    const fc_panels *panels = job->panels;
    ptrdiff_t lanes = shape->k->lanes;
    for (ptrdiff_t vector = job->first; vector < job->last; vector++) {
        ptrdiff_t first = vector * lanes;
        ptrdiff_t here = columns - first < lanes ? columns - first : lanes;
        for (int j = 0; j < gates; j++) {
            fc_columns from = {
                .data = w + fc_bytes(shape, order[j] * units * columns + first),
                .k_stride = columns,
                .lane_stride = 1,
                .lanes = here,
                .first_k = j * padded,
                .count_k = units};
            shape->k->pack(panels, vector, &from);
        }
    }
}

/* The cell's own parameters, each vector padded by zeros. */
static void pack_params(const fc_shape *shape, char *to, const fc_weights *weights) {
    const fc_own_arrays own =
        fc_own_arrays_of(shape->cell, weights->b_ih, weights->b_hh, weights->own);
    size_t units = fc_bytes(shape, shape->units),
           padded = fc_bytes(shape, shape->padded);
    for (int i = 0; i < own.count; i++)
        for (int j = 0; j < own.vectors[i]; j++, to += padded) {
            memset(to, 0, padded);
            if (own.array[i])
                memcpy(to, (const char *)own.array[i] + (size_t)j * units, units);
        }
}

void fc_pack_weights(const fc_shape *shape, fc_pack_kind kind, const fc_packed *packed,
                     const fc_weights *weights, int part, int parts) {
    const fc_cell *cell = shape->cell;
    if (packed->params && part == 0) /* a few rows beside matrices */
        pack_params(shape, packed->params, weights);
    pack_job job = share_panels(shape, &packed->x, part, parts);
    if (kind == FC_PACK_FORWARD)
        pack_forward(&job, cell->gates, 0, shape->units, weights->w_ih, weights->b_ih);
    else
        pack_backward(&job, cell->gates, cell->x_gate, shape->units, shape->padded,
                      shape->in, weights->w_ih);
    for (int i = 0; i < cell->phases; i++) {
        const fc_phase *phase = &cell->phase[i];
        const void *w = phase->projects ? weights->w_hr : weights->w_hh;
        ptrdiff_t units = fc_phase_units(shape, phase);
        job = share_panels(shape, &packed->phase[i], part, parts);
        if (kind == FC_PACK_FORWARD) {
            pack_forward(&job, phase->gates, phase->first_gate, units, w,
                         phase->projects ? NULL : weights->b_hh);
        } else {
            unsigned char order[FC_MAX_GATES];
            for (int j = 0; j < phase->gates; j++)
                order[j] = (unsigned char)(phase->first_gate + j);
            pack_backward(&job, phase->gates, order, units,
                          phase->projects ? shape->out_padded : shape->padded,
                          fc_operand_units(shape, phase), w);
        }
    }
}

/* Four blocks of V units are whole panels, whatever the number of gates; fewer are,
 * where all products have the same. */
static ptrdiff_t unit_grain(const fc_shape *shape, fc_pack_kind kind) {
    int gates = shape->cell->gates, blocks = 4;
    if (kind == FC_PACK_FORWARD && shape->cell->phases == 1)
        for (blocks = 1; blocks * gates % panel_width(shape, gates);)
            blocks++;
    return blocks * shape->k->lanes;
}

ptrdiff_t fc_most_members(const fc_shape *shape, fc_pack_kind kind) {
    ptrdiff_t grain = unit_grain(shape, kind);
    return shape->cell->whole_row ? 1 : (shape->padded + grain - 1) / grain;
}

fc_units fc_share_units(const fc_shape *shape, fc_pack_kind kind, ptrdiff_t padded,
                        int part, int parts) {
    ptrdiff_t grain = unit_grain(shape, kind), grains = (padded + grain - 1) / grain;
    ptrdiff_t first = grains * part / parts * grain,
              last = grains * (part + 1) / parts * grain;
    first = first < padded ? first : padded;
    last = last < padded ? last : padded;
    return (fc_units){first, last - first};
}

fc_panels fc_panels_of(const fc_shape *shape, const fc_panels *panels, int gates,
                       fc_units units) {
    ptrdiff_t columns = units.first * gates;
    fc_panels of = *panels;
    of.data = (const char *)panels->data + fc_bytes(shape, columns * panels->depth);
    size_t skip = fc_bytes(shape, columns);
    if (panels->bias)
        of.bias = (const char *)panels->bias + skip;
    if (panels->scale) {
        of.scale = (const char *)panels->scale + skip;
        of.zero = (const char *)panels->zero + skip;
    }
    of.vectors = units.count / shape->k->lanes * gates;
    return of;
}

void fc_memory_layout(const fc_shape *shape, const fc_plan *plan, fc_memory *memory,
                      fc_arena *arena) {
    const fc_cell *cell = shape->cell;
    size_t real = shape->k->real_size;
    size_t states = (size_t)plan->states + 1;
    size_t kept = (size_t)(plan->kept ? plan->total : plan->rows);
    *memory = (fc_memory){0};
    memory->h = fc_take2(arena, states, (size_t)shape->out_padded, real);
    if (cell->states > 1)
        memory->c = fc_take2(arena, states, (size_t)shape->padded, real);
    if (cell->has_middle)
        memory->middle = fc_take2(arena, kept, (size_t)shape->padded, real);
    /* A second phase reads what the first saved, in inference too. */
    memory->slots_by_pair = plan->kept && !plan->recompute;
    size_t slot_rows = memory->slots_by_pair ? kept : (size_t)plan->rows;
    if (memory->slots_by_pair || cell->phases > 1)
        memory->slots = fc_take2(arena, slot_rows, (size_t)fc_slots_row(shape), real);
}
