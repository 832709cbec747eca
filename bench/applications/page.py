"""The page docs/results.md, built from the results of ``bench/applications``."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from applications.rows import APPLICATIONS, Application
from fastcell._judge import load
from fastcell._judge.measure import geometric_mean

_ENGINES = {"fastcell": "fastcell", "torch": "PyTorch"}
_NAMES = list(_ENGINES.values())
_THREADS = ("1", "2")

_INTRODUCTION = """\
# Results of the examples

Each row is an unmodified example of [examples](../examples) on a real data set, and the
same model trained by PyTorch: the same batches in the same order, the same initial
weights, optimizer, schedule and clipping. The loss of the first batch is compared
before the training, and the same code scores both. `python bench/applications write`
makes this page from docs/results.json; [bench/README.md](../bench/README.md) says how
the rows are measured.
"""

_QUALITY = """\
## Scores

The mean over the seeds (of the initial weights, the order of batches and dropout), with
the smallest and the largest in parentheses. The last column is the number of seeds of
fastcell and of PyTorch: three if both take less than three minutes, otherwise one (in
music three of fastcell). The published figures are of other models, and often of more
training; each example names their papers. Figures with a † are quoted from memory and
were not checked against the paper.
"""

_STRONGER = """\
### Stronger published figures

Published figures better than the one in the table: from larger models, more data or
other methods.
"""

_PROTOCOLS = """\
### Protocols of our own

Differences of a row's task, data or score from those of the published figure.
"""

_SPEED = """\
## Speed

Training with one thread and with two on both sides, without validation, decoding, and
the conversion of integers to int64 and of arrays to tensors. All took turns of about
half a second, with nothing else running. PyTorch is timed in each of these ways, and
the fastest one counts and is named: sequences of different length *padded*, with the
last outputs gathered and the reverse direction over reversed sequences, or *packed*
(`pack_padded_sequence`); *no padding* if all have one length; *eager*, or *compiled* by
`torch.compile` with its defaults (which leaves the recurrent layers unchanged). The
milliseconds are medians over the turns, and the ratio is theirs. The seconds are of a
whole run on one thread; with ~ they are estimates, the mean step times the number of
steps.
"""

_OLDER = """\
Rows marked *packed, older* are still to be timed anew: they were timed eager only, with
sequences of different length always packed, the slow way of PyTorch (padded is up to 5
times as fast), and with the conversion of integers. Their ratios are too high for
different lengths, and are in no mean.
"""


def write(results: dict[str, Any], folder: Path) -> None:
    """Write results.md into a folder, and the loss curves into its pictures/."""
    rows = [
        (row, results[row.name]) for row in APPLICATIONS.values() if row.name in results
    ]
    parts = [
        _INTRODUCTION,
        _QUALITY,
        _table(
            (
                "application",
                "data",
                "model",
                "figure",
                "published",
                "aim",
                "fastcell",
                "PyTorch",
                "seeds",
            ),
            [_quality(row, kept) for row, kept in rows if _both(kept)],
        ),
        *_misses(rows),
        *_listed(_STRONGER, rows, "stronger"),
        *_listed(_PROTOCOLS, rows, "protocol"),
        _SPEED,
        *_speed(rows),
        *_pictures(rows, folder / "pictures"),
        *_printed(rows),
    ]
    (folder / "results.md").write_text("\n".join(parts))


def _quality(row: Application, kept: dict[str, Any]) -> Sequence[str]:
    own, peer = (list(kept[engine].values()) for engine in ("fastcell", "torch"))
    return (
        row.application,
        row.data,
        f"{row.model}; {_count(kept['parameters'])} parameters",
        row.metric,
        row.published,
        f"{'at least' if row.more else 'at most'} {row.aim:g}",
        _spread(own, row.digits),
        _spread(peer, row.digits),
        ", ".join(str(len(values)) for values in (own, peer)),
    )


def _both(kept: dict[str, Any]) -> bool:
    """Return whether both engines have run it."""
    return all(engine in kept for engine in _ENGINES)


def _misses(rows: Sequence[tuple[Application, dict[str, Any]]]) -> list[str]:
    """Return lines about rows that miss their aim or PyTorch's figure, or are new."""
    lines = []
    for row, kept in rows:
        if not _both(kept):
            continue
        own, peer = (list(kept[engine].values()) for engine in ("fastcell", "torch"))
        sign = 1 if row.more else -1
        mean = statistics.mean(own)
        what = []
        if sign * round(mean, row.digits) < sign * row.aim:
            what.append("misses its aim")
        if max(sign * v for v in own) < min(sign * v for v in peer):
            seeds = "every seed" if len(own) > 1 else "its one seed"
            by = sign * (statistics.mean(peer) - mean)
            what.append(f"is worse than PyTorch with {seeds}, by {by:.{row.digits}g}")
        if what:
            note = f": {row.note}" if row.note else ""
            lines.append(
                f"- {row.application}, {row.data}, {', and '.join(what)}{note}"
            )
    waiting = [f"{r.application}, {r.data}" for r, k in rows if not _both(k)]
    if waiting:
        lines.append(f"- Timed below, without a score so far: {'; '.join(waiting)}.")
    return [*lines, ""] if lines else []


def _listed(
    title: str, rows: Iterable[tuple[Application, dict[str, Any]]], what: str
) -> list[str]:
    """Return a list of a text of each row; rows with the same text share a line."""
    said: dict[str, list[str]] = {}
    for row, _ in rows:
        if getattr(row, what):
            name = f"{row.application}, {row.data}, {row.model}"
            said.setdefault(getattr(row, what), []).append(name)
    lines = [f"- {'; '.join(names)}: {text}." for text, names in said.items()]
    return [title, *lines, ""] if lines else []


