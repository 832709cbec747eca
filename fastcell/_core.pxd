# What the module calls of the C core: all of it.

from fastcell.kernels cimport *
