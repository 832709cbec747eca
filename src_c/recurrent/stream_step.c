/* One step of some streams, through all layers. */
#include <string.h>

#include "recurrent/stream.h"
#include "runtime/costs.h"

/* A step of some streams.  Threads share the rows or, if there are few, the units; then
 * there is a barrier before each product that reads units of all members. */
typedef struct step_job {
    const fc_stack *stack;
    const void *packed;
    ptrdiff_t rows;
    fc_selection some;
    fc_stream_memory s;
    const char *x;
    char *y;
    fc_barrier *barrier; /* of a team; else NULL */
    size_t y_row;        /* bytes of a row of y, set by part 0 of a team */
} step_job;

enum { MOST_TEAM_ROWS = 4 };

/* Row pointers: [FC_STREAM_POINTERS][stride].  Each member of a team has its own. */
typedef struct row_pointers {
    void **at;
    ptrdiff_t stride;
} row_pointers;

/* Sets pointers first .. last-1 at rows of `data`: those of the selected streams or,
 * with `some` NULL, consecutive ones. */
static void point(void **to, const char *data, size_t bytes, const fc_selection *some,
                  ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t i = first; i < last; i++)
        to[i] = (void *)(data + (size_t)(some ? fc_selected(some, i) : i) * bytes);
}

/* The share of a thread: rows first .. last-1 and, in a team, its units of them. */
typedef struct step_part {
    ptrdiff_t first, last;
    row_pointers pointers;
    fc_team team;
} step_part;

/* Zoneout by shares: streams have no random masks. */
static void zone(const fc_shape *shape, const fc_tile *tile, void *const *c,
                 fc_team team) {
    const fc_mask_rows no_masks = {.count = tile->rows};
    fc_units out = fc_team_units(shape, shape->out_padded, team);
    fc_units units = fc_team_units(shape, shape->padded, team);
    for (ptrdiff_t i = 0; i < tile->rows; i++) {
        if (shape->zone_h > 0)
            fc_zone(shape, &no_masks, FC_MASK_H, i, tile->h[i], tile->h[i],
                    tile->h_prev[i], out);
        if (shape->zone_c > 0)
            fc_zone(shape, &no_masks, FC_MASK_C, i, c[i], tile->c[i], c[i], units);
    }
}

/* One step of one layer.  x NULL: its input is h of the layer below. */
static void step_layer(step_job *job, const fc_planned_layer *planned, const char *x,
                       const step_part *part) {
    const fc_shape *shape = &planned->shape;
    const fc_packed *packed = &planned->packed;
    const fc_stream_layer *layer = &planned->memory;
    ptrdiff_t first = part->first, last = part->last;
    row_pointers pointers = part->pointers;
    const fc_team *team = &part->team;
    const fc_cell *cell = shape->cell;
    const fc_selection *some = &job->some;
    ptrdiff_t columns = cell->gates * shape->padded, rows = pointers.stride;
    size_t h_row = fc_bytes(shape, shape->out_padded);
    void **input = pointers.at, **h_prev = input + rows, **h = h_prev + rows,
         **c = h + rows, **middle = c + rows, **saved = middle + rows,
         **fresh_c = saved + rows;

    /* Until the product with W is done, h_prev points at the layer's input. */
    if (x) {
        point(h_prev, x, fc_bytes(shape, shape->in), NULL, first, last);
    } else {
        fc_barrier_wait(team->barrier, team->part, team->parts);
        for (ptrdiff_t i = first; i < last; i++)
            h_prev[i] = h[i]; /* written by the layer below */
    }
    point(input, layer->input_parts, fc_bytes(shape, columns), some, first, last);
    fc_units units = fc_team_units(shape, shape->padded, *team);
    fc_panels panels = fc_team_panels(shape, &packed->x, cell->gates, units, *team);
    fc_product product = {.a = (const void *const *)h_prev + first,
                          .out = input + first,
                          .rows = last - first,
                          .columns = units.count * cell->gates,
                          .first = units.first * cell->gates,
                          .scratch = layer->step.operands};
    shape->k->product(&panels, &product);

    for (ptrdiff_t i = first; i < last; i++) {
        ptrdiff_t row = fc_selected(some, i);
        int side = job->s.side[row];
        h_prev[i] = layer->h[side] + (size_t)row * h_row;
        h[i] = layer->h[!side] + (size_t)row * h_row;
    }
    if (layer->c)
        point(c, layer->c, fc_bytes(shape, shape->c_row), some, first, last);
    if (layer->fresh_c)
        point(fresh_c, layer->fresh_c, fc_bytes(shape, shape->c_row), some, first,
              last);
    if (layer->middle)
        point(middle, layer->middle, fc_bytes(shape, shape->padded), some, first, last);
    if (layer->slots)
        point(saved, layer->slots, fc_bytes(shape, cell->slots * shape->padded), some,
              first, last);
    fc_tile tile = {
        .rows = last - first,
        .input = (const void *const *)input + first,
        .h_prev = (const void *const *)h_prev + first,
        .h = h + first,
        .c_prev = layer->c ? (const void *const *)c + first : NULL,
        .c = layer->fresh_c ? fresh_c + first
             : layer->c     ? c + first
                            : NULL,
        .middle = layer->middle ? middle + first : NULL,
        .saved = layer->slots ? saved + first : NULL,
    };
    const fc_step_operands operands = {
        .h = tile.h_prev, .block = (const void **)(fresh_c + rows + first)};
    fc_run_phases(shape, packed, &tile, &layer->step, &operands, *team);
    if (shape->zone_h > 0 || shape->zone_c > 0)
        zone(shape, &tile, c + first, *team);
}