def _speed(rows: Iterable[tuple[Application, dict[str, Any]]]) -> list[str]:
    lines, older, busy = [], False, False
    ratios: dict[str, list[float]] = {count: [] for count in _THREADS}
    machines = set()
    for row, kept in rows:
        timings = kept.get("timings", {})
        if not timings:
            continue
        if "machine" in kept:
            machines.add(_machine(kept["machine"]))
        ways, figures = {}, []
        for count in _THREADS:
            timing = timings.get(count)
            if timing is None:
                figures += ["", "", ""]
                continue
            disturbed = load.warning(timing.get("busy")) is not None
            busy |= disturbed
            ways[count] = timing.get("way") or "packed, older"
            if timing.get("way"):
                ratios[count].append(timing["ratio"])
            else:
                older = True
            figures += [f"{1e3 * timing['median_step'][e]:.2f}" for e in _ENGINES]
            figures.append(f"{timing['ratio']:.2f}" + " (busy)" * disturbed)
        seconds = [""] * len(_NAMES)
        if "1" in timings:
            seconds = list(_wall_clock(timings["1"], kept.get("steps")))
        name = f"{row.application}, {row.data}"
        lines.append((name, row.model, _ways(ways), *figures, *seconds))
    if not lines:
        return []
    heads = []
    for count in _THREADS:
        threads = f"{count} thread{'s' * (count != '1')}"
        heads += [f"{threads}: ms a step, {_NAMES[0]}", _NAMES[1], "times"]
    seconds = [f"s, {name}" for name in _NAMES]
    return [
        f"{'; '.join(sorted(machines))}.\n" if machines else "",
        *([_OLDER] if older else []),
        _table(("row", "model", "PyTorch's way", *heads, *seconds), lines),
        *(["(busy): other programs used the machine.\n"] if busy else []),
        *(_mean(count, found) for count, found in ratios.items() if found),
    ]


def _ways(ways: dict[str, str]) -> str:
    """Return the way of each thread count, once if they are the same."""
    if len(set(ways.values())) == 1:
        return next(iter(ways.values()))
    return "; ".join(f"{count}: {way}" for count, way in ways.items())


def _mean(threads: str, ratios: Sequence[float]) -> str:
    return (
        f"With {threads} thread{'s' * (threads != '1')}, {len(ratios)} rows: the "
        f"geometric mean is {geometric_mean(ratios):.2f} times, the smallest "
        f"{min(ratios):.2f}.\n"
    )


def _machine(machine: dict[str, Any]) -> str:
    peer = f", PyTorch {machine['torch']}" if "torch" in machine else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {' '.join(machine['flags'])}; "
        f"Python {machine['python']}{peer}"
    )


def _wall_clock(timing: dict[str, Any], steps: int | None) -> Iterable[str]:
    """Return the seconds of a run of each engine, as far as they are known."""
    if timing["wall_clock"] is not None:
        return [f"{timing['wall_clock'][engine]:.1f}" for engine in _ENGINES]
    if steps is None:
        return ["" for _ in _ENGINES]
    return [f"~{timing['mean_step'][engine] * steps:.0f}" for engine in _ENGINES]


def _pictures(
    rows: Sequence[tuple[Application, dict[str, Any]]], folder: Path
) -> list[str]:
    folder.mkdir(exist_ok=True)
    drawn = [
        (row, kept["curves"])
        for row, kept in rows
        if all(engine in kept.get("curves", {}) for engine in _ENGINES)
    ]
    lines = ["## Pictures", ""]
    if drawn:
        draw_curves(drawn, folder / "curves.svg")
        lines += ["Losses of training and validation, seed 0, both engines.", ""]
        lines += ["![loss curves](pictures/curves.svg)", ""]
    for row, _ in rows:
        path = folder / f"{row.name}{row.picture}"
        if row.picture and path.exists():
            title = f"{row.application}, {row.data}"
            lines += [f"{title}:", "", f"![{title}](pictures/{path.name})", ""]
    return lines


def draw_curves(
    drawn: Sequence[tuple[Application, dict[str, Any]]], path: Path
) -> None:
    """Draw the losses over the steps, a panel for each row."""
    from matplotlib.figure import Figure

    columns = 4
    lines = -(-len(drawn) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for panel, (row, curves) in zip(panels, drawn, strict=False):
        for engine, colour in (("fastcell", "#1f5f8b"), ("torch", "#d98c3f")):
            for kind, line in (("train_loss", ":"), ("valid_loss", "-")):
                points = [
                    (step, loss)
                    for step, loss in zip(
                        curves[engine]["step"], curves[engine][kind], strict=True
                    )
                    if loss is not None
                ]
                if points:
                    panel.plot(
                        *zip(*points, strict=True),
                        line,
                        color=colour,
                        label=f"{_ENGINES[engine]}, {kind[:5]}",
                    )
        panel.set_title(f"{row.data}: {row.model}", fontsize=7)
        panel.tick_params(labelsize=7)
    for panel in panels[len(drawn) :]:
        panel.axis("off")
    figure.axes[0].legend(fontsize=6)
    figure.savefig(path, metadata={"Date": None})


def _printed(rows: Iterable[tuple[Application, dict[str, Any]]]) -> list[str]:
    lines = ["## Final output of the examples", ""]
    for row, kept in rows:
        if "printed" in kept:
            lines += [f"{row.application}, {row.data}:", "", "```text"]
            lines += [line[:160] for line in kept["printed"]]
            lines += ["```", ""]
    return lines


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))


def _spread(values: Sequence[float], digits: int) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"
