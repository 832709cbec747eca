"""Programs of examples/pytorch: equal results after swapping all modules.

Speed is what the programs print, and no test's business.
"""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from examples_run import EXAMPLES, load
from tolerances import PEER_FLOAT32

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

import fastcell.torch  # noqa: E402
from fastcell.torch.layers import Layers  # noqa: E402

FOLDER = EXAMPLES / "pytorch"
PACKAGES = {
    "beats": "BeatNet.model",
    "deepar": "gluonts.torch",
    "recurrent_ppo": "sb3_contrib",
    "speaker_encoder": "resemblyzer",
    "tirex": "tirex2",
    "word_language_model": "torch",
}


@pytest.fixture
def program(monkeypatch):
    """Return a program as a module; skip where its package is missing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(FOLDER)

    def program(name):
        pytest.importorskip(PACKAGES[name])
        return load(f"pytorch/{name}")

    yield program
    torch.set_num_threads(threads)


@pytest.fixture
def run(program, monkeypatch, capsys):
    """Run a program; return its reports of swaps, largest errors and speeds."""

    def run(name, *arguments):
        module = program(name)
        reports = []
        accelerate = fastcell.torch.accelerate

        def noted(model):
            reports.append(accelerate(model))
            return reports[-1]

        monkeypatch.setattr(fastcell.torch, "accelerate", noted)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        module.main()
        printed = capsys.readouterr().out
        errors = re.findall(r"^largest error.*: (\S+)$", printed, re.MULTILINE)
        assert re.search(r"^lines changed: 2$", printed, re.MULTILINE)
        assert re.search(r", 1 thread$", printed, re.MULTILINE)
        speeds = re.findall(r"(\d+\.\d\d) times", printed)
        return reports, [float(e) for e in errors], [float(s) for s in speeds]

    return run


@pytest.fixture(autouse=True)
def all_by_fastcell(monkeypatch):
    """Fail where a swapped module leaves a call to PyTorch."""

    def left(module, *arguments):
        raise AssertionError(f"left to PyTorch: {module}")

    monkeypatch.setattr(Layers, "_refused", left)


def test_all_programs_are_here():
    names = {p.stem for p in FOLDER.glob("*.py")}
    assert names == {*PACKAGES, "before_after"}


@pytest.mark.parametrize("name", PACKAGES)
def test_help_has_the_whole_docstring(program, monkeypatch, capsys, name):
    module = program(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 0
    assert module.__doc__.strip() in capsys.readouterr().out
    assert f"python examples/pytorch/{name}.py" in module.__doc__


@pytest.mark.parametrize(
    ("name", "options", "swapped", "times"),
    [
        ("beats", ("--seconds", 2), ["lstm"], 2),
        ("deepar", ("--series", 3), ["model.rnn", "model.rnn"], 2),
        ("speaker_encoder", ("--seconds", 2), ["lstm"], 2),
        ("word_language_model", ("--characters", 20_000), ["lstm"], 1),
    ],
)
def test_programs_have_the_same_numbers(run, name, options, swapped, times):
    reports, [error], speeds = run(name, "--blocks", 1, *options)
    assert [key for report in reports for key in report.swapped] == swapped
    assert not any(report.skipped for report in reports)
    assert 0 < error <= PEER_FLOAT32
    assert len(speeds) == times


@pytest.mark.parametrize("given", ["made up", "csv"])
def test_tirex_draws_both_forecasts(run, tmp_path, given, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("flashrnn")
    monkeypatch.setitem(sys.modules, "statsmodels.datasets", None)
    picture, file = tmp_path / "both.png", tmp_path / "rows.csv"
    options = ["--model-blocks", 2, "--steps", 12, "--plot", picture]
    if given == "csv":
        rows = "".join(f"{day},{day % 7}\n" for day in range(200))
        file.write_text("day,value\n" + rows)
        options += ["--csv", file]
    [report], [error], speeds = run("tirex", "--blocks", 1, *options)
    assert "stack.0.time_mixer.fwd_cell" in report.swapped
    assert not report.skipped
    assert 0 < error <= PEER_FLOAT32
    assert len(speeds) == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_language_model_of_a_clone(run, tmp_path):
    data = tmp_path / "data" / "wikitext-2"
    data.mkdir(parents=True)
    (data / "train.txt").write_text(" = ř = \n\n the cat sat on the mat \n" * 200)
    (tmp_path / "model.py").write_text(
        "import torch\n"
        "class RNNModel(torch.nn.Module):\n"
        "    def __init__(self, kind, words, inputs, hidden, layers, dropout):\n"
        "        super().__init__()\n"
        "        self.encoder = torch.nn.Embedding(words, inputs)\n"
        "        self.rnn = getattr(torch.nn, kind)(inputs, hidden, layers)\n"
        "        self.decoder = torch.nn.Linear(hidden, words)\n"
        "    def forward(self, ids, hidden):\n"
        "        y, hidden = self.rnn(self.encoder(ids), hidden)\n"
        "        return self.decoder(y).flatten(0, 1), hidden\n"
    )
    reports, [error], _ = run("word_language_model", tmp_path, "--blocks", 1)
    assert list(reports[0].swapped) == ["rnn"]
    assert error <= PEER_FLOAT32


def test_a_clone_that_is_not_there(program, monkeypatch, capsys, tmp_path):
    module = program("word_language_model")
    monkeypatch.setattr(sys, "argv", ["word_language_model.py", str(tmp_path / "no")])
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "no") in line
    assert f"the data are from {module.SOURCE}" in line
    assert module.SOURCE in module.__doc__


# ------------------------------------------------------------------- recurrent PPO


def test_recurrent_ppo_has_the_same_numbers(run):
    options = ("--blocks", 1, "--seeds", 1, "--frames", 32)
    reports, errors, speeds = run("recurrent_ppo", *options)
    lstms = ["lstm_actor", "lstm_critic"]
    assert [list(report.swapped) for report in reports] == [lstms] * 4
    assert len(errors) == 2  # swapped, and with whole sequences
    assert all(0 < error <= PEER_FLOAT32 for error in errors)
    assert len(speeds) == 9


def test_recurrent_ppo_learns_the_same(program):
    made = program("recurrent_ppo").learners(frames=48, seed=3)
    for learner in made.values():
        learner.turn()
        assert len(learner.clock.seconds) == 1
    before = made.pop("before").model
    expected = before.policy.state_dict()
    for learner in made.values():
        rollout = learner.model.rollout_buffer
        assert (rollout.actions == before.rollout_buffer.actions).all()
        worst = np.abs(rollout.values - before.rollout_buffer.values).max()
        assert worst <= PEER_FLOAT32
        for name, value in learner.model.policy.state_dict().items():
            # Adam moves a number by its rate and more, however small the gradient is.
            assert (value - expected[name]).abs().max() < before.learning_rate, name


@pytest.mark.parametrize("starts", ["none", "all", "some", "padded"])
def test_whole_sequences_are_those_step_by_step(program, starts):
    module = program("recurrent_ppo")
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(2, 5)
    fastcell.torch.accelerate(lstm)
    rows, steps = 3, 7
    begins = torch.zeros(rows, steps)
    if starts == "all":
        begins[:] = 1
    elif starts == "some":
        begins[0, 3] = begins[0, 4] = begins[2, 0] = begins[1, 6] = 1
    elif starts == "padded":  # each sequence is an episode, as sb3-contrib cuts them
        begins[:, 0] = 1
    x = torch.randn(rows * steps, 2)
    state = torch.randn(1, rows, 5), torch.randn(1, rows, 5)
    results = []
    for policy in (module.RecurrentActorCriticPolicy, module.WholeSequences):
        y, new = policy._process_sequence(x, state, begins.flatten(), lstm)
        results.append((y.detach(), *(part.detach() for part in new)))
    for own, peer in zip(*results, strict=True):
        assert own.shape == peer.shape
        assert (own - peer).abs().max() <= PEER_FLOAT32


# -------------------------------------------------------------- what trains for others


class Tagger(torch.nn.Module):
    """A class for each word, by what comes before and after."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 5)
        self.lstm = torch.nn.LSTM(
            5, 7, 2, dropout=0.3, bidirectional=True, batch_first=True
        )
        self.scores = torch.nn.Linear(14, 3)

    def loss(self, ids, classes):
        y, _ = self.lstm(self.embedding(ids))
        return torch.nn.functional.cross_entropy(self.scores(y).mT, classes)


