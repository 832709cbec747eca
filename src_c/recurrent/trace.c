/* States and gates of all steps, copied from `saved` to arrays of the caller.
 *
 * Threads have different rows of the batch.  Each goes through the steps in the
 * direction of travel, since a masked step shows the state that its row has by then. */
#include <string.h>

#include "recurrent/saved.h"
#include "recurrent/stack.h"
#include "runtime/pool.h"

enum { MOST_ROWS = 64 }; /* of a block: what is counted for each is local */
enum { BYTES_OF_A_THREAD = 1 << 18 }; /* copied in about 30 us */

typedef struct trace_job {
    const fc_stack *stack;
    const fc_batch *batch; /* with the copies of `saved` */
    const fc_saved *saved;
    const fc_trace_output *output;
    fc_watch *watch;
} trace_job;

/* One direction of a layer: where its values are, and where they go. */
typedef struct traced_pass {
    fc_shape shape;
    const fc_plan *plan;
    fc_memory memory;
    int values;
    /* Arrays (T, B, n), and bytes from one state or value to the next; NULL: not
     * wanted. */
    char *h, *c, *value;
    size_t h_row, row, next;
} traced_pass;

static int value_count(const fc_cell *cell) {
    int count = 0;
    while (count < FC_MAX_SHOWN && cell->slot_names[count])
        count++;
    return count;
}

const char *fc_trace_name(int cell, int value) {
    const fc_kernels *k = fc_kernels_of(FC_F32);
    if (cell < 0 || cell >= k->cell_count || value < 0 || value >= FC_MAX_SHOWN)
        return NULL;
    return k->cells[cell]->slot_names[value];
}

static void set_pass(traced_pass *pass, const trace_job *job, int layer, int which) {
    const fc_batch *batch = job->batch;
    const fc_trace_output *output = job->output;
    fc_shape *shape = &pass->shape;
    fc_shape_of(job->stack, layer, shape);
    size_t pairs = (size_t)batch->steps * (size_t)batch->rows;
    size_t index = (size_t)(layer * job->stack->directions + which);
    pass->plan = &job->saved->plan[which];
    fc_saved_memory(job->saved, shape, layer, which, &pass->memory);
    pass->values = value_count(shape->cell);
    pass->h_row = fc_bytes(shape, shape->out);
    pass->row = fc_bytes(shape, shape->units);
    pass->next =
        (size_t)(job->stack->layers * job->stack->directions) * pairs * pass->row;
    pass->h = output->h ? (char *)output->h + index * pairs * pass->h_row : NULL;
    pass->c = output->c ? (char *)output->c + index * pairs * pass->row : NULL;
    pass->value =
        output->values ? (char *)output->values + index * pairs * pass->row : NULL;
}

/* Writes the values of pairs begin .. end-1 of a step to their slots. */
static void reveal(const traced_pass *pass, ptrdiff_t begin, ptrdiff_t end) {
    const fc_shape *shape = &pass->shape;
    const fc_memory *memory = &pass->memory;
    const void *h_prev[MOST_ROWS], *c_prev[MOST_ROWS];
    void *saved[MOST_ROWS];
    for (ptrdiff_t p = begin; p < end; p++) {
        size_t previous = (size_t)pass->plan->previous[p];
        h_prev[p - begin] = memory->h + previous * fc_bytes(shape, shape->out_padded);
        if (memory->c)
            c_prev[p - begin] = memory->c + previous * fc_bytes(shape, shape->c_row);
        saved[p - begin] = fc_slots(shape, memory, p, pass->plan->row[p]);
    }
    shape->cell->reveal(&(fc_back_tile){.rows = end - begin,
                                        .units = shape->padded,
                                        .hidden = shape->units,
                                        .h_prev = h_prev,
                                        .c_prev = memory->c ? c_prev : NULL,
                                        .saved = saved,
                                        .slot = shape->padded,
                                        .options = shape->options});
}

/* Copies `count` rows, `padded` bytes apart, to arrays `next` bytes apart.  `from`
 * NULL: zeros. */
static void copy_rows(char *to, size_t next, const char *from, size_t padded,
                      size_t bytes, int count) {
    for (int i = 0; i < count; i++, to += next) {
        if (from)
            memcpy(to, from + (size_t)i * padded, bytes);
        else
            memset(to, 0, bytes);
    }
}

/* Writes (t, row).  `state`: the slot of its state; -1: the step does not exist.  `p`:
 * its pair; -1: there is none. */
