"""Damaged checkpoints and models: one ValueError with the file's name, and no harm."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from damage import damage_checkpoint, damage_model
from trainers import streams, trainer_of

import fastcell
from fastcell import cli
from fastcell.callbacks import CSVLogger, EarlyStopping, JSONLogger
from fastcell.models import LanguageModel, Seq2Seq, SequenceClassifier
from fastcell.optim import plateau, warmup
from fastcell.serialize import read_arrays, write_arrays
from fastcell.train import Trainer
from fastcell.train.checkpoint import read_checkpoint, write_checkpoint

LONGEST = 1000  # characters of an error

# Of another number of threads, which damage may name.
pytestmark = pytest.mark.filterwarnings("ignore:the resumed run may not repeat")


# ------------------------------------------------------------------------ checkpoints


class Run:
    """A run of 13 steps with its logs, and trainers that could take it up."""

    def __init__(self, folder):
        self.path = folder / "run.checkpoint"
        self.logs = [folder / "log.csv", folder / "log.json"]
        trainer = self.trainer()
        trainer.info = {"name": "x", "sizes": (1, 2.5, None)}
        self.fit(trainer, 13)
        self.good = {path: path.read_bytes() for path in (self.path, *self.logs)}

    def restore(self):
        for path, content in self.good.items():
            path.write_bytes(content)

    def trainer(self):
        csv, lines = self.logs
        callbacks = [CSVLogger(csv), JSONLogger(lines), EarlyStopping(9)]
        schedule = warmup(2, plateau(patience=1))
        return trainer_of(schedule=schedule, callbacks=callbacks)

    def fit(self, trainer, steps):
        data = streams(), streams(seed=1)
        trainer.fit(*data, steps=steps, checkpoint=self.path, validate_every=4)

    def logs_are_good(self):
        return all(path.read_bytes() == self.good[path] for path in self.logs)


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(a_run):
    a_run.restore()
    return a_run


def state_of(trainer):
    """Return all that a checkpoint may change, to be compared."""
    optimizer = trainer.optimizer.state_dict()
    return (
        {k: v.tobytes() for k, v in trainer.model.state_dict().items()},
        {k: np.asarray(v).tobytes() for k, v in optimizer.items()},
        trainer.model.rng_state(),
        trainer.schedule.state_dict(),
        list(trainer.history),
        trainer.step,
        trainer.info,
    )


def refused(run, trainer):
    """Take the checkpoint up; return the error, of which nothing has come, or None."""
    before = state_of(trainer)
    try:
        trainer.resume(run.path)
    except ValueError as error:
        assert str(error).startswith(f"{run.path}: ")
        assert len(str(error)) < LONGEST
        assert state_of(trainer) == before
        return error
    return None


@pytest.mark.parametrize("seed", range(4))
def test_damaged_checkpoint_goes_on_or_is_refused_without_a_trace(run, seed):
    outcomes = {"refused": 0, "refused by fit": 0, "goes on": 0}
    for n in range(50):
        run.restore()
        damage_checkpoint(run.path, np.random.default_rng([seed, n]))
        trainer = run.trainer()
        if refused(run, trainer):
            outcomes["refused"] += 1
            continue
        try:
            run.fit(trainer, 15)
        except ValueError as error:
            assert str(error).startswith(f"{run.path}: ")
            assert run.logs_are_good()
            outcomes["refused by fit"] += 1
        else:
            outcomes["goes on"] += 1
    assert outcomes["refused"] > 25


def set_state(tree, state):
    tree["position"]["state"] = state


DAMAGE = {
    "rng of another kind": lambda t: t["model"]["rng"]["rnn"].update(
        bit_generator="MT19937"
    ),
    "rng beyond 128 bits": lambda t: t["model"]["rng"]["rnn"]["state"].update(
        inc=2**200
    ),
    "rng negative": lambda t: t["model"]["rng"]["rnn"].update(uinteger=-1),
    "parameter of NaN": lambda t: t["model"]["params"]["decoder.bias"].fill(np.nan),
    "slot of NaN": lambda t: t["optimizer"]["exp_avg.decoder.bias"].fill(np.nan),
    "parameter an integer": lambda t: t["model"]["params"].update(
        {"decoder.bias": np.zeros(5, int)}
    ),
    "another precision": lambda t: t["model"]["config"].update(precision="bf16"),
    "config an array": lambda t: t["model"]["config"].update(cell=np.zeros(3)),
    "schedule a number": lambda t: t.update(schedule=3),
    "steps beyond a double": lambda t: t["optimizer"].update(steps=10**400),
    "optimizer a list": lambda t: t.update(optimizer=[]),
    "loss of NaN": lambda t: t["position"].update(loss_sum=float("nan")),
    "time an array": lambda t: t["position"].update(seconds=np.zeros(3)),
    "step before the history": lambda t: t["position"].update(step=2),
    "no such window": lambda t: t["position"].update(window=10**6),
    "record a number": lambda t: t["history"].append(3),
    "record twice": lambda t: t["history"].append(t["history"][-1]),
    "record without its step": lambda t: t["history"][0].pop("step"),
    "score a text": lambda t: t["history"][0].update(valid_accuracy="x"),
    "machine a list": lambda t: t.update(machine=[1]),
    "info a number": lambda t: t.update(info=7),
    "data without windows": lambda t: t["data"].pop("windows"),
    "something more": lambda t: t.update(more=1),
    "state a text": lambda t: set_state(t, "x"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_each_part_is_checked_before_any_is_used(run, damage):
    tree = read_checkpoint(run.path)
    DAMAGE[damage](tree)
    write_checkpoint(run.path, tree)
    assert refused(run, run.trainer())


@pytest.mark.parametrize(
    "change",
    [
        lambda h, c: h,
        lambda h, c: (h[:, :1], c[:, :1]),
        lambda h, c: (h.astype(np.float64), c),
        lambda h, c: (h * np.float32("nan"), c),
        lambda h, c: [h, c, 3],
    ],
)
def test_state_that_does_not_fit_is_refused_before_logs_are_written(run, change):
    tree = read_checkpoint(run.path)
    set_state(tree, change(*tree["position"]["state"]))
    write_checkpoint(run.path, tree)
    trainer = run.trainer().resume(run.path)
    with pytest.raises(ValueError, match=r"run\.checkpoint: position\.state"):
        run.fit(trainer, 15)
    assert run.logs_are_good()


def test_one_wrong_byte_among_the_arrays_is_noticed(run):
    content = bytearray(run.good[run.path])
    content[-5] ^= 1
    run.path.write_bytes(content)
    assert "checksum" in str(refused(run, run.trainer()))


def test_checkpoint_without_a_checksum_is_read(run):
    arrays, metadata = read_arrays(run.path)
    header = json.loads(metadata["fastcell"])
    del header["crc32"]
    write_arrays(run.path, arrays, {"fastcell": json.dumps(header)})
    assert run.trainer().resume(run.path).step == 13


def test_refused_optimizer_undoes_the_schedule(run):
    """What only the parts themselves can find out leaves no trace either."""
    tree = read_checkpoint(run.path)
    tree["schedule"]["factor"] = 0.5
    tree["optimizer"]["beta"] = 3.0
    write_checkpoint(run.path, tree)
    assert "beta" in str(refused(run, run.trainer()))


def test_tree_too_deep_is_refused_both_ways(tmp_path):
    tree = {}
    for _ in range(150):
        tree = {"a": tree}
    with pytest.raises(ValueError, match="deep"):
        write_checkpoint(tmp_path / "deep.checkpoint", tree)
    assert list(tmp_path.iterdir()) == []


def test_records_with_arrays_are_logged_as_lists(run):
    run.fit(trainer := run.trainer(), 4)
    trainer.history[0]["counts"] = np.array([1.0, np.inf])
    JSONLogger(run.logs[1]).begin(trainer)
    record = json.loads(run.logs[1].read_text())
    assert record["counts"] == [1.0, None]


# ----------------------------------------------------------------------------- models


MODELS = {
    "language": lambda: LanguageModel(5, 4, 6, 2, "gru", 0.1, vocabulary="abcde"),
    "classifier": lambda: SequenceClassifier(3, 4, 2),
    "seq2seq": lambda: Seq2Seq(5, 5, 4, 4),
    "layers": lambda: fastcell.Sequential(
        [fastcell.Embedding(5, 3), fastcell.LSTM(3, 4, proj_size=2)]
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_damaged_model_is_a_model_or_refused(tmp_path, kind):
    path, refusals = tmp_path / "model.safetensors", 0
    fastcell.save(MODELS[kind](), path)
    good = path.read_bytes()
    for n in range(60):
        path.write_bytes(good)
        damage_model(path, np.random.default_rng(n))
        try:
            model = fastcell.load(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            assert len(str(error)) < LONGEST
            refusals += 1
        else:
            fastcell.save(model, tmp_path / "again")
            fastcell.load(tmp_path / "again")
    assert refusals > 30


def file_of_layers(path, layers):
    config = {"format": 1, "class": "Sequential", "config": {"layers": layers}}
    write_arrays(path, {}, {"fastcell": json.dumps(config)})


DROPOUT = {"class": "Dropout", "config": {"p": 0.1, "seed": None}}


def test_file_of_very_many_layers_is_refused_at_once(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(fastcell.Dropout, "__init__", lambda *a, **k: made.append(1))
    file_of_layers(tmp_path / "many", [DROPOUT] * 20_000)
    with pytest.raises(ValueError, match=r"many: the config .* 10,000 layers"):
        fastcell.load(tmp_path / "many")
    assert not made


def test_file_of_layers_within_layers_is_refused(tmp_path):
    layer = DROPOUT
    for _ in range(60):
        layer = {"class": "Sequential", "config": {"layers": [layer]}}
    file_of_layers(tmp_path / "deep", [layer])
    with pytest.raises(ValueError, match=r"deep: the config .* 150 .* deep"):
        fastcell.load(tmp_path / "deep")


def test_model_that_could_not_be_loaded_is_not_saved(tmp_path):
    model = fastcell.Dropout(0.1)
    for _ in range(60):
        model = fastcell.Sequential([model])
    with pytest.raises(ValueError, match=r"model .* deep"):
        fastcell.save(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A folder with a text and the checkpoint of a run that was ended by a signal."""
    folder = tmp_path_factory.mktemp("interrupted")
    text = "it was the best of times, it was the worst of times.\n"
    (folder / "text.txt").write_text(text * 20)
    step = Trainer._step

    def interrupting(self, *arguments):
        if self.step == 7:
            signal.raise_signal(signal.SIGINT)
        step(self, *arguments)

    sizes = ["--hidden-size=6", "--embedding-size=4", "--batch-size=4", "--quiet"]
    length = ["--sequence-length=16", "--steps=12", "--validate-every=3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Trainer, "_step", interrupting)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        code = cli.main(["train", "text.txt", *sizes, *length])
        signal.signal(signal.SIGINT, before)
    assert code == 128 + signal.SIGINT
    return folder


@pytest.fixture
def resume(interrupted, monkeypatch, capsys):
    """Damage the checkpoint, continue the run; return the error, or None."""
    path = interrupted / "model.safetensors.checkpoint"
    good, model = path.read_bytes(), interrupted / "model.safetensors"

    def resume(damage):
        path.write_bytes(good)
        damage(path)
        damaged = path.read_bytes()
        capsys.readouterr()
        code = cli.main(["train", "--resume", str(path), "--quiet"])
        error = capsys.readouterr().err
        if code == 0:
            model.unlink(missing_ok=True)
            return None
        assert code == 2
        assert error.startswith("fastcell: error: ")
        assert error.count("\n") == 1
        assert path.name in error
        assert path.read_bytes() == damaged
        assert not model.exists()
        return error

    monkeypatch.chdir(interrupted)
    threads = fastcell.get_num_threads()
    yield resume
    fastcell.set_num_threads(threads)
    path.write_bytes(good)


def test_damaged_checkpoint_is_one_line(resume):
    refusals = 0
    for n in range(60):
        error = resume(lambda path, n=n: damage_checkpoint(path, _generator(n)))
        refusals += error is not None
    assert refusals > 40


def _generator(n):
    return np.random.default_rng([9, n])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 10**9),
        ("layers", 10**6),
        ("embedding_size", 5),
        ("epochs", 10**400),
        ("steps", None),
        ("clip", 0),
        ("precision", "\0"),
        ("threads", 2**70),
        ("out", ""),
        ("text", 3),
    ],
)
def test_settings_are_checked_before_a_model_is_made(resume, monkeypatch, name, value):
    def damage(path):
        tree = read_checkpoint(path)
        tree["info"][name] = value
        write_checkpoint(path, tree)

    monkeypatch.setattr(LanguageModel, "__init__", None)
    assert resume(damage)


def test_sizes_that_agree_with_each_other_alone_take_no_memory(resume):
    def damage(path):
        tree = read_checkpoint(path)
        tree["info"]["hidden_size"] = 10**6
        tree["model"]["config"]["hidden_size"] = 10**6
        write_checkpoint(path, tree)

    assert "parameters" in resume(damage)