def batches():
    torch.manual_seed(1)
    ids, classes = torch.randint(0, 11, (12, 6)), torch.randint(0, 3, (12, 6))
    data = torch.utils.data.TensorDataset(ids, classes)
    # A generator of its own: a loader takes a number of it for each epoch.
    generator = torch.Generator()
    return torch.utils.data.DataLoader(data, batch_size=5, generator=generator)


def by_hand(tagger, data, _):
    optimizer = torch.optim.SGD(tagger.parameters(), lr=0.5)
    for _ in range(2):
        for ids, classes in data:
            optimizer.zero_grad()
            tagger.loss(ids, classes).backward()
            torch.nn.utils.clip_grad_norm_(tagger.parameters(), 0.3)
            optimizer.step()


def by_lightning(tagger, data, folder):
    lightning = pytest.importorskip("lightning")

    class Training(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.tagger = tagger

        def training_step(self, batch, _):
            return self.tagger.loss(*batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.5)

    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=2,
        gradient_clip_val=0.3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Training(), data)
    trainer.save_checkpoint(folder / "tagger.ckpt")
    kept = torch.load(folder / "tagger.ckpt", weights_only=True)["state_dict"]
    assert list(kept) == [f"tagger.{name}" for name in Tagger().state_dict()]


def by_accelerate(tagger, data, _):
    made = pytest.importorskip("accelerate").Accelerator(cpu=True)
    optimizer = torch.optim.SGD(tagger.parameters(), lr=0.5)
    prepared, optimizer, loader = made.prepare(tagger, optimizer, data)
    for _ in range(2):
        for ids, classes in loader:
            with made.accumulate(prepared):
                optimizer.zero_grad()
                made.backward(prepared.loss(ids, classes))
                made.clip_grad_norm_(prepared.parameters(), 0.3)
                optimizer.step()
    assert made.unwrap_model(prepared) is tagger


@pytest.mark.parametrize("loop", [by_lightning, by_accelerate])
def test_loops_of_others_train_the_same(tmp_path, loop):
    weights = []
    for train in (by_hand, loop):
        torch.manual_seed(0)
        tagger = Tagger()
        first = {name: value.clone() for name, value in tagger.state_dict().items()}
        if train is loop:
            assert list(fastcell.torch.accelerate(tagger).swapped) == ["lstm"]
        tagger.train()
        data = batches()
        torch.manual_seed(2)  # of the dropout
        train(tagger, data, tmp_path)
        weights.append(tagger.state_dict())
    expected, own = weights
    for name, value in expected.items():
        assert (value - first[name]).abs().max() > 1e-3, name
        assert (own[name] - value).abs().max() <= PEER_FLOAT32, name
    assert isinstance(tagger.lstm, fastcell.torch.LSTM)