static void trace_step(const traced_pass *pass, ptrdiff_t t, ptrdiff_t row,
                       ptrdiff_t state, ptrdiff_t p) {
    const fc_shape *shape = &pass->shape;
    const fc_memory *memory = &pass->memory;
    const size_t at = (size_t)(t * pass->plan->rows + row),
                 padded = fc_bytes(shape, shape->padded);
    if (pass->h)
        copy_rows(pass->h + at * pass->h_row, 0,
                  state < 0
                      ? NULL
                      : memory->h + (size_t)state * fc_bytes(shape, shape->out_padded),
                  0, pass->h_row, 1);
    if (pass->c)
        copy_rows(pass->c + at * pass->row, pass->next,
                  state < 0 ? NULL
                            : memory->c + (size_t)state * fc_bytes(shape, shape->c_row),
                  padded, pass->row, shape->cell->states - 1);
    if (pass->value)
        copy_rows(pass->value + at * pass->row, pass->next,
                  p < 0 ? NULL : fc_slots(shape, memory, p, row), padded, pass->row,
                  pass->values);
}

/* Rows first .. last-1, at most MOST_ROWS. */
static void trace_rows(const trace_job *job, const traced_pass *pass, ptrdiff_t first,
                       ptrdiff_t last) {
    const fc_plan *plan = pass->plan;
    const fc_shape *shape = &pass->shape;
    ptrdiff_t now[MOST_ROWS]; /* the slot of each row's state */
    int64_t work = (last - first) *
                   ((int64_t)pass->h_row +
                    (shape->cell->states - 1 + pass->values) * (int64_t)pass->row),
            left = FC_WORK_BETWEEN_LOOKS;
    for (ptrdiff_t row = first; row < last; row++)
        now[row - first] = row;
    for (ptrdiff_t s = 0; s < plan->steps; s++) {
        if (fc_stops_step(job->watch, work, &left))
            return;
        ptrdiff_t t = fc_time(plan, s), to = plan->offset[s + 1];
        ptrdiff_t p = fc_plan_find(plan, plan->offset[s], to, first);
        ptrdiff_t end = fc_plan_find(plan, plan->offset[s], to, last);
        if (shape->cell->reveal && pass->value)
            reveal(pass, p, end);
        for (ptrdiff_t row = first; row < last; row++) {
            ptrdiff_t *state = &now[row - first];
            if (!fc_exists(job->batch, t, row)) {
                trace_step(pass, t, row, -1, -1);
                continue;
            }
            bool active = p < end && plan->row[p] == row;
            if (active)
                *state = plan->next[p];
            else if (fc_begins(job->batch, plan->reverse, t, row))
                *state = plan->states; /* the slot of zeros */
            trace_step(pass, t, row, *state, active ? p : -1);
            p += active;
        }
    }
    fc_stops(job->watch, FC_WORK_BETWEEN_LOOKS - left); /* counts the rest */
}

static void run_rows(void *context, int part, int parts) {
    const trace_job *job = context;
    ptrdiff_t rows = job->batch->rows, last = rows * (part + 1) / parts;
    for (int layer = 0; layer < job->stack->layers; layer++)
        for (int d = 0; d < job->stack->directions; d++) {
            traced_pass pass;
            set_pass(&pass, job, layer, d);
            for (ptrdiff_t row = rows * part / parts; row < last; row += MOST_ROWS)
                trace_rows(job, &pass, row,
                           last - row < MOST_ROWS ? last : row + MOST_ROWS);
        }
}

/* The threads that the copies pay for. */
static int parts_of(const fc_stack *stack, const fc_batch *batch,
                    const fc_shape *shape) {
    double rows = shape->cell->states + value_count(shape->cell);
    double bytes = rows * (double)(batch->steps * batch->rows) *
                   (stack->layers * stack->directions) *
                   (double)fc_bytes(shape, shape->units);
    int most = batch->rows < batch->threads ? (int)batch->rows : batch->threads;
    return fc_useful_parts(bytes / BYTES_OF_A_THREAD, most);
}

fc_status fc_trace(const fc_stack *stack, const fc_batch *given, void *saved_memory,
                   const fc_trace_output *output) {
    fc_shape shape;
    fc_saved saved;
    fc_status status = fc_check_sizes(stack, given, &shape);
    if (!status && (!output || given->recompute || !shape.k->trains))
        status = FC_BAD_ARGUMENT;
    if (!status)
        status = fc_saved_open(&saved, saved_memory, stack, given);
    if (!status)
        status = fc_saved_take(&saved);
    if (status)
        return status;
    fc_batch batch = fc_saved_batch(&saved, given);
    fc_trace_output wanted = *output;
    if (shape.cell->states < 2)
        wanted.c = NULL;
    for (int d = 0; d < stack->directions; d++)
        saved.plan[d].reverse = d == 1;
    fc_watch watch;
    fc_watch_begin(&watch);
    trace_job job = {stack, &batch, &saved, &wanted, &watch};
    fc_run_brief_parts(run_rows, &job, parts_of(stack, &batch, &shape));
    fc_call_ended();
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}
