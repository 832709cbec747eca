/* The version of the library.  Part of fastcell.h, which includes it.
 *
 * Until 1.0 a minor version may change structs and functions, and the shared library's
 * name has both numbers (libfastcell.so.0.1).  A patch version changes neither. */
#ifndef FASTCELL_VERSION_H
#define FASTCELL_VERSION_H

#define FC_VERSION_MAJOR 0
#define FC_VERSION_MINOR 1
#define FC_VERSION_PATCH 0
/* To compare: FC_VERSION >= FC_VERSION_OF(0, 2, 0) */
#define FC_VERSION_OF(major, minor, patch) ((major)*10000 + (minor)*100 + (patch))
#define FC_VERSION FC_VERSION_OF(FC_VERSION_MAJOR, FC_VERSION_MINOR, FC_VERSION_PATCH)

/* FC_VERSION of the library in use, which may differ from that of the header. */
FC_API int fc_version(void);
/* The same as text, "0.1.0". */
FC_API const char *fc_version_text(void);

#endif
