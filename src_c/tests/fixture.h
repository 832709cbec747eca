/* A small GRU with a batch, and valid memory for every call of the core; the tests of
 * memory invalidate one part at a time. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "tests/harness.h"

enum { T = 4, B = 3, I = 5, H = 9, G = 3, O = 7, SEAL = 64 };

/* A stack with a batch, and valid memory for every call. */
typedef struct fixture {
    fc_stack stack;
    fc_batch batch;
    fc_output output;
    fc_backward_io io;
    fc_segment segment; /* the first of two; the second has been done */
    fc_gradients gradients;
    void *packed, *backward, *saved, *scratch, *carry, *stream, *linear[2];
    size_t packed_bytes, backward_bytes, saved_bytes, carry_bytes, stream_bytes,
        linear_bytes[2];
    float w[5 * G * H * H], g[5 * G * H * H], x[2 * T * B * I], dx[2 * T * B * I],
        y[2 * T * B * H], dy[2 * T * B * H], u[B * H], v[B * H];
} fixture;

/* Fills `f` in place, since it points into itself. */
void fixture_make(fixture *f);
void fixture_free(fixture *f);

/* Forward into f->saved; backward from it.  `segment`: a part of longer sequences, or
 * NULL. */
fc_status forward_of(fixture *f);
fc_status backward_of(fixture *f, const fc_segment *segment);

/* take(bytes, 0), filled with `byte`. */
void *fill(size_t bytes, int byte);

#endif
