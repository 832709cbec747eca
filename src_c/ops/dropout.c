/* Dropout of an array; threads have different blocks of random numbers. */
#include <string.h>

#include "runtime/dispatch.h"
#include "runtime/pool.h"

typedef struct job {
    const fc_kernels *k;
    uint64_t key;
    uint32_t least;
    double factor;
    const char *x;
    char *y;
    ptrdiff_t n;
} job;

/* Elements, less than a nanosecond each, for which a thread pays. */
enum { NUMBERS_OF_A_PART = 100000 };

static void run_part(void *context, int part, int parts) {
    const job *j = context;
    ptrdiff_t blocks = (j->n + FC_DROPOUT_BLOCK - 1) / FC_DROPOUT_BLOCK;
    ptrdiff_t block = blocks * part / parts, last = blocks * (part + 1) / parts;
    ptrdiff_t from = block * FC_DROPOUT_BLOCK, to = last * FC_DROPOUT_BLOCK;
    size_t before = (size_t)from * j->k->real_size;
    j->k->dropout(j->key, (uint64_t)block, j->least, j->factor,
                  j->x ? j->x + before : NULL, j->y + before,
                  (to < j->n ? to : j->n) - from);
}

fc_status fc_dropout(fc_dtype dtype, ptrdiff_t n, double p, uint64_t key, const void *x,
                     void *y, int threads) {
    if ((dtype != FC_F32 && dtype != FC_F64) || n < 0 || !(p >= 0 && p <= 1) ||
        threads < 1 || (n && !y))
        return FC_BAD_ARGUMENT;
    if (n > PTRDIFF_MAX / 16)
        return FC_TOO_LARGE;
    const fc_kernels *k = fc_kernels_of(dtype);
    if (n == 0 || p == 1) {
        if (n)
            memset(y, 0, (size_t)n * k->real_size);
        return FC_OK;
    }
    double least = p * 0x1p32; /* a share of p of all words is below */
    job j = {.k = k,
             .key = key,
             .least = least < UINT32_MAX ? (uint32_t)least : UINT32_MAX,
             .factor = 1 / (1 - p),
             .x = x,
             .y = y,
             .n = n};
    fc_run_brief_parts(run_part, &j,
                       fc_useful_parts((double)n / NUMBERS_OF_A_PART, threads));
    return FC_OK;
}
