/* Describes how a call would compute a batch, without computing it: threads and their
 * shares, tiles, memory and FLOP. */
#include "recurrent/sequence.h"
#include "recurrent/sharing.h"
#include "recurrent/stack.h"

static ptrdiff_t most(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* *sum += the bytes of rows * columns reals; false on overflow. */
static bool add_reals(size_t *sum, const fc_shape *shape, ptrdiff_t rows,
                      ptrdiff_t columns) {
    size_t bytes;
    return !__builtin_mul_overflow((size_t)rows, (size_t)columns, &bytes) &&
           !__builtin_mul_overflow(bytes, shape->k->real_size, &bytes) &&
           !__builtin_add_overflow(*sum, bytes, sum);
}

/* Adds one layer's bytes of weights, and its multiply-adds for one row and step. */
static fc_status add_layer(const fc_shape *shape, int directions, size_t *bytes,
                           double *input, double *recurrent) {
    const fc_cell *cell = shape->cell;
    ptrdiff_t gates = cell->gates * shape->units;
    int biases = fc_has_recurrent(cell) ? 2 : 1;
    ptrdiff_t own = fc_own_vectors(cell) - (cell->own_biases ? 2 * cell->gates : 0);
    for (int d = 0; d < directions; d++) {
        if (!add_reals(bytes, shape, gates, shape->in) ||
            !add_reals(bytes, shape, gates, biases) ||
            !add_reals(bytes, shape, shape->units, own))
            return FC_TOO_LARGE;
        *input += (double)gates * (double)shape->in;
        for (int i = 0; i < cell->phases; i++) {
            const fc_phase *phase = &cell->phase[i];
            ptrdiff_t rows = phase->gates * fc_phase_units(shape, phase);
            ptrdiff_t operand = phase->from_middle ? fc_operand_units(shape, phase)
                                                   : fc_recurrent_columns(shape);
            *recurrent += (double)rows * (double)operand;
            if (!add_reals(bytes, shape, rows, operand))
                return FC_TOO_LARGE;
        }
    }
    return FC_OK;
}

/* The largest part of a step that one thread computes: in rows, if all rows have the
 * same length, and in units of a member. */
static void describe_step(const fc_shape *shape, fc_pack_kind kind, ptrdiff_t rows,
                          fc_description *d) {
    const fc_phase *phase = &shape->cell->phase[0];
    bool forward = kind == FC_PACK_FORWARD;
    bool of_state = !forward || phase->projects; /* columns are units of h */
    ptrdiff_t padded = of_state ? shape->out_padded : shape->padded;
    fc_arena arena = {0};
    fc_packed packed;
    fc_packed_layout(shape, kind, &packed, &arena);
    d->rows = (rows + d->row_parts - 1) / d->row_parts;
    if (phase->gates == 0)
        return;
    ptrdiff_t blocks = forward ? shape->blocks : shape->blocks * phase->gates;
    for (int i = 0; i < shape->cell->phases; i++) {
        const fc_panels *panels = &packed.phase[i];
        d->recurrent_bytes +=
            fc_bytes(shape, (shape->blocks > 1 ? blocks : 1) * panels->vectors *
                                shape->k->lanes * panels->depth);
    }
    fc_panels share = packed.phase[0];
    if (d->members > 1 && shape->blocks == 1) {
        fc_units units = {0, 0};
        for (int part = 0; part < d->members; part++)
            units.count =
                most(units.count,
                     fc_share_units(shape, kind, padded, part, d->members).count);
        share.vectors = units.count / shape->k->lanes * (forward ? phase->gates : 1);
    }
    d->vectors = share.vectors;
    if (d->rows < 1)
        return;
    fc_tile_shape tile = shape->k->tile_shape(&share, d->rows);
    d->tile_rows = tile.rows;
    d->tile_vectors = tile.vectors;
    d->tile_panels = tile.panels;
}

fc_status fc_describe(const fc_stack *stack, const fc_batch *batch, int training,
                      fc_description *description) {
    ptrdiff_t total;
    fc_shape shape;
    fc_status status = fc_check_batch(stack, batch, &shape, &total);
    if (!status && (!description || training < 0 || training > 2))
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    if (training && !shape.k->trains)
        return FC_BAD_ARGUMENT;
    fc_pack_kind kind = training == 2 ? FC_PACK_BACKWARD : FC_PACK_FORWARD;
    fc_description d = {.isa = shape.k->isa,
                        .native = shape.k->native,
                        .lanes = shape.k->lanes,
                        .group = shape.k->group};
    status = fc_pack_size(stack, kind, &d.packed_bytes);
    if (!status)
        status = fc_scratch_size(stack, batch, training, &d.scratch_bytes);
    if (!status && training)
        status = fc_saved_size(stack, batch, &d.saved_bytes);
    if (status)
        return status;

    fc_sharing sharing = fc_share_work(stack, batch, &shape, kind, total);
    int tasks = stack->directions * sharing.row_parts;
    d.threads = sharing.threads;
    d.small = sharing.small && sharing.threads > 1;
    d.row_parts = sharing.row_parts;
    d.members = sharing.members;
    d.sharing = sharing.why;
    if (sharing.threads > 1) {
        fc_thread_costs costs;
        fc_get_thread_costs(&costs);
        d.step_ns = costs.flop_per_ns > 0 ? sharing.step_flop / costs.flop_per_ns : 0;
    }
    d.loop_threads = sharing.members > 1       ? tasks * sharing.members
                     : tasks < sharing.threads ? tasks
                                               : sharing.threads;
    describe_step(&shape, kind, batch->rows, &d);

    double input = 0, recurrent = 0;
    for (int layer = 0; layer < stack->layers && !status; layer++) {
        fc_shape_of(stack, layer, &shape);
        status =
            add_layer(&shape, stack->directions, &d.weight_bytes, &input, &recurrent);
    }
    /* Products with each weight: one in forward, two in backward (of the operand and of
     * the weight), and with recompute forward's once more. */
    int products = training < 2 ? 1 : batch->recompute ? 3 : 2;
    double pairs = 2.0 * (double)total * products;
    d.recurrent_flop = pairs * recurrent;
    d.flop = pairs * (input + recurrent);
    if (!status)
        *description = d;
    return status;
}
