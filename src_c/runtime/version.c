/* The version, and the texts of the statuses. */
#include "fastcell.h"

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch)                                              \
    TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

int fc_version(void) { return FC_VERSION; }

const char *fc_version_text(void) {
    return VERSION_TEXT(FC_VERSION_MAJOR, FC_VERSION_MINOR, FC_VERSION_PATCH);
}

const char *fc_status_text(fc_status status) {
    switch (status) {
    case FC_OK:
        return "no error";
    case FC_BAD_ARGUMENT:
        return "an argument is NULL, out of range, or does not fit another";
    case FC_BAD_LENGTH:
        return "a length is negative or above the number of steps";
    case FC_BAD_INDEX:
        return "an index or a target is out of range";
    case FC_TOO_LARGE:
        return "a size does not fit size_t";
    case FC_NO_ISA:
        return "the instruction set is unknown, or this CPU lacks it";
    case FC_BAD_ALIGNMENT:
        return "memory does not begin at a multiple of 64 bytes";
    case FC_BAD_MEMORY:
        return "memory was made by no call, or for another stack, batch or "
               "instruction set";
    case FC_USED_UP:
        return "another backward has used the saved memory";
    case FC_INTERRUPTED:
        return "the function of fc_set_stop ended the call";
    }
    return "unknown status";
}