/* One step of all layers.  Returns the bytes of a row of y. */
static size_t step_layers(step_job *job, const step_part *part) {
    const fc_planned_layer *layers = job->s.layers;
    int count = job->stack->layers;
    for (int l = 0; l < count; l++)
        step_layer(job, &layers[l], l ? NULL : job->x, part);
    return fc_bytes(&layers[0].shape, layers[0].shape.out);
}

/* Writes y, and makes the sides of h that were written the states. */
static void end_step(step_job *job, ptrdiff_t first, ptrdiff_t last, size_t y_row) {
    void **h = job->s.pointers + 2 * job->rows;
    for (ptrdiff_t i = first; i < last; i++) {
        memcpy(job->y + (size_t)i * y_row, h[i], y_row);
        job->s.side[fc_selected(&job->some, i)] ^= 1;
    }
}

static void run_rows(void *context, int part, int parts) {
    step_job *job = context;
    ptrdiff_t first = job->some.count * part / parts,
              last = job->some.count * (part + 1) / parts;
    const step_part alone = {first, last, {job->s.pointers, job->rows}, {.parts = 1}};
    size_t y_row = step_layers(job, &alone);
    end_step(job, first, last, y_row);
}

/* A member of a team: all rows.  The caller ends the step after all members. */
static void run_units(void *context, int part, int parts) {
    step_job *job = context;
    void *own[FC_STREAM_POINTERS * MOST_TEAM_ROWS];
    step_part member = {
        0, job->some.count, {own, MOST_TEAM_ROWS}, {part, parts, job->barrier}};
    if (part == 0)
        member.pointers = (row_pointers){job->s.pointers, job->rows};
    size_t y_row = step_layers(job, &member);
    if (part == 0)
        job->y_row = y_row;
}

/* Lays out memory and weights, unless the last step with this memory did it for the
 * same. */
static void plan_step(step_job *job, const void *memory) {
    const fc_stack *stack = job->stack;
    fc_stream_memory s = job->s;
    const fc_stream_plan wanted = {memory, job->packed, fc_kernels_of(stack->dtype)};
    if (s.plan->memory != wanted.memory || s.plan->packed != wanted.packed ||
        s.plan->k != wanted.k) {
        fc_arena packed = fc_arena_behind_seal((void *)job->packed);
        for (int l = 0; l < stack->layers; l++) {
            fc_planned_layer *layer = &s.layers[l];
            fc_shape_of(stack, l, &layer->shape);
            fc_packed_layout(&layer->shape, FC_PACK_FORWARD, &layer->packed, &packed);
            layer->memory = fc_next_stream_layer(&s, &layer->shape, job->rows);
        }
        *s.plan = wanted;
    }
    /* The caller's stack, unlike its values, may be another one in each call. */
    for (int l = 0; stack->options.given && l < stack->layers; l++)
        s.layers[l].shape.options = &stack->options;
}

