"""Reports of the measurements: JSON with everything, Markdown with the tables."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fastcell._judge.engines import BaseEngine
from fastcell._judge.measure import Protocol, geometric_mean
from fastcell._judge.rows import Row
from judge import bars
from judge.modes import MODES

#: The instruction sets that determine the kernels, by their names in /proc/cpuinfo.
_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "asimd",
)


@dataclass
class Report:
    """The rows of one run, with its machine, notes and errors."""

    machine: dict[str, Any]
    versions: dict[str, str]
    instruction_sets: dict[str, str]
    protocol: Protocol
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    limits: dict[int, dict[str, Any]] = field(default_factory=dict)
    bars: dict[str, float] = field(default_factory=dict)
    known_bars: Mapping[str, bars.Bar] = field(default_factory=lambda: bars.BARS)

    @classmethod
    def of(
        cls,
        engines: Iterable[BaseEngine],
        notes: list[str],
        protocol: Protocol,
        **given: Any,
    ) -> Report:
        """Return a report without rows, with what engines say about themselves."""
        report = cls(machine(), {"numpy": np.__version__}, {}, protocol, notes, **given)
        for engine in engines:
            report.versions.update(engine.versions())
            report.notes.extend(engine.notes())
            chosen = engine.instruction_set()
            if chosen is not None:
                report.instruction_sets[engine.label] = chosen
        return report

    def take(self, saved: dict[str, Any]) -> None:
        """Add the rows, notes and errors of another run's JSON."""
        self.rows += [Row.from_dict(row) for row in saved["rows"]]
        self.errors += saved["errors"]
        self.notes += [note for note in saved["notes"] if note not in self.notes]
        self.limits.update({int(n): limit for n, limit in saved["limits"].items()})

    def to_json(self) -> str:
        """Return everything as JSON, including the median of each block."""
        return json.dumps(
            {
                "format": 2,
                "machine": self.machine,
                "versions": self.versions,
                "instruction_sets": self.instruction_sets,
                "protocol": vars(self.protocol),
                "notes": self.notes,
                "errors": self.errors,
                "limits": self.limits,
                "bars": {name: bar.least for name, bar in self.known_bars.items()}
                | self.bars,
                "rows": [row.as_dict(MODES[row.mode].unit) for row in self.rows],
            },
            indent=1,
        )

    def to_markdown(self) -> str:
        """Return Markdown: machine, summary, a table per mode and number of threads."""
        summary = bars.summary(self.rows, self.bars, self.known_bars)
        parts = [self._preamble(), *([summary] if summary else [])]
        order = list(MODES)

        def table(row: Row) -> tuple[int, int]:
            return order.index(row.mode), row.threads

        for (mode, threads), rows in groupby(sorted(self.rows, key=table), key=table):
            parts.append(_table(order[mode], threads, list(rows)))
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
            "float32 where nothing else is said",
            *(f"- {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Return CPU model, cores of this process, instruction sets, system, load."""
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
    """Return the CPU model and its instruction sets of `_FLAGS`."""
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
    # Virtual machines often hide the model's name; the family identifies it.
    if "cpu family" in fields and "model" in fields:
        model += f" (family {fields['cpu family']}, model {fields['model']})"
    return model, [flag for flag in _FLAGS if flag in present]


def _table(mode: str, threads: int, rows: list[Row]) -> str:
    title, unit = MODES[mode].title, MODES[mode].unit
    limited = any(row.share is not None for row in rows)
    last = ["of the roofline"] if limited else []
    labels = list(dict.fromkeys(label for row in rows for label in row.timings))
    lines = [
        f"## {title}, {unit}, {threads} thread{'s' if threads > 1 else ''}",
        "",
        _line(["cell, shape", *labels, "ratio to best peer", *last]),
        _line(["---"] + ["---:"] * (len(labels) + 1 + len(last))),
    ]
    for row in rows:
        figures = [_figure(row, label) for label in labels]
        name = f"{row.cell.upper()} {row.shape}"
        if row.disagreement is None:
            name += r" \*"
        share = ["" if row.share is None else f"{row.share:.0%}"] if limited else []
        lines.append(_line([name, *figures, _ratio(row), *share]))
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
