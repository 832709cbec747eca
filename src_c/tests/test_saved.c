/* Saved values serve one backward and hold all of the call that it needs except x.
 * Packed weights, saved values, carries and streams can be moved in memory. */
#include <pthread.h>

#include "tests/fixture.h"

/* ---- saved -------------------------------------------------------------------------
 */

static void test_saved_of_another_batch(void) {
    fixture f;
    fixture_make(&f);
    const fixture good = f;
    const int32_t index[T * B] = {0};
    describe("saved of another batch");
#define REFUSED(change)                                                                \
    do {                                                                               \
        f.batch.change;                                                                \
        CHECK_STATUS(backward_of(&f, NULL), FC_BAD_MEMORY);                            \
        f.batch = good.batch;                                                          \
    } while (0)
    REFUSED(steps = T - 1);
    REFUSED(rows = B - 1);
    REFUSED(recompute = 0);
    REFUSED(index = index);
#undef REFUSED
    unsigned char *saved = f.saved;
    for (int i = SEAL; i < SEAL + 5 * 8; i++) { /* the sizes after the seal */
        describe("byte %d of saved", i);
        saved[i] ^= 1;
        CHECK_STATUS(backward_of(&f, NULL), FC_BAD_MEMORY);
        saved[i] ^= 1;
    }
    CHECK_OK(backward_of(&f, NULL));
    f.batch.index = index;
    f.batch.x_rows = 2;
    size_t bytes;
    CHECK_OK(fc_saved_size(&f.stack, &f.batch, &bytes));
    void *indexed = take(bytes, 0), *scratch;
    size_t forward;
    CHECK_OK(fc_scratch_size(&f.stack, &f.batch, 1, &forward));
    CHECK_OK(fc_scratch_size(&f.stack, &f.batch, 2, &bytes));
    scratch = take(bytes > forward ? bytes : forward, 0);
    CHECK_OK(fc_forward(&f.stack, f.packed, &f.batch, &f.output, indexed, scratch));
    f.batch.x_rows = 3;
    describe("saved of another table");
    CHECK_STATUS(fc_backward(&f.stack, f.backward, &f.batch, &f.io, indexed, scratch),
                 FC_BAD_MEMORY);
    f.batch.x_rows = 2;
    CHECK_OK(fc_backward(&f.stack, f.backward, &f.batch, &f.io, indexed, scratch));
    release(indexed);
    release(scratch);
    fixture_free(&f);
}