static fc_status open_step(step_job *job, void *memory) {
    fc_seal seal;
    fc_status status =
        fc_stream_open(job->stack, job->rows, memory, &job->some, &job->s, &seal);
    if (!status) { /* the seal of weights packed for the same stack */
        seal.kind = FC_SEAL_PACK_FORWARD;
        seal.rows = 0;
        status = fc_check_seal(job->packed, &seal);
    }
    if (!status && job->some.count && (!job->x || !job->y))
        status = FC_BAD_ARGUMENT;
    if (!status)
        plan_step(job, memory);
    return status;
}

fc_status fc_stream_step(const fc_stack *stack, const void *packed, ptrdiff_t rows,
                         const void *x, void *y, void *memory) {
    step_job job = {.stack = stack,
                    .packed = packed,
                    .rows = rows,
                    .some = {NULL, rows},
                    .x = x,
                    .y = y};
    fc_status status = open_step(&job, memory);
    if (!status && rows)
        run_rows(&job, 0, 1);
    return status;
}

/* How threads share a step.  There is one part if operands need scratch, since a stream
 * has scratch for one. */
typedef struct step_sharing {
    int parts;
    bool by_units; /* each part takes units of all rows, not rows */
} step_sharing;

/* Barriers of a step of a team. */
static int turns_of(const fc_stack *stack, const fc_cell *cell) {
    return stack->layers * cell->phases - 1;
}

/* The parts, of `most`, that have enough work for what they cost on this machine. */
static ptrdiff_t paying_parts(double work, ptrdiff_t most, int turns, bool awake) {
    double each = work / (double)most, least = fc_least_of_a_part(each, awake);
    if (turns > 0)
        least += fc_least_of_a_member(each, turns);
    return least > each ? (ptrdiff_t)(work / least) : most;
}

static step_sharing share_step(const fc_stack *stack, ptrdiff_t count, int threads) {
    enum { LEAST_ROWS = 8, WORK_OF_A_PART = 1000 * 1000, WORK_OF_A_MEMBER = 70 * 1000 };
    fc_shape shape;
    fc_shape_of(stack, 0, &shape);
    double work = 2.0 * (double)count * stack->layers * shape.cell->gates *
                  (double)shape.padded * (double)(shape.in + fc_step_depth(&shape));
    bool by_units = count <= MOST_TEAM_ROWS;
    ptrdiff_t most =
        by_units ? fc_most_members(&shape, FC_PACK_FORWARD) : count / LEAST_ROWS;
    double useful = work / (by_units ? WORK_OF_A_MEMBER : WORK_OF_A_PART);
    if (useful < (double)most)
        most = (ptrdiff_t)useful;
    if (fc_operand_bytes(&shape, 1) || shape.cell->whole_row || most < 2)
        return (step_sharing){1, false};
    bool awake = fc_calls_are_frequent();
    most = most < threads ? most : threads;
    /* Waking the others takes longer than a step of few rows. */
    if (most < 2 || (by_units && !awake))
        return (step_sharing){1, by_units};
    most = paying_parts(work, most, by_units ? turns_of(stack, shape.cell) : 0, awake);
    return (step_sharing){most > 1 ? (int)most : 1, by_units};
}

fc_status fc_stream_step_some(const fc_stack *stack, const void *packed, ptrdiff_t rows,
                              const fc_selection *some, const void *x, void *y,
                              void *memory, int threads) {
    if (!some || threads < 1)
        return FC_BAD_ARGUMENT;
    fc_barrier barrier = {0};
    step_job job = {.stack = stack,
                    .packed = packed,
                    .rows = rows,
                    .some = *some,
                    .x = x,
                    .y = y,
                    .barrier = &barrier};
    fc_status status = open_step(&job, memory);
    if (status || !some->count)
        return status;
    step_sharing sharing = share_step(stack, some->count, threads);
    if (sharing.by_units) {
        fc_run_team(run_units, &job, sharing.parts);
        end_step(&job, 0, some->count, job.y_row);
    } else {
        fc_run_brief_parts(run_rows, &job, sharing.parts);
    }
    fc_call_ended();
    return FC_OK;
}
