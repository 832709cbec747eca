/* A recurrent network, one step at a time; written by fastcell export-c.
 *
$notes *
 * A state is all the memory of a stream.  The caller owns it, and may have many. */
#ifndef FASTCELL_${upper}_H
#define FASTCELL_${upper}_H

$includes#ifdef __cplusplus
extern "C" {
#endif

enum { ${upper}_INPUTS = $inputs, ${upper}_OUTPUTS = $outputs };

typedef struct ${name}_state {
$fields
} ${name}_state;

/* Sets the state to zero: at the beginning, and before each new sequence. */
void ${name}_reset(${name}_state *s);

/* One step: reads x, $given, and writes y, [${upper}_OUTPUTS].  They may not overlap. */
void ${name}_step(${name}_state *s, const $kind *x, float *y);

#ifdef __cplusplus
}
#endif

#endif
