/* Chooses the kernel tables once: the best set that the CPU and the operating system
 * support.  CPUID alone is not enough: the system must save the wider registers on a
 * context switch, which XGETBV tells. */
#include "runtime/dispatch.h"

#include <stdatomic.h>
#include <string.h>

#include "cells/cell.h"

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t enabled_registers(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool has_avx(bool wide) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return false;
    uint64_t needed = wide ? 0xe6 : 0x6; /* opmask and ZMM state; YMM and XMM state */
    if ((enabled_registers() & needed) != needed || !(c & bit_FMA))
        return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
        return false;
    unsigned sets = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    return !wide || (b & sets) == sets;
}
static bool has_avx2(void) { return has_avx(false); }
static bool has_avx512(void) { return has_avx(true); }
static bool has_avx_vnni(void) {
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bit_AVXVNNI);
}
static bool has_avx512_bf16(void) {
    unsigned a, b, c, d;
    return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           (a & bit_AVX512BF16);
}
static bool has_avx512_vnni(void) {
    unsigned a, b, c, d;
    return has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           (c & bit_AVX512VNNI);
}
#elif defined(__aarch64__)
/* Part of the architecture's base. */
static bool has_neon(void) { return true; }
#endif

static bool has_portable(void) { return true; }

#define KERNELS(isa)                                                                   \
    {                                                                                  \
        &fc_kernels_##isa##_f32, &fc_kernels_##isa##_f64, &fc_kernels_##isa##_bf16,    \
            &fc_kernels_##isa##_int8                                                   \
    }

/* Best last. */
static const struct {
    bool (*supported)(void);
    const fc_kernels *kernels[FC_INT8 + 1]; /* by fc_dtype */
} sets[] = {
    {has_portable, KERNELS(portable)},
#if defined(__x86_64__)
    {has_avx2, KERNELS(avx2)},
    {has_avx512, KERNELS(avx512)},
#elif defined(__aarch64__)
    {has_neon, KERNELS(neon)},
#endif
};
enum { SETS = sizeof sets / sizeof *sets };

/* Kernels that take the place of others where the CPU has an instruction for them. */
static const struct {
    bool (*supported)(void);
    const fc_kernels *replaced, *kernels;
} natives[] = {
#if defined(__x86_64__)
    {has_avx_vnni, &fc_kernels_avx2_int8, &fc_kernels_avx2_int8_native},
    {has_avx512_bf16, &fc_kernels_avx512_bf16, &fc_kernels_avx512_bf16_native},
    {has_avx512_vnni, &fc_kernels_avx512_int8, &fc_kernels_avx512_int8_native},
#endif
    {NULL, NULL, NULL},
};
enum { NATIVES = sizeof natives / sizeof *natives - 1 };

/* -1: not asked yet. */
static atomic_int native_state[NATIVES + 1] = {
#if defined(__x86_64__)
    -1,
    -1,
    -1,
#endif
};

static bool is_native(int i) {
    int state = atomic_load(&native_state[i]);
    if (state < 0) {
        state = natives[i].supported();
        atomic_store(&native_state[i], state);
    }
    return state;
}

static atomic_int chosen = -1;

static int choose(void) {
    int set = atomic_load(&chosen);
    if (set >= 0)
        return set;
    for (set = SETS - 1; !sets[set].supported(); set--) {
    }
    atomic_store(&chosen, set);
    return set;
}

const fc_kernels *fc_kernels_of(fc_dtype dtype) {
    const fc_kernels *kernels = sets[choose()].kernels[dtype];
    for (int i = 0; dtype >= FC_BF16 && i < NATIVES; i++)
        if (kernels == natives[i].replaced && is_native(i))
            return natives[i].kernels;
    return kernels;
}

const char *fc_isa_name(int which) {
    for (int set = 0; set < SETS; set++)
        if (sets[set].supported() && which-- == 0)
            return sets[set].kernels[FC_F32]->isa;
    return NULL;
}

const char *fc_isa(void) { return fc_kernels_of(FC_F32)->isa; }

fc_status fc_isa_select(const char *name) {
    for (int set = 0; name && set < SETS; set++) {
        if (!strcmp(sets[set].kernels[FC_F32]->isa, name) && sets[set].supported()) {
            atomic_store(&chosen, set);
            return FC_OK;
        }
    }
    return FC_NO_ISA;
}

int fc_wants_blas(void) { return fc_kernels_of(FC_F32)->wants_blas; }

int fc_lanes(fc_dtype dtype) {
    return dtype >= FC_F32 && dtype <= FC_INT8 ? fc_kernels_of(dtype)->lanes : 0;
}

static const fc_cell *cell_at(int cell) {
    const fc_kernels *k = fc_kernels_of(FC_F32);
    return cell >= 0 && cell < k->cell_count ? k->cells[cell] : NULL;
}

int fc_cell_index(const char *name) {
    for (int cell = 0; name && cell_at(cell); cell++)
        if (!strcmp(cell_at(cell)->name, name))
            return cell;
    return -1;
}

const char *fc_cell_name(int cell) {
    return cell_at(cell) ? cell_at(cell)->name : NULL;
}
int fc_cell_gates(int cell) { return cell_at(cell) ? cell_at(cell)->gates : 0; }
int fc_cell_states(int cell) { return cell_at(cell) ? cell_at(cell)->states : 0; }
_Static_assert((int)FC_MAX_OWN == (int)FC_MOST_OWN &&
                   (int)FC_BEGIN_DRAWN == (int)FC_DRAWN &&
                   (int)FC_BEGIN_ZERO == (int)FC_ZEROS &&
                   (int)FC_BEGIN_ONE == (int)FC_ONES,
               "the contract's names are those of the public header");

int fc_cell_own(int cell, int which, fc_unit_parameter *own) {
    const fc_cell *c = cell_at(cell);
    if (!c || !own || which < 0 || which >= c->owns)
        return 0;
    *own = (fc_unit_parameter){c->own[which].name, c->own[which].vectors,
                               (fc_initial)c->own[which].begin};
    return 1;
}
