"""``fastcell bench --against``, ``--compare``, ``--plot``: peers, older runs, files."""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from types import ModuleType

import numpy as np
import pytest

import fastcell
from fastcell._judge import engines, load, own
from fastcell._judge.engines import Run
from fastcell._judge.measure import geometric_mean
from fastcell.cli.measure import duration

BRIEF = ["--quick", "--seconds", "0.003"]
TINY = [*BRIEF, "--shapes", "3x2x8,1x1x5", "--cells", "gru,rnn"]
ONE = ["--shapes", "3x2x8", "--cells", "gru", "--modes", "forward", "--threads", "1"]
SHORT = [*ONE, *BRIEF]


class Twin(own.Engine):
    """A peer that computes as fastcell does."""

    label = "Twin"

    def __init__(self):
        self.threads = []

    def has(self, cell):
        return cell != "lstm_projected"

    def versions(self):
        return {"twin": "1.2"}

    def instruction_set(self):
        return None

    def set_num_threads(self, n):
        super().set_num_threads(n)
        self.threads.append(n)


def add_peer(monkeypatch, name, engine, *packages):
    """Let the command line know a peer whose module has this engine."""
    module = ModuleType(f"peer_{name}")
    module.Engine = lambda: engine
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(engines.PEERS, name, (module.__name__, packages))
    return engine


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """A machine on which nothing else runs."""
    monkeypatch.setattr(load, "busy_share", lambda: 0.0)


@pytest.fixture
def twin(monkeypatch):
    return add_peer(monkeypatch, "twin", Twin())


def table(out):
    """The table's rows, each as a dict; it is checked to be aligned."""
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


# ------------------------------------------------------------------------------ peers


def test_a_row_has_both_times_and_their_ratio(tmp_path, run, twin):
    path = tmp_path / "figures.json"
    options = ["--against", "twin", "--threads", "1,2", "--json", path]
    code, out, err = run("bench", *TINY, *options)
    assert (code, err) == (0, "")
    figures = json.loads(path.read_text())["figures"]
    # 2 cells; forward and train of 2 shapes with 1 and 2 threads; step of the 1x1x5
    assert len(table(out)) == len(figures) == 2 * (2 * 2 * 2 + 1)
    ratios = []
    for row, figure in zip(table(out), figures, strict=True):
        peer = figure["peers"]["Twin"]
        ratios.append(peer["median"] / figure["median"])
        assert statistics.median(peer["blocks"]) == peer["median"]
        assert (row["mode"], row["threads"]) == (figure["mode"], str(figure["threads"]))
        assert row["fastcell"] == duration(figure["median"])
        assert row["Twin"] == duration(peer["median"])
        assert figure["ratios"] == {"Twin": ratios[-1]}
        assert row["to Twin"].partition(" ")[0] == f"{ratios[-1]:.2f}"
        assert figure["largest_difference"] == 0
    mean = (
        f"Geometric mean of the ratios to Twin: {geometric_mean(ratios):.2f} (forward"
    )
    assert mean in out
    assert f"smallest {min(ratios):.2f}: " in out
    assert "Twin: twin 1.2" in out


def test_engines_that_differ_are_an_error_and_not_timed(
    tmp_path, run, twin, monkeypatch
):
    calls = []

    def forward(case, weights, x):
        run = own.Engine.forward(twin, case, weights, x)[0]

        def read(result):
            calls.append(1)
            arrays = run.read(result)
            return {**arrays, "y": arrays["y"] * np.float32(1.001)}

        return [Run(run.label, run.call, read)]

    monkeypatch.setattr(twin, "forward", forward)
    path = tmp_path / "figures.json"
    code, out, err = run("bench", *SHORT, "--against", "twin", "--json", path)
    assert code == 2
    assert re.fullmatch(r"fastcell: error: [^\n]+\n", err)
    told = "forward gru 3x2x8, 1 thread: fastcell and Twin differ by 1.0e-03 in y"
    assert told in err
    assert table(out) == []
    assert len(calls) == 1
    report = json.loads(path.read_text())
    assert (report["complete"], report["figures"]) == (False, [])


