/* The contract between the sequence driver and a cell.
 *
 * The driver does what is the same for all cells: products, time, rows, lengths,
 * directions, threads, weight gradients.  A cell does what differs, elementwise on
 * rows of units:
 *
 *   forward    pre-activations and previous state  ->  next state, saved values
 *   backward   gradient of the state and saved values  ->  gate gradients (written
 *              over the saved values) and gradient of the previous state
 *
 * Pre-activations come in two parts, each with its bias: the input's, W x + b_ih, and
 * the recurrent one, R h + b_hh.  A cell adds them, or, like the GRU, does not.
 *
 * Most cells have one *phase*: one recurrent product, one elementwise pass.  Where a
 * step holds a second product (the reset-before GRU multiplies r * h_{t-1}, the
 * projected LSTM projects o * tanh c) the first phase writes its operand to the
 * *middle* row, and the second phase's product reads it.  A phase of 0 gates has no
 * product: the gates of a minGRU follow from x alone.
 *
 * A cell may have parameters of its own, one value for each unit: peepholes, or the
 * gains of a normalization.  A tile has them as vectors of padded units, zero where
 * there is no unit.  Their gradients are sums over all pairs (step, row) of a slot, or
 * of a slot times something else of the pair.  The descriptor lists these sums, and the
 * driver makes them after the time loop, in the order of the weight gradients.
 *
 * A cell may have options: activations by role, and clips.  Tiles point at those of the
 * stack; of a cell without roles they are not read. */
#ifndef FC_CELL_H
#define FC_CELL_H

#include <stdbool.h>
#include <stddef.h>

#include "fastcell_options.h"

enum {
    FC_MAX_GATES = 4,
    FC_MAX_STATES = 4,
    FC_MAX_PHASES = 2,
    FC_MAX_OWN = 4,
    FC_MAX_SUMS = 6
};

typedef struct fc_phase {
    int gates;        /* that this phase's recurrent product makes; 0: it has none */
    int first_gate;   /* the first of them, in the order of the weight rows */
    int slot;         /* slots slot .. slot+gates-1 end as their gradients */
    bool from_middle; /* the product reads the middle row, not h_{t-1} */
    bool projects;    /* the product is with weight_hr: P units, no input part */
    bool bounded;     /* the operand stays in [-1, 1], if the initial state does */
} fc_phase;

/* A parameter of the cell's own: `vectors` vectors of H values, and what they begin
 * with: what weights do, a number, or numbers drawn from [0, 1). */
typedef enum fc_begin {
    FC_BEGIN_DRAWN,
    FC_BEGIN_ZERO,
    FC_BEGIN_ONE,
    FC_BEGIN_FRACTION
} fc_begin;

typedef struct fc_own {
    const char *name; /* without a layer's suffix */
    int vectors;
    fc_begin begin;
} fc_own;

/* What a slot is multiplied by before it is summed. */
typedef enum fc_factor {
    FC_BY_ONE,
    FC_BY_SLOT,
    FC_BY_H_PREV,
    FC_BY_C_PREV,
    FC_BY_C
} fc_factor;

/* The gradient of vectors to .. to+vectors-1 of a tile's `params`: over all pairs, the
 * sum of slots slot .. slot+vectors-1 times the factor. */
typedef struct fc_sum {
    int to, vectors, slot;
    fc_factor factor;
    int by_slot; /* of FC_BY_SLOT: the first of `vectors` slots */
} fc_sum;

/* What a cell's forward sees: `rows` rows, units unit .. unit+units-1, in blocks of V.
 * Row pointers point at unit 0.
 *
 * A row of c holds all states but h: state 1, then state 2, and so on, `slot` reals
 * apart.  All states begin with zeros.
 *
 * In a stream, c is the memory of c_prev: of every unit c_prev has to be read before c
 * is written.  h is never that of h_prev. */
typedef struct fc_tile {
    ptrdiff_t rows, unit, units;
    ptrdiff_t hidden;      /* H: units of a row that exist, where units may be padded */
    const void *params;    /* [vectors][H, as far apart as slots]; see fc_cell */
    const void *recurrent; /* [rows][units / V][gates of the phase][V], in L1; NULL
                            * without a product */
    const void *const *input; /* [H / V][gates of the cell][V] */
    const void *const *h_prev;
    const void *const *c_prev;
    void *const *h;
    void *const *c;
    void *const *middle;
    void *const *saved;        /* [slots][H]; NULL: keep nothing (one phase only) */
    ptrdiff_t slot;            /* reals from one slot to the next */
    const fc_options *options; /* all zero where none are given */
} fc_tile;

/* What a cell's backward sees: `rows` rows, units unit .. unit+units-1.  dh: in, the
 * gradient of h_t (of the middle row for a phase before a projection); out, the part of
 * h_{t-1}'s gradient that does not go through a product.  dc: in, of c_t; out, of
 * c_{t-1}. */
typedef struct fc_back_tile {
    ptrdiff_t rows, unit, units;
    ptrdiff_t hidden;
    const void *params;
    const void *const *h_prev;
    const void *const *c_prev;
    const void *const *h;
    const void *const *c;
    void *const *dh;
    void *const *dc;
    void *const *dmiddle;
    void *const *saved;
    ptrdiff_t slot;
    const fc_options *options;
} fc_back_tile;

typedef struct fc_cell {
    const char *name;
    int gates;  /* gates of the input product */
    int states; /* 1: h;  2: h and c;  more: h and the states in a row of c */
    int slots;  /* values per unit and step in `saved`, in the end gate gradients */
    int x_slot; /* slots x_slot .. x_slot+gates-1 end as the input part's gradients */
    unsigned char x_gate[FC_MAX_GATES];   /* the gate of each of those slots */
    const char *gate_names[FC_MAX_GATES]; /* in the order of the weight rows */
    bool has_middle;
    bool whole_row; /* the cell needs all units of a row at once (layer norm) */
    /* b_ih and b_hh are not added to the products: they are the first 2 * gates vectors
     * of `params`, before the parameters below, and have sums like those. */
    bool own_biases;
    int roles;       /* of activations that the stack's options choose; 0: no options */
    bool clips_cell; /* the options may have a cell_clip */
    int owns;
    fc_own own[FC_MAX_OWN];
    int sums;
    fc_sum sum[FC_MAX_SUMS];
    int phases;
    fc_phase phase[FC_MAX_PHASES];
    void (*forward[FC_MAX_PHASES])(const fc_tile *);
    void (*backward[FC_MAX_PHASES])(const fc_back_tile *);
} fc_cell;

#endif
