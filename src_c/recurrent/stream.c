/* Streams: their memory, and copies of states from and to the caller's arrays.  The
 * step is in stream_step.c. */
#include "recurrent/stream.h"

#include <string.h>

/* Checks the arguments.  With FC_OK, *seal is the seal of such streams. */
static fc_status check(const fc_stack *stack, ptrdiff_t rows, fc_seal *seal) {
    fc_shape shape;
    fc_status status = fc_shape_of(stack, 0, &shape);
    if (!status && (stack->directions != 1 || rows < 0))
        status = FC_BAD_ARGUMENT;
    if (!status)
        *seal = fc_seal_of(FC_SEAL_STREAM, stack, shape.k, rows);
    return status;
}

/* FC_OK too if the seal is zeros: no call has written the memory yet. */
static fc_status check_memory(const void *memory, const fc_seal *expected) {
    static const fc_seal none;
    fc_status status = fc_check_seal(memory, expected);
    return status == FC_BAD_MEMORY && fc_bears_seal(memory, &none) ? FC_OK : status;
}

/* Checks that each selected stream exists and comes once. */
static fc_status check_selection(const fc_selection *some, ptrdiff_t rows,
                                 fc_stream_memory *s) {
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

/* Compares the seal first: if it matches, the stack was checked when the seal was set.
 */
static fc_status open(const fc_stack *stack, ptrdiff_t rows, void *memory,
                      fc_seal *seal) {
    fc_status status = stack && stack->dtype >= FC_F32 && stack->dtype <= FC_INT8
                           ? fc_check_alignment(memory)
                           : FC_BAD_ARGUMENT;
    if (status)
        return status;
    *seal = fc_seal_of(FC_SEAL_STREAM, stack, fc_kernels_of(stack->dtype), rows);
    if (fc_bears_seal(memory, seal))
        return FC_OK;
    status = check(stack, rows, seal);
    return status ? status : check_memory(memory, seal);
}

fc_status fc_stream_open(const fc_stack *stack, ptrdiff_t rows, void *memory,
                         const fc_selection *some, fc_stream_memory *s, fc_seal *seal) {
    fc_status status = open(stack, rows, memory, seal);
    if (status)
        return status;
    fc_stream_carve(s, memory, stack->layers, rows);
    status = check_selection(some, rows, s);
    if (!status && ((const fc_seal *)memory)->kind == 0)
        memcpy(memory, seal, sizeof *seal);
    return status;
}

/* Adds up the sizes.  The stack is valid. */
static fc_status stream_bytes(const fc_stack *stack, ptrdiff_t rows, size_t *bytes) {
    fc_stream_memory s;
    fc_stream_carve(&s, NULL, stack->layers, rows);
    for (int layer = 0; layer < stack->layers && !s.arena.failed; layer++) {
        fc_shape shape;
        fc_shape_of(stack, layer, &shape);
        fc_next_stream_layer(&s, &shape, rows);
    }
    *bytes = fc_arena_bytes(&s.arena);
    return s.arena.failed ? FC_TOO_LARGE : FC_OK;
}

fc_status fc_stream_size(const fc_stack *stack, ptrdiff_t rows, size_t *bytes) {
    fc_seal seal;
    fc_status status = check(stack, rows, &seal);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    return status ? status : stream_bytes(stack, rows, bytes);
}

fc_status fc_stream_copy(const fc_stack *stack, ptrdiff_t rows, const void *from,
                         void *to) {
    size_t bytes;
    fc_seal seal;
    fc_status status = check(stack, rows, &seal);
    if (!status)
        status = stream_bytes(stack, rows, &bytes);
    if (!status)
        status = fc_check_alignment(to);
    if (!status)
        status = check_memory(from, &seal);
    if (!status && to != from)
        memcpy(to, from, bytes);
    return status;
}

static void set_states(const fc_stack *stack, ptrdiff_t rows, const fc_selection *some,
                       fc_stream_memory s, const char *h, const char *c) {
    for (ptrdiff_t i = 0; i < some->count; i++)
        s.side[fc_selected(some, i)] = 0;
    for (int l = 0; l < stack->layers; l++) {
        fc_shape shape;
        fc_shape_of(stack, l, &shape);
        fc_stream_layer layer = fc_next_stream_layer(&s, &shape, rows);
        const fc_states of_h = fc_states_h(&shape), of_c = fc_states_c(&shape);
        size_t h_row = fc_padded_state_bytes(&of_h), h_bytes = fc_state_bytes(&of_h);
        size_t c_row = fc_padded_state_bytes(&of_c), c_bytes = fc_state_bytes(&of_c);
        for (ptrdiff_t i = 0; i < some->count; i++) {
            size_t row = (size_t)fc_selected(some, i),
                   at = (size_t)(l * some->count + i);
            fc_set_state(&of_h, layer.h[0] + row * h_row, h ? h + at * h_bytes : NULL);
            if (layer.c)
                fc_set_state(&of_c, layer.c + row * c_row, c ? c + at * c_bytes : NULL);
        }
    }
}

static void get_states(const fc_stack *stack, ptrdiff_t rows, const fc_selection *some,
                       fc_stream_memory s, char *h, char *c) {
    for (int l = 0; l < stack->layers; l++) {
        fc_shape shape;
        fc_shape_of(stack, l, &shape);
        fc_stream_layer layer = fc_next_stream_layer(&s, &shape, rows);
        const fc_states of_h = fc_states_h(&shape), of_c = fc_states_c(&shape);
        size_t h_row = fc_padded_state_bytes(&of_h), h_bytes = fc_state_bytes(&of_h);
        size_t c_row = fc_padded_state_bytes(&of_c), c_bytes = fc_state_bytes(&of_c);
        for (ptrdiff_t i = 0; i < some->count; i++) {
            size_t row = (size_t)fc_selected(some, i),
                   at = (size_t)(l * some->count + i);
            if (h)
                fc_get_state(&of_h, layer.h[s.side[row]] + row * h_row,
                             h + at * h_bytes);
            if (c && layer.c)
                fc_get_state(&of_c, layer.c + row * c_row, c + at * c_bytes);
        }
    }
}

fc_status fc_stream_set_some(const fc_stack *stack, ptrdiff_t rows, void *memory,
                             const fc_selection *some, const void *h, const void *c) {
    fc_stream_memory s;
    fc_seal seal;
    fc_status status =
        some ? fc_stream_open(stack, rows, memory, some, &s, &seal) : FC_BAD_ARGUMENT;
    if (!status)
        set_states(stack, rows, some, s, h, c);
    return status;
}

fc_status fc_stream_get_some(const fc_stack *stack, ptrdiff_t rows, void *memory,
                             const fc_selection *some, void *h, void *c) {
    fc_stream_memory s;
    fc_seal seal;
    fc_status status =
        some ? fc_stream_open(stack, rows, memory, some, &s, &seal) : FC_BAD_ARGUMENT;
    if (!status)
        get_states(stack, rows, some, s, h, c);
    return status;
}

/* Reads nothing of the memory: it may have any content. */
fc_status fc_stream_set(const fc_stack *stack, ptrdiff_t rows, void *memory,
                        const void *h, const void *c) {
    fc_selection all = {NULL, rows};
    fc_stream_memory s;
    fc_seal seal;
    fc_status status = check(stack, rows, &seal);
    if (!status)
        status = fc_check_alignment(memory);
    if (status)
        return status;
    fc_stream_carve(&s, memory, stack->layers, rows);
    memcpy(memory, &seal, sizeof seal);
    memset(s.seen, 0, (size_t)rows);
    memset(s.plan, 0, sizeof *s.plan);
    set_states(stack, rows, &all, s, h, c);
    return FC_OK;
}

/* Writes nothing to the memory, unlike fc_stream_get_some. */
fc_status fc_stream_get(const fc_stack *stack, ptrdiff_t rows, const void *memory,
                        void *h, void *c) {
    fc_selection all = {NULL, rows};
    fc_stream_memory s;
    fc_seal seal;
    fc_status status = check(stack, rows, &seal);
    if (!status)
        status = check_memory(memory, &seal);
    if (status)
        return status;
    fc_stream_carve(&s, (void *)memory, stack->layers, rows);
    get_states(stack, rows, &all, s, h, c);
    return FC_OK;
}