def test_a_peer_that_fails_is_one_line(run, twin, monkeypatch):
    class PeersOwnError(Exception):
        pass

    def forward(case, weights, x):
        raise PeersOwnError("no\nroom")

    monkeypatch.setattr(twin, "forward", forward)
    code, _, err = run("bench", *SHORT, "--against", "twin")
    assert code == 2
    told = "forward gru 3x2x8, 1 thread: PeersOwnError: no room"
    assert err == f"fastcell: error: {told}\n"


def test_the_fastest_way_of_a_peer_counts(tmp_path, run, twin, monkeypatch):
    def forward(case, weights, x):
        run = own.Engine.forward(twin, case, weights, x)[0]

        def slow():
            time.sleep(0.002)
            return run.call()

        return [Run("Twin slow", slow, run.read), Run("Twin quick", run.call, run.read)]

    monkeypatch.setattr(twin, "forward", forward)
    path = tmp_path / "figures.json"
    code, out, _ = run("bench", *SHORT, "--against", "twin", "--json", path)
    assert code == 0
    (figure,) = json.loads(path.read_text())["figures"]
    assert set(figure["peers"]) == {"Twin slow", "Twin quick"}
    assert table(out)[0]["Twin"] == duration(figure["peers"]["Twin quick"]["median"])


def test_peers_get_the_threads_that_were_asked_for(run, twin):
    before = fastcell.get_num_threads()
    options = ["--against", "twin", "--threads", "2,3", "--modes", "forward"]
    assert run("bench", *TINY, *options)[0] == 0
    assert twin.threads == [2, 3] * 4
    assert fastcell.get_num_threads() == before


def test_several_peers_have_columns_of_their_own(run, twin, monkeypatch):
    class Other(Twin):
        label = "Other"
        train = engines.BaseEngine.train

        def has(self, cell):
            return cell == "rnn"

    add_peer(monkeypatch, "other", Other())
    options = ["--against", "twin", "--against", "other,twin", "--threads", "1"]
    code, out, _ = run("bench", *TINY, *options)
    assert code == 0
    columns = ["fastcell", "Twin", "to Twin", "Other", "to Other"]
    assert list(table(out)[0])[4:] == columns
    for row in table(out):
        assert row["Twin"]
        assert row["to Twin"]
        had = row["cell"] == "rnn" and row["mode"] != "train"
        assert bool(row["Other"]) == bool(row["to Other"]) == had


def test_modes_and_cells_that_no_peer_has_are_left_out_or_refused(
    run, twin, monkeypatch
):
    monkeypatch.setattr(Twin, "train", engines.BaseEngine.train)
    code, out, _ = run("bench", *TINY, "--against", "twin", "--threads", "1")
    assert code == 0
    assert {row["mode"] for row in table(out)} == {"forward", "step"}
    for option in (["--modes", "train"], ["--cells", "gru,lstm_projected"]):
        code, out, err = run("bench", *TINY, "--against", "twin", *option)
        assert (code, out) == (2, "")
        name = option[1].rpartition(",")[2]
        assert err == f"fastcell: error: {option[0]}: there is no {name} in Twin\n"


def test_a_peer_that_takes_its_threads_once_gets_one_number(run, twin, monkeypatch):
    monkeypatch.setattr(Twin, "threads_fixed", True)
    options = ["--against", "twin", "--modes", "forward"]
    code, out, err = run("bench", *TINY, *options, "--threads", "1,2")
    assert (code, out) == (2, "")
    assert "--threads: Twin takes its number of threads once" in err
    assert run("bench", *TINY, *options, "--threads", "2")[0] == 0
    # The mode step is of one thread.
    assert run("bench", *TINY, *options[:2], "--threads", "2")[0] == 2


def test_a_peer_that_is_not_installed_says_how_to_install_it(run, monkeypatch):
    packages = ("no_such_package", "another")
    monkeypatch.setitem(engines.PEERS, "torch", ("fastcell._judge.torch", packages))
    code, out, err = run("bench", *ONE, "--against", "torch")
    assert (code, out) == (2, "")
    assert err == (
        "fastcell: error: --against torch: package 'no_such_package' is not installed; "
        "pip install no_such_package another\n"
    )


