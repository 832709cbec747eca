/* Random masks: the same bits for any number of threads, and rates that are refused. */
#include "tests/problem.h"

static void set_rates(problem *p) {
    p->random = true;
    p->key = 0x123456789abcdef;
    p->stack.zoneout_h = 0.25;
    p->stack.zoneout_c = p->has_c ? 0.375 : 0;
    p->stack.recurrent_dropout = p->has_r ? 0.5 : 0;
    fc_cell_description d;
    CHECK_OK(fc_describe_cell(p->stack.cell, &d));
    p->stack.options.given = 1;
    p->stack.options.update_dropout = d.takes_update_dropout ? 0.25 : 0;
    p->stack.options.recurrent_grad_clip = 0.05;
}

static void check_same(const problem *p, const outcome *a, const outcome *b) {
    CHECK_SAME_BITS(a->y, b->y, p->y_count);
    CHECK_SAME_BITS(a->h, b->h, p->h_count);
    CHECK_SAME_BITS(a->c, b->c, p->c_count);
    CHECK_SAME_BITS(a->g, b->g, p->count);
}

static bool differs(const double *a, const double *b, ptrdiff_t n) {
    return n && memcmp(a, b, (size_t)n * sizeof *a) != 0;
}

/* Threads that share rows, or, of one row, units; gates that backward makes again. */
static void test_bits(const char *cell, ptrdiff_t rows, const char *isa) {
    spec s = {.cell = cell,
              .in = 5,
              .hidden = rows > 1 ? 33 : 300,
              .proj = 17,
              .layers = rows > 1 ? 2 : 1,
              .directions = rows > 1 ? 2 : 1,
              .steps = rows > 1 ? 6 : 60,
              .rows = rows,
              .lengths = rows > 1,
              .reset = true};
    problem p;
    seed(900);
    problem_make(&p, &s);
    set_rates(&p);
    outcome one = outcome_new(&p), other = outcome_new(&p);
    for (int d = 0; d < 2; d++) {
        describe("%s, masks, %td rows, %s f%d", cell, rows, isa, d ? 64 : 32);
        run_core(&p, (fc_dtype)d, 1, GRADIENTS, &one);
        run_core(&p, (fc_dtype)d, 4, GRADIENTS, &other);
        check_same(&p, &one, &other);
        run_core(&p, (fc_dtype)d, 4, GRADIENTS_RECOMPUTED, &other);
        check_same(&p, &one, &other);
        p.key++;
        run_core(&p, (fc_dtype)d, 1, GRADIENTS, &other);
        p.key--;
        CHECK(differs(one.y, other.y, p.y_count));
        CHECK(differs(one.g, other.g, p.count));
    }
    outcome_free(&one);
    outcome_free(&other);
    problem_free(&p);
}

static fc_status status_of(const char *cell, double h, double c, double drop) {
    size_t bytes;
    fc_stack stack = {.cell = fc_cell_index(cell),
                      .input_size = 3,
                      .hidden_size = 4,
                      .layers = 1,
                      .directions = 1,
                      .zoneout_h = h,
                      .zoneout_c = c,
                      .recurrent_dropout = drop};
    return fc_pack_size(&stack, FC_PACK_FORWARD, &bytes);
}

static void test_refusals(void) {
    static const double wrong[] = {-0.5, 1, 2, INFINITY, NAN};
    describe("rates");
    CHECK_OK(status_of("lstm", 0.5, 0.25, 0.125));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_STATUS(status_of("lstm", wrong[i], 0, 0), FC_BAD_ARGUMENT);
        CHECK_STATUS(status_of("lstm", 0, wrong[i], 0), FC_BAD_ARGUMENT);
        CHECK_STATUS(status_of("lstm", 0, 0, wrong[i]), FC_BAD_ARGUMENT);
    }
    CHECK_STATUS(status_of("gru", 0.5, 0.25, 0), FC_BAD_ARGUMENT);
    CHECK_STATUS(status_of("min_gru", 0.5, 0, 0.5), FC_BAD_ARGUMENT);
    CHECK_OK(status_of("min_gru", 0.5, 0, 0));
}

int main(void) {
    FOR_EACH_ISA(isa)
    for (int cell = 0; fc_cell_name(cell); cell++) {
        test_bits(fc_cell_name(cell), 7, isa);
        test_bits(fc_cell_name(cell), 1, isa);
    }
    test_refusals();
    return finish("masks");
}
