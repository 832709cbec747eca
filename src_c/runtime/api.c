/* The table of all functions. */
#include "fastcell_api.h"

#define ENTRY(name) .name = fc_##name,

static const fc_api api = {
    .size = sizeof api, .version_number = FC_VERSION, FC_FUNCTIONS(ENTRY)};

const fc_api *fc_get_api(void) { return &api; }
