/* fastcell from its Python package, for extension modules in C, C++ and Cython.
 *
 *     #include <fastcell_python.h>            include path: fastcell.get_include()
 *     if (fastcell_import() < 0) return NULL;        in the module's initialisation
 *
 * After that the functions of fastcell.h are called by their names, in the source files
 * that include this header.  Nothing is linked.  The module uses the threads, and the
 * instruction set, of the package. */
#ifndef FASTCELL_PYTHON_H
#define FASTCELL_PYTHON_H

#include "fastcell_api.h"

/* The package's own modules are linked with the library. */
#ifndef FASTCELL_LINKED

#include <Python.h>

static const fc_api *fastcell_api;

/* Imports the package; the caller holds the GIL.  -1 with an exception if that fails,
 * or if the package is older than this header, or of another minor version. */
static int fastcell_import(void) {
    const fc_api *api;
    PyObject *core = PyImport_ImportModule("fastcell._core");
    if (!core)
        return -1;
    Py_DECREF(core);
    api = (const fc_api *)PyCapsule_Import("fastcell._core._C_API", 0);
    if (!api)
        return -1;
    if (api->version_number / 100 != FC_VERSION / 100 || api->size < sizeof *api) {
        PyErr_Format(PyExc_ImportError,
                     "fastcell: compiled with the headers of %d.%d.%d, which the "
                     "installed package, %s, does not serve",
                     FC_VERSION_MAJOR, FC_VERSION_MINOR, FC_VERSION_PATCH,
                     api->version_text());
        return -1;
    }
    fastcell_api = api;
    return 0;
}

#define fc_version (fastcell_api->version)
#define fc_version_text (fastcell_api->version_text)
#define fc_status_text (fastcell_api->status_text)
#define fc_isa_name (fastcell_api->isa_name)
#define fc_isa (fastcell_api->isa)
#define fc_isa_select (fastcell_api->isa_select)
#define fc_wants_blas (fastcell_api->wants_blas)
#define fc_lanes (fastcell_api->lanes)
#define fc_set_stop (fastcell_api->set_stop)
#define fc_shutdown (fastcell_api->shutdown)
#define fc_use_openmp (fastcell_api->use_openmp)
#define fc_set_thread_costs (fastcell_api->set_thread_costs)
#define fc_get_thread_costs (fastcell_api->get_thread_costs)
#define fc_cell_index (fastcell_api->cell_index)
#define fc_cell_name (fastcell_api->cell_name)
#define fc_cell_gates (fastcell_api->cell_gates)
#define fc_cell_states (fastcell_api->cell_states)
#define fc_describe_cell (fastcell_api->describe_cell)
#define fc_pack_size (fastcell_api->pack_size)
#define fc_pack (fastcell_api->pack)
#define fc_saved_size (fastcell_api->saved_size)
#define fc_scratch_size (fastcell_api->scratch_size)
#define fc_saved_bytes (fastcell_api->saved_bytes)
#define fc_describe (fastcell_api->describe)
#define fc_forward (fastcell_api->forward)
#define fc_carry_size (fastcell_api->carry_size)
#define fc_backward (fastcell_api->backward)
#define fc_stream_size (fastcell_api->stream_size)
#define fc_stream_set (fastcell_api->stream_set)
#define fc_stream_get (fastcell_api->stream_get)
#define fc_stream_copy (fastcell_api->stream_copy)
#define fc_stream_step (fastcell_api->stream_step)
#define fc_stream_set_some (fastcell_api->stream_set_some)
#define fc_stream_get_some (fastcell_api->stream_get_some)
#define fc_stream_step_some (fastcell_api->stream_step_some)
#define fc_additive_scores (fastcell_api->additive_scores)
#define fc_additive_scratch_size (fastcell_api->additive_scratch_size)
#define fc_additive_backward (fastcell_api->additive_backward)
#define fc_attention_weights (fastcell_api->attention_weights)
#define fc_attention_weights_backward (fastcell_api->attention_weights_backward)
#define fc_sum_steps (fastcell_api->sum_steps)
#define fc_max_steps (fastcell_api->max_steps)
#define fc_spread_steps (fastcell_api->spread_steps)
#define fc_add_rows (fastcell_api->add_rows)
#define fc_dropout (fastcell_api->dropout)
#define fc_linear_pack_size (fastcell_api->linear_pack_size)
#define fc_linear_pack (fastcell_api->linear_pack)
#define fc_linear_forward (fastcell_api->linear_forward)
#define fc_linear_scratch_size (fastcell_api->linear_scratch_size)
#define fc_linear_backward (fastcell_api->linear_backward)
#define fc_cross_entropy (fastcell_api->cross_entropy)
#define fc_ctc_scratch_size (fastcell_api->ctc_scratch_size)
#define fc_ctc_loss (fastcell_api->ctc_loss)
#define fc_exp (fastcell_api->exp)
#define fc_sigmoid (fastcell_api->sigmoid)
#define fc_tanh (fastcell_api->tanh)
#define fc_mlstm_scratch_size (fastcell_api->mlstm_scratch_size)
#define fc_mlstm_forward (fastcell_api->mlstm_forward)
#define fc_mlstm_step (fastcell_api->mlstm_step)
#define fc_sgd (fastcell_api->sgd)
#define fc_rmsprop (fastcell_api->rmsprop)
#define fc_adagrad (fastcell_api->adagrad)
#define fc_adam (fastcell_api->adam)
#define fc_sum_of_squares (fastcell_api->sum_of_squares)
#define fc_scale (fastcell_api->scale)
#define fc_clip (fastcell_api->clip)
#define fc_trace_name (fastcell_api->trace_name)
#define fc_trace (fastcell_api->trace)

#endif

#endif
