/* Runs 100 steps of net.c and prints each output as the bits of a float32 in
 * hexadecimal, the same on every target: targets.py compares them. */
#include <stdint.h>
#include <string.h>

#include "net.h"

#if defined(__ARM_ARCH) && !defined(__linux__)
#include "cortex_m/semihosting.h"
#else
#include <stdio.h>
static void print(const char *line) { fputs(line, stdout); }
#endif

enum { STEPS = 100 };

static net_state state;

/* A number in [-1, 1) with 16 bits, from a linear congruential generator. */
static float next_input(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)(*seed >> 16) / 32768.0f - 1.0f;
}

static void print_bits(float y) {
    static const char digits[] = "0123456789abcdef";
    char line[10];
    uint32_t bits;
    memcpy(&bits, &y, sizeof bits);
    for (int i = 0; i < 8; i++)
        line[i] = digits[bits >> (28 - 4 * i) & 15];
    line[8] = '\n';
    line[9] = 0;
    print(line);
}

int main(void) {
    float x[NET_INPUTS], y[NET_OUTPUTS];
    uint32_t seed = 1;
    net_reset(&state);
    for (int t = 0; t < STEPS; t++) {
        for (int i = 0; i < NET_INPUTS; i++)
            x[i] = next_input(&seed);
        net_step(&state, x, y);
        for (int i = 0; i < NET_OUTPUTS; i++)
            print_bits(y[i]);
    }
    return 0;
}
