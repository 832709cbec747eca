/* Common parts of the C tests: counting checks, the name of the case, reproducible
 * random values, and guarded memory. */
#ifndef HARNESS_H
#define HARNESS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fastcell.h"

/* ThreadSanitizer allows no threads in the child of a fork. */
#if defined(__has_feature) /* clang */
#define UNDER_THREAD_SANITIZER __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER 1
#else
#define UNDER_THREAD_SANITIZER 0
#endif

/* Neither does qemu's user mode (-DUNDER_EMULATOR=1): the first thread of such a child
 * fails an assertion in qemu 7. */
#ifndef UNDER_EMULATOR
#define UNDER_EMULATOR 0
#endif
#define THREADS_IN_CHILDREN (!UNDER_THREAD_SANITIZER && !UNDER_EMULATOR)

/* What takes a program many times longer (an emulator, -DFEW_PROBLEMS=1 for sanitizers)
 * has fewer cells take all problems. */
#ifndef FEW_PROBLEMS
#define FEW_PROBLEMS UNDER_EMULATOR
#endif

/* ---- checks --------------------------------------------------------------------- */

/* A failed check prints its place, its text and the case, and the test continues. */
#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)
#define CHECK_STATUS(call, expected)                                                   \
    check_status((call), (expected), #call, __FILE__, __LINE__)
#define CHECK_OK(call) CHECK_STATUS(call, FC_OK)
/* |got[i] - wanted[i]| <= tolerance * (1 + |wanted[i]|) for all i; NaN fails. */
#define CHECK_CLOSE(got, wanted, n, tolerance)                                         \
    check_close((got), (wanted), (n), (tolerance), #got, __FILE__, __LINE__)
#define CHECK_SAME_BITS(a, b, n)                                                       \
    check_same_bits((a), (b), (n), #a " == " #b, __FILE__, __LINE__)

bool check_that(bool condition, const char *text, const char *file, int line);
bool check_status(fc_status got, fc_status expected, const char *text, const char *file,
                  int line);
bool check_close(const double *got, const double *wanted, ptrdiff_t n, double tolerance,
                 const char *text, const char *file, int line);
bool check_same_bits(const double *a, const double *b, ptrdiff_t n, const char *text,
                     const char *file, int line);

/* Sets the case of this thread's next checks. */
void describe(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whether a cell has recurrent weights: all but those whose papers have none. */
bool has_r(const char *cell);
/* Prints the counts; returns the test's exit code. */
int finish(const char *test);

/* ---- random values, the same in every run ------------------------------------------
 */

void seed(uint64_t value);
double uniform(double low, double high);
bool chance(double probability);

/* ---- memory ------------------------------------------------------------------------
 */

/* `size` bytes of 0xff (NaN in both types), `shift` past a multiple of 64, between
 * guards: release() checks that the guards are unchanged, and AddressSanitizer also
 * reports reads of them. */
void *take(size_t size, size_t shift);
void release(void *memory);

/* Converts n doubles to an array of a type, and back; NULL stays NULL. */
void *reals_of(fc_dtype dtype, const double *from, ptrdiff_t n);
void doubles_of(fc_dtype dtype, const void *from, ptrdiff_t n, double *to);
double real_at(fc_dtype dtype, const void *array, ptrdiff_t i);
void set_real(fc_dtype dtype, void *array, ptrdiff_t i, double value);
static inline size_t real_size(fc_dtype dtype) { return dtype == FC_F64 ? 8 : 4; }

/* sgemm and dgemm by three loops, for a b^T only, as the core calls them; and the
 * number of calls. */
extern const fc_blas slow_blas;
int slow_blas_calls(void);

/* Zeroed, never NULL. */
void *zeros(ptrdiff_t count, size_t size);

#define FOR_EACH_ISA(name)                                                             \
    for (int isa_ = 0; fc_isa_name(isa_); isa_++)                                      \
        for (const char *name = fc_isa_name(isa_); name && !fc_isa_select(name);       \
             name = NULL)

#endif
