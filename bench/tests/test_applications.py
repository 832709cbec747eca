"""Tests of bench/applications: turns, training of the twins, and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from applications import command as applications
from applications import page as results_page
from applications import pair
from applications.pair import ENGINES, Failure, Side, alone, in_turns, metrics
from applications.rows import APPLICATIONS

EXAMPLE = """
import sys
import numpy as np
from fastcell.data import Sequences
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam
from fastcell.train import Trainer

random = np.random.default_rng(0)
y = random.integers(0, 2, 200)
x = [row + random.standard_normal((n, 1)) / 2
     for row, n in zip(y[:, None] - 0.5, random.integers(3, 9, 200))]
x = [row.astype(np.float32) for row in x]
if "--break" in sys.argv:
    raise ValueError("broken")
model = SequenceClassifier(1, 8, 2, dropout=float(sys.argv[-1]), seed=0)
data = Sequences(x, y, 20, seed=0)
trainer = Trainer(model, Adam(model.params, lr=0.02), 1.0)
trainer.fit(data, data, epochs=int(sys.argv[-3]))
print(f"accuracy: {trainer.assess(data)['accuracy']:.2%}")
print(f"loss: {trainer.assess(data)['loss']:.9f}")
"""
#: Batches of different length; the model reads the LSTM's last h and c.
FORECASTS = """
import numpy as np
from fastcell.models import Forecaster
from fastcell.optim import Adam
from fastcell.train import Trainer

