/* Parameters of a cell's own: their description, missing ones, and gradients that are
 * not computed. */
#include "tests/problem.h"

static void test_names(void) {
    fc_cell_parameter own = {.name = "unchanged", .vectors = 7};
    CHECK(!own_parameter(fc_cell_index("lstm_peephole"), 1, &own));
    CHECK(!own_parameter(fc_cell_index("lstm"), 0, &own));
    CHECK(!own_parameter(fc_cell_index("lstm_peephole"), -1, &own));
    CHECK(!own_parameter(-1, 0, &own));
    CHECK(!strcmp(own.name, "unchanged") && own.vectors == 7);
    CHECK(own_parameter(fc_cell_index("lstm_peephole"), 0, &own));
    CHECK(!strcmp(own.name, "weight_ch"));
    CHECK(own.vectors == 3 && own.initial == FC_DRAWN);
    CHECK(own_parameter(fc_cell_index("lstm_layer_norm"), 3, &own));
    CHECK(!strcmp(own.name, "bias_ln_c"));
    CHECK(own.vectors == 1 && own.initial == FC_ZEROS);
    CHECK(own.member == offsetof(fc_weights, own) + 3 * sizeof(void *));
}

/* Layer 0 in both directions, of ones. */
static void test_missing(int cell, const fc_cell_parameter *missing, int which) {
    enum { H = 5, P = 2, MOST = 4 * H * H };
    bool projects = strstr(fc_cell_name(cell), "projected") != NULL;
    float ones[MOST];
    fc_weights weights[2] = {{0}};
    fc_stack stack = {.cell = cell,
                      .dtype = FC_F32,
                      .input_size = H,
                      .hidden_size = H,
                      .proj_size = projects ? P : 0,
                      .layers = 1,
                      .directions = 2};
    size_t bytes;
    for (int i = 0; i < MOST; i++)
        ones[i] = 1;
    for (int d = 0; d < 2; d++) {
        weights[d].w_ih = weights[d].w_hh = ones;
        weights[d].w_hr = projects ? ones : NULL;
        fc_cell_parameter own;
        for (int i = 0; own_parameter(cell, i, &own); i++)
            weights[d].own[i] = ones;
    }
    describe("%s without %s", fc_cell_name(cell), missing->name);
    CHECK_OK(fc_pack_size(&stack, FC_PACK_FORWARD, &bytes));
    void *packed = take(bytes, 0);
    CHECK_OK(fc_pack(&stack, FC_PACK_FORWARD, weights, packed, 1));
    weights[1].own[which] = NULL;
    CHECK_STATUS(fc_pack(&stack, FC_PACK_FORWARD, weights, packed, 1), FC_BAD_ARGUMENT);
    release(packed);
}

static void test_frozen(const problem *p, fc_dtype dtype) {
    outcome all = outcome_new(p);
    run_core(p, dtype, 1, GRADIENTS, &all);
    for (int frozen = 0; frozen < p->owned; frozen++) {
        problem without = *p;
        outcome some = outcome_new(p);
        section s = p->own[0][frozen];
        without.frozen = 1u << frozen;
        run_core(&without, dtype, 1, GRADIENTS, &some);
        CHECK_SAME_BITS(some.g, all.g, s.at);
        for (ptrdiff_t i = 0; i < s.count; i++)
            CHECK(some.g[s.at + i] == 0);
        CHECK_SAME_BITS(some.g + s.at + s.count, all.g + s.at + s.count,
                        p->count - s.at - s.count);
        outcome_free(&some);
    }
    outcome_free(&all);
}

int main(void) {
    test_names();
    for (int cell = 0; fc_cell_name(cell); cell++) {
        fc_cell_parameter own;
        for (int i = 0; own_parameter(cell, i, &own); i++)
            test_missing(cell, &own, i);
        spec s = {.cell = fc_cell_name(cell),
                  .in = 3,
                  .hidden = 9,
                  .proj = 4,
                  .layers = 1,
                  .directions = 1,
                  .steps = 4,
                  .rows = 3};
        problem p;
        seed(900);
        problem_make(&p, &s);
        FOR_EACH_ISA(isa) {
            for (int d = 0; d < 2; d++) {
                describe("frozen parameters, %s, %s f%d", s.cell, isa, d ? 64 : 32);
                test_frozen(&p, (fc_dtype)d);
            }
        }
        problem_free(&p);
    }
    return finish("own");
}
