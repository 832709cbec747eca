/* The time loop of one direction of a layer, over a range of rows.
 *
 * It handles products, rows and states.  Of a cell it uses the contract (cells/cell.h).
 */
#ifndef FC_SEQUENCE_H
#define FC_SEQUENCE_H

#include "recurrent/phases.h"
#include "runtime/watch.h"

/* A (T, B, n) array: row (t, b) starts at data + t * step + b * row, in bytes. */
typedef struct fc_array {
    char *data;
    ptrdiff_t step, row;
} fc_array;

static inline char *fc_at(const fc_array *array, ptrdiff_t t, ptrdiff_t row) {
    return array->data + t * array->step + row * array->row;
}

/* All that the loop reads and writes of one direction of a layer.  The walk through the
 * stack (stack_forward.c, stack_backward.c) sets the fields before the loop; the loop
 * writes the arrays they point at, as said below. */
typedef struct fc_direction {
    fc_shape shape;
    fc_packed packed;      /* forward's panels in forward, backward's in backward */
    fc_memory memory;      /* written by forward; backward writes its slots */
    const fc_plan *plan;   /* read */
    const fc_batch *batch; /* read; in training with the copies of `saved` */
    fc_watch *watch;       /* shared by all threads of the call */
    /* (T, B, in), read: the caller's x or the output of the layer below.  With an
     * index, [x_rows][in], `row` bytes apart. */
    fc_array x;
    /* [x_rows][input columns]: the input part of each row of x, written by
     * fc_direction_table; NULL without an index. */
    char *table;
    /* (T, B, gates units), read: added to the input parts; its data NULL: nothing. */
    fc_array added;
    fc_masks masks; /* random masks of this pass */
    /* Forward: */
    fc_array y; /* (T, B, out), written; its data NULL: not wanted */
    /* (T, B, units), written, for each state but h, `cs_state` bytes from one to the
     * next; its data NULL: not wanted. */
    fc_array cs;
    ptrdiff_t cs_state;
    const char *dropout; /* forward: factors of y, with its strides; backward: factors
                          * of dx, likewise; NULL: none */
    const char *h0, *c0; /* [rows][out] and [rows][states - 1][units]; NULL: zeros */
    char *h, *c;         /* final states, as h0 and c0, written; NULL: not wanted */
    /* Backward: */
    fc_array dy, dx; /* (T, B, out), read, its data NULL: zeros; and as x, written after
                      * the loop, its data NULL: not wanted */
    fc_array dadded; /* as added, written after the loop; its data NULL: not wanted */
    const char *dh, *dc; /* gradients of h and c above; NULL: zeros */
    char *dh0, *dc0;     /* gradients of h0 and c0, written; NULL: not wanted */
    bool continues;      /* h0 and c0 are the states after steps of an earlier part */
    /* Gradients of the state at the present step: [rows][out_padded], [rows][c_row] and
     * [rows][padded], written by the cell and by products. */
    char *state_dh, *state_dc, *state_dmiddle;
    /* Zoneout: the gradients of h_{t-1} and c_{t-1} by the units that keep their state,
     * [rows][out_padded] and [rows][c_row], written by the driver.  Recurrent dropout:
     * the gradient of the dropped h_{t-1}, [rows][out_padded], written by products.
     * NULL without. */
    char *passed_h, *passed_c, *state_dropped;
    /* [x_rows][gates][padded]: gradients of the table's rows, written by fc_scatter;
     * NULL without an index. */
    char *dtable;
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

/* Scratch of one thread while it runs some rows of a direction.  The loop writes all of
 * it, and no content outlives a call. */
typedef struct fc_loop_scratch {
    /* Input parts of a chunk of steps; the arrays are NULL where none are made. */
    ptrdiff_t capacity; /* most pairs of a chunk */
    const void **x;     /* [capacity] pointers at rows of x */
    void **input;       /* [capacity] pointers at input parts, here or in the table */
    char *input_parts;  /* [capacity][input columns] */
    fc_step_scratch step;
    void **pointers; /* [FC_POINTER_ARRAYS][rows] pointers at rows of one step */
    char *updates;   /* [rows][fc_mask_reals] of update dropout; NULL without */
    char *factors;   /* [fc_mask_reals] of random masks; NULL if all rates are 0 */
    int64_t *now;    /* [rows] state slot of each row, for y of masked steps */
} fc_loop_scratch;

/* The last array is that of update dropout. */
enum { FC_POINTER_ARRAYS = 11, FC_UPDATE_POINTERS = FC_POINTER_ARRAYS - 1 };

/* `chunks`: with room for input parts, which forward makes, and backward if it
 * recomputes. */
void fc_loop_scratch_layout(const fc_shape *shape, const fc_plan *plan, bool chunks,
                            size_t operand_bytes, fc_loop_scratch *scratch,
                            fc_arena *arena);

/* Forward: rows first .. last-1, all steps, from h0 and c0 to h and c.  Each member of
 * the team calls it, with its own scratch. */
void fc_direction_forward(const fc_direction *direction, ptrdiff_t first,
                          ptrdiff_t last, const fc_loop_scratch *scratch, fc_team team);
/* Steps begin .. end-1 of forward, from the states in memory.  Returns false if the
 * call is stopped, or if the team has disbanded and another member continues alone. */
bool fc_direction_steps(const fc_direction *direction, ptrdiff_t first, ptrdiff_t last,
                        ptrdiff_t begin, ptrdiff_t end, const fc_loop_scratch *scratch,
                        fc_team *team);
/* Backward through steps end-1 .. begin.  A sequence may take several calls, from the
 * last steps to the first. */
void fc_direction_backward(const fc_direction *direction, ptrdiff_t first,
                           ptrdiff_t last, ptrdiff_t begin, ptrdiff_t end,
                           const fc_loop_scratch *scratch, fc_team team);

/* Writes rows first .. last-1 of the table: the input part of each row of x.
 * `operands`: fc_operand_bytes of scratch. */
void fc_direction_table(const fc_direction *direction, ptrdiff_t first, ptrdiff_t last,
                        void *operands);

/* True if the driver changes the states that the cell writes: zoneout, by masks or by
 * shares, or recurrent dropout. */
static inline bool fc_is_masked(const fc_direction *direction) {
    return direction->memory.fresh_h || direction->memory.fresh_c ||
           direction->memory.dropped;
}

/* Reals of one row of input parts. */
static inline ptrdiff_t fc_input_columns(const fc_shape *shape) {
    return shape->cell->gates * shape->padded;
}

/* The work of a product of `rows` rows with all gates, for fc_stops: FLOP, and 64 for
 * each number of the result. */
static inline int64_t fc_product_work(const fc_shape *shape, ptrdiff_t rows,
                                      ptrdiff_t depth) {
    return (2 * (int64_t)depth + 64) * fc_input_columns(shape) * rows;
}

/* Most work of one product.  Larger ones are cut, and fc_stops is called between. */
#define FC_MOST_PRODUCT_WORK ((int64_t)1 << 31)
/* Rows of one product at most, by this limit. */
static inline ptrdiff_t fc_rows_between_stops(const fc_shape *shape, ptrdiff_t depth) {
    enum { LEAST = 64 };
    ptrdiff_t rows = FC_MOST_PRODUCT_WORK / fc_product_work(shape, 1, depth);
    return rows > LEAST ? rows : LEAST;
}

#endif
