/* An arena: one function both measures a memory layout and places it in memory.
 *
 * With base NULL, fc_take only adds up sizes.  The caller then allocates that many
 * bytes, at a multiple of FC_ALIGNMENT, and the same function runs again with a base.
 * Sizes are checked: after an overflow `failed` is set, and fc_take returns NULL. */
#ifndef FC_ARENA_H
#define FC_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fastcell.h"

enum { FC_ALIGNMENT = 64 };

/* Largest size of one axis: sizes that a kernel computes from one axis alone (the
 * scratch of a weight gradient: some hundred reals for each) need no overflow checks.
 */
#define FC_MOST_ON_AXIS (PTRDIFF_MAX / 65536)

typedef struct fc_arena {
    char *base;
    size_t used;
    bool failed;
} fc_arena;

/* FC_OK, FC_BAD_ARGUMENT for NULL, or FC_BAD_ALIGNMENT. */
static inline fc_status fc_check_alignment(const void *memory) {
    return !memory                                  ? FC_BAD_ARGUMENT
           : (uintptr_t)memory & (FC_ALIGNMENT - 1) ? FC_BAD_ALIGNMENT
                                                    : FC_OK;
}

/* `memory` must be aligned: offsets do not depend on its address. */
static inline fc_arena fc_arena_at(void *memory) { return (fc_arena){.base = memory}; }

static inline void *fc_take(fc_arena *arena, size_t count, size_t size) {
    size_t bytes, rounded, used;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, FC_ALIGNMENT - 1, &rounded) ||
        __builtin_add_overflow(arena->used, rounded & ~(size_t)(FC_ALIGNMENT - 1),
                               &used) ||
        used > PTRDIFF_MAX - FC_ALIGNMENT)
        arena->failed = true;
    if (arena->failed)
        return NULL;
    char *taken = arena->base ? arena->base + arena->used : NULL;
    arena->used = used;
    return taken;
}

/* count1 * count2 items of `size` bytes. */
static inline void *fc_take2(fc_arena *arena, size_t count1, size_t count2,
                             size_t size) {
    size_t count;
    if (__builtin_mul_overflow(count1, count2, &count)) {
        arena->failed = true;
        return NULL;
    }
    return fc_take(arena, count, size);
}

/* Bytes to allocate for a measured layout; never 0, so that NULL is always an error. */
static inline size_t fc_arena_bytes(const fc_arena *arena) {
    return arena->used ? arena->used : FC_ALIGNMENT;
}

#endif