def test_a_peer_that_is_installed_but_broken_is_no_absence(run, monkeypatch, tmp_path):
    (tmp_path / "broken_peer.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(engines.PEERS, "x", ("nowhere", ("broken_peer",)))
    code, out, err = run("bench", *ONE, "--against", "x")
    assert (code, out) == (2, "")
    assert (
        "--against x: cannot be imported: No module named 'no_such_dependency'" in err
    )


# --------------------------------------------------------------------- a busy machine


def test_a_busy_machine_is_told_above_the_table_and_below(tmp_path, run, monkeypatch):
    shares = iter([0.63, 0.0, 0.4])
    monkeypatch.setattr(load, "busy_share", lambda: next(shares))
    path = tmp_path / "figures.json"
    code, out, _ = run("bench", *TINY, "--threads", "1", "--json", path)
    assert code == 0
    above, _, below = out.partition("| mode")
    assert "warning: other programs use 63% of the cores" in above
    assert "step: warning: other programs use 40% of the cores" in below
    assert "40%" not in above
    assert list(json.loads(path.read_text())["warnings"]) == ["forward", "step"]


def test_a_quiet_machine_is_not_told(run):
    code, out, _ = run("bench", *SHORT)
    assert code == 0
    assert "warning" not in out


# ----------------------------------------------------------------------- an older run


@pytest.fixture
def older(tmp_path, run):
    """The result of a run of the command `SHORT`."""
    path = tmp_path / "older.json"
    assert run("bench", *SHORT, "--json", path)[0] == 0
    return path


def change(path, **changes):
    """Change the first figure of a result."""
    report = json.loads(path.read_text())
    report["figures"][0].update(changes)
    path.write_text(json.dumps(report))


def test_figures_are_compared_with_those_of_the_same_work(tmp_path, run, older):
    earlier = 3 * json.loads(older.read_text())["figures"][0]["median"]
    change(older, median=earlier)
    path = tmp_path / "new.json"
    options = ["--shapes", "3x2x8,2x2x8", "--threads", "1,2"]
    code, out, err = run("bench", *SHORT, *options, "--compare", older, "--json", path)
    assert (code, err) == (0, "")
    figures = json.loads(path.read_text())["figures"]
    rows = table(out)
    compared = [(row["shape"], row["threads"]) for row in rows if row["before"]]
    assert compared == [("3x2x8", "1")]
    ratio = earlier / figures[0]["median"]
    assert [figure["ratios"]["before"] for figure in figures] == [ratio, *[None] * 3]
    assert rows[0]["before"] == duration(earlier)
    assert rows[0]["to before"] == f"{ratio:.2f}"
    assert f"Geometric mean of the ratios to before: {ratio:.2f}; smallest" in out
    assert f"before: {older}, fastcell {fastcell.__version__}" in out


def test_a_peer_and_an_older_run_stand_side_by_side(run, older, twin):
    code, out, _ = run("bench", *SHORT, "--compare", older, "--against", "twin")
    assert code == 0
    columns = ["fastcell", "Twin", "to Twin", "before", "to before"]
    assert list(table(out)[0])[4:] == columns
    assert "ratios to Twin" in out
    assert "ratios to before" in out


def test_a_ratio_below_the_least_is_exit_code_1(run, older):
    change(older, median=1e-9)
    options = ["--compare", older, "--fail-below", "0.9"]
    code, out, err = run("bench", *SHORT, *options)
    assert (code, err) == (1, "")
    assert out.endswith("Below 0.9:\n\n- forward gru 3x2x8, 1 thread: 0.00 to before\n")
    change(older, median=1e9)
    code, out, _ = run("bench", *SHORT, *options)
    assert code == 0
    assert "Below" not in out


def test_only_the_same_precision_and_some_of_the_same_work_is_compared(run, older):
    code, out, err = run("bench", *SHORT, "--precision", "bf16", "--compare", older)
    assert (code, out) == (2, "")
    assert "is of precision float32; this run bf16" in err
    code, out, err = run("bench", *SHORT, "--shapes", "4x2x8", "--compare", older)
    assert (code, out) == (2, "")
    assert "it has none" in err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: [], "must be a dictionary; got []"),
        (lambda report: report.pop("machine") and report, "'machine'; it is missing"),
        (lambda report: report | {"figures": {}}, "figures must be a list"),
        (lambda report: report | {"figures": [1]}, "figures[0] must be a dictionary"),
        (lambda report: report | {"precision": 3}, "precision must be a text"),
        (
            lambda report: report | {"machine": {"cpu": "x"}},
            "'fastcell'; it is missing",
        ),
    ],
)
def test_what_is_no_result_is_refused_by_name(run, older, change, told):
    older.write_text(json.dumps(change(json.loads(older.read_text()))))
    code, out, err = run("bench", *SHORT, "--compare", older)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"fastcell: error: [^\n]+\n", err)
    assert told in err
    assert str(older) in err


