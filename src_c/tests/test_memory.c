/* What the core keeps in the caller's memory between calls is looked at before anything
 * in it is followed: memory that is not what a call needs is refused. */
#include "tests/fixture.h"

typedef fc_status user_fn(fixture *f, void *memory);

static fc_status forward_packed(fixture *f, void *memory) {
    return fc_forward(&f->stack, memory, &f->batch, &f->output, NULL, f->scratch);
}
static fc_status step_packed(fixture *f, void *memory) {
    return fc_stream_step(&f->stack, memory, B, f->x, f->v, f->stream);
}
static fc_status step_some_packed(fixture *f, void *memory) {
    const int64_t which[] = {2, 0};
    return fc_stream_step_some(&f->stack, memory, B, &(fc_selection){which, 2}, f->x,
                               f->v, f->stream, 1);
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
    return fc_stream_step_some(&f->stack, f->packed, B, &(fc_selection){which, 1}, f->x,
                               f->v, memory, 1);
}
static fc_status get_stream(fixture *f, void *memory) {
    return fc_stream_get(&f->stack, B, memory, f->v, NULL);
}
static fc_status get_some_stream(fixture *f, void *memory) {
    const int64_t which[] = {1};
    return fc_stream_get_some(&f->stack, B, memory, &(fc_selection){which, 1}, f->v,
                              NULL);
}
static fc_status set_some_stream(fixture *f, void *memory) {
    const int64_t which[] = {1};
    return fc_stream_set_some(&f->stack, B, memory, &(fc_selection){which, 1}, f->v,
                              NULL);
}
static fc_status copy_stream(fixture *f, void *memory) {
    void *to = take(f->stream_bytes, 0);
    fc_status status = fc_stream_copy(&f->stack, B, memory, to);
    release(to);
    return status;
}
static fc_status linear_forward(fixture *f, void *memory) {
    return fc_linear_forward(&(fc_linear){FC_F32, I, O}, memory, B, f->x, f->v, 1);
}
static fc_status linear_backward(fixture *f, void *memory) {
    return fc_linear_backward(
        &(fc_linear){FC_F32, I, O}, memory, B,
        &(fc_linear_backward_io){f->x, f->dy, f->dx, f->g, NULL, NULL}, f->scratch, 1);
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
        {1, 0, 0, 0, 0, "gru"},
        {0, 1, 0, 0, 0, "gru"},
        {0, -1, 0, 0, 0, "gru"},
        {0, 0, 2, 0, 0, "gru"},
        {0, 0, 0, 1, 0, "gru"},
        {0, 0, 0, 0, 1, "gru"},
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
    CHECK_STATUS(
        fc_linear_forward(&(fc_linear){FC_F32, I + 1, O}, f.linear[0], 1, f.x, f.y, 1),
        FC_BAD_MEMORY);
    CHECK_STATUS(
        fc_linear_forward(&(fc_linear){FC_F32, I, O + 1}, f.linear[0], 1, f.x, f.y, 1),
        FC_BAD_MEMORY);
    CHECK_STATUS(
        fc_linear_forward(&(fc_linear){FC_F64, I, O}, f.linear[0], 1, f.x, f.y, 1),
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
    fc_weights weights = {f.w, f.w, NULL, NULL, NULL, {NULL}};
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
        CHECK_STATUS(fc_forward(&f.stack, f.packed, &f.batch, &f.output, at, f.scratch),
                     status);
        CHECK_STATUS(fc_forward(&f.stack, f.packed, &f.batch, &f.output, NULL, at),
                     status);
        CHECK_STATUS(fc_backward(&f.stack, f.backward, &f.batch, &f.io, f.saved, at),
                     status);
        CHECK_OK(forward_of(&f));
        fc_segment last = {T, 0, T * B, at};
        CHECK_STATUS(backward_of(&f, &last), status);
        CHECK_OK(forward_of(&f));
        CHECK_STATUS(fc_stream_set(&f.stack, B, at, NULL, NULL), status);
        CHECK_STATUS(fc_stream_copy(&f.stack, B, f.stream, at), status);
        CHECK_STATUS(
            fc_linear_pack(&(fc_linear){FC_F32, I, O}, FC_PACK_FORWARD, f.w, NULL, at),
            status);
        CHECK_STATUS(fc_linear_backward(
                         &(fc_linear){FC_F32, I, O}, f.linear[1], B,
                         &(fc_linear_backward_io){f.x, f.dy, f.dx, f.g, NULL, NULL}, at,
                         1),
                     status);
        CHECK_STATUS(fc_ctc_loss(&ctc, loss, f.y, at, 1), status);
        CHECK_STATUS(fc_additive_backward(&sizes, &score, f.dy, f.y, f.u, f.v, at, 1),
                     status);
    }
    release(memory);
    fixture_free(&f);
}

int main(void) {
    FOR_EACH_ISA(isa) {
        for (int user = 0; user < USERS; user++)
            test_user(user, isa);
        test_other_stacks();
        test_alignment_of_outputs();
    }
    test_other_isas();
    return finish("memory");
}
