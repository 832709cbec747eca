/* Memory that outlives a call: it may be moved, and what is not what a call needs is
 * refused before anything in it is followed. */
#include <pthread.h>

#include "harness.h"

enum { T = 4, B = 3, I = 5, H = 9, G = 3, O = 7, SEAL = 64 };

/* A stack with a batch, and good memory for every call. */
typedef struct fixture {
    fc_stack stack;
    fc_batch batch;
    fc_output output;
    fc_backward_io io;
    fc_segment segment; /* the first of two, after which the last has been */
    fc_gradients gradients;
    void *packed, *backward, *saved, *scratch, *carry, *stream, *linear[2];
    size_t packed_bytes, backward_bytes, saved_bytes, carry_bytes, stream_bytes,
        linear_bytes[2];
    float w[5 * G * H * H], g[5 * G * H * H], x[2 * T * B * I], dx[2 * T * B * I],
        y[2 * T * B * H], dy[2 * T * B * H], u[B * H], v[B * H];
} fixture;

static const fc_blas *const no_blas = NULL;

static fc_status backward_of(fixture *f, const fc_segment *segment) {
    fc_backward_io io = f->io;
    io.segment = segment;
    return fc_backward(&f->stack, f->backward, &f->batch, &io, f->saved, f->scratch);
}

static fc_status forward_of(fixture *f) {
    return fc_forward(&f->stack, f->packed, &f->batch, &f->output, f->saved,
                      f->scratch);
}

static void *fill(size_t bytes, int byte) { return memset(take(bytes, 0), byte, bytes); }

static void fixture_make(fixture *f) {
    size_t bytes, most = 0;
    memset(f, 0, sizeof *f);
    seed(900);
    float *all[] = {f->w, f->x, f->dy};
    size_t counts[] = {sizeof f->w, sizeof f->x, sizeof f->dy};
    for (int i = 0; i < 3; i++)
        for (size_t j = 0; j < counts[i] / sizeof(float); j++)
            all[i][j] = (float)uniform(-0.5, 0.5);
    f->stack = (fc_stack){fc_cell_index("gru"), FC_F32, I, H, 0, 1, 1};
    f->batch = (fc_batch){.steps = T,
                          .rows = B,
                          .x = f->x,
                          .x_step = B * I,
                          .x_row = I,
                          .threads = 1,
                          .recompute = 1};
    f->output = (fc_output){f->y, B * H, H, NULL, NULL};
    f->gradients = (fc_gradients){f->g, f->g + G * H * H, f->g + 2 * G * H * H,
                                  f->g + 3 * G * H * H, NULL};
    fc_weights weights = {f->w, f->w + G * H * H, f->w + 2 * G * H * H,
                          f->w + 3 * G * H * H, NULL};
    CHECK_OK(fc_pack_size(&f->stack, FC_PACK_FORWARD, &f->packed_bytes));
    CHECK_OK(fc_pack_size(&f->stack, FC_PACK_BACKWARD, &f->backward_bytes));
    CHECK_OK(fc_saved_size(&f->stack, &f->batch, &f->saved_bytes));
    CHECK_OK(fc_carry_size(&f->stack, &f->batch, &f->carry_bytes));
    CHECK_OK(fc_stream_size(&f->stack, B, &f->stream_bytes));
    for (int training = 0; training < 3; training++) {
        CHECK_OK(fc_scratch_size(&f->stack, &f->batch, training, &bytes));
        most = bytes > most ? bytes : most;
    }
    CHECK_OK(fc_linear_scratch_size(FC_F32, I, O, B, 1, &bytes));
    f->scratch = take(bytes > most ? bytes : most, 0);
    f->packed = take(f->packed_bytes, 0);
    f->backward = take(f->backward_bytes, 0);
    f->saved = take(f->saved_bytes, 0);
    f->carry = take(f->carry_bytes, 0);
    f->stream = fill(f->stream_bytes, 0);
    CHECK_OK(fc_pack(&f->stack, FC_PACK_FORWARD, &weights, f->packed, 1));
    CHECK_OK(fc_pack(&f->stack, FC_PACK_BACKWARD, &weights, f->backward, 1));
    for (int i = 0; i < 2; i++) {
        fc_pack_kind kind = i ? FC_PACK_BACKWARD : FC_PACK_FORWARD;
        CHECK_OK(fc_linear_pack_size(FC_F32, I, O, kind, &f->linear_bytes[i]));
        f->linear[i] = take(f->linear_bytes[i], 0);
        CHECK_OK(fc_linear_pack(FC_F32, I, O, kind, f->w, NULL, f->linear[i]));
    }
    f->io = (fc_backward_io){.dy = f->dy,
                             .dy_step = B * H,
                             .dy_row = H,
                             .dx = f->dx,
                             .dx_step = B * I,
                             .dx_row = I,
                             .weights = &f->gradients,
                             .packed_forward = f->packed};
    CHECK_OK(fc_stream_set(&f->stack, B, f->stream, f->u, NULL));
    CHECK_OK(fc_stream_step(&f->stack, f->packed, B, f->x, f->u, f->stream));
    fc_segment last = {T, 0, T * B, f->carry};
    CHECK_OK(forward_of(f));
    CHECK_OK(backward_of(f, &last));
    CHECK_OK(forward_of(f));
    f->segment = (fc_segment){0, T, 0, f->carry};
}

