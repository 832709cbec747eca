/* The sizes, the states and the memory of one direction of a layer. */
#include "recurrent/direction.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "runtime/seal.h"

/* Rounds n up to whole vectors; lanes are a power of two. */
static ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t lanes) {
    return (n + lanes - 1) & -lanes;
}

bool fc_has_recurrent(const fc_cell *cell) {
    for (int i = 0; i < cell->phases; i++)
        if (cell->phase[i].gates && !cell->phase[i].projects)
            return true;
    return false;
}

bool fc_takes_heads(const fc_cell *cell) {
    return cell->phases == 1 && cell->phase[0].gates && !cell->whole_row;
}

/* Checks the heads and sets those of the shape; without heads nothing is divided, since
 * every step of a stream sets a shape. */
static bool set_heads(const fc_stack *stack, fc_shape *shape) {
    shape->heads = shape->blocks = 1;
    shape->head = shape->units;
    if (stack->heads <= 1)
        return stack->heads >= 0;
    if (shape->units % stack->heads || !fc_takes_heads(shape->cell))
        return false;
    shape->heads = stack->heads;
    shape->head = shape->units / stack->heads;
    if ((shape->head & (shape->k->lanes - 1)) == 0) /* lanes are a power of two */
        shape->blocks = shape->heads;
    return true;
}

static bool is_rate(double p) { return p >= 0 && p < 1; }

/* Checks the rates.  Zoneout of c needs a second state, recurrent dropout an R. */
static bool takes_masks(const fc_cell *cell, const fc_stack *stack) {
    return is_rate(stack->zoneout_h) && is_rate(stack->zoneout_c) &&
           is_rate(stack->recurrent_dropout) &&
           (stack->zoneout_c == 0 || cell->states > 1) &&
           (stack->recurrent_dropout == 0 || fc_has_recurrent(cell));
}

/* Not so small that it would be 0, which is none, in float32. */
static bool is_clip(double clip) {
    return clip == 0 || (clip >= FLT_MIN && isfinite(clip));
}

/* A kind that there is, with the parameters it has and no others. */
static bool is_activation(const fc_activation *f) {
    static const int parameters[] = {
        [FC_ACT_AFFINE] = 2,           [FC_ACT_LEAKY_RELU] = 1,
        [FC_ACT_THRESHOLDED_RELU] = 1, [FC_ACT_SCALED_TANH] = 2,
        [FC_ACT_HARD_SIGMOID] = 2,     [FC_ACT_ELU] = 1,
        [FC_ACT_SOFTPLUS] = 0};
    const int kinds = sizeof parameters / sizeof *parameters;
    return f->kind >= 0 && f->kind < kinds && isfinite(f->alpha) && isfinite(f->beta) &&
           (f->alpha == 0 || parameters[f->kind] > 0) &&
           (f->beta == 0 || parameters[f->kind] > 1);
}

static bool takes_options(const fc_cell *cell, const fc_options *options) {
    if (!is_clip(options->cell_clip) || !is_clip(options->gate_clip) ||
        !is_clip(options->recurrent_grad_clip) || !is_rate(options->update_dropout) ||
        (options->cell_clip > 0 && !cell->clips_cell) ||
        (options->gate_clip > 0 && !cell->roles) ||
        (options->update_dropout > 0 && !cell->forward_dropped[0]))
        return false;
    for (int i = 0; i < FC_MOST_ROLES; i++)
        if (!is_activation(&options->activation[i]) ||
            (i >= cell->roles && options->activation[i].kind != FC_ACT_USUAL))
            return false;
    return true;
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
    if (projects != (stack->proj_size > 0) ||
        !(fc_has_no_rates(stack) || takes_masks(cell, stack)))
        return FC_BAD_ARGUMENT;
    static const fc_options none;
    shape->options = &none;
    if (stack->options.given) {
        if (!takes_options(cell, &stack->options))
            return FC_BAD_ARGUMENT;
        shape->options = &stack->options;
    }
    shape->k = k;
    shape->cell = cell;
    shape->units = stack->hidden_size;
    shape->padded = round_up(shape->units, k->lanes);
    shape->out = projects ? stack->proj_size : shape->units;
    shape->out_padded = round_up(shape->out, k->lanes);
    shape->c_row = (cell->states - 1) * shape->padded;
    shape->zone_h = stack->zoneout_h;
    shape->zone_c = stack->zoneout_c;
    shape->drop = stack->recurrent_dropout;
    shape->in = layer ? stack->directions * shape->out : stack->input_size;
    return set_heads(stack, shape) ? FC_OK : FC_BAD_ARGUMENT;
}