static void test_used_up(void) {
    fixture f;
    size_t bytes = 0;
    fixture_make(&f);
    describe("used up");
    CHECK_OK(fc_saved_bytes(f.saved, &bytes));
    CHECK(bytes == f.saved_bytes);
    CHECK_STATUS(fc_saved_bytes(f.packed, &bytes), FC_BAD_MEMORY);
    CHECK_STATUS(fc_saved_bytes((char *)f.saved + 8, &bytes), FC_BAD_ALIGNMENT);
    CHECK_STATUS(fc_saved_bytes(NULL, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_saved_bytes(f.saved, NULL), FC_BAD_ARGUMENT);
    CHECK_OK(backward_of(&f, NULL));
    memset(f.g, 0, sizeof f.g);
    CHECK_STATUS(backward_of(&f, NULL), FC_USED_UP);
    CHECK_STATUS(fc_saved_bytes(f.saved, &bytes), FC_USED_UP);
    float sum = 0;
    for (size_t i = 0; i < sizeof f.g / sizeof *f.g; i++)
        sum += fabsf(f.g[i]);
    CHECK(sum == 0);
    f.batch.threads = 0;
    CHECK_STATUS(forward_of(&f), FC_BAD_ARGUMENT);
    f.batch.threads = 1;
    CHECK_STATUS(backward_of(&f, NULL), FC_USED_UP);
    CHECK_OK(forward_of(&f));
    CHECK_OK(backward_of(&f, NULL));
    fixture_free(&f);
}

typedef struct racer {
    fixture own; /* except `saved` */
    pthread_barrier_t *start;
    fc_status status;
} racer;

static void *race(void *argument) {
    racer *r = argument;
    pthread_barrier_wait(r->start);
    r->status = backward_of(&r->own, NULL);
    return NULL;
}

/* Of several concurrent callers, exactly one gets gradients, and correct ones. */
static void test_race(void) {
    enum { RACERS = 3, ROUNDS = 20 };
    static racer racers[RACERS];
    pthread_barrier_t start;
    pthread_t threads[RACERS];
    fixture f;
    fixture_make(&f);
    memset(f.g, 0, sizeof f.g);
    CHECK_OK(backward_of(&f, NULL));
    pthread_barrier_init(&start, NULL, RACERS);
    for (int i = 0; i < RACERS; i++) {
        fixture *own = &racers[i].own;
        fixture_make(own);
        own->io.weights = &own->gradients; /* points into itself */
        racers[i].start = &start;
    }
    void *saved = racers[0].own.saved, *others[RACERS] = {NULL};
    for (int i = 1; i < RACERS; i++) {
        others[i] = racers[i].own.saved;
        racers[i].own.saved = saved;
    }
    for (int round = 0; round < ROUNDS; round++) {
        int done = 0, used = 0;
        describe("race, round %d", round);
        CHECK_OK(forward_of(&racers[0].own));
        for (int i = 0; i < RACERS; i++) {
            memset(racers[i].own.g, 0, sizeof f.g);
            CHECK(!pthread_create(&threads[i], NULL, race, &racers[i]));
        }
        for (int i = 0; i < RACERS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < RACERS; i++) {
            done += racers[i].status == FC_OK;
            used += racers[i].status == FC_USED_UP;
            if (racers[i].status == FC_OK)
                CHECK(!memcmp(racers[i].own.g, f.g, sizeof f.g));
        }
        CHECK(done == 1 && used == RACERS - 1);
    }
    for (int i = 0; i < RACERS; i++) {
        if (others[i])
            racers[i].own.saved = others[i];
        fixture_free(&racers[i].own);
    }
    pthread_barrier_destroy(&start);
    fixture_free(&f);
}

/* Lengths, mask, reset and index are read by forward only: later writes of the caller
 * change neither results nor scratch. */
static void test_overwritten(bool indexed, bool recompute) {
    int64_t lengths[B] = {T, 1, 3};
    uint8_t mask[T * B], reset[T * B];
    int32_t index[T * B];
    static float wanted[2][2 * T * B * I + 5 * G * H * H];
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        fixture f;
        size_t bytes, scratch_bytes[2];
        fixture_make(&f);
        seed(901);
        for (int i = 0; i < T * B; i++) {
            mask[i] = chance(0.8);
            reset[i] = chance(0.3);
            index[i] = (int32_t)uniform(0, 5);
        }
        lengths[0] = T;
        lengths[1] = 1;
        f.batch.lengths = lengths;
        f.batch.mask = mask;
        f.batch.reset = reset;
        f.batch.index = indexed ? index : NULL;
        f.batch.x_rows = indexed ? 5 : 0;
        f.batch.recompute = recompute;
        CHECK_OK(fc_saved_size(&f.stack, &f.batch, &bytes));
        void *saved = take(bytes, 0);
        CHECK_OK(fc_scratch_size(&f.stack, &f.batch, 1, &bytes));
        void *scratch = take(bytes, 0);
        CHECK_OK(fc_forward(&f.stack, f.packed, &f.batch, &f.output, saved, scratch));
        release(scratch);
        CHECK_OK(fc_scratch_size(&f.stack, &f.batch, 2, &scratch_bytes[0]));
        if (overwrite) {
            lengths[0] = 1;
            lengths[1] = T;
            memset(mask, 1, sizeof mask);
            memset(reset, 1, sizeof reset);
            memset(index, 0x77, sizeof index);
        }
        CHECK_OK(fc_scratch_size(&f.stack, &f.batch, 2, &scratch_bytes[1]));
        describe("overwritten %d, indexed %d, recompute %d", overwrite, indexed,
                 recompute);
        CHECK(scratch_bytes[0] == scratch_bytes[1]);
        scratch = take(scratch_bytes[0], 0);
        memset(f.g, 0, sizeof f.g);
        memset(f.dx, 0, sizeof f.dx);
        CHECK_OK(fc_backward(&f.stack, f.backward, &f.batch, &f.io, saved, scratch));
        memcpy(wanted[overwrite], f.dx, sizeof f.dx);
        memcpy(wanted[overwrite] + 2 * T * B * I, f.g, sizeof f.g);
        release(saved);
        release(scratch);
        fixture_free(&f);
    }
    CHECK(!memcmp(wanted[0], wanted[1], sizeof wanted[0]));
}

static fc_status step(fixture *f, void *stream) {
    return fc_stream_step(&f->stack, f->packed, B, f->x, f->v, stream);
}

/* ---- moved memory ------------------------------------------------------------------
 */