x = np.random.default_rng(0).standard_normal((7, 3, 2), np.float32)
data = [(x[:5], np.array([5, 2, 3]), x[5:])] * 10
model = Forecaster(2, 4, seed=0)
Trainer(model, Adam(model.params), 1.0).fit(data, data, epochs=2)
"""
PATTERNS = {"accuracy": r"^accuracy: ([\d.]+)%", "loss": r"^loss: ([\d.]+)"}


@pytest.fixture
def commands(tmp_path):
    path = tmp_path / "example.py"
    path.write_text(EXAMPLE)
    options = ["--threads", "1", "--epochs", "4", "--dropout", "0"]
    return {engine: [str(path), *options] for engine in ENGINES}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "run"
    made.mkdir()
    return made


@pytest.mark.peers
def test_turns_train_the_same_model_on_both_sides(commands, folder):
    pytest.importorskip("torch")
    sides, timing = in_turns(commands, folder)
    own, peer = (metrics(sides[e].printed, PATTERNS) for e in ENGINES)
    assert sides["fastcell"].steps == sides["torch"].steps == 40
    assert own["accuracy"] > 90
    # The same weights and batches, and no dropout: the same model.
    assert own["loss"] == pytest.approx(peer["loss"], rel=1e-3)
    assert own["loss"] != peer["loss"]
    assert timing.turns >= 1
    own_steps = [steps for steps, _ in sides["fastcell"].turns]
    assert sum(own_steps) == 40
    assert own_steps == [steps for steps, _ in sides["torch"].turns]
    for engine in ENGINES:
        spent = sum(seconds for _, seconds in sides[engine].turns)
        assert timing.wall_clock[engine] == pytest.approx(spent)
        assert len(sides[engine].runs[0]["history"]) == 4


@pytest.mark.peers
def test_ways_of_pytorch_train_the_same_model_in_turns(commands, folder):
    pytest.importorskip("torch")
    own, peer = commands.values()
    ways = {f"torch:{way}": peer for way in ("padded", "packed")}
    sides, timing = in_turns({"fastcell": own} | ways, folder)
    losses = [metrics(side.printed, PATTERNS)["loss"] for side in sides.values()]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-3)
    assert all(sides[way].ragged for way in ways)
    assert set(timing.ways) == {"padded, eager", "packed, eager"}
    assert timing.ratio == min(timing.ways.values()) == timing.ways[timing.way]
    assert timing.left_out == {}


@pytest.mark.peers
def test_a_way_that_cannot_do_it_is_left_out_with_its_reason(tmp_path, folder):
    pytest.importorskip("torch")
    example = tmp_path / "example.py"
    example.write_text(FORECASTS)
    command = [str(example), "--threads", "1", "--epochs", "2", "--dropout", "0"]
    sides = ("fastcell", "torch:padded", "torch:packed")
    _, timing = in_turns(dict.fromkeys(sides, command), folder)
    assert timing.way == "packed, eager"
    assert list(timing.left_out) == ["torch:padded"]
    assert "c at the ends" in timing.left_out["torch:padded"]
    (folder / "alone").mkdir()
    assert alone("torch", command, folder / "alone").steps == 20
    (folder / "none").mkdir()
    with pytest.raises(Failure, match="no way of PyTorch"):
        in_turns(dict.fromkeys(sides[:2], command), folder / "none")


def side(pace, turns=8, ragged=True):
    return Side(turns=[(1, 9.0), *[(4, 4 * pace)] * turns], ragged=ragged)


def test_the_fastest_way_counts_and_is_named():
    sides = {"fastcell": side(1.0), "torch:padded": side(2.0), "torch:packed": side(5)}
    timing = pair._timing(sides, {"fastcell", "torch:padded"})
    assert (timing.way, timing.ratio) == ("padded, eager", 2.0)
    assert timing.ways == {"padded, eager": 2.0, "packed, eager": 5.0}
    assert timing.wall_clock == {"fastcell": 41.0, "torch": 73.0}
    sides["torch:compiled"] = side(1.5, turns=3)
    timing = pair._timing(sides, set())
    assert (timing.way, timing.ratio) == ("padded, compiled", 1.5)
    assert (timing.wall_clock, timing.turns) == (None, 3)


def test_without_padding_packed_is_not_a_way():
    sides = {"torch:padded": side(3.0, ragged=False), "torch:packed": side(2.0, 5)}
    sides["torch:packed"].ragged = False
    timing = pair._timing({"fastcell": side(1.0)} | sides, set())
    assert timing.ways == {"no padding, eager": 3.0}


def tried(**sides):
    """Return the sides that in_turns leaves out."""

    class Peer:
        def __init__(self, engine, side):
            self.engine, self.side = engine, side

    peers = [Peer(f"torch:{way}", side) for way, side in sides.items()]
    return [p.engine for p in pair._not_worth_it(Peer("fastcell", side(1.0)), peers)]


def test_a_way_is_left_out_when_it_is_clearly_slower_or_the_same():
    assert tried(padded=side(1.0), packed=side(1.2)) == []
    assert tried(padded=side(1.0), packed=side(1.3)) == ["torch:packed"]
    assert tried(padded=side(2.0), packed=side(1.3)) == ["torch:padded"]
    assert tried(padded=side(1.0), packed=side(1.3, turns=4)) == []
    alike = tried(padded=side(1, ragged=False), packed=side(1, ragged=False))
    assert alike == ["torch:packed"]
    assert tried(packed=side(1, ragged=False)) == []


@pytest.mark.peers
def test_a_run_cut_short_has_no_wall_clock(commands, folder):
    pytest.importorskip("torch")
    for command in commands.values():
        command[-3] = "1000"
    sides, timing = in_turns(commands, folder, seconds=1e-9)
    assert timing.wall_clock is None
    assert timing.turns == 1
    for engine in ENGINES:
        steps, seconds = sides[engine].turns[1]
        assert timing.mean_step[engine] == pytest.approx(seconds / steps)


@pytest.mark.peers
@pytest.mark.parametrize("engine", ENGINES)
def test_a_side_alone_gives_its_figures(engine, commands, folder):
    pytest.importorskip("torch")
    commands[engine][-1] = "0.5"
    side = alone(engine, commands[engine], folder)
    assert metrics(side.printed, PATTERNS)["accuracy"] > 80
    assert side.runs[0]["parameters"] == 4 * 8 * (1 + 8 + 2) + 2 * 8 + 2


def test_an_example_that_fails_is_an_error(commands, folder):
    command = [*commands["fastcell"][:1], "--break", *commands["fastcell"][1:]]
    with pytest.raises(Failure, match="broken"):
        alone("fastcell", command, folder)


def test_a_figure_that_is_not_printed_is_an_error():
    assert metrics("a: 1\na: 2.5\n", {"a": r"^a: ([\d.]+)"}) == {"a": 2.5}
    with pytest.raises(Failure, match="must be printed"):
        metrics("nothing", {"a": r"^a: ([\d.]+)"})


@pytest.mark.peers
def test_run_keeps_each_side_and_leaves_out_what_is_held(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    example = tmp_path / "examples" / "own.py"
    example.parent.mkdir()
    example.write_text(
        EXAMPLE.replace("sys.argv[-3]", '"2"').replace("sys.argv[-1]", "0")
    )
    for name in ("ROOT", "RESULTS", "PICTURES"):
        place = tmp_path / {"ROOT": ".", "RESULTS": "r.json", "PICTURES": "p"}[name]
        monkeypatch.setattr(applications, name, place)
    row = replace(APPLICATIONS["sst"], name="own", example="own", arguments=())
    assert applications.run([row], tmp_path, [0]) == []
    results = json.loads((tmp_path / "r.json").read_text())["own"]
    assert results["steps"] == 20
    assert all(results[e]["0"] > 50 for e in ENGINES)
    assert all(len(results["curves"][e]["step"]) == 2 for e in ENGINES)
    example.write_text("raise ValueError('broken')")
    assert applications.run([row], tmp_path, [0], missing=True) == []
    failures = applications.run([row], tmp_path, [0, 1], missing=True)
    assert [f.partition(": ")[0] for f in failures] == [
        f"own, seed 1, {engine}" for engine in ENGINES
    ]
    assert len(applications.run([row], tmp_path, [1], ["torch"])) == 1
    assert all("broken" in failure for failure in failures)


def kept(own, peer, wall_clock=None):
    curve = {"step": [1, 2], "train_loss": [2.0, 1.0], "valid_loss": [None, 1.5]}
    return {
        "fastcell": dict(enumerate(own)),
        "torch": dict(enumerate(peer)),
        "parameters": 12_345,
        "steps": 40,
        "curves": dict.fromkeys(ENGINES, curve),
        "printed": ["accuracy: 82.0%"],
        "machine": {"cpu": "Z80", "cores": 1, "flags": ["bcd"], "python": "3.1"},
        "timings": {
            "1": {
                "ratio": 2.5,
                "median_step": {"fastcell": 0.1, "torch": 0.25},
                "mean_step": {"fastcell": 0.1, "torch": 0.3},
                "wall_clock": wall_clock,
                "way": "padded, eager",
            }
        },
    }


def test_the_page_holds_the_figures_and_says_what_is_missed(tmp_path: Path):
    wall_clock = {"fastcell": 4.0, "torch": 10.0}
    results = {
        "sst": kept([82.0, 84.0], [83.0], wall_clock),
        "trec": kept([80.0], [81.0, 82.0]),
        "mr": {"timings": kept([], [])["timings"]},
    }
    results_page.write(json.loads(json.dumps(results)), tmp_path)
    page = (tmp_path / "results.md").read_text()
    assert "| at least 82 | 83.0 (82.0 to 84.0) | 83.0 | 2, 1 |" in page
    assert "12 k parameters" in page
    assert "\nZ80, 1 cores, bcd; Python 3.1.\n" in page
    quality = page.partition("### ")[0]
    missed = [line for line in quality.splitlines() if line.startswith("- ")]
    assert len(missed) == 2
    assert (
        "misses its aim, and is worse than PyTorch with its one seed, by 2" in missed[0]
    )
    assert "without a score so far: sentiment, MR, 10-fold." in missed[1]
    assert "| padded, eager | 100.00 | 250.00 | 2.50 |  |  |  | 4.0 | 10.0 |" in page
    assert "| padded, eager | 100.00 | 250.00 | 2.50 |  |  |  | ~4 | ~12 |" in page
    assert "With 1 thread, 3 rows: the geometric mean is 2.50 times" in page
    assert "older" not in page
    assert "sentiment, SST, two classes, BiLSTM-100, maximum over words: 87.5†" in page
    assert (tmp_path / "pictures" / "curves.svg").stat().st_size > 1000


def speed(tmp_path, timings):
    """Return the page's section on speed for one row with these timings."""
    results = {"sst": {**kept([82.0], [83.0]), "timings": timings}}
    results_page.write(results, tmp_path)
    return (tmp_path / "results.md").read_text().partition("## Speed")[2]


