"""Mutations of the export as C and of the models of RTNeural."""

from __future__ import annotations

STEPS = "fastcell/exporting/steps.h"
RECURRENT = "fastcell/exporting/recurrent.py"

MUTATIONS = [
    (
        STEPS,
        "sum[i] = vfma(x_k, vload(w + i * V), sum[i]);",
        "sum[i] = sum[i] + x_k * vload(w + i * V);",
        "export: multiply-adds of vectors are not fused",
    ),
    (
        STEPS,
        "            out[j] = net_multiply_add(x[k], w[j], out[j]);",
        "            out[j] = out[j];",
        "export: the last inputs of a plain product are left out",
    ),
    (
        STEPS,
        "(bounded && most <= 1 ? 1 : most) / 127",
        "most / 127",
        "export: h in 8 bits has a scale for each step",
    ),
    (
        STEPS,
        "id >= 0 && id < rows ? id : 0",
        "id >= 0 ? id : 0",
        "export: an id past the table reads what is behind it",
    ),
    (
        "fastcell/exporting/access.h",
        "of_gate[u % NET_LANES] +=",
        "of_gate[0] +=",
        "export: the sums of a normalized row are in another order",
    ),
    (
        RECURRENT,
        'f"net_zone({next_h}, {h}, {share}, {outputs}, {h});"',
        'f"net_zone({next_h}, {h}, 0, {outputs}, {h});"',
        "export: zoneout keeps nothing of h",
    ),
    (
        RECURRENT,
        'at = f"{out} + {g * sizes.units_padded + i * head}"',
        'at = f"{out} + {g * sizes.units_padded + i * wide}"',
        "export: heads are as far apart as vectors",
    ),
    (
        RECURRENT,
        'program.uses("fc_tile", *cell["forward"])',
        'program.uses("fc_tile", *cell["forward"], *cell["backward"])',
        "export: the functions of backward are there too",
    ),
    (
        "fastcell/rtneural.py",
        "parts = [parts[1], parts[0], parts[2]]",
        "parts = parts[:]",
        "rtneural: a GRU's r and z are exchanged",
    ),
]
