"""The table of bits per character: sizes, training as the command's, page and order."""

from __future__ import annotations

import re

import bits
import numpy as np
import pytest

import fastcell
from fastcell.cli.corpus import read_corpus
from fastcell.cli.settings import Settings

PAGE = f"# Cells\n\n{bits.BEGIN}\nold\n{bits.END}\n\nthe end\n"


@pytest.fixture(scope="module")
def corpus():
    before = fastcell.get_num_threads()
    yield read_corpus(Settings(threads=1))
    fastcell.set_num_threads(before)


@pytest.mark.parametrize("wanted", [1, 2, 9, 12, 13, 100, 101, 10**6])
def test_the_nearest_size_is_that_of_a_search_of_all(wanted):
    def size_of(units):
        return 3 * units * units + 5 * units + 1

    every = range(2, 1000)
    expected = min(every, key=lambda units: abs(size_of(units) - wanted))
    assert bits.nearest(size_of, wanted) == expected


@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm_projected", "min_gru", "slstm"])
def test_sizes_have_about_the_parameters_of_the_lstm(corpus, cell):
    wanted = bits.parameters_of(corpus, "lstm", 24)
    units = bits.nearest(lambda size: bits.parameters_of(corpus, cell, size), wanted)
    off = [
        abs(bits.parameters_of(corpus, cell, units + k) - wanted) for k in (-1, 0, 1)
    ]
    assert off[1] == min(off)
    assert off[1] <= 0.05 * wanted
    assert (units == 24) == (cell in ("lstm", "slstm"))


def test_training_is_that_of_the_command(corpus, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(fastcell.data.demo_text())
    out = tmp_path / "model.safetensors"
    command = ["train", text, "--cell", "gru", "--hidden-size", 9, "--steps", 5]
    command += ["--threads", 1, "--quiet", "--out", out]
    assert fastcell.cli.main([str(word) for word in command]) == 0
    expected = re.search(r"valid +([\d.]+)", capsys.readouterr().out)[1]
    row = bits.measured(bits.sized(corpus, "gru", 9), 5, 0.0)
    assert f"{row.bits:.3f}" == expected
    assert (row.cell, row.hidden_size, row.trained) == ("gru", 9, 5 * 32 * 64)
    arrays = fastcell.load(out).state_dict().values()
    assert row.parameters == sum(array.size for array in arrays)
    assert row.training > 0
    assert row.writing > 0


def test_seconds_choose_the_steps(corpus):
    short, long = (
        bits.measured(bits.sized(corpus, "rnn", 3), None, seconds).trained
        for seconds in (0.3, 3.0)
    )
    assert long > 2 * short


def test_a_training_that_diverges_is_a_row(corpus, monkeypatch):
    monkeypatch.setattr(bits, "schedule_of", lambda steps: lambda step: 1e30)
    with np.errstate(all="ignore"):
        row = bits.measured(bits.sized(corpus, "rnn_relu", 5), 40, 0.0)
    assert row.bits is None


def test_the_table_has_the_least_bits_first():
    rows = [
        bits.Row("gru", 5, 1234, 10_000, 2.5, 1e6, 2e4),
        bits.Row("ligru", 6, 1200, 10_000, None, 1e6, 2e4),
        bits.Row("lstm", 4, 1300, 10_000, 2.25, 9.5e5, 1.9e4),
    ]
    text = bits.table(rows, Settings(threads=2), "30 s")
    lines = text.splitlines()
    assert lines[2] == "| `lstm` | 4 | 1,300 | 10,000 | 2.250 | 950,000 | 19,000 |"
    cells = [line.split(" | ")[0] for line in lines[2:5]]
    assert cells == ["| `lstm`", "| `gru`", "| `ligru`"]
    assert "diverged" in lines[4]
    assert "30 s of training each" in lines[-1]
    assert len({line.count("|") for line in lines[:5]}) == 1


def test_the_table_replaces_what_is_between_the_markers():
    once = bits.between(PAGE, "| a |")
    assert once == f"# Cells\n\n{bits.BEGIN}\n\n| a |\n\n{bits.END}\n\nthe end\n"
    assert bits.between(once, "| b |") == once.replace("| a |", "| b |")


@pytest.mark.parametrize(
    "page", ["", PAGE + PAGE, PAGE.replace(bits.END, ""), f"{bits.END}\n{bits.BEGIN}"]
)
def test_a_page_without_both_markers_is_refused_before_the_training(page, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(ValueError, match="each once"):
        bits.main(["--page", str(path), "--steps", "1"])


def test_a_run_writes_the_page(tmp_path, capsys):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    words = ["--page", path, "--steps", 2, "--cells", "gru,lstm", "--lstm", 4]
    before = fastcell.get_num_threads()
    assert bits.main([*map(str, words), "--threads", "1"]) == 0
    fastcell.set_num_threads(before)
    text = capsys.readouterr().out.rstrip("\n")
    assert {"`gru`", "`lstm`"} <= set(text.split())
    assert path.read_text() == bits.between(PAGE, text)
