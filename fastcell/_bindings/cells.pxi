# What the core knows of a cell, and the sizes of its parameters.

def cells():
    """Return the names of the cells in the C registry."""
    names = []
    cdef const char *name = fc_cell_name(0)
    while name is not NULL:
        names.append(name.decode())
        name = fc_cell_name(<int> len(names))
    return names


cdef inline Py_ssize_t length_of(
    const fc_cell_parameter *parameter, fc_axis axis, int gates,
    Py_ssize_t input_size, Py_ssize_t hidden_size,
    Py_ssize_t output_size, Py_ssize_t heads,
) noexcept:
    """The length of a parameter's axis; 1 if there is none."""
    if axis == FC_AXIS_GATES:
        return gates * hidden_size
    if axis == FC_AXIS_INPUT:
        return input_size
    if axis == FC_AXIS_OUTPUT:
        return output_size
    if axis == FC_AXIS_HEAD:
        return output_size // heads
    if axis == FC_AXIS_VECTORS:
        return parameter.vectors * hidden_size
    return hidden_size if axis == FC_AXIS_HIDDEN else 1


_AXES = {
    FC_AXIS_GATES: "GH", FC_AXIS_INPUT: "I", FC_AXIS_OUTPUT: "P", FC_AXIS_HIDDEN: "H",
    FC_AXIS_HEAD: "P/K", FC_AXIS_VECTORS: "{}H",
}
_INITIAL = {
    FC_DRAWN: "drawn", FC_ZEROS: "zeros", FC_ONES: "ones", FC_FRACTIONS: "fractions",
}


cdef int describe(str name, fc_cell_description *found) except -1:
    cdef int cell = fc_cell_index(name.encode())
    if cell < 0:
        raise ValueError(f"cell must be one of {', '.join(cells())}; got {name!r}")
    return check(fc_describe_cell(cell, found))


cdef tuple traced_names(str name):
    """The values that a trace has beside the states."""
    cdef int cell = fc_cell_index(name.encode())
    names = []
    cdef const char *value = fc_trace_name(cell, 0)
    while value is not NULL:
        names.append(value.decode())
        value = fc_trace_name(cell, <int> len(names))
    return tuple(names)


def describe_cell(str name):
    """Return what the C registry knows of a cell: fc_cell_description, as a dict.

    parameters: their names, without the layer's suffix, with the lengths of their axes:
    "GH", "I", "P", "P/K" with K heads, "H", or "3H" for three vectors.  bias_of: of each
    bias, the matrix to whose product it is added.  initial: "drawn", "zeros", "ones", or
    "fractions", drawn from [0, 1).  traced: names of what `trace` has beside states.
    """
    cdef fc_cell_description found
    cdef fc_cell_parameter *parameter
    cdef int i
    describe(name, &found)
    parameters, bias_of, initial = {}, {}, {}
    for i in range(found.parameters):
        parameter = &found.parameter[i]
        axes = (parameter.rows, parameter.columns)
        label = parameter.name.decode()
        parameters[label] = tuple([
            _AXES[axis].format(parameter.vectors) for axis in axes if axis != FC_AXIS_NONE
        ])
        initial[label] = _INITIAL[parameter.initial]
        if parameter.bias_of >= 0:
            bias_of[label] = found.parameter[parameter.bias_of].name.decode()
    return {
        "name": name,
        "gates": tuple([found.gate_names[i].decode() for i in range(found.gates)]),
        "states": tuple([found.state_names[i].decode() for i in range(found.states)]),
        "traced": traced_names(name),
        "slots": found.slots,
        "projects": bool(found.projects),
        "takes_heads": bool(found.takes_heads),
        "roles": found.roles,
        "clips_cell": bool(found.clips_cell),
        "takes_update_dropout": bool(found.takes_update_dropout),
        "parameters": parameters,
        "bias_of": bias_of,
        "initial": initial,
    }


def parameter_shapes(
    str name, Py_ssize_t input_size, Py_ssize_t hidden_size, Py_ssize_t output_size,
    Py_ssize_t heads=1,
):
    """Return the shapes of a cell's parameters, by name without the layer's suffix."""
    cdef fc_cell_description found
    cdef fc_cell_parameter *parameter
    cdef int i
    describe(name, &found)
    shapes = {}
    for i in range(found.parameters):
        parameter = &found.parameter[i]
        shapes[parameter.name.decode()] = tuple([
            length_of(
                parameter, axis, found.gates, input_size, hidden_size, output_size,
                heads,
            )
            for axis in (parameter.rows, parameter.columns) if axis != FC_AXIS_NONE
        ])
    return shapes


# Kinds of activations, by the names of fastcell/cells/activations.py.
_ACTIVATIONS = {
    "tanh": FC_ACT_TANH, "sigmoid": FC_ACT_SIGMOID, "relu": FC_ACT_RELU,
    "affine": FC_ACT_AFFINE, "leaky_relu": FC_ACT_LEAKY_RELU,
    "thresholded_relu": FC_ACT_THRESHOLDED_RELU, "scaled_tanh": FC_ACT_SCALED_TANH,
    "hard_sigmoid": FC_ACT_HARD_SIGMOID, "elu": FC_ACT_ELU,
    "softsign": FC_ACT_SOFTSIGN, "softplus": FC_ACT_SOFTPLUS, None: FC_ACT_USUAL,
}


cdef int fill_options(fc_options *options, tuple given) except -1:
    """From (cell_clip, gate_clip, ((kind, alpha, beta), ...)), at most of three roles.

    Update dropout and the clip of recurrent gradients may follow.
    """
    cdef int i
    options.given = 1
    options.cell_clip, options.gate_clip, activations = given[:3]
    if len(given) > 3:
        options.update_dropout, options.recurrent_grad_clip = given[3:]
    if len(activations) > FC_MOST_ROLES:
        raise ValueError(
            f"activations must be at most {FC_MOST_ROLES}; got {len(activations)}"
        )
    for i, (kind, alpha, beta) in enumerate(activations):
        options.activation[i].kind = _ACTIVATIONS[kind]
        options.activation[i].alpha = alpha
        options.activation[i].beta = beta
    return 0


cdef object options_of(const fc_options *options):
    """What `fill_options` takes; None where nothing is given."""
    cdef int i
    if not options.given:
        return None
    names = {kind: name for name, kind in _ACTIVATIONS.items()}
    activations = [
        (
            names[options.activation[i].kind], options.activation[i].alpha,
            options.activation[i].beta,
        )
        for i in range(FC_MOST_ROLES)
    ]
    return (
        options.cell_clip, options.gate_clip, tuple(activations),
        options.update_dropout, options.recurrent_grad_clip,
    )
