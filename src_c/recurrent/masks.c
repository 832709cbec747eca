/* Random masks: their keys and factors, and the loops over states. */
#include "recurrent/masks.h"

/* The finalizer of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014). */
static uint64_t mixed(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

fc_masks fc_masks_of(const fc_batch *batch, int pass) {
    return (fc_masks){.random = batch->random,
                      .key = mixed(batch->key ^ mixed((uint64_t)pass)),
                      .first_step = batch->first_step};
}

static ptrdiff_t whole_blocks(ptrdiff_t units) {
    return (units + FC_DROPOUT_BLOCK - 1) / FC_DROPOUT_BLOCK;
}

ptrdiff_t fc_mask_reals(const fc_shape *shape) {
    ptrdiff_t most = shape->units > shape->out ? shape->units : shape->out;
    return whole_blocks(most) * FC_DROPOUT_BLOCK;
}

static double rate_of(const fc_shape *shape, fc_mask_kind kind) {
    return kind == FC_MASK_H   ? shape->zone_h
           : kind == FC_MASK_C ? shape->zone_c
           : kind == FC_MASK_R ? shape->drop
                               : shape->options->update_dropout;
}

/* Makes the factors of some units in the buffer, and returns the first: 0 with the rate
 * as probability, else `kept`.  The generator's key is that of (call, pass, kind, row),
 * its counter the step and the unit. */
static const char *factors_of(const fc_shape *shape, const fc_mask_rows *rows,
                              fc_mask_kind kind, ptrdiff_t i, double kept,
                              fc_units units) {
    const fc_masks *masks = rows->masks;
    uint64_t key = mixed(masks->key + (uint64_t)kind), least = UINT32_MAX;
    double rate = rate_of(shape, kind) * 0x1p32;
    ptrdiff_t first = units.first / FC_DROPOUT_BLOCK,
              blocks = whole_blocks(
                  kind == FC_MASK_C || kind == FC_MASK_U ? shape->units : shape->out);
    uint64_t step = kind == FC_MASK_R ? 0 : (uint64_t)(masks->first_step + rows->t);
    if (rate < UINT32_MAX)
        least = (uint64_t)rate;
    shape->k->dropout(mixed(key + (uint64_t)rows->row[i]),
                      step * (uint64_t)blocks + (uint64_t)first, (uint32_t)least, kept,
                      NULL, rows->buffer,
                      units.first + units.count - first * FC_DROPOUT_BLOCK);
    return rows->buffer + fc_bytes(shape, units.first - first * FC_DROPOUT_BLOCK);
}

void fc_zone(const fc_shape *shape, const fc_mask_rows *rows, fc_mask_kind kind,
             ptrdiff_t i, void *to, const void *fresh, const void *old,
             fc_units units) {
    const char *factors = rows->masks && rows->masks->random
                              ? factors_of(shape, rows, kind, i, 1, units)
                              : NULL;
    ptrdiff_t vectors = kind == FC_MASK_C ? shape->c_row / shape->padded : 1;
    for (ptrdiff_t v = 0; v < vectors; v++) {
        size_t at = fc_bytes(shape, v * shape->padded + units.first);
        shape->k->zone((char *)to + at, (const char *)fresh + at,
                       (const char *)old + at, factors, rate_of(shape, kind),
                       units.count);
    }
}

void fc_zone_backward(const fc_shape *shape, const fc_mask_rows *rows,
                      fc_mask_kind kind, ptrdiff_t i, void *d, void *pass,
                      fc_units units) {
    const char *factors =
        rows->masks->random ? factors_of(shape, rows, kind, i, 1, units) : NULL;
    ptrdiff_t vectors = kind == FC_MASK_C ? shape->c_row / shape->padded : 1;
    for (ptrdiff_t v = 0; v < vectors; v++) {
        size_t at = fc_bytes(shape, v * shape->padded + units.first);
        shape->k->zone_backward((char *)d + at, (char *)pass + at, factors,
                                rate_of(shape, kind), units.count);
    }
}

void fc_drop(const fc_shape *shape, const fc_mask_rows *rows, ptrdiff_t i, void *to,
             const void *from, fc_units units) {
    const char *factors =
        factors_of(shape, rows, FC_MASK_R, i, 1 / (1 - shape->drop), units);
    size_t at = fc_bytes(shape, units.first);
    shape->k->multiply((char *)to + at, (const char *)from + at, factors, units.count);
}

void fc_make_updates(const fc_shape *shape, const fc_mask_rows *rows, char *factors,
                     void **update, fc_units units) {
    size_t row = fc_bytes(shape, fc_mask_reals(shape)),
           block = fc_bytes(shape, units.first - units.first % FC_DROPOUT_BLOCK);
    double kept = 1 / (1 - shape->options->update_dropout);
    for (ptrdiff_t i = 0; i < rows->count; i++, factors += row) {
        fc_mask_rows to = *rows;
        to.buffer = factors + block; /* unit u at u */
        factors_of(shape, &to, FC_MASK_U, i, kept, units);
        update[i] = factors;
    }
}
