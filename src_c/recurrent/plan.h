/* The plan of a direction: which rows are active in which step, and which state slots
 * they read and write.
 *
 * It combines lengths, mask, resets and direction.  Step s is counted in the direction
 * of travel.  Each active (step, row) is a pair and has a number p, ascending with s
 * and then with the row.  Work and memory are proportional to the number of pairs:
 * without a mask, the sum of the lengths.
 *
 * State slots 0 .. B-1 hold the initial states.  In training pair p writes slot B + p;
 * in inference each row alternates between two slots.  The last slot holds zeros, which
 * the first step of an episode reads. */
#ifndef FC_PLAN_H
#define FC_PLAN_H

#include "fastcell.h"
#include "runtime/arena.h"
#include "runtime/watch.h"

/* fc_plan_layout sets the sizes and places the arrays, fc_plan_make writes them. */
typedef struct fc_plan {
    ptrdiff_t steps, rows, total; /* total: pairs */
    ptrdiff_t states;   /* state slots; slot `states`, one more, holds zeros */
    bool reverse, kept; /* goes from the last time to the first; training */
    bool random;        /* the batch has random masks (masks.h) */
    bool recompute;     /* training, but slots are not kept */
    int64_t *offset;    /* [steps + 1] first p of each step */
    int32_t *row;       /* [total] */
    int64_t *previous;  /* [total] state slot read by p */
    int64_t *next;      /* [total] state slot written by p */
    int64_t *final;     /* [rows] state slot at the end */
    int64_t *work;      /* [rows] active steps of the row */
} fc_plan;

/* Checks lengths and counts the pairs. */
fc_status fc_plan_count(const fc_batch *batch, ptrdiff_t *total);
void fc_plan_layout(fc_plan *plan, fc_arena *arena, const fc_batch *batch,
                    ptrdiff_t total, bool kept);
void fc_plan_make(fc_plan *plan, const fc_batch *batch, bool reverse, fc_watch *watch);

/* (t, row) exists if t is below the row's length.  It is active if it exists and is not
 * masked. */
static inline bool fc_exists(const fc_batch *batch, ptrdiff_t t, ptrdiff_t row) {
    return !batch->lengths || t < batch->lengths[row];
}
static inline bool fc_active(const fc_batch *batch, ptrdiff_t t, ptrdiff_t row) {
    return fc_exists(batch, t, row) &&
           (!batch->mask || batch->mask[t * batch->rows + row]);
}

/* It exists and is masked: the row keeps its state. */
static inline bool fc_skipped(const fc_batch *batch, ptrdiff_t t, ptrdiff_t row) {
    return batch->mask && fc_exists(batch, t, row) &&
           !batch->mask[t * batch->rows + row];
}
/* True if (t, row), which exists, is the first of an episode in the direction of
 * travel, and so begins with zeros.  reset[t] is a border between t-1 and t, in both
 * directions; a border past the row's length has no effect. */
static inline bool fc_begins(const fc_batch *batch, bool reverse, ptrdiff_t t,
                             ptrdiff_t row) {
    if (!batch->reset)
        return false;
    if (reverse && (++t == batch->steps || !fc_exists(batch, t, row)))
        return false;
    return batch->reset[t * batch->rows + row];
}

/* The time of step s. */
static inline ptrdiff_t fc_time(const fc_plan *plan, ptrdiff_t s) {
    return plan->reverse ? plan->steps - 1 - s : s;
}

/* The first p in begin .. end-1, pairs of one step, whose row is at least `row`. */
ptrdiff_t fc_plan_find(const fc_plan *plan, ptrdiff_t begin, ptrdiff_t end,
                       ptrdiff_t row);

/* Cuts the rows into `parts` ranges of about equal work: part i has rows bound[i] ..
 * bound[i + 1] - 1. */
void fc_plan_split_rows(const fc_plan *plan, int parts, ptrdiff_t *bound);
/* Cuts steps begin .. end-1 into ranges of about equal work: the first step of a part.
 */
ptrdiff_t fc_plan_split_steps(const fc_plan *plan, ptrdiff_t begin, ptrdiff_t end,
                              int part, int parts);

#endif
