/* Packs the weights of a direction into panels, and gives members their share of them.
 */
#include "recurrent/packing.h"

#include <string.h>

#include "runtime/cache.h"

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

/* Takes the memory of a matrix of `depth` columns and gates * units rows. */
static fc_panels gate_panels(const fc_shape *shape, fc_arena *arena, ptrdiff_t depth,
                             ptrdiff_t units, int gates, bool bias) {
    ptrdiff_t lanes = shape->k->lanes;
    fc_panels panels = {.k = depth,
                        .depth = (depth + shape->k->group - 1) / shape->k->group,
                        .vectors = (units + lanes - 1) / lanes * gates,
                        .width = fc_panel_width(shape, gates),
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

static void take_params(const fc_shape *shape, fc_packed *packed, fc_arena *arena) {
    packed->params = fc_take2(arena, (size_t)fc_own_vectors(shape->cell),
                              (size_t)shape->padded, shape->k->real_size);
}

/* Takes the memory of the diagonal blocks of R.  In backward each gate of a block has
 * its own panels, since the gradients of a head's gates are not contiguous. */
static void take_blocks(const fc_shape *shape, fc_pack_kind kind, fc_packed *packed,
                        fc_arena *arena) {
    bool forward = kind == FC_PACK_FORWARD;
    int gates = shape->cell->phase[0].gates;
    ptrdiff_t count = forward ? shape->blocks : shape->blocks * gates;
    size_t before = arena->used;
    packed->phase[0] =
        gate_panels(shape, arena, shape->head, shape->head, forward ? gates : 1,
                    forward && !shape->cell->own_biases);
    packed->block_bytes = arena->used - before;
    fc_take2(arena, (size_t)(count - 1), 1, packed->block_bytes);
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
        if (phase->gates == 0)
            packed->phase[i] = (fc_panels){0};
        else if (shape->blocks > 1)
            take_blocks(shape, kind, packed, arena);
        else
            packed->phase[i] = forward
                                   ? gate_panels(shape, arena, operand, units,
                                                 phase->gates, bias && !phase->projects)
                                   : gate_panels(shape, arena, phase->gates * padded,
                                                 operand, 1, false);
    }
    packed->params = NULL;
    if (cell->sums) /* it has parameters of its own, whose gradients these are */
        take_params(shape, packed, arena);
}

fc_panels fc_panels_of_block(const fc_packed *packed, ptrdiff_t which) {
    fc_panels of = packed->phase[0];
    size_t skip = (size_t)which * packed->block_bytes;
    const void **part[] = {&of.data, &of.bias, &of.scale, &of.zero};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (*part[i])
            *part[i] = (const char *)*part[i] + skip;
    return of;
}

/* Vectors first .. last-1 of some panels, to be packed. */
typedef struct pack_job {
    const fc_shape *shape;
    const fc_panels *panels;
    ptrdiff_t first, last;
} pack_job;

/* Clears the share of a part, whole panels, and returns it. */
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

/* A matrix to pack, W, R or W_hr: for each gate `units` rows of `columns`.  It is made
 * of blocks along the diagonal, one for each `head` rows of a gate, and only their
 * columns are stored.  A dense matrix is one block. */
typedef struct matrix {
    const char *w, *bias; /* bias: [gates][units]; NULL: zeros */
    int gates;
    const unsigned char *order; /* [gates] of each vector of a block of units */
    ptrdiff_t units;
    ptrdiff_t head, columns; /* rows of a gate, and columns, of one block */
    ptrdiff_t first;         /* the unit, and the column, at which the panels begin */
    ptrdiff_t padded; /* backward: reals from one gate to the next in the operand */
} matrix;

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Packs rows of the matrix as columns of panels: the depth is the matrix' columns. */
static void pack_forward(const pack_job *job, const matrix *m) {
    const fc_shape *shape = job->shape;
    const fc_panels *panels = job->panels;
    ptrdiff_t lanes = shape->k->lanes, next;
    for (ptrdiff_t vector = job->first; vector < job->last; vector++) {
        ptrdiff_t first = m->first + vector / m->gates * lanes;
        ptrdiff_t end = least(first + lanes, m->units);
        ptrdiff_t gate = m->order[vector % m->gates] * m->units;
        for (ptrdiff_t u = first; u < end; u = next) {
            ptrdiff_t head = u / m->head;
            next = least(end, (head + 1) * m->head);
            fc_columns from = {.data = m->w + fc_bytes(shape, (gate + u) * m->columns),
                               .k_stride = 1,
                               .lane_stride = m->columns,
                               .first_lane = u - first,
                               .lanes = next - u,
                               .first_k = head * m->columns - m->first,
                               .count_k = m->columns};
            shape->k->pack(panels, vector, &from);
        }
        if (panels->bias && m->bias)
            memcpy((char *)panels->bias + fc_bytes(shape, vector * lanes),
                   m->bias + fc_bytes(shape, gate + first),
                   fc_bytes(shape, end - first));
    }
}

/* Packs the transpose: the depth is slots of gates, each of `padded` units, and columns
 * are the matrix' columns. */
static void pack_backward(const pack_job *job, const matrix *m) {
    const fc_shape *shape = job->shape;
    ptrdiff_t lanes = shape->k->lanes, all = m->units / m->head * m->columns, next;
    for (ptrdiff_t vector = job->first; vector < job->last; vector++) {
        ptrdiff_t first = m->first + vector * lanes, end = least(first + lanes, all);
        for (ptrdiff_t column = first; column < end; column = next) {
            ptrdiff_t head = column / m->columns, unit = head * m->head;
            next = least(end, (head + 1) * m->columns);
            for (int j = 0; j < m->gates; j++) {
                ptrdiff_t row = m->order[j] * m->units + unit;
                fc_columns from = {.data = m->w +
                                           fc_bytes(shape, row * m->columns + column -
                                                               head * m->columns),
                                   .k_stride = m->columns,
                                   .lane_stride = 1,
                                   .first_lane = column - first,
                                   .lanes = next - column,
                                   .first_k = j * m->padded + unit - m->first,
                                   .count_k = m->head};
                shape->k->pack(job->panels, vector, &from);
            }
        }
    }
}

static void pack_matrix(const fc_shape *shape, fc_pack_kind kind,
                        const fc_panels *panels, const matrix *m, int part, int parts) {
    pack_job job = share_panels(shape, panels, part, parts);
    if (kind == FC_PACK_FORWARD)
        pack_forward(&job, m);
    else
        pack_backward(&job, m);
}

/* Packs the diagonal blocks of R one by one. */
static void pack_blocks(const fc_shape *shape, fc_pack_kind kind,
                        const fc_packed *packed, const matrix *r, int part, int parts) {
    matrix m = *r;
    m.padded = 0;
    if (kind == FC_PACK_BACKWARD)
        m.gates = 1;
    for (ptrdiff_t i = 0; i < shape->blocks * (r->gates / m.gates); i++) {
        fc_panels panels = fc_panels_of_block(packed, i);
        m.first = i / (r->gates / m.gates) * shape->head;
        m.order = r->order + i % (r->gates / m.gates);
        pack_matrix(shape, kind, &panels, &m, part, parts);
    }
}

/* Copies the cell's own parameters, each vector padded by zeros. */
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

static void pack_phase(const fc_shape *shape, fc_pack_kind kind, int i,
                       const fc_packed *packed, const fc_weights *weights, int part,
                       int parts) {
    const fc_phase *phase = &shape->cell->phase[i];
    unsigned char order[FC_MAX_GATES];
    for (int j = 0; j < phase->gates; j++)
        order[j] = (unsigned char)(phase->first_gate + j);
    ptrdiff_t units = fc_phase_units(shape, phase);
    bool has_heads = shape->heads > 1;
    matrix m = {.w = phase->projects ? weights->w_hr : weights->w_hh,
                .bias = phase->projects ? NULL : weights->b_hh,
                .gates = phase->gates,
                .order = order,
                .units = units,
                .head = has_heads ? shape->head : units,
                .columns = has_heads ? shape->head : fc_operand_units(shape, phase),
                .padded = phase->projects ? shape->out_padded : shape->padded};
    if (shape->blocks > 1)
        pack_blocks(shape, kind, packed, &m, part, parts);
    else
        pack_matrix(shape, kind, &packed->phase[i], &m, part, parts);
}

void fc_pack_weights(const fc_shape *shape, fc_pack_kind kind, const fc_packed *packed,
                     const fc_weights *weights, int part, int parts) {
    static const unsigned char in_order[FC_MAX_GATES] = {0, 1, 2, 3};
    const fc_cell *cell = shape->cell;
    if (packed->params && part == 0) /* small beside matrices, so not shared */
        pack_params(shape, packed->params, weights);
    const matrix w = {.w = weights->w_ih,
                      .bias = weights->b_ih,
                      .gates = cell->gates,
                      .order = kind == FC_PACK_FORWARD ? in_order : cell->x_gate,
                      .units = shape->units,
                      .head = shape->units,
                      .columns = shape->in,
                      .padded = shape->padded};
    pack_matrix(shape, kind, &packed->x, &w, part, parts);
    for (int i = 0; i < cell->phases; i++)
        if (cell->phase[i].gates)
            pack_phase(shape, kind, i, packed, weights, part, parts);
}

/* Units of the smallest share of a member.  Four blocks of V units are whole panels for
 * any number of gates; fewer may be, if all products have the same gates.  With
 * diagonal blocks a share is whole blocks. */
static ptrdiff_t unit_grain(const fc_shape *shape, fc_pack_kind kind) {
    int gates = shape->cell->gates, blocks = 4;
    if (kind == FC_PACK_FORWARD && shape->cell->phases == 1)
        for (blocks = 1; blocks * gates % fc_panel_width(shape, gates);)
            blocks++;
    ptrdiff_t grain = blocks * shape->k->lanes, head = shape->head;
    while (shape->blocks > 1 && head % grain)
        head += shape->head;
    return shape->blocks > 1 ? head : grain;
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
