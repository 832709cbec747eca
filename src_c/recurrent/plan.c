/* Makes the plan of a direction, and cuts it into parts. */
#include "recurrent/plan.h"

fc_status fc_plan_count(const fc_batch *batch, ptrdiff_t *total) {
    ptrdiff_t steps = batch->steps, rows = batch->rows;
    *total = steps * rows; /* fits: fc_check_sizes */
    if (batch->lengths) {
        *total = 0;
        for (ptrdiff_t row = 0; row < rows; row++) {
            if (batch->lengths[row] < 0 || batch->lengths[row] > steps)
                return FC_BAD_LENGTH;
            *total += (ptrdiff_t)batch->lengths[row];
        }
    }
    if (batch->mask) {
        *total = 0;
        for (ptrdiff_t t = 0; t < steps; t++)
            for (ptrdiff_t row = 0; row < rows; row++)
                *total += fc_active(batch, t, row);
    }
    return FC_OK;
}

void fc_plan_layout(fc_plan *plan, fc_arena *arena, const fc_batch *batch,
                    ptrdiff_t total, bool kept) {
    plan->steps = batch->steps;
    plan->rows = batch->rows;
    plan->total = total;
    plan->kept = kept;
    plan->random = batch->random;
    plan->recompute = kept && batch->recompute;
    if (__builtin_add_overflow(batch->rows, kept ? total : batch->rows, &plan->states))
        arena->failed = true;
    plan->offset = fc_take(arena, (size_t)plan->steps + 1, sizeof *plan->offset);
    plan->row = fc_take(arena, (size_t)total, sizeof *plan->row);
    plan->previous = fc_take(arena, (size_t)total, sizeof *plan->previous);
    plan->next = fc_take(arena, (size_t)total, sizeof *plan->next);
    plan->final = fc_take(arena, (size_t)plan->rows, sizeof *plan->final);
    plan->work = fc_take(arena, (size_t)plan->rows, sizeof *plan->work);
}

void fc_plan_make(fc_plan *plan, const fc_batch *batch, bool reverse, fc_watch *watch) {
    enum { WORK_OF_A_ROW = 32 };
    int64_t left = FC_WORK_BETWEEN_LOOKS;
    ptrdiff_t p = 0;
    plan->reverse = reverse;
    for (ptrdiff_t row = 0; row < plan->rows; row++) {
        plan->final[row] = row;
        plan->work[row] = 0;
    }
    for (ptrdiff_t s = 0; s < plan->steps; s++) {
        ptrdiff_t t = fc_time(plan, s);
        if (fc_stops_step(watch, WORK_OF_A_ROW * plan->rows, &left))
            return;
        plan->offset[s] = p;
        for (ptrdiff_t row = 0; row < plan->rows; row++) {
            if (!fc_exists(batch, t, row))
                continue;
            if (fc_begins(batch, reverse, t, row)) /* of a masked step too */
                plan->final[row] = plan->states;
            if (!fc_active(batch, t, row))
                continue;
            int64_t now = plan->final[row];
            plan->row[p] = (int32_t)row;
            plan->previous[p] = now;
            plan->next[p] = plan->kept         ? plan->rows + p
                            : now < plan->rows ? row + plan->rows
                                               : row;
            plan->final[row] = plan->next[p];
            plan->work[row]++;
            p++;
        }
    }
    plan->offset[plan->steps] = p;
}

ptrdiff_t fc_plan_find(const fc_plan *plan, ptrdiff_t begin, ptrdiff_t end,
                       ptrdiff_t row) {
    if (end - begin == plan->rows) /* all rows are active */
        return begin + row;
    while (begin < end) {
        ptrdiff_t middle = begin + (end - begin) / 2;
        if (plan->row[middle] < row)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

void fc_plan_split_rows(const fc_plan *plan, int parts, ptrdiff_t *bound) {
    ptrdiff_t done = 0, part = 1;
    bound[0] = 0;
    for (ptrdiff_t row = 0; row < plan->rows; row++) {
        done += (ptrdiff_t)plan->work[row];
        while (part < parts && done * parts >= plan->total * part)
            bound[part++] = row + 1;
    }
    while (part <= parts)
        bound[part++] = plan->rows;
}

ptrdiff_t fc_plan_split_steps(const fc_plan *plan, ptrdiff_t begin, ptrdiff_t end,
                              int part, int parts) {
    int64_t first = plan->offset[begin];
    int64_t wanted = first + (plan->offset[end] - first) * part / parts;
    ptrdiff_t s = begin;
    while (s < end && plan->offset[s] < wanted)
        s++;
    return part == parts ? end : s;
}
