/* All functions of fastcell.h as a table, for programs that find the library in a
 * running process instead of linking it: see fastcell_python.h.
 *
 * The table of a later library with the same FC_VERSION_MAJOR and _MINOR begins with
 * this one: functions are only added at its end. */
#ifndef FASTCELL_API_H
#define FASTCELL_API_H

#include "fastcell.h"

/* Calls X(name) for each function fc_name, in the order of the table. */
/* clang-format off */
#define FC_FUNCTIONS(X)                                                                \
    X(version)                                                                         \
    X(version_text)                                                                    \
    X(status_text)                                                                     \
    X(isa_name)                                                                        \
    X(isa)                                                                             \
    X(isa_select)                                                                      \
    X(wants_blas)                                                                      \
    X(lanes)                                                                           \
    X(set_stop)                                                                        \
    X(shutdown)                                                                        \
    X(use_openmp)                                                                      \
    X(set_thread_costs)                                                                \
    X(get_thread_costs)                                                                \
    X(cell_index)                                                                      \
    X(cell_name)                                                                       \
    X(cell_gates)                                                                      \
    X(cell_states)                                                                     \
    X(describe_cell)                                                                   \
    X(pack_size)                                                                       \
    X(pack)                                                                            \
    X(saved_size)                                                                      \
    X(scratch_size)                                                                    \
    X(saved_bytes)                                                                     \
    X(describe)                                                                        \
    X(forward)                                                                         \
    X(carry_size)                                                                      \
    X(backward)                                                                        \
    X(stream_size)                                                                     \
    X(stream_set)                                                                      \
    X(stream_get)                                                                      \
    X(stream_copy)                                                                     \
    X(stream_step)                                                                     \
    X(stream_set_some)                                                                 \
    X(stream_get_some)                                                                 \
    X(stream_step_some)                                                                \
    X(additive_scores)                                                                 \
    X(additive_scratch_size)                                                           \
    X(additive_backward)                                                               \
    X(attention_weights)                                                               \
    X(attention_weights_backward)                                                      \
    X(sum_steps)                                                                       \
    X(max_steps)                                                                       \
    X(spread_steps)                                                                    \
    X(add_rows)                                                                        \
    X(dropout)                                                                         \
    X(linear_pack_size)                                                                \
    X(linear_pack)                                                                     \
    X(linear_forward)                                                                  \
    X(linear_scratch_size)                                                             \
    X(linear_backward)                                                                 \
    X(cross_entropy)                                                                   \
    X(ctc_scratch_size)                                                                \
    X(ctc_loss)                                                                        \
    X(exp)                                                                             \
    X(sigmoid)                                                                         \
    X(tanh)                                                                            \
    X(mlstm_scratch_size)                                                              \
    X(mlstm_forward)                                                                   \
    X(mlstm_step)                                                                      \
    X(sgd)                                                                             \
    X(rmsprop)                                                                         \
    X(adagrad)                                                                         \
    X(adam)                                                                            \
    X(sum_of_squares)                                                                  \
    X(scale)                                                                           \
    X(clip)                                                                            \
    X(trace_name)                                                                      \
    X(trace)
/* clang-format on */

#define FC_MEMBER(name) __typeof__(fc_##name) *name;

typedef struct fc_api {
    size_t size;        /* of the library's table, in bytes */
    int version_number; /* FC_VERSION of the library */
    FC_FUNCTIONS(FC_MEMBER)
} fc_api;

#undef FC_MEMBER

#ifdef __cplusplus
extern "C" {
#endif

/* The table of this library; it lives as long as the library. */
FC_API const fc_api *fc_get_api(void);

#ifdef __cplusplus
}
#endif

#endif