def test_the_page_has_both_thread_counts_and_the_way_of_each(tmp_path):
    (one,) = kept([], [])["timings"].values()
    two = one | {"way": "no padding, compiled", "ratio": 1.5, "busy": 0.5}
    page = speed(tmp_path, {"1": one, "2": two})
    assert "| 1: padded, eager; 2: no padding, compiled |" in page
    assert "| 100.00 | 250.00 | 2.50 | 100.00 | 250.00 | 1.50 (busy) |" in page
    assert "With 2 threads, 1 rows: the geometric mean is 1.50" in page
    assert "(busy): other programs" in page


def test_a_timing_of_packed_batches_only_is_marked_and_in_no_mean(tmp_path):
    (old,) = kept([], [])["timings"].values()
    del old["way"]
    page = speed(tmp_path, {"1": old})
    assert "| packed, older | 100.00 | 250.00 | 2.50 |" in page
    assert "Rows marked *packed, older* are" in page
    assert "geometric mean" not in page


def test_timing_resumes_where_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(applications, "RESULTS", tmp_path / "r.json")
    asked = []

    def in_turns(commands, folder, seconds):
        asked.append((list(commands), commands["fastcell"][-3], seconds))
        sides = {name: side(1.0) for name in commands}
        return sides, pair._timing(sides, set())

    monkeypatch.setattr(applications, "in_turns", in_turns)
    row = APPLICATIONS["sst"]
    ways = ("padded", "packed")
    applications.time_row(row, tmp_path, [2], 3.0, ways)
    applications.time_row(row, tmp_path, [1, 2], 3.0, ways, missing=True)
    everything = ["fastcell", "torch:padded", "torch:packed"]
    assert asked == [(everything, "2", 3.0), (everything, "1", 3.0)]
    timings = json.loads((tmp_path / "r.json").read_text())["sst"]["timings"]
    assert set(timings) == {"1", "2"}
    assert timings["1"]["way"] == "padded, eager"
    assert set(timings["1"]) >= {"ways", "left_out", "busy"}


def test_every_row_has_its_example():
    examples = Path(__file__).parents[2] / "examples"
    for row in APPLICATIONS.values():
        assert (examples / f"{row.example}.py").exists()
