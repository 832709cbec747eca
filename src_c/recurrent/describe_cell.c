/* Describes the cells to callers: names, gates, states and parameters, by number. */
#include <stddef.h>
#include <string.h>

#include "recurrent/direction.h"

_Static_assert((int)FC_MOST_GATES == (int)FC_MAX_GATES, "all gates have names");
_Static_assert((int)FC_MOST_STATES == (int)FC_MAX_STATES, "all states have names");
_Static_assert((int)FC_MOST_OWN == (int)FC_MAX_OWN &&
                   (int)FC_DRAWN == (int)FC_BEGIN_DRAWN &&
                   (int)FC_ZEROS == (int)FC_BEGIN_ZERO &&
                   (int)FC_ONES == (int)FC_BEGIN_ONE &&
                   (int)FC_FRACTIONS == (int)FC_BEGIN_FRACTION,
               "the contract's numbers are those of the public header");

static const fc_cell *cell_at(int cell) {
    const fc_kernels *k = fc_kernels_of(FC_F32);
    return cell >= 0 && cell < k->cell_count ? k->cells[cell] : NULL;
}

int fc_cell_index(const char *name) {
    for (int cell = 0; name && cell_at(cell); cell++)
        if (!strcmp(cell_at(cell)->name, name))
            return cell;
    return -1;
}

const char *fc_cell_name(int cell) {
    return cell_at(cell) ? cell_at(cell)->name : NULL;
}
int fc_cell_gates(int cell) { return cell_at(cell) ? cell_at(cell)->gates : 0; }
int fc_cell_states(int cell) { return cell_at(cell) ? cell_at(cell)->states : 0; }

#define SAME_PLACE(member)                                                             \
    _Static_assert(offsetof(fc_weights, member) == offsetof(fc_gradients, member),     \
                   "one offset leads to both")
SAME_PLACE(w_ih);
SAME_PLACE(w_hh);
SAME_PLACE(b_ih);
SAME_PLACE(b_hh);
SAME_PLACE(w_hr);
SAME_PLACE(own);

/* Parameters of cells with an R and of cells without, in the order of torch.nn. */
static const fc_cell_parameter with_r[] = {
    {"weight_ih", FC_AXIS_GATES, FC_AXIS_INPUT, -1, offsetof(fc_weights, w_ih), 0,
     FC_DRAWN},
    {"weight_hh", FC_AXIS_GATES, FC_AXIS_HEAD, -1, offsetof(fc_weights, w_hh), 0,
     FC_DRAWN},
    {"bias_ih", FC_AXIS_GATES, FC_AXIS_NONE, 0, offsetof(fc_weights, b_ih), 0,
     FC_DRAWN},
    {"bias_hh", FC_AXIS_GATES, FC_AXIS_NONE, 1, offsetof(fc_weights, b_hh), 0,
     FC_DRAWN},
};
static const fc_cell_parameter without_r[] = {
    {"weight_ih", FC_AXIS_GATES, FC_AXIS_INPUT, -1, offsetof(fc_weights, w_ih), 0,
     FC_DRAWN},
    {"bias_ih", FC_AXIS_GATES, FC_AXIS_NONE, 0, offsetof(fc_weights, b_ih), 0,
     FC_DRAWN},
};
static const fc_cell_parameter of_a_projection = {
    "weight_hr", FC_AXIS_OUTPUT, FC_AXIS_HIDDEN, -1, offsetof(fc_weights, w_hr),
    0,           FC_DRAWN};
enum {
    WITH_R = sizeof with_r / sizeof *with_r,
    WITHOUT_R = sizeof without_r / sizeof *without_r
};
_Static_assert(WITH_R + 1 + FC_MOST_OWN <= FC_MOST_PARAMETERS,
               "room for all of a cell");

fc_status fc_describe_cell(int index, fc_cell_description *description) {
    static const char *const state_names[FC_MOST_STATES] = {"h", "c", "n", "m"};
    const fc_cell *cell = cell_at(index);
    if (!cell || !description)
        return FC_BAD_ARGUMENT;
    fc_cell_description d = {.name = cell->name,
                             .gates = cell->gates,
                             .states = cell->states,
                             .slots = cell->slots};
    memcpy(d.gate_names, cell->gate_names, sizeof d.gate_names);
    memcpy(d.state_names, state_names, (size_t)cell->states * sizeof *state_names);
    bool recurrent = fc_has_recurrent(cell);
    d.parameters = recurrent ? WITH_R : WITHOUT_R;
    memcpy(d.parameter, recurrent ? with_r : without_r,
           (size_t)d.parameters * sizeof *with_r);
    for (int i = 0; i < cell->phases; i++)
        d.projects |= cell->phase[i].projects;
    d.takes_heads = fc_takes_heads(cell);
    d.roles = cell->roles;
    d.clips_cell = cell->clips_cell;
    d.takes_update_dropout = cell->forward_dropped[0] != NULL;
    if (d.projects)
        d.parameter[d.parameters++] = of_a_projection;
    for (int i = 0; i < cell->owns; i++)
        d.parameter[d.parameters++] = (fc_cell_parameter){
            .name = cell->own[i].name,
            .rows = FC_AXIS_VECTORS,
            .bias_of = -1,
            .member = offsetof(fc_weights, own) + (size_t)i * sizeof(void *),
            .vectors = cell->own[i].vectors,
            .initial = (fc_initial)cell->own[i].begin};
    *description = d;
    return FC_OK;
}