@pytest.mark.parametrize(
    "changes",
    [{"median": 0}, {"median": "1"}, {"T": -1}, {"B": True}, {"cell": None}],
    ids=str,
)
def test_a_figure_that_is_none_is_refused_by_its_place(run, older, changes):
    change(older, **changes)
    code, out, err = run("bench", *SHORT, "--compare", older)
    assert (code, out) == (2, "")
    assert f"figures[0].{next(iter(changes))} must be" in err


@pytest.mark.parametrize("content", ["", "nothing", "[" * 100_000, "\xff"])
def test_a_file_that_is_no_json_is_refused(run, tmp_path, content):
    path = tmp_path / "old.json"
    path.write_bytes(content.encode("latin1"))
    code, out, err = run("bench", *SHORT, "--compare", path)
    assert (code, out) == (2, "")
    assert "must be a result of fastcell bench, in JSON; it is none" in err


# ------------------------------------------------------------------------------ files


def test_results_replace_results_and_empty_files_only(tmp_path, run, older):
    path = tmp_path / "precious.json"
    for content in ("{}", "a letter"):
        path.write_text(content)
        code, out, err = run("bench", *SHORT, "--json", path)
        assert (code, out) == (2, "")
        assert re.fullmatch(r"fastcell: error: --json: [^\n]+--force[^\n]+\n", err)
        assert path.read_text() == content
    path.write_text("")
    for _ in range(2):  # over the empty one, then over the result
        assert run("bench", *SHORT, "--json", path)[0] == 0
        assert json.loads(path.read_text())["complete"]
    path.write_text("a letter")
    assert run("bench", *SHORT, "--json", path, "--force")[0] == 0
    assert json.loads(path.read_text())["complete"]


def test_the_older_result_is_not_replaced_by_any_name(tmp_path, run, older):
    link = tmp_path / "link.json"
    os.link(older, link)
    before = older.read_text()
    for name in (older, link):
        code, out, err = run("bench", *SHORT, "--compare", older, "--json", name)
        assert (code, out) == (2, "")
        assert "they are one file (--force replaces it)" in err
        assert older.read_text() == before
    options = ["--compare", older, "--json", older, "--force"]
    assert run("bench", *SHORT, *options)[0] == 0
    assert older.read_text() != before


# ----------------------------------------------------------------------------- plots


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_ratios_are_drawn_and_drawn_again(tmp_path, run, twin, ending, start):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"ratios.{ending}"
    for _ in range(2):
        code, _, err = run("bench", *SHORT, "--against", "twin", "--plot", path)
        assert (code, err) == (0, "")
        assert path.read_bytes().startswith(start)


def test_every_ratio_has_a_bar(tmp_path, run, older, twin, monkeypatch):
    from fastcell._judge import plot

    drawn = []

    def draw(bars, file, *_, **__):
        drawn.extend(bars)
        file.write(b"x")

    monkeypatch.setattr(plot, "draw", draw)
    options = ["--compare", older, "--against", "twin", "--threads", "1,2"]
    path = tmp_path / "ratios.svg"
    results = tmp_path / "new.json"
    code, *_ = run("bench", *SHORT, *options, "--plot", path, "--json", results)
    assert code == 0
    figures = json.loads(results.read_text())["figures"]
    ratios = {(bar.series, bar.value) for bar in drawn}
    assert ratios == {
        ("Twin, 1 thread", figures[0]["ratios"]["Twin"]),
        ("Twin, 2 threads", figures[1]["ratios"]["Twin"]),
        ("before, 1 thread", figures[0]["ratios"]["before"]),
    }
    assert {(bar.mode, bar.cell, bar.shape) for bar in drawn} == {
        ("Forward", "gru", "3x2x8")
    }


