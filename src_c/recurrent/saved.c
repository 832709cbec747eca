/* `saved`, the memory that forward fills for backward: its layout and its seal.
 *
 * After the seal come the sizes that determine the layout, then copies of the batch's
 * small arrays: backward does not read the caller's. */
#include "recurrent/saved.h"

#include <string.h>

#include "recurrent/stack.h"

unsigned fc_what_to_keep(const fc_batch *batch) {
    return FC_KEEP | (batch->recompute ? FC_KEEP_RECOMPUTE : 0) |
           (batch->lengths ? FC_KEEP_LENGTHS : 0) | (batch->mask ? FC_KEEP_MASK : 0) |
           (batch->reset ? FC_KEEP_RESET : 0) | (batch->index ? FC_KEEP_INDEX : 0) |
           (batch->random ? FC_KEEP_RANDOM : 0);
}

void fc_saved_layout(fc_saved *saved, fc_arena *arena, const fc_stack *stack,
                     const fc_shape *first, const fc_batch *batch, ptrdiff_t total,
                     unsigned keep) {
    size_t rows = (size_t)batch->rows, pairs = (size_t)batch->steps * rows;
    bool kept = keep & FC_KEEP;
    saved->seal = kept ? fc_take(arena, 1, sizeof *saved->seal) : NULL;
    saved->sizes = kept ? fc_take(arena, 1, sizeof *saved->sizes) : NULL;
    saved->lengths =
        keep & FC_KEEP_LENGTHS ? fc_take(arena, rows, sizeof *saved->lengths) : NULL;
    saved->mask = keep & FC_KEEP_MASK ? fc_take(arena, pairs, 1) : NULL;
    saved->reset = keep & FC_KEEP_RESET ? fc_take(arena, pairs, 1) : NULL;
    saved->index =
        keep & FC_KEEP_INDEX ? fc_take(arena, pairs, sizeof *saved->index) : NULL;
    for (int d = 0; d < stack->directions; d++)
        fc_plan_layout(&saved->plan[d], arena, batch, total, kept);
    saved->between_row = fc_bytes(first, stack->directions * first->out);
    saved->between = fc_take2(arena, pairs,
                              (size_t)(kept                ? stack->layers - 1
                                       : stack->layers > 1 ? 2
                                                           : 0),
                              saved->between_row);
    saved->between_layer = pairs * saved->between_row;
    saved->memories = arena->base ? arena->base + arena->used : NULL;
    size_t before = arena->used;
    fc_memory memory;
    for (int d = 0; d < stack->directions; d++)
        fc_memory_layout(first, &saved->plan[d], &memory, arena);
    saved->layer_bytes = arena->used - before;
    if (kept) /* the other layers' memories have the same size */
        fc_take2(arena, (size_t)(stack->layers - 1), 1, saved->layer_bytes);
}

void fc_saved_memory(const fc_saved *saved, const fc_shape *shape, int layer, int which,
                     fc_memory *memory) {
    fc_arena arena = {.base = saved->memories};
    arena.used = (saved->plan[0].kept ? (size_t)layer : 0) * saved->layer_bytes;
    for (int d = 0; d <= which; d++)
        fc_memory_layout(shape, &saved->plan[d], memory, &arena);
}

fc_array fc_saved_between(const fc_saved *saved, const fc_batch *batch, int layer) {
    int slot = saved->plan[0].kept ? layer : layer & 1;
    return (fc_array){.data = saved->between + (size_t)slot * saved->between_layer,
                      .step = (ptrdiff_t)saved->between_row * batch->rows,
                      .row = (ptrdiff_t)saved->between_row};
}

