"""Bits per character of every cell on tiny Shakespeare, at equal parameters.

Each cell is trained as ``fastcell train --cell NAME`` does, with the hidden size whose
number of parameters is nearest to that of a model with an LSTM. The table has the bits
on the last tenth of the text, and the speed of training and of writing.

    python bench/bits.py --seconds-per-cell 30 --page docs/cells.md
    python bench/bits.py --steps 2000 --cells lstm,gru,min_gru

With seconds, a faster cell reads more of the text; with steps, all read the same. The
table goes to stdout and, with --page, into a page between the lines

    <!-- bits: begin -->
    <!-- bits: end -->
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import fastcell
from fastcell._judge.load import busy_share, warning
from fastcell.cells import offered
from fastcell.cli.corpus import Corpus, read_corpus
from fastcell.cli.measure import machine
from fastcell.cli.settings import Settings
from fastcell.cli.training import default_prompt, model_of, schedule_of, steps_in
from fastcell.models import LanguageModel
from fastcell.train import Trainer

BEGIN, END = "<!-- bits: begin -->", "<!-- bits: end -->"
WRITTEN = 2000  # characters, three times
TEMPERATURE = 0.8


@dataclass(frozen=True)
class Row:
    """What was measured of a cell; the bits are None if its training diverged."""

    cell: str
    hidden_size: int
    parameters: int
    trained: int  # characters
    bits: float | None
    training: float  # characters a second
    writing: float


def main(arguments: list[str] | None = None) -> int:
    """Train all cells, print the table, and write it into the page."""
    given = _arguments(arguments)
    if given.page is not None:  # before an hour of training, and not after it
        between(given.page.read_text(), "")
    settings = Settings(seed=given.seed, threads=given.threads)
    corpus = read_corpus(settings)
    wanted = parameters_of(corpus, "lstm", given.lstm)
    rows = []
    for cell in given.cells:
        if (text := warning(busy_share())) is not None:
            print(text, file=sys.stderr)
        units = nearest(
            lambda size, cell=cell: parameters_of(corpus, cell, size), wanted
        )
        rows.append(measured(sized(corpus, cell, units), given.steps, given.seconds))
        print(_line(_cells_of(rows[-1])), file=sys.stderr, flush=True)
    each = f"{given.steps:,} steps" if given.steps else f"{given.seconds:g} s"
    text = table(rows, corpus.settings, each)
    print(text)
    if given.page is not None:
        given.page.write_text(between(given.page.read_text(), text))
    return 0


def nearest(size_of: Callable[[int], int], wanted: int) -> int:
    """Return the units from 2 whose `size_of`, which rises, is nearest to `wanted`.

    A cell with a projection has at least two.

    Examples
    --------
    >>> nearest(lambda units: units**2, 50), nearest(lambda units: units**2, 60)
    (7, 8)
    """
    low = high = 2
    while size_of(high) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size_of(middle) < wanted else (low, middle)
    return min(low, high, key=lambda units: abs(size_of(units) - wanted))


def sized(corpus: Corpus, cell: str, units: int) -> Corpus:
    """Return the text with the settings of a cell and its hidden size."""
    settings = replace(corpus.settings, cell=cell, hidden_size=units)
    return replace(corpus, settings=settings)


def parameters_of(corpus: Corpus, cell: str, units: int) -> int:
    """Return the number of parameters of a cell's model."""
    model, _ = model_of(sized(corpus, cell, units))
    return sum(array.size for array in model.params.arrays().values())


