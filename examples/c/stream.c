/* A GRU of one layer, step by step, with the C library:
 *
 *     cc stream.c $(pkg-config --cflags --libs fastcell) -lm -o stream && ./stream
 *
 * The weights here are made up; docs/embedding.md says how they are laid out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <fastcell.h>

enum { INPUTS = 3, UNITS = 8, STEPS = 5 };

static void must(fc_status status) {
    if (status) {
        fprintf(stderr, "fastcell: %s\n", fc_status_text(status));
        exit(1);
    }
}

/* Memory of fastcell begins at a multiple of 64 bytes; zeros are the zero state. */
static void *zeros(size_t bytes) {
    char *memory = aligned_alloc(64, bytes);
    if (!memory)
        exit(1);
    for (size_t i = 0; i < bytes; i++)
        memory[i] = 0;
    return memory;
}

int main(void) {
    float w_ih[3 * UNITS * INPUTS], w_hh[3 * UNITS * UNITS], bias[3 * UNITS];
    for (int i = 0; i < 3 * UNITS * INPUTS; i++)
        w_ih[i] = sinf((float)i);
    for (int i = 0; i < 3 * UNITS * UNITS; i++)
        w_hh[i] = cosf((float)i) / 2;
    for (int i = 0; i < 3 * UNITS; i++)
        bias[i] = 0.1f;

    fc_stack gru = {.cell = fc_cell_index("gru"),
                    .dtype = FC_F32,
                    .input_size = INPUTS,
                    .hidden_size = UNITS,
                    .layers = 1,
                    .directions = 1};
    fc_weights weights = {.w_ih = w_ih, .w_hh = w_hh, .b_ih = bias, .b_hh = bias};
    size_t bytes;
    must(fc_pack_size(&gru, FC_PACK_FORWARD, &bytes));
    void *packed = zeros(bytes);
    must(fc_pack(&gru, FC_PACK_FORWARD, &weights, packed, 1));
    must(fc_stream_size(&gru, 1, &bytes));
    void *stream = zeros(bytes);

    for (int t = 0; t < STEPS; t++) {
        float x[INPUTS] = {(float)t, 1, -1}, y[UNITS];
        must(fc_stream_step(&gru, packed, 1, x, y, stream));
        for (int i = 0; i < UNITS; i++)
            printf("%.6f%c", (double)y[i], i + 1 < UNITS ? ' ' : '\n');
    }
    free(packed);
    free(stream);
    return 0;
}