/* Moves the bytes to another address; the first memory is freed. */
static void move(void **memory, size_t bytes) {
    void *to = take(bytes, 0);
    CHECK(to != *memory);
    memcpy(to, *memory, bytes);
    release(*memory);
    *memory = to;
}

static void test_moved(void) {
    enum { COPIES = 48 };
    fixture f, moved;
    fixture_make(&f);
    fixture_make(&moved);
    moved.io.weights = &moved.gradients;
    move(&moved.packed, moved.packed_bytes);
    move(&moved.backward, moved.backward_bytes);
    move(&moved.saved, moved.saved_bytes);
    move(&moved.carry, moved.carry_bytes);
    move(&moved.stream, moved.stream_bytes);
    moved.io.packed_forward = moved.packed;
    moved.segment.carry = moved.carry;
    describe("moved");
    CHECK_OK(backward_of(&f, &f.segment));
    CHECK_OK(backward_of(&moved, &moved.segment));
    CHECK(!memcmp(f.g, moved.g, sizeof f.g));
    CHECK(!memcmp(f.dx, moved.dx, sizeof f.dx));
    /* At 48 addresses, all multiples of 64. */
    char *block = take(f.stream_bytes + COPIES * 64, 0);
    CHECK_OK(step(&f, f.stream));
    for (int i = 0; i < COPIES; i++) {
        describe("a stream's copy, %d bytes further", i * 64);
        memcpy(block + i * 64, moved.stream, moved.stream_bytes);
        CHECK_OK(step(&moved, block + i * 64));
        CHECK(!memcmp(f.v, moved.v, sizeof f.v));
    }
    release(block);
    fixture_free(&f);
    fixture_free(&moved);
}

/* A stream that fc_stream_set starts in uninitialised memory, and one of zero bytes. */
static void test_fresh_streams(void) {
    fixture f;
    fixture_make(&f);
    const int64_t which[] = {2, 0};
    float wanted[B * H];
    void *zero = fill(f.stream_bytes, 0), *any = fill(f.stream_bytes, 0xff);
    describe("fresh streams");
    CHECK_OK(fc_stream_get(&f.stack, B, zero, f.v, NULL));
    CHECK_OK(fc_stream_set(&f.stack, B, any, NULL, NULL));
    CHECK_OK(step(&f, zero));
    memcpy(wanted, f.v, sizeof wanted);
    CHECK_OK(step(&f, any));
    CHECK(!memcmp(wanted, f.v, sizeof wanted));
    CHECK_OK(
        fc_stream_get_some(&f.stack, B, any, &(fc_selection){which, 2}, f.v, NULL));
    CHECK(!memcmp(wanted + 2 * H, f.v, H * sizeof(float)));
    CHECK(!memcmp(zero, f.stream, SEAL)); /* sealed by its first step */
    fc_stack other = f.stack;
    other.hidden_size--;
    CHECK_STATUS(fc_stream_get(&other, B, zero, f.v, NULL), FC_BAD_MEMORY);
    release(zero);
    release(any);
    fixture_free(&f);
}

/* ---- strides and segments ----------------------------------------------------------
 */

typedef struct strides {
    ptrdiff_t steps, rows;
    ptrdiff_t step, more_step, row, more_row; /* in rows of n reals, plus reals */
    bool good;
} strides;

static ptrdiff_t step_of(const strides *s, ptrdiff_t n) {
    return s->step * n + s->more_step;
}
static ptrdiff_t row_of(const strides *s, ptrdiff_t n) {
    return s->row * n + s->more_row;
}

static void check_strides(const strides *s) {
    fixture f;
    fixture_make(&f);
    const fixture good = f;
    fc_status status = s->good ? FC_OK : FC_BAD_ARGUMENT;
    describe("B %td, T %td, steps of %tdn%+td, rows of %tdn%+td", s->rows, s->steps,
             s->step, s->more_step, s->row, s->more_row);
    f.batch.rows = s->rows;
    f.batch.steps = s->steps;
    f.output.y_step = step_of(s, H);
    f.output.y_row = row_of(s, H);
    CHECK_STATUS(forward_of(&f), status);
    f.output = good.output;
    CHECK_OK(forward_of(&f));
    f.io.dy_step = step_of(s, H);
    f.io.dy_row = row_of(s, H);
    CHECK_STATUS(backward_of(&f, NULL), status);
    f.io = good.io;
    CHECK_OK(forward_of(&f));
    f.io.dx_step = step_of(s, I);
    f.io.dx_row = row_of(s, I);
    CHECK_STATUS(backward_of(&f, NULL), status);
    f.io.dx = NULL;
    CHECK_STATUS(backward_of(&f, NULL), s->good ? FC_USED_UP : FC_OK);
    fixture_free(&f);
}