fc_status fc_saved_size(const fc_stack *stack, const fc_batch *batch, size_t *bytes) {
    ptrdiff_t total;
    fc_shape shape;
    fc_status status = fc_check_batch(stack, batch, &shape, &total);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    fc_arena arena = {0};
    fc_saved saved;
    fc_saved_layout(&saved, &arena, stack, &shape, batch, total,
                    fc_what_to_keep(batch));
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

static void *copy(void *to, const void *from, size_t bytes) {
    return to ? memcpy(to, from, bytes) : NULL;
}

static fc_seal seal_of(const fc_stack *stack, const fc_batch *batch, uint64_t kind) {
    return fc_seal_of(kind, stack, fc_kernels_of(stack->dtype), batch->rows);
}

void fc_saved_begin(fc_saved *saved, void *memory, const fc_stack *stack,
                    const fc_shape *first, const fc_batch *batch, ptrdiff_t total) {
    fc_arena arena = fc_arena_at(memory);
    unsigned keep = fc_what_to_keep(batch);
    size_t rows = (size_t)batch->rows, pairs = (size_t)batch->steps * rows;
    fc_saved_layout(saved, &arena, stack, first, batch, total, keep);
    memset(saved->seal, 0, sizeof *saved->seal);
    *saved->sizes = (fc_saved_sizes){.steps = batch->steps,
                                     .total = total,
                                     .x_rows = batch->index ? batch->x_rows : 0,
                                     .keep = keep,
                                     .bytes = fc_arena_bytes(&arena),
                                     .key = batch->key,
                                     .first_step = batch->first_step};
    copy(saved->lengths, batch->lengths, rows * sizeof *saved->lengths);
    copy(saved->mask, batch->mask, pairs);
    copy(saved->reset, batch->reset, pairs);
    copy(saved->index, batch->index, pairs * sizeof *saved->index);
}

void fc_saved_seal(const fc_saved *saved, const fc_stack *stack,
                   const fc_batch *batch) {
    *saved->seal = seal_of(stack, batch, FC_SEAL_SAVED);
}

static uint64_t kind_of(const fc_seal *seal) {
    return __atomic_load_n(&seal->kind, __ATOMIC_ACQUIRE);
}

fc_status fc_saved_open(fc_saved *saved, void *memory, const fc_stack *stack,
                        const fc_batch *batch) {
    fc_status status = fc_check_alignment(memory);
    if (status)
        return status;
    const fc_seal *seal = memory;
    const fc_saved_sizes *sizes = (const fc_saved_sizes *)(seal + 1);
    /* Read once: another thread may be using it up. */
    const uint64_t kind = kind_of(seal);
    const fc_seal expected = seal_of(stack, batch, kind);
    const size_t behind = offsetof(fc_seal, isa);
    if ((kind != FC_SEAL_SAVED && kind != FC_SEAL_USED_UP) ||
        memcmp((const char *)seal + behind, (const char *)&expected + behind,
               sizeof expected - behind))
        return FC_BAD_MEMORY;
    const unsigned told = FC_KEEP | FC_KEEP_RECOMPUTE | FC_KEEP_INDEX | FC_KEEP_RANDOM;
    if (sizes->steps != batch->steps || sizes->total < 0 || sizes->keep >= 128 ||
        sizes->total > batch->steps * batch->rows ||
        sizes->x_rows != (batch->index ? batch->x_rows : 0) ||
        (sizes->keep & told) != (fc_what_to_keep(batch) & told))
        return FC_BAD_MEMORY;
    fc_arena arena = fc_arena_at(memory);
    fc_shape first;
    fc_shape_of(stack, 0, &first);
    fc_saved_layout(saved, &arena, stack, &first, batch, sizes->total,
                    (unsigned)sizes->keep);
    if (arena.failed || fc_arena_bytes(&arena) != sizes->bytes)
        return FC_BAD_MEMORY;
    return kind == FC_SEAL_USED_UP ? FC_USED_UP : FC_OK;
}

fc_status fc_saved_take(const fc_saved *saved) {
    uint64_t fresh = FC_SEAL_SAVED;
    return __atomic_compare_exchange_n(&saved->seal->kind, &fresh, FC_SEAL_USED_UP,
                                       false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
               ? FC_OK
               : FC_USED_UP;
}

fc_batch fc_saved_batch(const fc_saved *saved, const fc_batch *batch) {
    fc_batch kept = *batch;
    kept.lengths = saved->lengths;
    kept.mask = saved->mask;
    kept.reset = saved->reset;
    kept.index = saved->index;
    kept.key = saved->sizes->key;
    kept.first_step = saved->sizes->first_step;
    return kept;
}

fc_status fc_saved_bytes(const void *memory, size_t *bytes) {
    fc_status status = fc_check_alignment(memory);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    const fc_seal *seal = memory;
    uint64_t kind = kind_of(seal);
    if (kind != FC_SEAL_SAVED)
        return kind == FC_SEAL_USED_UP ? FC_USED_UP : FC_BAD_MEMORY;
    *bytes = ((const fc_saved_sizes *)(seal + 1))->bytes;
    return FC_OK;
}