ptrdiff_t fc_phase_units(const fc_shape *shape, const fc_phase *phase) {
    return phase->projects ? shape->out : shape->units;
}

ptrdiff_t fc_operand_units(const fc_shape *shape, const fc_phase *phase) {
    return phase->from_middle ? shape->units : shape->out;
}

ptrdiff_t fc_step_depth(const fc_shape *shape) {
    return fc_has_recurrent(shape->cell) ? fc_recurrent_columns(shape) : shape->in;
}

size_t fc_operand_bytes(const fc_shape *shape, int directions) {
    ptrdiff_t most = shape->in, layers = directions * shape->out;
    ptrdiff_t gates = shape->cell->gates * shape->padded;
    most = most > layers ? most : layers;
    return shape->k->operand_scratch(most > gates ? most : gates);
}

size_t fc_state_bytes(const fc_states *states) {
    return fc_bytes(states->shape, states->vectors * states->units);
}

size_t fc_padded_state_bytes(const fc_states *states) {
    return fc_bytes(states->shape, states->vectors * states->padded);
}

void fc_set_state(const fc_states *states, char *row, const char *from) {
    size_t units = fc_bytes(states->shape, states->units),
           padded = fc_bytes(states->shape, states->padded);
    if (!from) {
        memset(row, 0, fc_padded_state_bytes(states));
        return;
    }
    for (ptrdiff_t i = 0; i < states->vectors; i++, row += padded, from += units) {
        memcpy(row, from, units);
        memset(row + units, 0, padded - units);
    }
}

void fc_get_state(const fc_states *states, const char *row, char *to) {
    size_t units = fc_bytes(states->shape, states->units),
           padded = fc_bytes(states->shape, states->padded);
    for (ptrdiff_t i = 0; i < states->vectors; i++, row += padded, to += units)
        memcpy(to, row, units);
}

void fc_set_states(const fc_states *states, char *memory, const char *from,
                   ptrdiff_t first, ptrdiff_t last) {
    size_t bytes = fc_state_bytes(states), padded = fc_padded_state_bytes(states);
    for (ptrdiff_t row = first; row < last; row++)
        fc_set_state(states, memory + (size_t)row * padded,
                     from ? from + (size_t)row * bytes : NULL);
}

void fc_get_states(const fc_states *states, const char *memory, char *to,
                   ptrdiff_t first, ptrdiff_t last) {
    size_t bytes = fc_state_bytes(states), padded = fc_padded_state_bytes(states);
    for (ptrdiff_t row = first; to && row < last; row++)
        fc_get_state(states, memory + (size_t)row * padded, to + (size_t)row * bytes);
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
        memory->c = fc_take2(arena, states, (size_t)shape->c_row, real);
    if (cell->has_middle)
        memory->middle = fc_take2(arena, kept, (size_t)shape->padded, real);
    if (shape->zone_h > 0)
        memory->fresh_h = fc_take2(arena, kept, (size_t)shape->out_padded, real);
    if (shape->zone_c > 0)
        memory->fresh_c = fc_take2(arena, kept, (size_t)shape->c_row, real);
    if (shape->drop > 0 && plan->random)
        memory->dropped = fc_take2(arena, states, (size_t)shape->out_padded, real);
    /* In inference too, a second phase reads what the first saved. */
    memory->slots_by_pair = plan->kept && !plan->recompute;
    size_t slot_rows = memory->slots_by_pair ? kept : (size_t)plan->rows;
    if (memory->slots_by_pair || cell->phases > 1)
        memory->slots = fc_take2(arena, slot_rows, (size_t)fc_slots_row(shape), real);
}