static void fixture_free(fixture *f) {
    void *all[] = {f->packed, f->backward, f->saved,     f->scratch,
                   f->carry,  f->stream,   f->linear[0], f->linear[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

/* ---- what reads sealed memory ------------------------------------------------------ */

typedef fc_status user_fn(fixture *f, void *memory);

static fc_status forward_packed(fixture *f, void *memory) {
    return fc_forward(&f->stack, memory, &f->batch, &f->output, NULL, f->scratch);
}
static fc_status step_packed(fixture *f, void *memory) {
    return fc_stream_step(&f->stack, memory, B, f->x, f->v, f->stream);
}
static fc_status step_some_packed(fixture *f, void *memory) {
    const int64_t which[] = {2, 0};
    return fc_stream_step_some(&f->stack, memory, B, which, 2, f->x, f->v, f->stream,
                               1);
}
static fc_status backward_packed(fixture *f, void *memory) {
    return fc_backward(&f->stack, memory, &f->batch, &f->io, f->saved, f->scratch);
}
static fc_status backward_packed_forward(fixture *f, void *memory) {
    fc_backward_io io = f->io;
    io.packed_forward = memory;
    return fc_backward(&f->stack, f->backward, &f->batch, &io, f->saved, f->scratch);
}
static fc_status backward_saved(fixture *f, void *memory) {
    return fc_backward(&f->stack, f->backward, &f->batch, &f->io, memory, f->scratch);
}
static fc_status backward_carry(fixture *f, void *memory) {
    fc_segment segment = f->segment;
    segment.carry = memory;
    return backward_of(f, &segment);
}
static fc_status step_stream(fixture *f, void *memory) {
    return fc_stream_step(&f->stack, f->packed, B, f->x, f->v, memory);
}
static fc_status step_some_stream(fixture *f, void *memory) {
    const int64_t which[] = {1};
    return fc_stream_step_some(&f->stack, f->packed, B, which, 1, f->x, f->v, memory,
                               1);
}
static fc_status get_stream(fixture *f, void *memory) {
    return fc_stream_get(&f->stack, B, memory, f->v, NULL);
}
static fc_status get_some_stream(fixture *f, void *memory) {
    const int64_t which[] = {1};
    return fc_stream_get_some(&f->stack, B, memory, which, 1, f->v, NULL);
}
static fc_status set_some_stream(fixture *f, void *memory) {
    const int64_t which[] = {1};
    return fc_stream_set_some(&f->stack, B, memory, which, 1, f->v, NULL);
}
static fc_status copy_stream(fixture *f, void *memory) {
    void *to = take(f->stream_bytes, 0);
    fc_status status = fc_stream_copy(&f->stack, B, memory, to);
    release(to);
    return status;
}
static fc_status linear_forward(fixture *f, void *memory) {
    return fc_linear_forward(FC_F32, I, O, memory, B, f->x, f->v, 1);
}
static fc_status linear_backward(fixture *f, void *memory) {
    return fc_linear_backward(FC_F32, I, O, memory, B, f->x, f->dy, f->dx, f->g, NULL,
                              no_blas, f->scratch, 1);
}

enum { PACKED, BACKWARD, SAVED, CARRY, STREAM, LINEAR, LINEAR_BACKWARD, MEMORIES };

static const struct {
    const char *name;
    user_fn *use;
    int memory;
} users[] = {
    {"forward", forward_packed, PACKED},
    {"step, packed", step_packed, PACKED},
    {"step_some, packed", step_some_packed, PACKED},
    {"backward, packed_forward", backward_packed_forward, PACKED},
    {"backward, packed", backward_packed, BACKWARD},
    {"backward, saved", backward_saved, SAVED},
    {"backward, carry", backward_carry, CARRY},
    {"step", step_stream, STREAM},
    {"step_some", step_some_stream, STREAM},
    {"get", get_stream, STREAM},
    {"get_some", get_some_stream, STREAM},
    {"set_some", set_some_stream, STREAM},
    {"copy", copy_stream, STREAM},
    {"linear forward", linear_forward, LINEAR},
    {"linear backward", linear_backward, LINEAR_BACKWARD},
};
enum { USERS = sizeof users / sizeof *users };

static void *memory_of(const fixture *f, int which, size_t *bytes) {
    void *memory[MEMORIES] = {f->packed, f->backward,  f->saved,    f->carry,
                              f->stream, f->linear[0], f->linear[1]};
    size_t sizes[MEMORIES] = {f->packed_bytes,   f->backward_bytes, f->saved_bytes,
                              f->carry_bytes,    f->stream_bytes,   f->linear_bytes[0],
                              f->linear_bytes[1]};
    *bytes = sizes[which];
    return memory[which];
}

/* A call with good memory may use `saved` up, or the segment's place. */
static void check_good(int user) {
    fixture f;
    size_t bytes;
    fixture_make(&f);
    CHECK_OK(users[user].use(&f, memory_of(&f, users[user].memory, &bytes)));
    fixture_free(&f);
}

static void test_user(int user, const char *isa) {
    fixture f;
    size_t bytes, other_bytes;
    fixture_make(&f);
    const void *good = memory_of(&f, users[user].memory, &bytes);
    bool stream = users[user].memory == STREAM;
    unsigned char *copy = take(bytes + 64, 0);
#define REFUSED(status) CHECK_STATUS(users[user].use(&f, copy), status)
    describe("%s %s: NULL, other addresses", isa, users[user].name);
    CHECK_STATUS(users[user].use(&f, NULL), FC_BAD_ARGUMENT);
    for (size_t shift = 1; shift < 64; shift++) {
        memcpy(copy + shift, good, bytes);
        CHECK_STATUS(users[user].use(&f, copy + shift), FC_BAD_ALIGNMENT);
    }
    describe("%s %s: never written", isa, users[user].name);
    memset(copy, 0xff, bytes);
    REFUSED(FC_BAD_MEMORY);
    if (!stream) { /* to which zeros are zero states */
        memset(copy, 0, bytes);
        REFUSED(FC_BAD_MEMORY);
    }
    memcpy(copy, good, bytes);
    for (int i = 0; i < SEAL; i++) {
        describe("%s %s: byte %d of the seal", isa, users[user].name, i);
        copy[i] ^= 1;
        REFUSED(FC_BAD_MEMORY);
        copy[i] ^= 1;
    }
    for (int i = 8; i < SEAL; i += 8) {
        describe("%s %s: %d bytes of the seal", isa, users[user].name, i);
        memset(copy, 0, SEAL);
        memcpy(copy, good, (size_t)i);
        if (memcmp(copy, good, SEAL))
            REFUSED(FC_BAD_MEMORY);
    }
    for (int other = 0; other < MEMORIES; other++) {
        if (other == users[user].memory)
            continue;
        describe("%s %s: memory %d", isa, users[user].name, other);
        CHECK_STATUS(users[user].use(&f, memory_of(&f, other, &other_bytes)),
                     FC_BAD_MEMORY);
    }
    /* Refusals change nothing. */
    describe("%s %s: good at last", isa, users[user].name);
    memcpy(copy, good, bytes);
    REFUSED(FC_OK);
#undef REFUSED
    release(copy);
    fixture_free(&f);
    check_good(user);
}

/* Good memory of another stack, layer or instruction set: also where the padded sizes
 * are the same. */
static void test_other_stacks(void) {
    static const struct {
        ptrdiff_t in, hidden;
        int dtype, layers, directions;
        const char *cell;
    } others[] = {
        {1, 0, 0, 0, 0, "gru"}, {0, 1, 0, 0, 0, "gru"}, {0, -1, 0, 0, 0, "gru"},
        {0, 0, 2, 0, 0, "gru"}, {0, 0, 0, 1, 0, "gru"}, {0, 0, 0, 0, 1, "gru"},
        {0, 0, 0, 0, 0, "gru_reset_before"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        for (int user = 0; user < USERS && users[user].memory < LINEAR; user++) {
            fixture f;
            size_t bytes;
            fixture_make(&f);
            f.stack.input_size += others[i].in;
            f.stack.hidden_size += others[i].hidden;
            f.stack.dtype = (fc_dtype)others[i].dtype;
            f.stack.layers += others[i].layers;
            f.stack.directions += others[i].directions;
            f.stack.cell = fc_cell_index(others[i].cell);
            CHECK(f.stack.cell >= 0);
            f.output.y_row = 2 * H; /* so that wider rows do not overlap */
            f.output.y_step = 2 * H * B;
            fc_backward_io *io = &f.io;
            io->dy_row = io->dx_row = 2 * H;
            io->dy_step = io->dx_step = 2 * H * B;
            bool one_direction = users[user].memory >= CARRY ||
                                 users[user].use == step_packed ||
                                 users[user].use == step_some_packed;
            describe("other stack %zu: %s", i, users[user].name);
            CHECK_STATUS(users[user].use(&f, memory_of(&f, users[user].memory, &bytes)),
                         others[i].directions && one_direction ? FC_BAD_ARGUMENT
                                                               : FC_BAD_MEMORY);
            fixture_free(&f);
        }
    fixture f;
    fixture_make(&f);
    describe("other dense layers");
    CHECK_STATUS(fc_linear_forward(FC_F32, I + 1, O, f.linear[0], 1, f.x, f.y, 1),
                 FC_BAD_MEMORY);
    CHECK_STATUS(fc_linear_forward(FC_F32, I, O + 1, f.linear[0], 1, f.x, f.y, 1),
                 FC_BAD_MEMORY);
    CHECK_STATUS(fc_linear_forward(FC_F64, I, O, f.linear[0], 1, f.x, f.y, 1),
                 FC_BAD_MEMORY);
    describe("another number of streams");
    CHECK_STATUS(fc_stream_step(&f.stack, f.packed, B - 1, f.x, f.v, f.stream),
                 FC_BAD_MEMORY);
    fixture_free(&f);
}

static void test_other_isas(void) {
    for (int from = 0; fc_isa_name(from); from++)
        for (int to = 0; fc_isa_name(to); to++)
            for (int user = 0; user < USERS && to != from; user++) {
                fixture f;
                size_t bytes;
                CHECK_OK(fc_isa_select(fc_isa_name(from)));
                fixture_make(&f);
                CHECK_OK(fc_isa_select(fc_isa_name(to)));
                describe("made under %s, %s under %s", fc_isa_name(from),
                         users[user].name, fc_isa_name(to));
                CHECK_STATUS(
                    users[user].use(&f, memory_of(&f, users[user].memory, &bytes)),
                    FC_BAD_MEMORY);
                fixture_free(&f);
            }
}

/* What is written without being looked at has to be aligned too. */
static void test_alignment_of_outputs(void) {
    fixture f;
    fixture_make(&f);
    fc_weights weights = {f.w, f.w, NULL, NULL, NULL};
    char *memory = take(f.saved_bytes + (1 << 20), 0);
    double loss[B] = {0}, scale[B] = {0};
    const int64_t labels[B] = {1, 1, 1}, label_lengths[B] = {1, 1, 1};
    fc_ctc ctc = {.dtype = FC_F32,
                  .steps = T,
                  .rows = B,
                  .n = 2,
                  .most_labels = 1,
                  .logits = f.x,
                  .labels = labels,
                  .label_lengths = label_lengths,
                  .scale = scale};
    fc_attention sizes = {FC_F32, 1, 1, 1, NULL};
    fc_additive score = {1, f.x, f.x, f.x};
    for (size_t shift = 0; shift < 64; shift = shift ? 2 * shift : 1) {
        void *at = memory + shift;
        fc_status status = shift ? FC_BAD_ALIGNMENT : FC_OK;
        describe("outputs %zu past a multiple of 64", shift);
        CHECK_STATUS(fc_pack(&f.stack, FC_PACK_FORWARD, &weights, at, 1), status);
        CHECK_STATUS(
            fc_forward(&f.stack, f.packed, &f.batch, &f.output, at, f.scratch), status);
        CHECK_STATUS(fc_forward(&f.stack, f.packed, &f.batch, &f.output, NULL, at),
                     status);
        CHECK_STATUS(
            fc_backward(&f.stack, f.backward, &f.batch, &f.io, f.saved, at), status);
        CHECK_OK(forward_of(&f));
        fc_segment last = {T, 0, T * B, at};
        CHECK_STATUS(backward_of(&f, &last), status);
        CHECK_OK(forward_of(&f));
        CHECK_STATUS(fc_stream_set(&f.stack, B, at, NULL, NULL), status);
        CHECK_STATUS(fc_stream_copy(&f.stack, B, f.stream, at), status);
        CHECK_STATUS(fc_linear_pack(FC_F32, I, O, FC_PACK_FORWARD, f.w, NULL, at),
                     status);
        CHECK_STATUS(fc_linear_backward(FC_F32, I, O, f.linear[1], B, f.x, f.dy, f.dx,
                                        f.g, NULL, no_blas, at, 1),
                     status);
        CHECK_STATUS(fc_ctc_loss(&ctc, loss, f.y, at, 1), status);
        CHECK_STATUS(
            fc_additive_backward(&sizes, &score, f.dy, f.y, f.u, f.v, at, 1), status);
    }
    release(memory);
    fixture_free(&f);
}

/* ---- saved ------------------------------------------------------------------------- */

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
    for (int i = SEAL; i < SEAL + 5 * 8; i++) { /* the sizes behind the seal */
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
    fixture own; /* but for `saved` */
    pthread_barrier_t *start;
    fc_status status;
} racer;

static void *race(void *argument) {
    racer *r = argument;
    pthread_barrier_wait(r->start);
    r->status = backward_of(&r->own, NULL);
    return NULL;
}

/* Of several callers at once, one gets the gradients, and right ones. */
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

/* Lengths, mask, reset and index belong to the call of forward: what the caller writes
 * to them afterwards changes no bit, nor does it change the scratch. */
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
        CHECK_OK(
            fc_backward(&f.stack, f.backward, &f.batch, &f.io, saved, scratch));
        memcpy(wanted[overwrite], f.dx, sizeof f.dx);
        memcpy(wanted[overwrite] + 2 * T * B * I, f.g, sizeof f.g);
        release(saved);
        release(scratch);
        fixture_free(&f);
    }
    CHECK(!memcmp(wanted[0], wanted[1], sizeof wanted[0]));
}

/* ---- moved memory ------------------------------------------------------------------ */

/* Another place for the bytes; the first one is gone. */
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
    /* At every multiple of 64 within 48 of them, after two more steps. */
    char *block = take(f.stream_bytes + COPIES * 64, 0);
    CHECK_OK(step_stream(&f, f.stream));
    for (int i = 0; i < COPIES; i++) {
        describe("a stream's copy, %d bytes further", i * 64);
        memcpy(block + i * 64, moved.stream, moved.stream_bytes);
        CHECK_OK(fc_stream_step(&moved.stack, moved.packed, B, moved.x, moved.v,
                                block + i * 64));
        CHECK(!memcmp(f.v, moved.v, sizeof f.v));
    }
    release(block);
    fixture_free(&f);
    fixture_free(&moved);
}

/* A stream that begins in any memory by fc_stream_set, and one of zeros. */
static void test_fresh_streams(void) {
    fixture f;
    fixture_make(&f);
    const int64_t which[] = {2, 0};
    float wanted[B * H];
    void *zero = fill(f.stream_bytes, 0), *any = fill(f.stream_bytes, 0xff);
    describe("fresh streams");
    CHECK_OK(get_stream(&f, zero));
    CHECK_OK(fc_stream_set(&f.stack, B, any, NULL, NULL));
    CHECK_OK(step_stream(&f, zero));
    memcpy(wanted, f.v, sizeof wanted);
    CHECK_OK(step_stream(&f, any));
    CHECK(!memcmp(wanted, f.v, sizeof wanted));
    CHECK_OK(fc_stream_get_some(&f.stack, B, any, which, 2, f.v, NULL));
    CHECK(!memcmp(wanted + 2 * H, f.v, H * sizeof(float)));
    CHECK(!memcmp(zero, f.stream, SEAL)); /* sealed by its first step */
    fc_stack other = f.stack;
    other.hidden_size--;
    CHECK_STATUS(fc_stream_get(&other, B, zero, f.v, NULL), FC_BAD_MEMORY);
    release(zero);
    release(any);
    fixture_free(&f);
}

/* ---- strides and segments ---------------------------------------------------------- */

typedef struct strides {
    ptrdiff_t steps, rows;
    ptrdiff_t step, more_step, row, more_row; /* in rows of n reals, and reals more */
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

/* Rows of y, of dy and of dx have to be apart. */
static void test_strides(void) {
    static const strides cases[] = {
        {T, B, B, 0, 1, 0, true},          {T, B, 1, 0, T, 0, true},
        {T, B, 1, 1, T, T, true},          {T, B, B, 1, 1, 0, true},
        {T, B, 0, 0, 0, 0, false},         {T, B, B, 0, 0, 0, false},
        {T, B, 0, 0, 1, 0, false},         {T, B, B, -1, 1, 0, false},
        {T, B, B, 0, 1, -1, false},        {T, B, 1, 0, T, -1, false},
        {T, B, 1, 0, 1, 0, false},         {T, B, 0, 1, 0, 1, false},
        {1, B, 0, 0, 1, 0, true},          {1, B, 0, 0, 1, -1, false},
        {T, 1, 1, 0, 0, 0, true},          {T, 1, 1, -1, 0, 0, false},
        {1, 1, 0, 0, 0, 0, true},          {T, B, 0, PTRDIFF_MIN, 1, 0, false},
        {T, B, 1, 0, 0, PTRDIFF_MIN, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_strides(&cases[i]);
    fixture f;
    fixture_make(&f);
    describe("strides, backwards");
    float plain[T * B * H];
    memcpy(plain, f.y, sizeof plain);
    f.output = (fc_output){f.y + (T * B - 1) * H, -B * H, -H, NULL, NULL};
    CHECK_OK(forward_of(&f));
    for (int i = 0; i < T * B; i++)
        CHECK(!memcmp(plain + i * H, f.y + (T * B - 1 - i) * H, H * sizeof *plain));
    describe("strides whose extent overflows");
    f.output = (fc_output){f.y, PTRDIFF_MAX, PTRDIFF_MAX / 2, NULL, NULL};
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
    CHECK_STATUS(backward_of(&f, &f.segment), FC_BAD_ARGUMENT); /* once more */
    const int32_t index[T * B] = {0};
    f.batch.index = index;
    f.batch.x_rows = 2;
    CHECK_STATUS(backward_of(&f, &f.segment), FC_BAD_MEMORY);
    f.batch = before.batch;
    CHECK_OK(backward_of(&f, NULL));
    fixture_free(&f);
}

int main(void) {
    FOR_EACH_ISA(isa) {
        for (int user = 0; user < USERS; user++)
            test_user(user, isa);
        test_other_stacks();
        test_alignment_of_outputs();
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
    test_other_isas();
    return finish("memory");
}