def test_a_picture_of_others_is_not_replaced(tmp_path, run, twin):
    pytest.importorskip("matplotlib")
    path = tmp_path / "holiday.png"
    path.write_bytes(b"\x89PNG of the sea")
    options = ["--against", "twin", "--plot", path]
    code, out, err = run("bench", *SHORT, *options)
    assert (code, out) == (2, "")
    assert "--plot: " in err
    assert "must be a picture of fastcell bench; it is none (--force" in err
    assert path.read_bytes() == b"\x89PNG of the sea"
    assert run("bench", *SHORT, *options, "--force")[0] == 0
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_without_matplotlib_it_is_said_how_to_install_it(
    tmp_path, run, twin, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = tmp_path / "ratios.svg"
    code, out, err = run("bench", *SHORT, "--against", "twin", "--plot", path)
    assert (code, out) == (2, "")
    assert err.endswith("'matplotlib' is not installed; pip install matplotlib\n")
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--against pytorch", "--against"),
        ("--against twin --precision bf16", "--against compares in float32"),
        ("--plot ratios.svg", "--plot is of ratios"),
        ("--fail-below 1", "--fail-below is of ratios"),
        ("--against twin --fail-below 0", "--fail-below"),
        ("--against twin --plot ratios.txt", "must end with one of .png, .svg, .pdf"),
        ("--against twin --plot nowhere/ratios.svg", "nowhere/ratios.svg"),
        ("--against twin --plot same.png --json same.png", "they are one file"),
        ("--compare nowhere.json", "nowhere.json: No such file"),
        ("--compare .", "Is a directory"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    tmp_path, monkeypatch, run, twin, arguments, named
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("bench", *ONE, *arguments.split())
    assert (code, out) == (2, "")
    assert re.fullmatch(r"fastcell: error: [^\n]+\n", err), err
    assert named in err
    assert os.listdir() == []


# -------------------------------------------------------------------------- real peers


@pytest.fixture
def torch_threads():
    """Put PyTorch's number of threads back, which is of the process."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))


@pytest.mark.peers
@pytest.mark.parametrize("name", engines.PEERS)
def test_a_real_peer_agrees_and_is_timed(tmp_path, run, torch_threads, name):
    for package in engines.PEERS[name][1]:
        pytest.importorskip(package)
    path = tmp_path / "figures.json"
    options = ["--against", name, "--threads", "1", "--json", path]
    code, out, err = run("bench", "--shapes", "3x2x5x8,1x1x7", *BRIEF, *options)
    assert (code, err) == (0, "")
    rows = table(out)
    assert {row["cell"] for row in rows} == {"lstm", "gru", "rnn"}
    modes = {
        "torch": {"forward", "train", "step"},
        "jax": {"forward", "train"},
    }.get(name, {"forward", "step"})
    assert {row["mode"] for row in rows} == modes
    label = list(rows[0])[5]
    assert all(row[label] and row[f"to {label}"] for row in rows)
    report = json.loads(path.read_text())
    assert report["versions"]
    for figure in report["figures"]:
        assert 0 < figure["largest_difference"] < 1e-5


@pytest.mark.peers
def test_torch_runs_with_the_threads_that_are_asked_for(
    run, torch_threads, monkeypatch
):
    torch = pytest.importorskip("torch")
    seen = []
    layer = torch.nn.GRU.forward
    monkeypatch.setattr(
        torch.nn.GRU,
        "forward",
        lambda *args: seen.append(torch.get_num_threads()) or layer(*args),
    )
    options = ["--against", "torch", "--modes", "forward", "--threads"]
    for threads in (2, 1):
        assert run("bench", *SHORT, *options, threads)[0] == 0
        assert set(seen) == {threads}
        seen.clear()
