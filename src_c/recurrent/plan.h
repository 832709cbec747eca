/* Which rows take which step, and where their states stand.
 *
 * Lengths, masks and resets are all one thing to the driver: at step s (counted in the
 * direction of travel) a list of rows is active; every active (step, row) pair gets a
 * packed number p, ascending with s and then with the row.  Work and memory are
 * proportional to their count, the sum of the lengths.
 *
 * States stand in slots: 0 .. B-1 hold the initial states.  When they are kept for
 * backward, pair p writes slot B + p; otherwise each row alternates between two.  The
 * last slot holds zeros, the previous state of a reset step: so no step is special. */
#ifndef FC_PLAN_H
#define FC_PLAN_H

#include "fastcell.h"
#include "runtime/arena.h"
#include "runtime/watch.h"

typedef struct fc_plan {
    ptrdiff_t steps, rows, total; /* total: active pairs */
    ptrdiff_t states;             /* slots but the zero one, which is number `states` */
    bool reverse, kept;
    bool random;       /* there are random masks (masks.h) */
    bool recompute;    /* of what is kept, not the gates */
    int64_t *offset;   /* [steps + 1] first p of each step */
    int32_t *row;      /* [total] */
    int64_t *previous; /* [total] state slot read by p */
    int64_t *next;     /* [total] state slot written by p */
    int64_t *final;    /* [rows] state slot at the end */
    int64_t *work;     /* [rows] active steps of the row */
} fc_plan;

/* Validates lengths; counts the active pairs. */
fc_status fc_plan_count(const fc_batch *batch, ptrdiff_t *total);
void fc_plan_layout(fc_plan *plan, fc_arena *arena, const fc_batch *batch,
                    ptrdiff_t total, bool kept);
void fc_plan_make(fc_plan *plan, const fc_batch *batch, bool reverse, fc_watch *watch);

/* Does (t, row) exist (t below the row's length), is it active (and not masked)? */
static inline bool fc_exists(const fc_batch *batch, ptrdiff_t t, ptrdiff_t row) {
    return !batch->lengths || t < batch->lengths[row];
}
static inline bool fc_active(const fc_batch *batch, ptrdiff_t t, ptrdiff_t row) {
    return fc_exists(batch, t, row) &&
           (!batch->mask || batch->mask[t * batch->rows + row]);
}

/* Exists, but is masked: the state stays. */
static inline bool fc_skipped(const fc_batch *batch, ptrdiff_t t, ptrdiff_t row) {
    return batch->mask && fc_exists(batch, t, row) &&
           !batch->mask[t * batch->rows + row];
}
/* Does an episode end where the direction comes from, so that (t, row), which exists,
 * begins with zeros?  reset[t] is a border between t-1 and t, in both directions; one
 * past the row's length does not exist. */
static inline bool fc_begins(const fc_batch *batch, bool reverse, ptrdiff_t t,
                             ptrdiff_t row) {
    if (!batch->reset)
        return false;
    if (reverse && (++t == batch->steps || !fc_exists(batch, t, row)))
        return false;
    return batch->reset[t * batch->rows + row];
}

/* Time of step s. */
static inline ptrdiff_t fc_time(const fc_plan *plan, ptrdiff_t s) {
    return plan->reverse ? plan->steps - 1 - s : s;
}

/* First p at or after `begin`, below `end`, whose row is at least `row`. */
ptrdiff_t fc_plan_find(const fc_plan *plan, ptrdiff_t begin, ptrdiff_t end,
                       ptrdiff_t row);

/* Cut the rows into `parts` ranges of like work: bound[0] = 0 .. bound[parts] = rows.
 */
void fc_plan_split_rows(const fc_plan *plan, int parts, ptrdiff_t *bound);
/* Cut the steps begin .. end-1 likewise: where a part begins. */
ptrdiff_t fc_plan_split_steps(const fc_plan *plan, ptrdiff_t begin, ptrdiff_t end,
                              int part, int parts);

#endif
