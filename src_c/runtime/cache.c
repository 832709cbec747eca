#include "runtime/cache.h"

#include <stdatomic.h>
#include <stdint.h>

enum { USUAL_BYTES = 512 * 1024 }; /* if the CPU does not report it */

#if defined(__x86_64__)
#include <cpuid.h>

/* Bytes of the second level by a leaf of CPUID; 0 if the leaf lacks it.  Intel has leaf
 * 4, AMD the other, with the same fields; a virtual machine may have either, or report
 * less than its CPU has. */
static size_t second_level(unsigned leaf) {
    enum { MOST_CACHES = 16, DATA = 1, UNIFIED = 3 };
    for (unsigned i = 0; i < MOST_CACHES; i++) {
        unsigned a, b, c, d;
        if (!__get_cpuid_count(leaf, i, &a, &b, &c, &d) || !(a & 0x1f))
            return 0;
        unsigned kind = a & 0x1f, level = a >> 5 & 7;
        if (level == 2 && (kind == DATA || kind == UNIFIED))
            return (size_t)((b >> 22) + 1) * ((b >> 12 & 0x3ff) + 1) *
                   ((b & 0xfff) + 1) * ((size_t)c + 1);
    }
    return 0;
}

static size_t ask(void) {
    size_t bytes = second_level(0x8000001d);
    return bytes ? bytes : second_level(4);
}
#else
#include <unistd.h>

static size_t ask(void) {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? (size_t)bytes : 0;
#else
    return 0;
#endif
}
#endif

size_t fc_near_bytes(void) {
    static _Atomic size_t known; /* 0: not read yet */
    size_t bytes = atomic_load(&known);
    if (!bytes) {
        bytes = ask();
        bytes = (bytes ? bytes : USUAL_BYTES) / 2;
        atomic_store(&known, bytes);
    }
    return bytes;
}
