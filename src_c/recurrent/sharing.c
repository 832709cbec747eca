/* Decides how threads share a layer: its directions, each in ranges of rows, each of
 * those by a team.  This depends on the amount of work and on the costs of sharing on
 * this machine (costs.h).  No result depends on it. */
#include "recurrent/sharing.h"

#include "recurrent/sequence.h"
#include "runtime/costs.h"

/* The least FLOP of a thread's share that pay on any machine (costs.h has the costs of
 * this one): to wake a thread, and to use one that is awake. */
enum { WORK_OF_A_THREAD = 1000 * 1000, LEAST_OF_A_THREAD = 250 * 1000 };
/* FLOP of a call that takes less than a time slice. */
enum { BRIEF_WORK = 200 * 1000 * 1000 };
/* FLOP of a member's share of a step that are worth a barrier on any machine. */
enum { WORK_OF_A_MEMBER = 12 * 1000 };
enum { LEAST_ROWS = 2, ROWS_BEFORE_TEAMS = 4 };

static double work_of_call(const fc_shape *shape, ptrdiff_t total) {
    return 2.0 * (double)total * (double)fc_input_columns(shape) *
           (double)(shape->in + fc_step_depth(shape));
}

static int thread_count(const fc_batch *batch, const fc_shape *shape, ptrdiff_t total,
                        fc_sharing *sharing) {
    double work = work_of_call(shape, total);
    int useful = (int)((work < 1e9 ? work : 1e9) / LEAST_OF_A_THREAD);
    int threads = batch->threads < useful ? batch->threads : useful > 1 ? useful : 1;
    sharing->small = work / WORK_OF_A_THREAD < threads;
    sharing->brief = work < BRIEF_WORK;
    return threads;
}

/* FLOP of the recurrent product of a step, which members share. */
static double work_of_step(const fc_batch *batch, const fc_shape *shape,
                           ptrdiff_t total) {
    double rows = (double)total / (double)(batch->steps ? batch->steps : 1);
    return 2.0 * rows * (double)fc_input_columns(shape) * (double)fc_step_depth(shape);
}

/* The most members that have at least `each` FLOP of a step. */
static ptrdiff_t members_of(double step, double each, ptrdiff_t most) {
    return step / each < (double)most ? (ptrdiff_t)(step / each) : most;
}

/* The most members for which a step has enough work on any machine. */
static ptrdiff_t member_count(const fc_batch *batch, const fc_shape *shape,
                              fc_pack_kind kind, ptrdiff_t total) {
    return members_of(work_of_step(batch, shape, total), WORK_OF_A_MEMBER,
                      fc_most_members(shape, kind));
}

/* The members, of `most`, that are worth their barriers on this machine. */
static ptrdiff_t paying_members(const fc_shape *shape, double step, ptrdiff_t most,
                                int parts) {
    if (most > parts)
        most = parts;
    double least =
        most > 1 ? fc_least_of_a_member(step / (double)most, shape->cell->phases) : 0;
    return least > 0 ? members_of(step, least, most) : most;
}

/* Reduces the threads until each has more work than it costs to use it, and sets
 * `small` if it costs more to wake it. */
static void weigh_parts(fc_sharing *sharing, double work) {
    double each = work / sharing->threads, least = fc_least_of_a_part(each, true);
    if (least > each)
        sharing->threads = fc_useful_parts(work / least, sharing->threads);
    each = work / sharing->threads;
    if (sharing->threads > 1 && !sharing->small)
        sharing->small = each < fc_least_of_a_part(each, false);
}

fc_sharing fc_share_most(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind) {
    fc_sharing sharing = {.row_parts = 1, .members = 1};
    ptrdiff_t total = batch->steps * batch->rows;
    sharing.threads =
        batch->threads > 1 ? thread_count(batch, shape, total, &sharing) : 1;
    int parts = sharing.threads / stack->directions;
    if (parts < 2)
        return sharing;
    /* A thread for each range of rows, or a team for each of fewer ranges. */
    ptrdiff_t members = member_count(batch, shape, kind, total);
    ptrdiff_t teams = batch->rows / ROWS_BEFORE_TEAMS;
    members = members < 1 ? 1 : members < parts ? members : parts;
    ptrdiff_t most = (teams < 1 ? 1 : teams) * members;
    if (most < batch->rows / LEAST_ROWS)
        most = batch->rows / LEAST_ROWS;
    sharing.row_parts = most < parts ? (int)most : parts;
    return sharing;
}

fc_sharing fc_share_work(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind, ptrdiff_t total) {
    fc_sharing sharing = {.row_parts = 1, .members = 1};
    sharing.threads = thread_count(batch, shape, total, &sharing);
    sharing.step_flop = work_of_step(batch, shape, total);
    if (sharing.threads > 1)
        weigh_parts(&sharing, work_of_call(shape, total));
    int parts = sharing.threads / stack->directions;
    sharing.why = batch->threads == 1    ? FC_SHARED_ONE_THREAD
                  : sharing.threads == 1 ? FC_SHARED_LITTLE
                                         : FC_SHARED_DIRECTIONS;
    if (parts < 2)
        return sharing;
    ptrdiff_t most_members = member_count(batch, shape, kind, total);
    sharing.why = fc_most_members(shape, kind) > 1 ? FC_SHARED_SHORT : FC_SHARED_NARROW;
    /* With enough rows there is no team, whatever it would cost. */
    if (batch->rows < ROWS_BEFORE_TEAMS * (ptrdiff_t)parts)
        most_members = paying_members(shape, sharing.step_flop, most_members, parts);
    /* Products of few rows are slow: each range reads all weights. */
    ptrdiff_t most = batch->rows / (most_members > 1 ? ROWS_BEFORE_TEAMS : LEAST_ROWS);
    sharing.row_parts = most < 1 ? 1 : most < parts ? (int)most : parts;
    int members = parts / sharing.row_parts;
    if (most_members > 1)
        sharing.members = members < most_members ? members : (int)most_members;
    if (sharing.members > 1)
        sharing.why = FC_SHARED_UNITS;
    else if (sharing.row_parts > 1)
        sharing.why = FC_SHARED_ROWS;
    return sharing;
}

void fc_sharing_begin(fc_sharing *sharing) {
    sharing->now = sharing->small && !fc_calls_are_frequent() ? 1 : sharing->threads;
    if (sharing->brief)
        sharing->now = fc_parts_of_brief_work(sharing->now);
}

void fc_run_shared(fc_part_fn *fn, void *context, const fc_sharing *sharing,
                   int directions) {
    int tasks = directions * sharing->row_parts;
    if (sharing->now == 1)
        fn(context, 0, 1);
    else if (sharing->members > 1)
        fc_run_team(fn, context, tasks * sharing->members);
    else
        fc_run_parts(fn, context, tasks < sharing->threads ? tasks : sharing->threads);
}
