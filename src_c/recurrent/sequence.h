/* The time loop of one direction (one layer, one direction), over some rows.
 *
 * Knows products, rows and states; of a cell only its contract (cells/cell.h). */
#ifndef FC_SEQUENCE_H
#define FC_SEQUENCE_H

#include "recurrent/phases.h"
#include "runtime/watch.h"

/* A (T, B, n) array: element (t, b) starts at data + t * step + b * row, in bytes. */
typedef struct fc_array {
    char *data;
    ptrdiff_t step, row;
} fc_array;

static inline char *fc_at(const fc_array *array, ptrdiff_t t, ptrdiff_t row) {
    return array->data + t * array->step + row * array->row;
}

typedef struct fc_direction {
    fc_shape shape;
    fc_packed packed; /* forward's or backward's */
    fc_memory memory;
    const fc_plan *plan;
    const fc_batch *batch;
    fc_watch *watch;
    fc_array x;     /* its data is NULL where `table` serves */
    fc_array added; /* its data is NULL where nothing is added to the input parts */
    char *table;    /* [x_rows][input columns]: input parts, one row per index */
    fc_masks masks;
    /* forward */
    fc_array y, cs;      /* their data is NULL where nobody wants them */
    ptrdiff_t cs_state;  /* bytes from one state to the next */
    const char *dropout; /* factors laid out as y, or NULL */
    const char *h0, *c0; /* [rows][out], [rows][states - 1][units], or NULL: zero */
    char *h, *c;         /* final states, or NULL */
    /* backward */
    fc_array dy, dx, dadded;
    const char *dh, *dc; /* of the final states, or NULL */
    char *dh0, *dc0;     /* or NULL */
    /* Running gradients: [rows] as the states, and [rows][padded]. */
    char *state_dh, *state_dc, *state_dmiddle;
    /* Those that zoneout passes by the cell, and that of a dropped h; or NULL. */
    char *passed_h, *passed_c, *state_dropped;
    char *dtable; /* [x_rows][input columns, gate by gate] */
} fc_direction;

/* What is added to the input parts of a direction, if anything. */
static inline fc_array fc_added(const fc_batch *batch, const fc_shape *shape, int layer,
                                int which) {
    ptrdiff_t real = (ptrdiff_t)shape->k->real_size;
    if (layer > 0 || !batch->added)
        return (fc_array){0};
    return (fc_array){(char *)batch->added +
                          which * shape->cell->gates * shape->units * real,
                      batch->added_step * real, batch->added_row * real};
}

/* What one thread needs while it runs some rows of a direction. */
typedef struct fc_loop_scratch {
    ptrdiff_t capacity; /* pairs of one chunk of steps */
    const void **x;     /* [capacity] */
    void **input;       /* [capacity] */
    char *input_parts;  /* [capacity][input columns] */
    fc_step_scratch step;
    void **pointers; /* [FC_POINTER_ARRAYS][rows] */
    char *factors;   /* of masks, of one row */
    int64_t *now;    /* [rows] state slot, for masks */
} fc_loop_scratch;

enum { FC_POINTER_ARRAYS = 10 };

/* `chunks`: for forward, which makes input parts. */
void fc_loop_scratch_layout(const fc_shape *shape, const fc_plan *plan, bool chunks,
                            size_t operand_bytes, fc_loop_scratch *scratch,
                            fc_arena *arena);

/* Rows first .. last-1 of all steps.  Each member of the team calls, with a scratch of
 * its own. */
void fc_direction_forward(const fc_direction *direction, ptrdiff_t first,
                          ptrdiff_t last, const fc_loop_scratch *scratch, fc_team team);
/* Forward's steps begin .. end-1 alone, from states that are there.  False where the
 * call is stopped, or the team has disbanded and the member is not the one that goes
 * on. */
bool fc_direction_steps(const fc_direction *direction, ptrdiff_t first, ptrdiff_t last,
                        ptrdiff_t begin, ptrdiff_t end, const fc_loop_scratch *scratch,
                        fc_team *team);
/* Backward through steps end-1 .. begin: all, or some at a time, from the last. */
void fc_direction_backward(const fc_direction *direction, ptrdiff_t first,
                           ptrdiff_t last, ptrdiff_t begin, ptrdiff_t end,
                           const fc_loop_scratch *scratch, fc_team team);

/* table rows first .. last-1: the input part of each row of x. */
void fc_direction_table(const fc_direction *direction, ptrdiff_t first, ptrdiff_t last,
                        void *operands);

/* Whether any random mask, or share of zoneout, changes what the cell makes. */
static inline bool fc_is_masked(const fc_direction *direction) {
    return direction->memory.fresh_h || direction->memory.fresh_c ||
           direction->memory.dropped;
}

/* Reals of one row of input parts. */
static inline ptrdiff_t fc_input_columns(const fc_shape *shape) {
    return shape->cell->gates * shape->padded;
}

/* About the FLOP of `rows` rows of a product with the gates, and what it costs without
 * them: for fc_stops. */
static inline int64_t fc_product_work(const fc_shape *shape, ptrdiff_t rows,
                                      ptrdiff_t depth) {
    return (2 * (int64_t)depth + 64) * fc_input_columns(shape) * rows;
}

/* Products longer than this are cut, for fc_stops to be asked between. */
#define FC_MOST_PRODUCT_WORK ((int64_t)1 << 31)
/* Into blocks of as many rows. */
static inline ptrdiff_t fc_rows_between_stops(const fc_shape *shape, ptrdiff_t depth) {
    enum { LEAST = 64 };
    ptrdiff_t rows = FC_MOST_PRODUCT_WORK / fc_product_work(shape, 1, depth);
    return rows > LEAST ? rows : LEAST;
}

#endif
