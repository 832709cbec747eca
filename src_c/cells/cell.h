/* The contract between the driver (recurrent/) and a cell: fc_cell, the cell's constant
 * description, and the tiles that its functions get.
 *
 * The driver does what all cells share: products, time, rows, lengths, directions,
 * masks, threads, weight gradients.  A cell computes on rows of units:
 *
 *   forward    pre-activations and previous state  ->  next state, saved values
 *   backward   gradient of the state and saved values  ->  gate gradients (written
 *              over the saved values) and gradient of the previous state
 *
 * Pre-activations have two parts, each with its bias: the input part, W x + b_ih, and
 * the recurrent part, R h + b_hh.  Most cells add them; a GRU multiplies the recurrent
 * part of n by r first.
 *
 * A step has one *phase* or two: a recurrent product, then the cell's function.  With
 * two, the first phase writes the operand of the second product to the *middle* row:
 * the reset-before GRU writes r * h_{t-1}, the projected LSTM o * tanh(c).  A phase of
 * 0 gates has no product: the gates of a minGRU are functions of x alone.
 *
 * A *pair* is a step of a row.  For each pair a cell has `slots` vectors: forward saves
 * values in them, backward writes gate gradients over those.
 *
 * A cell may have parameters of its own, with one value for each unit: peepholes, gains
 * of a normalization, the recurrent weights of an IndRNN.  The gradient of such a
 * vector is a sum over all pairs of a slot, or of a slot times another value of the
 * pair.  The descriptor lists the sums, and the driver computes them after the time
 * loop, in the order of the weight gradients.
 *
 * All states begin with zeros, or with what the caller gives.  No cell needs other
 * values: a cell whose first step differs knows it by its states.
 *
 * A cell may have options: activations by role, and clips.  Tiles point at those of the
 * stack; a cell without roles does not read them.
 *
 * A cell whose state is the old one and a candidate, weighted by gates, may have update
 * dropout: the driver makes a factor for each unit of the candidate, and calls
 * functions of their own, so that the others need not ask for factors. */
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
    FC_MAX_SUMS = 6,
    FC_MAX_SHOWN = 4
};

/* A phase: its product, and where backward leaves the gradients of its result. */
typedef struct fc_phase {
    int gates;        /* gates that the recurrent product computes; 0: no product */
    int first_gate;   /* the first of them, in the order of the weight rows */
    int slot;         /* slots slot .. slot+gates-1: their gradients, after backward */
    bool from_middle; /* the product reads the middle row, not h_{t-1} */
    bool projects;    /* the product is with weight_hr: P units, no input part */
    bool bounded;     /* the operand is in [-1, 1], if the initial h is */
} fc_phase;

/* The initial value of a parameter: drawn as those of weights are, 0, 1, or drawn from
 * [0, 1). */
typedef enum fc_begin {
    FC_BEGIN_DRAWN,
    FC_BEGIN_ZERO,
    FC_BEGIN_ONE,
    FC_BEGIN_FRACTION
} fc_begin;

/* A parameter of the cell's own: (vectors, H) in the caller's arrays. */
typedef struct fc_own {
    const char *name; /* without a layer's suffix */
    int vectors;
    fc_begin begin;
} fc_own;

/* The factor of a slot in a sum: 1, another slot, or a state of the same unit.  FC_BY_C
 * and FC_BY_C_PREV read state 1, FC_BY_H_PREV the h_{t-1} that products read. */
typedef enum fc_factor {
    FC_BY_ONE,
    FC_BY_SLOT,
    FC_BY_H_PREV,
    FC_BY_C_PREV,
    FC_BY_C
} fc_factor;

/* The gradient of vectors to .. to+vectors-1 of a tile's `params`: the sum over all
 * pairs of slots slot .. slot+vectors-1, as backward leaves them, times the factor. */
typedef struct fc_sum {
    int to, vectors, slot;
    fc_factor factor;
    int by_slot; /* with FC_BY_SLOT: the first of `vectors` slots */
} fc_sum;

/* What a cell's forward gets: `rows` rows, of which it computes units unit ..
 * unit+units-1, in blocks of V.
 *
 * The driver allocates all memory and sets all fields.  An array of row pointers is
 * [rows], and each pointer points at unit 0.  Rows are padded to whole vectors; those
 * of h and h_prev have P units if the cell projects, all others H.  The cell writes its
 * units of h, c, middle and saved, may read back what it wrote, and reads the rest.
 *
 * A row of c or c_prev holds all states but h: state 1, then state 2, and so on, `slot`
 * reals apart (state_at in tile.h).
 *
 * Aliasing: in a stream, c may be the memory of c_prev, so a cell reads c_prev of a
 * unit before it writes c of that unit.  h is never the memory of h_prev.
 *
 * Masks and recurrent dropout are the driver's: h_prev is the state itself, not the
 * dropped operand of the product, and what the cell writes to h and c is what it would
 * write without zoneout. */
