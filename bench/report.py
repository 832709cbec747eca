"""What was measured, as JSON (everything) and as Markdown (the tables)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from measure import Protocol, Timing, geometric_mean, ratios

OURS = "fastcell"

#: Mode -> (title, unit). GFLOP/s and tokens/s: more is better; us: less is.
MODES = {
    "forward": ("Forward", "GFLOP/s"),
    "train": ("Training (forward + backward)", "GFLOP/s"),
    "step": ("Single step, batch 1, from Python", "us"),
    "demo": ("Training the demo's character model", "tokens/s"),
}

#: The instruction sets that decide which kernels a CPU gets, as /proc/cpuinfo has them.
_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "asimd",
)


@dataclass(frozen=True)
class Row:
    """One case: what each way of doing it took.

    `work` is what one call does, in units of `unit` per second (GFLOP, tokens); it is
    None where the figure is the time itself.
    """

    mode: str
    threads: int
    cell: str
    shape: str
    work: float | None
    timings: dict[str, Timing]
    disagreement: float | None

    @property
    def best_peer(self) -> str | None:
        """The label of the fastest that is not fastcell, or None if there is none."""
        peers = [label for label in self.timings if label != OURS]
        return min(peers, key=lambda p: self.timings[p].median) if peers else None

    @property
    def ratio(self) -> tuple[float, float, float] | None:
        """Times faster than the best peer, and the quartiles of that."""
        if OURS not in self.timings or self.best_peer is None:
            return None
        return ratios(self.timings[OURS], self.timings[self.best_peer])

    def figure(self, label: str) -> float:
        """The median in the unit of the mode."""
        median = self.timings[label].median
        return median * 1e6 if self.work is None else self.work / median


@dataclass
class Report:
    """All rows of one run, where they were measured, and what went wrong."""

    machine: dict[str, Any]
    versions: dict[str, str]
    instruction_sets: dict[str, str]
    protocol: Protocol
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def to_json(self) -> str:
        """Everything, the median of each block included."""
        return json.dumps(
            {
                "format": 1,
                "machine": self.machine,
                "versions": self.versions,
                "instruction_sets": self.instruction_sets,
                "protocol": vars(self.protocol),
                "notes": self.notes,
                "errors": self.errors,
                "rows": [_row_as_dict(row) for row in self.rows],
            },
            indent=1,
        )

    def to_markdown(self) -> str:
        """Where, how, and one table for each mode and number of threads."""
        parts = [self._preamble()]
        for (mode, threads), rows in groupby(
            self.rows, key=lambda row: (row.mode, row.threads)
        ):
            parts.append(_table(mode, threads, list(rows)))
        if self.errors:
            parts.append(
                "## Errors: not measured\n\n"
                + "\n".join(f"- {error}" for error in self.errors)
            )
        return "\n\n".join(parts) + "\n"

    def _preamble(self) -> str:
        versions = ", ".join(f"{name} {v}" for name, v in self.versions.items())
        sets = ", ".join(f"{name} {v}" for name, v in self.instruction_sets.items())
        protocol = self.protocol
        lines = [
            f"- machine: {self.machine['cpu']}, {self.machine['cores']} cores "
            f"({' '.join(self.machine['flags'])}), {self.machine['system']}; load "
            f"average before the run {self.machine['load_average']}",
            f"- versions: {versions}",
            f"- instruction sets in use: {sets or 'not said'}",
            f"- medians over {protocol.blocks} interleaved blocks of "
            f"{protocol.seconds * 1e3:.0f} ms; ± is half the distance between the "
            "quartiles; the ratio is to the fastest peer, its quartiles in brackets; "
            "float32",
            *(f"- {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def machine() -> dict[str, Any]:
    """CPU model, cores this process may use, instruction sets, system, load."""
    model, flags = _cpuinfo()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
    return {
        "cpu": model,
        "cores": cores,
        "flags": flags,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": load,
    }


def _cpuinfo() -> tuple[str, list[str]]:
    """CPU model and those of `_FLAGS` that it has."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), []
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    present = fields.get("flags", fields.get("Features", "")).split()
    model = fields.get("model name", platform.machine())
    # Virtual machines often hide the model's number; the family says what it is.
    if "cpu family" in fields and "model" in fields:
        model += f" (family {fields['cpu family']}, model {fields['model']})"
    return model, [flag for flag in _FLAGS if flag in present]


def _row_as_dict(row: Row) -> dict[str, Any]:
    ratio = row.ratio
    return {
        "mode": row.mode,
        "threads": row.threads,
        "cell": row.cell,
        "shape": row.shape,
        "unit": MODES[row.mode][1],
        "largest_disagreement": row.disagreement,
        "best_peer": row.best_peer,
        "ratio": None if ratio is None else ratio[0],
        "ratio_quartiles": None if ratio is None else ratio[1:],
        "runs": {
            label: {
                "figure": row.figure(label),
                "seconds": timing.median,
                "spread": timing.spread,
                "calls": timing.calls,
                "block_seconds": timing.blocks,
            }
            for label, timing in row.timings.items()
        },
    }


def _table(mode: str, threads: int, rows: list[Row]) -> str:
    title, unit = MODES[mode]
    labels = list(dict.fromkeys(label for row in rows for label in row.timings))
    lines = [
        f"## {title}, {unit}, {threads} thread{'s' if threads > 1 else ''}",
        "",
        _line(["cell, shape", *labels, "ratio to best peer"]),
        _line(["---"] + ["---:"] * (len(labels) + 1)),
    ]
    for row in rows:
        figures = [_figure(row, label) for label in labels]
        name = f"{row.cell.upper()} {row.shape}"
        if row.disagreement is None:
            name += r" \*"
        lines.append(_line([name, *figures, _ratio(row)]))
    summary = [row.ratio[0] for row in rows if row.ratio is not None]
    if len(summary) > 1:
        lines += [
            "",
            f"Geometric mean of the ratios {geometric_mean(summary):.2f}, smallest "
            f"{min(summary):.2f}.",
        ]
    if any(row.disagreement is None for row in rows):
        lines += ["", "\\* no second engine had this, so no outputs were compared"]
    return "\n".join(lines)


def _figure(row: Row, label: str) -> str:
    if label not in row.timings:
        return ""
    return f"{_digits(row.figure(label))} ± {row.timings[label].spread:.0%}"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    ratio, low, high = row.ratio
    return f"{ratio:.2f} [{low:.2f}, {high:.2f}]"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def _line(fields: Iterable[str]) -> str:
    return "| " + " | ".join(fields) + " |"
