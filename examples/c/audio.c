/* An audio effect with an exported network, in the shape of a plug-in: `effect_run` is
 * what the run callback of LV2 or the process callback of CLAP calls.  It allocates
 * nothing, takes no lock and makes no system call.
 *
 * As a program: reads float32 samples from a file, runs the effect in blocks, writes
 * the samples, and prints how many times faster than real time it is.  amp.py builds
 * it. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "amp.h"

enum { SAMPLE_RATE = 48000, BLOCK = 64, CHANNELS = 2 };

/* One state for each channel; the host owns the effect. */
typedef struct effect {
    amp_state channel[CHANNELS];
} effect;

static void effect_reset(effect *e) {
    for (int c = 0; c < CHANNELS; c++)
        amp_reset(&e->channel[c]);
}

/* in and out: CHANNELS arrays of `frames` samples, which may be the same arrays. */
static void effect_run(effect *e, const float *const *in, float *const *out,
                       int frames) {
    for (int c = 0; c < CHANNELS; c++)
        for (int i = 0; i < frames; i++) {
            float y;
            amp_step(&e->channel[c], &in[c][i], &y);
            out[c][i] = in[c][i] + y; /* the network learns the difference */
        }
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv) {
    FILE *from = argc == 3 ? fopen(argv[1], "rb") : NULL;
    FILE *to = argc == 3 ? fopen(argv[2], "wb") : NULL;
    static effect e;
    float in[BLOCK], out[CHANNELS][BLOCK];
    double spent = 0, worst = 0;
    long frames = 0;
    size_t n;
    if (!from || !to) {
        fprintf(stderr, "usage: audio IN OUT  (float32 samples)\n");
        return 2;
    }
    effect_reset(&e);
    while ((n = fread(in, sizeof *in, BLOCK, from)) > 0) {
        const float *ins[CHANNELS] = {in, in};
        float *outs[CHANNELS] = {out[0], out[1]};
        double begin = seconds(), block;
        effect_run(&e, ins, outs, (int)n);
        block = seconds() - begin;
        spent += block;
        if (n == BLOCK && block > worst)
            worst = block;
        frames += (long)n;
        if (fwrite(out[0], sizeof **out, n, to) != n)
            return 1;
    }
    printf("%ld frames, %d channels, %d Hz: %.1f times real time\n", frames, CHANNELS,
           SAMPLE_RATE, (double)frames / SAMPLE_RATE / spent);
    printf("the longest block of %d took %.0f us of %.0f\n", BLOCK, 1e6 * worst,
           1e6 * BLOCK / SAMPLE_RATE);
    return fclose(to) || fclose(from);
}
