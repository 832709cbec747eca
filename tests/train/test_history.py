"""Plots of the history of a run."""

from __future__ import annotations

import sys

import pytest
from refusals import refuses

from fastcell.train import History

RECORDS = [
    {
        "step": step,
        "epoch": step / 10,
        "train_loss": 1 / step,
        "valid_loss": 2 / step,
        "valid_accuracy": accuracy,
        "learning_rate": 0.1,
        "tokens_per_second": 1000.0,
        "seconds": 1.0,
    }
    for step, accuracy in ((10, 0.5), (20, None), (30, 0.75))
]


@pytest.fixture
def matplotlib():
    matplotlib = pytest.importorskip("matplotlib")
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield matplotlib
    matplotlib.pyplot.close("all")
    matplotlib.use(before)


def curves(figure):
    return {
        (ax.get_ylabel(), line.get_label()): line.get_xydata().tolist()
        for ax in figure.axes
        for line in ax.get_lines()
    }


def test_curves_are_those_of_the_records(matplotlib):
    from matplotlib import pyplot

    figure = History(RECORDS).plot()
    assert figure in map(pyplot.figure, pyplot.get_fignums())
    assert curves(figure) == {
        ("loss", "train"): [[10, 1 / 10], [20, 1 / 20], [30, 1 / 30]],
        ("loss", "valid"): [[10, 2 / 10], [20, 2 / 20], [30, 2 / 30]],
        ("accuracy", "valid"): [[10, 0.5], [30, 0.75]],
    }


def test_run_without_validation_has_one_curve(matplotlib):
    records = [{**r, "valid_loss": None, "valid_accuracy": None} for r in RECORDS]
    assert set(curves(History(records).plot())) == {("loss", "train")}


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_picture_goes_to_a_file(matplotlib, tmp_path, suffix, start):
    from matplotlib import pyplot

    path = tmp_path / f"history.{suffix}"
    History(RECORDS[:1]).plot(path)
    assert path.read_bytes().startswith(start)
    assert pyplot.get_fignums() == []


def test_nothing_to_plot():
    refuses(ValueError, ["at least one record"], History().plot)


def test_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refuses(ImportError, ["pip install matplotlib"], History(RECORDS).plot)
