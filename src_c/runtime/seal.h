/* The seal: the header of packed weights, saved values, streams and carries.
 *
 * One call writes such memory and others read it, by a layout that they compute from
 * their own arguments.  The seal records the kind of memory and the sizes it was made
 * for; each call that reads it compares the seal first.  A seal is a function of the
 * caller's arguments.  The sizes of saved values (recurrent/saved.h) are not part of
 * it; they are checked by their sum. */
#ifndef FC_SEAL_H
#define FC_SEAL_H

#include "fastcell.h"
#include "runtime/arena.h"
#include "runtime/kernels.h"

/* Eight characters that are readable in a dump; the digit is the version of the layout.
 */
#define FC_MAGIC(a, b, c, d, e, f, g, h)                                               \
    ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 |  \
     (uint64_t)(e) << 32 | (uint64_t)(f) << 40 | (uint64_t)(g) << 48 |                 \
     (uint64_t)(h) << 56)
#define FC_SEAL_PACK_FORWARD FC_MAGIC('f', 'c', '1', 'p', 'a', 'c', 'k', 'F')
#define FC_SEAL_PACK_BACKWARD FC_MAGIC('f', 'c', '1', 'p', 'a', 'c', 'k', 'B')
#define FC_SEAL_LINEAR_FORWARD FC_MAGIC('f', 'c', '1', 'l', 'i', 'n', 'e', 'F')
#define FC_SEAL_LINEAR_BACKWARD FC_MAGIC('f', 'c', '1', 'l', 'i', 'n', 'e', 'B')
#define FC_SEAL_SAVED FC_MAGIC('f', 'c', '1', 's', 'a', 'v', 'e', 'd')
#define FC_SEAL_USED_UP FC_MAGIC('f', 'c', '1', 'u', 's', 'e', 'd', ' ')
#define FC_SEAL_STREAM FC_MAGIC('f', 'c', '1', 's', 't', 'r', 'e', 'a')
#define FC_SEAL_CARRY FC_MAGIC('f', 'c', '1', 'c', 'a', 'r', 'r', 'y')

typedef struct fc_seal {
    uint64_t kind;
    uint64_t isa;    /* the first 8 characters of its name */
    uint64_t cell;   /* and heads, dtype, native kernels */
    uint64_t passes; /* layers and directions, and a hash of rates and options */
    int64_t in, units, proj;
    int64_t rows; /* of a stream or a batch; of a carry, x_rows; else 0 */
} fc_seal;

_Static_assert(sizeof(fc_seal) == FC_ALIGNMENT, "what follows a seal is aligned");

/* Whether all rates of the stack have zero bits.  Every step of a stream asks, so this
 * compares words, not doubles. */
static inline bool fc_has_no_rates(const fc_stack *stack) {
    uint64_t rates[3];
    __builtin_memcpy(rates, &stack->zoneout_h, sizeof rates);
    return (rates[0] | rates[1] | rates[2]) == 0;
}
_Static_assert(offsetof(fc_stack, recurrent_dropout) ==
                   offsetof(fc_stack, zoneout_h) + 2 * sizeof(double),
               "the rates follow each other");

static inline uint64_t fc_hash_with(uint64_t hash, double value) {
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return (hash ^ bits) * 0x9e3779b97f4a7c15;
}

/* 30 bits of the settings of a stack: its rates and its options. */
static inline uint32_t fc_hash_of_settings(const fc_stack *stack) {
    const double rates[] = {stack->zoneout_h, stack->zoneout_c,
                            stack->recurrent_dropout};
    uint64_t hash = 0;
    for (int i = 0; i < 3; i++)
        hash = fc_hash_with(hash, rates[i]);
    if (stack->options.given) {
        const fc_options *options = &stack->options;
        hash = fc_hash_with(hash, options->cell_clip + 1); /* not 0: `given` counts */
        hash = fc_hash_with(hash, options->gate_clip);
        hash = fc_hash_with(hash, options->update_dropout);
        hash = fc_hash_with(hash, options->recurrent_grad_clip);
        for (int i = 0; i < FC_MOST_ROLES; i++) {
            const fc_activation *f = &options->activation[i];
            hash = fc_hash_with(hash, f->kind);
            hash = fc_hash_with(hash, f->alpha);
            hash = fc_hash_with(hash, f->beta);
        }
    }
    return (uint32_t)(hash >> 34);
}

/* The seal of memory for a stack; different stacks have different seals.  A dense layer
 * only sets dtype, in and units.  k: the kernels of the dtype. */
static inline fc_seal fc_seal_of(uint64_t kind, const fc_stack *stack,
                                 const fc_kernels *k, int64_t rows) {
    fc_seal seal = {.kind = kind,
                    .cell = (uint64_t)(uint32_t)stack->cell << 48 |
                            (uint64_t)(uint32_t)(stack->heads > 1 ? stack->heads : 1)
                                << 8 |
                            (uint64_t)stack->dtype << 1 | (uint64_t)k->native,
                    .passes = (uint64_t)(uint32_t)stack->layers << 32 |
                              (fc_has_no_rates(stack) && !stack->options.given
                                   ? 0
                                   : (uint64_t)fc_hash_of_settings(stack) << 2) |
                              (uint64_t)(uint32_t)stack->directions,
                    .in = stack->input_size,
                    .units = stack->hidden_size,
                    .proj = stack->proj_size,
                    .rows = rows};
    __builtin_memcpy(&seal.isa, k->isa, sizeof seal.isa);
    return seal;
}

/* Whether aligned memory has the seal.  The members are compared one by one, so that a
 * seal just computed stays in registers: loads of several words would wait for its
 * stores. */
static inline bool fc_bears_seal(const void *memory, const fc_seal *expected) {
    const fc_seal *seal = memory;
    return seal->kind == expected->kind && seal->isa == expected->isa &&
           seal->cell == expected->cell && seal->passes == expected->passes &&
           seal->in == expected->in && seal->units == expected->units &&
           seal->proj == expected->proj && seal->rows == expected->rows;
}

/* FC_OK, FC_BAD_ARGUMENT for NULL, FC_BAD_ALIGNMENT, FC_BAD_MEMORY. */
static inline fc_status fc_check_seal(const void *memory, const fc_seal *expected) {
    fc_status status = fc_check_alignment(memory);
    if (status)
        return status;
    return fc_bears_seal(memory, expected) ? FC_OK : FC_BAD_MEMORY;
}

/* The seal of a stack's packed weights. */
static inline fc_seal fc_pack_seal(fc_pack_kind kind, const fc_stack *stack,
                                   const fc_kernels *k) {
    return fc_seal_of(kind == FC_PACK_FORWARD ? FC_SEAL_PACK_FORWARD
                                              : FC_SEAL_PACK_BACKWARD,
                      stack, k, 0);
}
static inline fc_status fc_check_pack(const void *packed, fc_pack_kind kind,
                                      const fc_stack *stack, const fc_kernels *k) {
    fc_seal expected = fc_pack_seal(kind, stack, k);
    return fc_check_seal(packed, &expected);
}

/* An arena that starts behind the seal of `memory`; for NULL, it measures, seal
 * included.
 */
static inline fc_arena fc_arena_behind_seal(void *memory) {
    fc_arena arena = fc_arena_at(memory);
    arena.used = sizeof(fc_seal);
    return arena;
}

#endif
