/* The carry: its layout, its checks, and the moves of pairs to it. */
#include "recurrent/carry.h"

#include <string.h>

#include "recurrent/stack.h"

/* Places the carries of layers 0 .. layer, of which *carry is the last.  Without a base
 * address it only adds up sizes. */
static void layout(fc_carry *carry, fc_arena *arena, const fc_stack *stack,
                   const fc_batch *batch, int layer) {
    fc_shape shape;
    fc_shape_of(stack, 0, &shape);
    size_t block = (size_t)shape.k->gradient_block;
    carry->seal = fc_take(arena, 1, sizeof *carry->seal);
    carry->place = fc_take(arena, 1, sizeof *carry->place);
    carry->dtable = batch->index
                        ? fc_take2(arena, (size_t)batch->x_rows,
                                   (size_t)fc_input_columns(&shape), shape.k->real_size)
                        : NULL;
    for (int l = 0; l <= layer; l++) {
        fc_shape_of(stack, l, &shape);
        carry->end = fc_take(arena, 1, sizeof *carry->end);
        carry->slots = fc_take(arena, block, fc_slots_bytes(&shape));
        carry->x = fc_take(arena, block, fc_bytes(&shape, shape.in));
        carry->h_prev = fc_take(arena, block, fc_bytes(&shape, shape.out_padded));
        carry->middle = fc_take(arena, block, fc_bytes(&shape, shape.units));
        carry->at.x = fc_take(arena, block, sizeof(void *));
        carry->at.h_prev = fc_take(arena, block, sizeof(void *));
        carry->at.middle = fc_take(arena, block, sizeof(void *));
        carry->c_prev = carry->c = NULL;
        carry->at.c_prev = carry->at.c = NULL;
        if (fc_sums_read(shape.cell, FC_BY_C_PREV)) {
            carry->c_prev = fc_take(arena, block, fc_bytes(&shape, shape.c_row));
            carry->at.c_prev = fc_take(arena, block, sizeof(void *));
        }
        if (fc_sums_read(shape.cell, FC_BY_C)) {
            carry->c = fc_take(arena, block, fc_bytes(&shape, shape.c_row));
            carry->at.c = fc_take(arena, block, sizeof(void *));
        }
    }
}

static fc_seal seal_of(const fc_stack *stack, const fc_batch *batch) {
    return fc_seal_of(FC_SEAL_CARRY, stack, fc_kernels_of(stack->dtype),
                      batch->index ? batch->x_rows : -1);
}

fc_status fc_carry_check(const fc_stack *stack, const fc_batch *batch,
                         const fc_segment *segment, ptrdiff_t total) {
    ptrdiff_t most;
    if (segment->steps_before < 0 || segment->steps_after < 0 ||
        segment->pairs_before < 0 ||
        __builtin_mul_overflow(segment->steps_before, batch->rows, &most) ||
        segment->pairs_before > most ||
        __builtin_add_overflow(segment->pairs_before, total, &most) ||
        __builtin_add_overflow(segment->steps_before, batch->steps, &most) ||
        __builtin_add_overflow(most, segment->steps_after, &most))
        return FC_BAD_ARGUMENT;
    fc_status status = fc_check_alignment(segment->carry);
    if (status || segment->steps_after == 0)
        return status;
    const fc_seal expected = seal_of(stack, batch);
    status = fc_check_seal(segment->carry, &expected);
    if (status)
        return status;
    const fc_carry_place *after =
        (const fc_carry_place *)((const fc_seal *)segment->carry + 1);
    return after->whole == most && after->steps == most - segment->steps_after &&
                   after->pairs == segment->pairs_before + total
               ? FC_OK
               : FC_BAD_ARGUMENT;
}

static void point_at_rows(const void **at, const char *rows, ptrdiff_t count,
                          size_t bytes) {
    for (ptrdiff_t i = 0; i < count; i++)
        at[i] = rows + (size_t)i * bytes;
}

