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
    fc_axis axis, int gates, Py_ssize_t input_size, Py_ssize_t hidden_size,
    Py_ssize_t output_size,
) noexcept:
    """The length of a parameter's axis; 1 if there is none."""
    if axis == FC_AXIS_GATES:
        return gates * hidden_size
    if axis == FC_AXIS_INPUT:
        return input_size
    if axis == FC_AXIS_OUTPUT:
        return output_size
    return hidden_size if axis == FC_AXIS_HIDDEN else 1


_AXES = {
    FC_AXIS_GATES: "GH", FC_AXIS_INPUT: "I", FC_AXIS_OUTPUT: "P", FC_AXIS_HIDDEN: "H",
}


cdef int describe(str name, fc_cell_description *found) except -1:
    cdef int cell = fc_cell_index(name.encode())
    if cell < 0:
        raise ValueError(f"cell must be one of {', '.join(cells())}; got {name!r}")
    return check(fc_describe_cell(cell, found))


def describe_cell(str name):
    """Return what the C registry knows of a cell: fc_cell_description, as a dict.

    parameters: their names, without the layer's suffix, with the lengths of their axes:
    "GH", "I", "P" or "H".  bias_of: of each bias, the matrix to whose product it is
    added.
    """
    cdef fc_cell_description found
    cdef fc_cell_parameter *parameter
    cdef int i
    describe(name, &found)
    parameters, bias_of = {}, {}
    for i in range(found.parameters):
        parameter = &found.parameter[i]
        axes = (parameter.rows, parameter.columns)
        label = parameter.name.decode()
        parameters[label] = tuple([_AXES[axis] for axis in axes if axis != FC_AXIS_NONE])
        if parameter.bias_of >= 0:
            bias_of[label] = found.parameter[parameter.bias_of].name.decode()
    return {
        "name": name,
        "gates": tuple([found.gate_names[i].decode() for i in range(found.gates)]),
        "states": tuple([found.state_names[i].decode() for i in range(found.states)]),
        "slots": found.slots,
        "projects": bool(found.projects),
        "parameters": parameters,
        "bias_of": bias_of,
    }


def parameter_shapes(
    str name, Py_ssize_t input_size, Py_ssize_t hidden_size, Py_ssize_t output_size
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
            length_of(axis, found.gates, input_size, hidden_size, output_size)
            for axis in (parameter.rows, parameter.columns) if axis != FC_AXIS_NONE
        ])
    return shapes