/* Rows of y, dy and dx must not overlap. */
static void test_strides(void) {
    static const strides cases[] = {
        {T, B, B, 0, 1, 0, true},
        {T, B, 1, 0, T, 0, true},
        {T, B, 1, 1, T, T, true},
        {T, B, B, 1, 1, 0, true},
        {T, B, 0, 0, 0, 0, false},
        {T, B, B, 0, 0, 0, false},
        {T, B, 0, 0, 1, 0, false},
        {T, B, B, -1, 1, 0, false},
        {T, B, B, 0, 1, -1, false},
        {T, B, 1, 0, T, -1, false},
        {T, B, 1, 0, 1, 0, false},
        {T, B, 0, 1, 0, 1, false},
        {1, B, 0, 0, 1, 0, true},
        {1, B, 0, 0, 1, -1, false},
        {T, 1, 1, 0, 0, 0, true},
        {T, 1, 1, -1, 0, 0, false},
        {1, 1, 0, 0, 0, 0, true},
        {T, B, 0, PTRDIFF_MIN, 1, 0, false},
        {T, B, 1, 0, 0, PTRDIFF_MIN, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_strides(&cases[i]);
    fixture f;
    fixture_make(&f);
    describe("strides, backwards");
    float plain[T * B * H];
    memcpy(plain, f.y, sizeof plain);
    f.output = (fc_output){
        .y = f.y + (T * B - 1) * H, .y_step = -B * H, .y_row = -H};
    CHECK_OK(forward_of(&f));
    for (int i = 0; i < T * B; i++)
        CHECK(!memcmp(plain + i * H, f.y + (T * B - 1 - i) * H, H * sizeof *plain));
    describe("strides whose extent overflows");
    f.output = (fc_output){
        .y = f.y, .y_step = PTRDIFF_MAX, .y_row = PTRDIFF_MAX / 2};
    CHECK_STATUS(forward_of(&f), FC_BAD_ARGUMENT);
    fixture_free(&f);
}

/* Parts of a sequence follow each other from the last to the first. */
static void test_segments_in_order(void) {
    fixture f;
    fixture_make(&f);
    const fc_segment good = f.segment;
    const fixture before = f;
    describe("segments in order");
#define REFUSED(change)                                                                \
    do {                                                                               \
        f.segment.change;                                                              \
        CHECK_STATUS(backward_of(&f, &f.segment), FC_BAD_ARGUMENT);                    \
        f.segment = good;                                                              \
    } while (0)
    REFUSED(steps_before = 1);
    REFUSED(steps_after = T - 1);
    REFUSED(steps_after = T + 1);
    REFUSED(pairs_before = 1);
    REFUSED(pairs_before = PTRDIFF_MAX);
    REFUSED(steps_before = PTRDIFF_MAX);
    REFUSED(steps_after = PTRDIFF_MAX);
#undef REFUSED
    CHECK_OK(backward_of(&f, &f.segment));
    CHECK_OK(forward_of(&f));
    CHECK_STATUS(backward_of(&f, &f.segment), FC_BAD_ARGUMENT); /* a second time */
    const int32_t index[T * B] = {0};
    f.batch.index = index;
    f.batch.x_rows = 2;
    CHECK_STATUS(backward_of(&f, &f.segment), FC_BAD_MEMORY);
    f.batch = before.batch;
    describe("pairs of segments in order");
    const fc_segment last = {2 * T, 0, 2 * T * B, f.carry};
    fc_segment middle = {T, T, T * B - 1, f.carry}; /* as if a step had been masked */
    CHECK_OK(backward_of(&f, &last));
    CHECK_OK(forward_of(&f));
    CHECK_STATUS(backward_of(&f, &middle), FC_BAD_ARGUMENT);
    middle.pairs_before = T * B;
    CHECK_OK(backward_of(&f, &middle));
    fixture_free(&f);
}

int main(void) {
    FOR_EACH_ISA(isa) {
        test_saved_of_another_batch();
        test_used_up();
        test_race();
        for (int way = 0; way < 4; way++)
            test_overwritten(way & 1, way & 2);
        test_moved();
        test_fresh_streams();
        test_strides();
        test_segments_in_order();
    }
    return finish("saved");
}