void fc_carry_open(fc_carry *carry, const fc_stack *stack, const fc_batch *batch,
                   const fc_segment *segment, int layer) {
    fc_arena arena = fc_arena_at(segment->carry);
    fc_shape shape;
    fc_shape_of(stack, layer, &shape);
    ptrdiff_t block = shape.k->gradient_block;
    layout(carry, &arena, stack, batch, layer);
    point_at_rows(carry->at.x, carry->x, block, fc_bytes(&shape, shape.in));
    point_at_rows(carry->at.h_prev, carry->h_prev, block,
                  fc_bytes(&shape, shape.out_padded));
    point_at_rows(carry->at.middle, carry->middle, block,
                  fc_bytes(&shape, shape.units));
    if (carry->c_prev)
        point_at_rows(carry->at.c_prev, carry->c_prev, block,
                      fc_bytes(&shape, shape.c_row));
    if (carry->c)
        point_at_rows(carry->at.c, carry->c, block, fc_bytes(&shape, shape.c_row));
    if (segment->steps_after == 0)
        *carry->end = 0;
}

void fc_carry_unseal(const fc_segment *segment) {
    memset(segment->carry, 0, sizeof(fc_seal));
}

void fc_carry_seal(const fc_stack *stack, const fc_batch *batch,
                   const fc_segment *segment) {
    fc_seal *seal = segment->carry;
    *(fc_carry_place *)(seal + 1) =
        (fc_carry_place){segment->steps_before, segment->pairs_before,
                         segment->steps_before + batch->steps + segment->steps_after};
    *seal = seal_of(stack, batch);
}

static void keep_row(char *rows, ptrdiff_t place, const void *row, size_t bytes) {
    memcpy(rows + (size_t)place * bytes, row, bytes);
}

/* Stores pairs first .. last-1 of the segment. */
static void keep(const fc_layer_job *job, ptrdiff_t first, ptrdiff_t last) {
    const fc_direction *direction = &job->direction[0];
    const fc_shape *shape = &direction->shape;
    const fc_pair_rows *pairs = &job->scratch->pairs[0];
    fc_carry *to = job->carry;
    size_t slots = fc_slots_bytes(shape);
    for (ptrdiff_t p = first; p < last; p++) {
        ptrdiff_t place = (job->pairs_before + p) % shape->k->gradient_block;
        memcpy(to->slots + (size_t)place * slots,
               fc_slots(shape, &direction->memory, p, direction->plan->row[p]), slots);
        if (!direction->dtable)
            keep_row(to->x, place, pairs->x[p], fc_bytes(shape, shape->in));
        keep_row(to->h_prev, place, pairs->h_prev[p],
                 fc_bytes(shape, shape->out_padded));
        if (to->c_prev)
            keep_row(to->c_prev, place, pairs->c_prev[p],
                     fc_bytes(shape, shape->c_row));
        if (to->c)
            keep_row(to->c, place, pairs->c[p], fc_bytes(shape, shape->c_row));
        if (direction->memory.middle)
            keep_row(to->middle, place, pairs->middle[p],
                     fc_bytes(shape, shape->units));
    }
}

/* Here pairs are numbered over the whole sequence; `low` and `high` over the segment.
 */
void fc_carry_begin(fc_layer_job *job) {
    const fc_plan *plan = job->direction[0].plan;
    ptrdiff_t block = job->direction[0].shape.k->gradient_block,
              before = job->pairs_before;
    ptrdiff_t first = before + plan->offset[job->begin],
              last = before + plan->offset[job->end], end = *job->carry->end;
    job->waiting = 0;
    if (end) { /* the block that holds pair `last` */
        ptrdiff_t begin = last / block * block;
        ptrdiff_t joined = begin < first ? first : begin;
        keep(job, joined - before, last - before);
        last = joined;
        if (begin >= first) {
            job->waiting = end - begin;
            *job->carry->end = 0;
        }
    }
    ptrdiff_t begin = (first + block - 1) / block * block;
    job->low = (begin < last ? begin : last) - before;
    job->high = last - before;
}

void fc_carry_end(fc_layer_job *job) {
    ptrdiff_t first = job->direction[0].plan->offset[job->begin];
    if (first == job->low)
        return;
    keep(job, first, job->low);
    *job->carry->end = job->pairs_before + job->low;
}

fc_status fc_carry_size(const fc_stack *stack, const fc_batch *batch, size_t *bytes) {
    fc_shape shape;
    fc_status status = fc_check_sizes(stack, batch, &shape);
    if (!status && (!bytes || stack->directions > 1))
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    fc_arena arena = {0};
    fc_carry carry;
    layout(&carry, &arena, stack, batch, stack->layers - 1);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}
