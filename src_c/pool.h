/* The thread pool: run a function on `parts` parts at once, wait for all of them. */
#ifndef FC_POOL_H
#define FC_POOL_H

typedef void fc_part_fn(void *context, int part, int parts);

/* Calls fn(context, part, parts) for part 0 .. parts-1; part 0 on this thread.  When
 * the pool is busy with another caller's work, or inside a part, all parts run here. */
void fc_run_parts(fc_part_fn *fn, void *context, int parts);

#endif
