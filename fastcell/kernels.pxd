# The C core for Cython: fastcell.h says what each function does.  docs/embedding.md has
# an example.  The functions need no GIL and raise nothing: they return an fc_status.
#
#     cimport fastcell.kernels as fc
#     fc.fastcell_import()           # once, before the first call

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef extern from "fastcell_python.h":
    int fastcell_import() except -1

cdef extern from "fastcell_python.h" nogil:
    enum:
        FC_VERSION

    int fc_version()
    const char *fc_version_text()
    const char *fc_status_text(fc_status status)
    void fc_shutdown()

    ctypedef struct fc_api:
        size_t size
        int version_number

    const fc_api *fc_get_api()
    int fc_cell_gates(int cell)
    int fc_cell_states(int cell)

    ctypedef enum fc_status:
        FC_OK
        FC_BAD_ARGUMENT
        FC_BAD_LENGTH
        FC_BAD_INDEX
        FC_TOO_LARGE
        FC_NO_ISA
        FC_BAD_ALIGNMENT
        FC_BAD_MEMORY
        FC_USED_UP
        FC_INTERRUPTED

    enum:
        FC_SAVED_HEAD

    ctypedef enum fc_dtype:
        FC_F32
        FC_F64
        FC_BF16
        FC_INT8

    ctypedef enum fc_pack_kind:
        FC_PACK_FORWARD
        FC_PACK_BACKWARD

    enum:
        FC_MOST_OWN

    ctypedef enum fc_initial:
        FC_DRAWN
        FC_ZEROS
        FC_ONES
        FC_FRACTIONS

    ctypedef enum fc_activation_kind:
        FC_ACT_USUAL
        FC_ACT_TANH
        FC_ACT_SIGMOID
        FC_ACT_RELU
        FC_ACT_AFFINE
        FC_ACT_LEAKY_RELU
        FC_ACT_THRESHOLDED_RELU
        FC_ACT_SCALED_TANH
        FC_ACT_HARD_SIGMOID
        FC_ACT_ELU
        FC_ACT_SOFTSIGN
        FC_ACT_SOFTPLUS

    enum:
        FC_MOST_ROLES

    ctypedef struct fc_activation:
        int kind
        double alpha
        double beta

    ctypedef struct fc_options:
        int given
        double cell_clip
        double gate_clip
        fc_activation activation[FC_MOST_ROLES]
        double update_dropout
        double recurrent_grad_clip

    ctypedef struct fc_stack:
        int cell
        fc_dtype dtype
        Py_ssize_t input_size
        Py_ssize_t hidden_size
        Py_ssize_t proj_size
        int layers
        int directions
        int heads
        double zoneout_h
        double zoneout_c
        double recurrent_dropout
        fc_options options

    ctypedef struct fc_weights:
        const void *w_ih
        const void *w_hh
        const void *b_ih
        const void *b_hh
        const void *w_hr
        const void *own[FC_MOST_OWN]

    ctypedef struct fc_gradients:
        void *w_ih
        void *w_hh
        void *b_ih
        void *b_hh
        void *w_hr
        void *own[FC_MOST_OWN]

    enum:
        FC_MOST_GATES
        FC_MOST_STATES
        FC_MOST_PARAMETERS

    ctypedef enum fc_axis:
        FC_AXIS_NONE
        FC_AXIS_GATES
        FC_AXIS_INPUT
        FC_AXIS_OUTPUT
        FC_AXIS_HEAD
        FC_AXIS_HIDDEN
        FC_AXIS_VECTORS

    ctypedef struct fc_cell_parameter:
        const char *name
        fc_axis rows
        fc_axis columns
        int bias_of
        size_t member
        int vectors
        fc_initial initial

    ctypedef struct fc_cell_description:
        const char *name
        int gates
        int states
        const char *gate_names[FC_MOST_GATES]
        const char *state_names[FC_MOST_STATES]
        int slots
        int projects
        int takes_heads
        int roles
        int clips_cell
        int takes_update_dropout
        int parameters
        fc_cell_parameter parameter[FC_MOST_PARAMETERS]

    ctypedef struct fc_batch:
        Py_ssize_t steps
        Py_ssize_t rows
        const void *x
        Py_ssize_t x_step
        Py_ssize_t x_row
        const int32_t *index
        Py_ssize_t x_rows
        const int64_t *lengths
        const uint8_t *mask
        const uint8_t *reset
        const void *h0
        const void *c0
        const void *dropout
        int threads
        int recompute
        int random
        uint64_t key
        Py_ssize_t first_step
        const void *added
        Py_ssize_t added_step
        Py_ssize_t added_row

    enum:
        FC_SHARED_ONE_THREAD
        FC_SHARED_LITTLE
        FC_SHARED_DIRECTIONS
        FC_SHARED_ROWS
        FC_SHARED_UNITS
        FC_SHARED_NARROW
        FC_SHARED_SHORT

    ctypedef struct fc_thread_costs:
        double turn_ns
        double hand_over_ns
        double wake_ns
        double flop_per_ns

    ctypedef struct fc_description:
        const char *isa
        int native
        int lanes
        int group
        int threads
        int small
        int loop_threads
        int row_parts
        int members
        int sharing
        double step_ns
        Py_ssize_t rows
        Py_ssize_t vectors
        int tile_rows
        int tile_vectors
        int tile_panels
        size_t weight_bytes
        size_t packed_bytes
        size_t recurrent_bytes
        size_t saved_bytes
        size_t scratch_bytes
        double flop
        double recurrent_flop

    ctypedef struct fc_output:
        void *y
        Py_ssize_t y_step
        Py_ssize_t y_row
        void *h
        void *c
        void *cs
        Py_ssize_t cs_state
        Py_ssize_t cs_step
        Py_ssize_t cs_row

    ctypedef struct fc_blas:
        void *sgemm
        void *dgemm

    ctypedef struct fc_segment:
        Py_ssize_t steps_before
        Py_ssize_t steps_after
        Py_ssize_t pairs_before
        void *carry

    ctypedef struct fc_backward_io:
        const void *dy
        Py_ssize_t dy_step
        Py_ssize_t dy_row
        const void *dh
        const void *dc
        void *dx
        Py_ssize_t dx_step
        Py_ssize_t dx_row
        void *dh0
        void *dc0
        const fc_gradients *weights
        const fc_blas *blas
        const void *packed_forward
        const fc_segment *segment
        void *dadded
        Py_ssize_t dadded_step
        Py_ssize_t dadded_row

    const char *fc_isa_name(int which)
    const char *fc_isa()
    fc_status fc_isa_select(const char *name)
    int fc_wants_blas()
    int fc_lanes(fc_dtype dtype)
    ctypedef struct fc_openmp:
        void (*parallel)(
            void (*fn)(void *) noexcept nogil, void *data, unsigned threads,
            unsigned flags
        ) noexcept nogil
        int (*max_threads)() noexcept nogil
        int (*num_threads)() noexcept nogil
        int (*thread_num)() noexcept nogil

    void fc_use_openmp(const fc_openmp *runtime)
    fc_status fc_set_thread_costs(const fc_thread_costs *costs)
    int fc_get_thread_costs(fc_thread_costs *costs)
    void fc_set_stop(int (*stop)(void *) noexcept nogil, void *context)
    int fc_cell_index(const char *name)
    const char *fc_cell_name(int cell)
    fc_status fc_describe_cell(int cell, fc_cell_description *description)
    const char *fc_trace_name(int cell, int value)

    fc_status fc_pack_size(const fc_stack *, fc_pack_kind, size_t *)
    fc_status fc_pack(const fc_stack *, fc_pack_kind, const fc_weights *, void *, int)
    fc_status fc_saved_size(const fc_stack *, const fc_batch *, size_t *)
    fc_status fc_saved_bytes(const void *, size_t *)
    fc_status fc_scratch_size(const fc_stack *, const fc_batch *, int, size_t *)
    fc_status fc_describe(const fc_stack *, const fc_batch *, int, fc_description *)
    fc_status fc_forward(const fc_stack *, const void *, const fc_batch *,
                         const fc_output *, void *, void *)
    fc_status fc_carry_size(const fc_stack *, const fc_batch *, size_t *)
    fc_status fc_backward(const fc_stack *, const void *, const fc_batch *,
                          const fc_backward_io *, void *, void *)

    ctypedef struct fc_trace_output:
        void *h
        void *c
        void *values

    fc_status fc_trace(const fc_stack *, const fc_batch *, void *,
                       const fc_trace_output *)

    fc_status fc_stream_size(const fc_stack *, Py_ssize_t, size_t *)
    fc_status fc_stream_set(const fc_stack *, Py_ssize_t, void *, const void *,
                            const void *)
    fc_status fc_stream_get(const fc_stack *, Py_ssize_t, const void *, void *, void *)
    fc_status fc_stream_copy(const fc_stack *, Py_ssize_t, const void *, void *)
    fc_status fc_stream_step(const fc_stack *, const void *, Py_ssize_t, const void *,
                             void *, void *)

    ctypedef struct fc_selection:
        const int64_t *which
        Py_ssize_t count

    fc_status fc_stream_set_some(const fc_stack *, Py_ssize_t, void *,
                                 const fc_selection *, const void *, const void *)
    fc_status fc_stream_get_some(const fc_stack *, Py_ssize_t, void *,
                                 const fc_selection *, void *, void *)
    fc_status fc_stream_step_some(const fc_stack *, const void *, Py_ssize_t,
                                  const fc_selection *, const void *, void *, void *,
                                  int)

    ctypedef struct fc_linear:
        fc_dtype dtype
        # `in` in C, where it is no keyword
        Py_ssize_t inputs "in"
        Py_ssize_t outputs "out"

    ctypedef struct fc_linear_backward_io:
        const void *x
        const void *dy
        void *dx
        void *dw
        void *db
        const fc_blas *blas

    fc_status fc_linear_pack_size(const fc_linear *, fc_pack_kind, size_t *)
    fc_status fc_linear_pack(const fc_linear *, fc_pack_kind, const void *,
                             const void *, void *)
    fc_status fc_linear_forward(const fc_linear *, const void *, Py_ssize_t,
                                const void *, void *, int)
    fc_status fc_linear_scratch_size(const fc_linear *, Py_ssize_t, int, size_t *)
    fc_status fc_linear_backward(const fc_linear *, const void *, Py_ssize_t,
                                 const fc_linear_backward_io *, void *, int)

    ctypedef struct fc_softmax_loss:
        fc_dtype dtype
        Py_ssize_t rows
        Py_ssize_t n
        const void *logits
        const int64_t *targets
        int64_t ignore_index
        double smoothing
        double scale

    fc_status fc_cross_entropy(const fc_softmax_loss *, double *, void *, int)

    ctypedef struct fc_ctc:
        fc_dtype dtype
        Py_ssize_t steps
        Py_ssize_t rows
        Py_ssize_t n
        Py_ssize_t most_labels
        const void *logits
        const int64_t *lengths
        const int64_t *labels
        const int64_t *label_lengths
        int64_t blank
        int zero_infinity
        const double *scale

    fc_status fc_ctc_scratch_size(const fc_ctc *, int, size_t *)
    fc_status fc_ctc_loss(const fc_ctc *, double *, void *, void *, int)

    ctypedef struct fc_mlstm:
        fc_dtype dtype
        Py_ssize_t batch
        Py_ssize_t heads
        Py_ssize_t steps
        Py_ssize_t keys
        Py_ssize_t values
        double scale
        double eps

    ctypedef struct fc_mlstm_rows:
        const void *data
        Py_ssize_t batch
        Py_ssize_t head
        Py_ssize_t step

    ctypedef struct fc_mlstm_io:
        fc_mlstm_rows q
        fc_mlstm_rows k
        fc_mlstm_rows v
        fc_mlstm_rows i
        fc_mlstm_rows f
        void *y
        const void *first_c
        const void *first_n
        const void *first_m
        void *c
        void *n
        void *m

    fc_status fc_mlstm_scratch_size(const fc_mlstm *, int, size_t *)
    fc_status fc_mlstm_forward(const fc_mlstm *, const fc_mlstm_io *, void *, int)
    fc_status fc_mlstm_step(const fc_mlstm *, const fc_mlstm_io *, int)

    ctypedef struct fc_attention:
        fc_dtype dtype
        Py_ssize_t batch
        Py_ssize_t queries
        Py_ssize_t steps
        const int64_t *lengths

    ctypedef struct fc_additive:
        Py_ssize_t n
        const void *query
        const void *memory
        const void *v

    fc_status fc_additive_scores(const fc_attention *, const fc_additive *, void *, int)
    fc_status fc_additive_scratch_size(const fc_attention *, Py_ssize_t, size_t *)
    fc_status fc_additive_backward(const fc_attention *, const fc_additive *,
                                   const void *, void *, void *, void *, void *, int)
    fc_status fc_attention_weights(const fc_attention *, void *, int)
    fc_status fc_attention_weights_backward(const fc_attention *, const void *, void *,
                                            int)

    fc_status fc_sum_steps(fc_dtype, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int64_t *,
                           const void *, void *)
    fc_status fc_max_steps(fc_dtype, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int64_t *,
                           const void *, void *, int32_t *)
    fc_status fc_spread_steps(fc_dtype, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                              const int64_t *, const int32_t *, const void *, void *)
    fc_status fc_add_rows(fc_dtype, Py_ssize_t, Py_ssize_t, const int64_t *,
                          const void *, Py_ssize_t, void *)

    fc_status fc_dropout(fc_dtype, Py_ssize_t, double, uint64_t, const void *, void *,
                         int)

    ctypedef struct fc_parameter:
        Py_ssize_t n
        void *p
        const void *g
        void *kept[3]

    ctypedef struct fc_sgd_rule:
        double rate
        double decay
        double momentum
        double share
        int nesterov

    ctypedef struct fc_rmsprop_rule:
        double rate
        double decay
        double alpha
        double eps
        double momentum

    ctypedef struct fc_adagrad_rule:
        double rate
        double decay
        double eps

    ctypedef struct fc_adam_rule:
        double beta1
        double beta2
        double eps
        double rate
        double root_correction
        double decay
        double shrink

    fc_status fc_sgd(fc_dtype, const fc_sgd_rule *, Py_ssize_t, const fc_parameter *, int)
    fc_status fc_rmsprop(fc_dtype, const fc_rmsprop_rule *, Py_ssize_t,
                         const fc_parameter *, int)
    fc_status fc_adagrad(fc_dtype, const fc_adagrad_rule *, Py_ssize_t,
                         const fc_parameter *, int)
    fc_status fc_adam(fc_dtype, const fc_adam_rule *, Py_ssize_t, const fc_parameter *,
                      int)
    fc_status fc_sum_of_squares(fc_dtype, Py_ssize_t, const fc_parameter *, double *, int)
    fc_status fc_scale(fc_dtype, double, Py_ssize_t, const fc_parameter *, int)
    fc_status fc_clip(fc_dtype, double, Py_ssize_t, const fc_parameter *, int)
    fc_status fc_exp(fc_dtype, Py_ssize_t, const void *, void *)
    fc_status fc_sigmoid(fc_dtype, Py_ssize_t, const void *, void *)
    fc_status fc_tanh(fc_dtype, Py_ssize_t, const void *, void *)