typedef struct fc_tile {
    ptrdiff_t rows, unit, units;
    ptrdiff_t hidden;         /* H: units that exist; `units` may include padding */
    const void *params;       /* [vectors][slot], zeros behind H; NULL if it has none */
    const void *recurrent;    /* [rows][units / V][gates of the phase][V], in L1: the
                               * phase's product; NULL if it has none */
    const void *const *input; /* rows of [H / V][gates of the cell][V] */
    const void *const *h_prev; /* rows of h_{t-1} */
    const void *const *c_prev; /* rows of [states - 1][slot]; NULL with one state */
    void *const *h;            /* rows of h_t, complete after the last phase */
    void *const *c;            /* as c_prev, written; NULL with one state */
    void *const *middle;       /* rows of H units; NULL without a middle row */
    void *const *saved;        /* rows of [slots][slot]; NULL where nothing is kept, and
                                * the cell has one phase */
    ptrdiff_t slot;            /* reals from one slot, state or vector to the next: H,
                                * padded */
    /* Update dropout: h_prev[r + update] points at the factors of row r's candidates,
     * of H units; 0 without.  An offset, since it holds for any part of the rows. */
    ptrdiff_t update;
    const fc_options *options; /* all zero where none are given */
} fc_tile;

/* What a cell's backward gets: rows and units as in fc_tile.  Phases come from the last
 * to the first.  The cell writes its units of dh, dc and saved.
 *
 * The arrays c_prev, c, dc and dmiddle hold no rows if the cell has no such state or
 * middle row.  The rows that it writes alias no others. */
typedef struct fc_back_tile {
    ptrdiff_t rows, unit, units;
    ptrdiff_t hidden; /* as in fc_tile, like params, h_prev and c_prev */
    const void *params;
    const void *const *h_prev;
    const void *const *c_prev;
    const void *const *h; /* what forward wrote */
    const void *const *c;
    /* In: the gradient of what forward wrote to h, or what the later phase left.  Out:
     * the part of h_{t-1}'s gradient that goes through no product; the driver adds the
     * product with R. */
    void *const *dh;
    void *const *dc;      /* in: gradients of the states of c_t; out: of c_{t-1} */
    void *const *dmiddle; /* gradient of the middle row, from phase 2's product */
    void *const *saved;   /* in: what forward saved; out: gradients, see x_slot, slot */
    ptrdiff_t slot;
    ptrdiff_t update; /* as in fc_tile */
    const fc_options *options;
} fc_back_tile;

/* The description of a cell: constant, defined at the end of the cell's file. */
typedef struct fc_cell {
    const char *name;
    int gates;  /* G: gates of the input product */
    int states; /* 1: h;  2: h and c;  more: h, c and other states in the row of c */
    int slots;  /* vectors of a pair in `saved` */
    int x_slot; /* slots x_slot .. x_slot+gates-1: gradients of the input part */
    unsigned char x_gate[FC_MAX_GATES];   /* the gate of each of those slots */
    const char *gate_names[FC_MAX_GATES]; /* in the order of the weight rows */
    /* What a trace shows: names of the values in slots 0, 1, ..., up to the first NULL.
     * A gate has the name above; one that is the state itself is in no slot. */
    const char *slot_names[FC_MAX_SHOWN];
    bool has_middle;
    bool whole_row; /* a tile has all units of its rows (layer norm) */
    /* The products do not add b_ih and b_hh.  These are the first 2 * gates vectors of
     * `params`, before the parameters below, and need sums as those do. */
    bool own_biases;
    int roles;       /* activations that a stack's options choose; 0: no options */
    bool clips_cell; /* the options may have a cell_clip */
    int owns; /* parameters of the cell's own, and the sums that are their gradients */
    fc_own own[FC_MAX_OWN];
    int sums;
    fc_sum sum[FC_MAX_SUMS];
    int phases;
    fc_phase phase[FC_MAX_PHASES];
    void (*forward[FC_MAX_PHASES])(const fc_tile *);
    void (*backward[FC_MAX_PHASES])(const fc_back_tile *);
    /* Of a cell that saves other numbers than these values: writes the values over what
     * forward saved.  Of the tile it has rows, units, h_prev, c_prev, saved and
     * options. NULL: the values are saved. */
    void (*reveal)(const fc_back_tile *);
    /* The same for tiles with `update`; NULL in a cell without a candidate. */
    void (*forward_dropped[FC_MAX_PHASES])(const fc_tile *);
    void (*backward_dropped[FC_MAX_PHASES])(const fc_back_tile *);
} fc_cell;

#endif
