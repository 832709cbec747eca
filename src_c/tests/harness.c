#include "tests/harness.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#if defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

enum { MOST_PRINTED = 30 };

static atomic_int checks, failures;
static _Thread_local char case_text[256];

/* A hang is a failure; output before a crash must not be lost. */
enum { MOST_SECONDS = 600 };
__attribute__((constructor)) static void start(void) {
    alarm(MOST_SECONDS);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}

void describe(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(case_text, sizeof case_text, format, arguments);
    va_end(arguments);
}

/* Counts a check; returns whether to print its failure. */
static bool failed(bool passed, const char *text, const char *file, int line) {
    atomic_fetch_add(&checks, 1);
    if (passed)
        return false;
    int count = atomic_fetch_add(&failures, 1) + 1;
    if (count > MOST_PRINTED)
        return false;
    printf("%s:%d: %s  [%s]\n", file, line, text, case_text);
    return true;
}

bool check_that(bool condition, const char *text, const char *file, int line) {
    failed(condition, text, file, line);
    return condition;
}

bool check_status(fc_status got, fc_status expected, const char *text, const char *file,
                  int line) {
    if (failed(got == expected, text, file, line))
        printf("    status %d, expected %d\n", (int)got, (int)expected);
    return got == expected;
}

bool check_close(const double *got, const double *wanted, ptrdiff_t n, double tolerance,
                 const char *text, const char *file, int line) {
    for (ptrdiff_t i = 0; i < n; i++) {
        if (fabs(got[i] - wanted[i]) <= tolerance * (1 + fabs(wanted[i])))
            continue;
        if (failed(false, text, file, line))
            printf("    [%td] is %.17g, expected %.17g, tolerance %g\n", i, got[i],
                   wanted[i], tolerance);
        return false;
    }
    failed(true, text, file, line);
    return true;
}

bool check_same_bits(const double *a, const double *b, ptrdiff_t n, const char *text,
                     const char *file, int line) {
    for (ptrdiff_t i = 0; i < n; i++) {
        if (!memcmp(&a[i], &b[i], sizeof *a))
            continue;
        if (failed(false, text, file, line))
            printf("    [%td] %.17g and %.17g\n", i, a[i], b[i]);
        return false;
    }
    failed(true, text, file, line);
    return true;
}

bool has_r(const char *cell) {
    return strncmp(cell, "indrnn_", 7) && strncmp(cell, "min_", 4) &&
           strcmp(cell, "lru");
}

int finish(const char *test) {
    int count = atomic_load(&checks), bad = atomic_load(&failures);
    printf("%-16s %d checks, %d failed\n", test, count, bad);
    return bad || !count;
}

/* splitmix64 (Steele, Lea & Flood, OOPSLA 2014). */
static _Thread_local uint64_t state;

/* Sharing of work must not depend on the machine and its load: threads cost nothing
 * here, so calls share all work that can be shared. */
__attribute__((constructor)) static void let_threads_cost_nothing(void) {
    fc_set_thread_costs(&(fc_thread_costs){0});
}

void seed(uint64_t value) { state = value; }

static uint64_t next_random(void) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A float32 value, so that both types have the same input. */
double uniform(double low, double high) {
    double unit = (double)(next_random() >> 11) * 0x1p-53;
    return (double)(float)(low + (high - low) * unit);
}

bool chance(double probability) { return uniform(0, 1) < probability; }

enum { GUARD = 256, GUARD_BYTE = 0xa5 };

/* Directly before the head guard. */
typedef struct header {
    void *block;
    size_t size;
} header;

static unsigned char *head_of(void *memory) { return (unsigned char *)memory - GUARD; }

void *take(size_t size, size_t shift) {
    size_t room = sizeof(header) + 64 + 2 * GUARD + 64 + size;
    char *block = zeros((ptrdiff_t)room, 1);
    uintptr_t at = (uintptr_t)block + sizeof(header) + GUARD + 63;
    unsigned char *memory = (unsigned char *)((at & ~(uintptr_t)63) + shift % 64);
    header h = {block, size};
    memcpy(memory - GUARD - sizeof h, &h, sizeof h);
    memset(memory - GUARD, GUARD_BYTE, GUARD);
    memset(memory, 0xff, size);
    memset(memory + size, GUARD_BYTE, GUARD);
    ASAN_POISON_MEMORY_REGION(memory - GUARD, GUARD);
    ASAN_POISON_MEMORY_REGION(memory + size, GUARD);
    return memory;
}

void release(void *memory) {
    if (!memory)
        return;
    unsigned char *head = head_of(memory);
    header h;
    memcpy(&h, head - sizeof h, sizeof h);
    unsigned char *tail = (unsigned char *)memory + h.size;
    ASAN_UNPOISON_MEMORY_REGION(head, GUARD);
    ASAN_UNPOISON_MEMORY_REGION(tail, GUARD);
    int changed = 0;
    for (int i = 0; i < GUARD; i++)
        changed += (head[i] != GUARD_BYTE) + (tail[i] != GUARD_BYTE);
    CHECK(changed == 0 && "bytes around the buffer");
    free(h.block);
}

double real_at(fc_dtype dtype, const void *array, ptrdiff_t i) {
    return dtype == FC_F64 ? ((const double *)array)[i]
                           : (double)((const float *)array)[i];
}

void set_real(fc_dtype dtype, void *array, ptrdiff_t i, double value) {
    if (dtype == FC_F64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

void *reals_of(fc_dtype dtype, const double *from, ptrdiff_t n) {
    if (!from)
        return NULL;
    void *to = take((size_t)n * real_size(dtype), real_size(dtype));
    for (ptrdiff_t i = 0; i < n; i++)
        set_real(dtype, to, i, from[i]);
    return to;
}

void doubles_of(fc_dtype dtype, const void *from, ptrdiff_t n, double *to) {
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = real_at(dtype, from, i);
}

static atomic_int blas_calls;

int slow_blas_calls(void) { return atomic_load(&blas_calls); }

/* Column-major: c (m, n) = alpha a (m, k) b^T + beta c, with b (n, k). */
#define DEFINE_GEMM(name, real)                                                        \
    static void name(char *plain, char *transposed, int *m, int *n, int *k,            \
                     real *alpha, real *a, int *lda, real *b, int *ldb, real *beta,    \
                     real *c, int *ldc) {                                              \
        CHECK(*plain == 'N' && *transposed == 'T');                                    \
        CHECK(*lda >= *m && *ldb >= *n && *ldc >= *m);                                 \
        atomic_fetch_add(&blas_calls, 1);                                              \
        for (ptrdiff_t j = 0; j < *n; j++)                                             \
            for (ptrdiff_t i = 0; i < *m; i++) {                                       \
                real sum = 0;                                                          \
                for (ptrdiff_t p = 0; p < *k; p++)                                     \
                    sum += a[p * *lda + i] * b[p * *ldb + j];                          \
                c[j * *ldc + i] = *alpha * sum + *beta * c[j * *ldc + i];              \
            }                                                                          \
    }
DEFINE_GEMM(slow_sgemm, float)
DEFINE_GEMM(slow_dgemm, double)

const fc_blas slow_blas = {slow_sgemm, slow_dgemm};

void *zeros(ptrdiff_t count, size_t size) {
    void *memory = calloc(count > 0 ? (size_t)count : 1, size);
    if (!memory) {
        printf("out of memory\n");
        exit(2);
    }
    return memory;
}