def measured(corpus: Corpus, steps: int | None, seconds: float) -> Row:
    """Train the model of the settings; return its figures.

    It is trained for a number of steps or, if that is None, for about some time, with
    the validation.
    """
    settings = corpus.settings
    steps = steps or steps_in(seconds, corpus, 1)
    model, optimizer = model_of(corpus)
    trainer = Trainer(
        model, optimizer, settings.clip, schedule_of(steps), progress=False
    )
    writing = writing_speed(model)  # now: a training that diverges leaves no weights
    bits = None
    begun = time.perf_counter()
    try:
        history = trainer.fit(
            corpus.train, corpus.valid, steps=steps, validate_every=steps
        )
        bits, speed = history[-1]["valid_bpc"], history[-1]["tokens_per_second"]
    except FloatingPointError as error:
        print(f"{settings.cell}: {error}", file=sys.stderr)
        of_a_step = settings.batch_size * settings.sequence_length
        speed = trainer.step * of_a_step / (time.perf_counter() - begun)
    return Row(
        settings.cell,
        settings.hidden_size,
        sum(array.size for array in model.params.arrays().values()),
        steps * settings.batch_size * settings.sequence_length,
        bits,
        speed,
        writing,
    )


def writing_speed(model: LanguageModel) -> float:
    """Return the characters that one stream writes in a second, a median of three."""
    prompt = default_prompt(model.vocabulary.symbols)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        model.generate(prompt, WRITTEN, TEMPERATURE, seed=0)
        times.append(time.perf_counter() - begun)
    return WRITTEN / statistics.median(times)


def table(rows: Iterable[Row], settings: Settings, each: str) -> str:
    """Return the table in Markdown, the least bits first, and what it was made with."""
    header = [
        "model",
        "hidden size",
        "parameters",
        "characters trained on",
        "bits per character",
        "training, characters/s",
        "writing, characters/s",
    ]
    ordered = sorted(rows, key=lambda row: (row.bits is None, row.bits or 0.0))
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *map(_cells_of, ordered)]
    here = machine()
    made = (
        f"{each} of training each, seed {settings.seed}, {settings.threads} threads; "
        f"fastcell {fastcell.__version__}, {here['isa']}, {here['cpu']}."
    )
    return "\n".join([*map(_line, lines), "", made])


def between(page: str, text: str) -> str:
    """Return a page with a text between its two markers, each alone on a line.

    Raises
    ------
    ValueError
        If the page does not have each marker once, in their order.

    Examples
    --------
    >>> print(between(f"a\\n{BEGIN}\\nold\\n{END}\\nb", "new"))
    a
    <!-- bits: begin -->
    <BLANKLINE>
    new
    <BLANKLINE>
    <!-- bits: end -->
    b
    """
    lines = page.split("\n")
    places = [i for i, line in enumerate(lines) if line in (BEGIN, END)]
    if [lines[i] for i in places] != [BEGIN, END]:
        raise ValueError(f"the page must have the lines {BEGIN} and {END}, each once")
    first, last = places
    return "\n".join([*lines[: first + 1], "", text, "", *lines[last:]])


def _cells_of(row: Row) -> list[str]:
    return [
        f"`{row.cell}`",
        f"{row.hidden_size}",
        f"{row.parameters:,}",
        f"{row.trained:,}",
        "diverged" if row.bits is None else f"{row.bits:.3f}",
        f"{row.training:,.0f}",
        f"{row.writing:,.0f}",
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds-per-cell",
        dest="seconds",
        type=float,
        default=30.0,
        help="time to train each for (default: 30)",
    )
    length.add_argument("--steps", type=_count, help="train each for that many steps")
    parser.add_argument(
        "--cells",
        type=_cells,
        default=[name for name in offered() if name != "rnn"],
        metavar="C,C",
        help="(default: all)",
    )
    parser.add_argument(
        "--lstm",
        type=_count,
        default=128,
        metavar="UNITS",
        help="hidden size of the LSTM that has the number of parameters (default: 128)",
    )
    parser.add_argument("--threads", type=_count, help="(default: all cores)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--page", type=Path, help="a page to write the table into")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {text}")
    return value


def _cells(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in offered():
            raise argparse.ArgumentTypeError(
                f"must be of {', '.join(offered())}; got {name!r}"
            )
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    sys.exit(main())
