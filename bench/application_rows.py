"""The applications: which example is run on what, what it prints, what is published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Application:
    """A row of docs/results.md."""

    #: What it is called on the command line.
    name: str
    application: str
    #: The data, as the table says it.
    data: str
    #: The file in examples/, and its arguments; {data} is the folder of all data sets.
    example: str
    arguments: tuple[str, ...]
    #: What the table says the figure is.
    metric: str
    #: The line of the example that holds it.
    pattern: str
    #: Whether more is better.
    more: bool
    #: A figure to reach in ten minutes, and what papers have.
    target: float
    published: str
    model: str
    #: How many decimals the figure has.
    digits: int = 1
    #: What was tried where the target is missed.
    note: str = ""
    #: The example draws: what `--plot` is given, by its ending.
    picture: str = ""


_PERCENT = r"^accuracy: ([\d.]+)%"

ROWS = [
    Application(
        "sst",
        "sentiment",
        "SST, binary",
        "sentiment",
        ("{data}/sst", "--name", "sst.binary"),
        "accuracy, %",
        _PERCENT,
        True,
        82.0,
        "82.7, CNN with random vectors, trained on phrases too (Kim 2014)",
        "BiLSTM-100, maximum over words",
    ),
    Application(
        "trec",
        "question types",
        "TREC",
        "sentiment",
        ("{data}/trec", "--name", "trec"),
        "accuracy, %",
        _PERCENT,
        True,
        89.0,
        "91.2, CNN with random vectors (Kim 2014)",
        "BiLSTM-100, maximum over words",
    ),
    Application(
        "splice",
        "DNA",
        "splice, 10-fold",
        "dna",
        ("{data}/splice",),
        "accuracy, %",
        _PERCENT,
        True,
        95.0,
        "96.2, CNN (Nguyen et al. 2016)",
        "BiLSTM-64, read at the junction",
    ),
    Application(
        "vowels",
        "speaker",
        "Japanese Vowels",
        "speaker",
        ("{data}/japanese_vowels",),
        "accuracy, %",
        _PERCENT,
        True,
        95.0,
        "94.1 (Kudo et al. 1999)",
        "BiLSTM-64",
    ),
    Application(
        "digits",
        "image classes",
        "MNIST, row by row",
        "digits",
        ("{data}/mnist",),
        "accuracy, %",
        _PERCENT,
        True,
        98.0,
        "none for rows; pixel by pixel LSTM 87.2, GRU 96.2 (Bai et al. 2018)",
        "LSTM-128",
    ),
]

APPLICATIONS = {row.name: row for row in ROWS}
