"""Measurement of one case: comparison of the outputs, then the timing of each run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastcell._judge.agreement import compare_outputs
from fastcell._judge.engines import OURS, BaseEngine
from fastcell._judge.measure import Protocol, Timing, interleave, ratios
from fastcell._judge.modes import Mode


@dataclass(frozen=True)
class Row:
    """The measurements of one case.

    Attributes
    ----------
    work : float or None
        The work of one call, in the numerator of the mode's unit (GFLOP, tokens); None
        if the figure is the time itself.
    sizes : dict
        T, B, I, H, and L if there are several layers.
    disagreement : float or None
        The largest difference of two outputs; None if nothing was compared.
    limit : float or None
        The least seconds of one call by the machine's limits; None if unknown.
    """

    mode: str
    threads: int
    cell: str
    shape: str
    work: float | None
    timings: dict[str, Timing]
    disagreement: float | None
    sizes: dict[str, int] = field(default_factory=dict)
    limit: float | None = None

    @property
    def best_peer(self) -> str | None:
        """The label of the fastest run of a peer, or None if there is none."""
        peers = [label for label in self.timings if not label.startswith(OURS)]
        return min(peers, key=lambda p: self.timings[p].median) if peers else None

    def fastest(self, label: str) -> str | None:
        """Return the label of an engine's fastest run, or None if it has none."""
        ways = [
            way for way in self.timings if way == label or way.startswith(label + " ")
        ]
        return min(ways, key=lambda way: self.timings[way].median) if ways else None

    @property
    def ratio(self) -> tuple[float, float, float] | None:
        """The ratio to the best peer, above 1 if faster, and its quartiles."""
        return self.ratio_to(self.best_peer)

    def ratio_to(self, label: str | None) -> tuple[float, float, float] | None:
        """Return the ratio to `label` and its quartiles; None if either did not run."""
        if OURS not in self.timings or label not in self.timings:
            return None
        return ratios(self.timings[OURS], self.timings[label])

    @property
    def share(self) -> float | None:
        """The least time by the machine's limits, divided by ours."""
        if self.limit is None or OURS not in self.timings:
            return None
        return self.limit / self.timings[OURS].median

    def figure(self, label: str) -> float:
        """Return the median in the unit of the mode."""
        median = self.timings[label].median
        return median * 1e6 if self.work is None else self.work / median

    def summary(self) -> str:
        """Return a line: the figures, the ratio and the share, as far as known."""
        text = ", ".join(f"{label} {self.figure(label):.4g}" for label in self.timings)
        if self.ratio is not None:
            text += f"; ratio {self.ratio[0]:.2f}"
        if self.share is not None:
            text += f"; {self.share:.0%} of the roofline"
        return text

    def as_dict(self, unit: str) -> dict[str, Any]:
        """Return measurements and derived figures for JSON."""
        ratio = self.ratio
        return {
            "mode": self.mode,
            "threads": self.threads,
            "cell": self.cell,
            "shape": self.shape,
            "sizes": self.sizes,
            "unit": unit,
            "work": self.work,
            "largest_disagreement": self.disagreement,
            "best_peer": self.best_peer,
            "ratio": None if ratio is None else ratio[0],
            "ratio_quartiles": None if ratio is None else ratio[1:],
            "limit_seconds": self.limit,
            "share_of_limit": self.share,
            "runs": {
                label: {
                    "figure": self.figure(label),
                    "seconds": timing.median,
                    "spread": timing.spread,
                    "calls": timing.calls,
                    "block_seconds": timing.blocks,
                }
                for label, timing in self.timings.items()
            },
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Row:
        """Return the row from a result of `as_dict`."""
        timings = {
            label: Timing(tuple(run["block_seconds"]), run["calls"])
            for label, run in saved["runs"].items()
        }
        names = ("mode", "threads", "cell", "shape", "work", "sizes")
        return cls(
            **{name: saved[name] for name in names},
            timings=timings,
            disagreement=saved["largest_disagreement"],
            limit=saved["limit_seconds"],
        )


def measure_case(
    name: str,
    mode: Mode,
    threads: int,
    case: Any,
    engines: Iterable[BaseEngine],
    protocol: Protocol,
) -> Row:
    """Compare, then time one case on all engines with `mode`, whose name is `name`.

    Raises
    ------
    Disagreement
        If outputs differ; nothing is timed then.
    LookupError
        If none of the engines has `mode`.
    """
    runs = []
    for engine in engines:
        engine.set_num_threads(threads)
        runs += mode.prepare(engine, case)
    if not runs:
        raise LookupError(f"none of the engines has the mode {name!r}")
    disagreement = compare_outputs(runs, mode.compared_calls, mode.tolerance)
    timings = interleave(
        [run.call for run in runs], protocol, [run.context for run in runs]
    )
    return Row(
        mode=name,
        threads=threads,
        cell=getattr(case, "cell", "lstm"),
        shape=case.shape,
        work=mode.work(case),
        timings=dict(zip((run.label for run in runs), timings, strict=True)),
        disagreement=disagreement,
        sizes=case.sizes,
    )
