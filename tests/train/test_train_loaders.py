"""Training on loaders, which can be iterated repeatedly but not indexed."""

from __future__ import annotations

import signal
import warnings

import numpy as np
import pytest
from last_step import LastStep, sequences
from last_step import trainer_of as sequence_trainer
from loaders import (
    ByEpoch,
    Drawn,
    Plain,
    RandomSampler,
    Sampled,
    SequentialSampler,
    Sized,
    Stateful,
)
from refusals import refuses
from trainers import assert_same_bits, streams, trainer_of

from fastcell.models import LanguageModel, SequenceClassifier
from fastcell.optim import SGD, Adam, plateau
from fastcell.train import Trainer, TrainingInterrupted
from fastcell.train.checkpoint import read_checkpoint, write_checkpoint

LENGTH = {"epochs": 3, "validate_every": 4}


def drawn(seed=0):
    return Drawn(streams(), seed)


def sampled(sampler):
    return lambda: Sampled(streams(), sampler())


# Loaders whose order a checkpoint keeps.
KEPT = {
    "generator": drawn,
    "set_epoch": lambda: ByEpoch(streams()),
    "state_dict": lambda: Stateful(streams()),
    "sequential": sampled(SequentialSampler),
    "sampler": sampled(lambda: RandomSampler(np.random.default_rng(2))),
}


def assert_same_weights(one, other):
    for name, array in one.model.state_dict().items():
        np.testing.assert_array_equal(other.model.state_dict()[name], array)


class Interrupting:
    """A schedule that sends SIGINT in the step after `step` steps."""

    def __init__(self, step):
        self.step = step

    def __call__(self, step):
        if step == self.step:
            signal.raise_signal(signal.SIGINT)
        return 1.0


# ----------------------------------------------------------------- what a run computes


@pytest.mark.parametrize("kind", [Plain, Sized])
@pytest.mark.parametrize("length", [{"epochs": 3}, {"steps": 13}, {}])
def test_a_loader_gives_what_a_list_gives(kind, length):
    data = list(streams())
    listed, loaded = trainer_of(), trainer_of()
    listed.fit(data, data, **length)
    loaded.fit(kind(data), kind(data), **length)
    assert_same_bits(listed, loaded)


def test_the_order_of_each_epoch_is_that_of_the_loader():
    loader, data = drawn(), list(streams())
    random = np.random.default_rng(0)
    whole = [data[i] for _ in range(2) for i in random.permutation(len(data))]

    class Whole(list):  # with an epoch's end where the loader has one
        def __len__(self):
            return len(data)

        def epoch(self, n):
            return whole[n * len(data) : (n + 1) * len(data)]

    one, other = trainer_of(), trainer_of()
    one.fit(loader, epochs=2)
    other.fit(Whole(data), epochs=2)
    assert_same_bits(one, other)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_whoever_asks_for_the_number_of_the_epoch_is_told(depth):
    told = []

    class Asking(SequentialSampler):
        def set_epoch(self, epoch):
            told.append(epoch)

    class AskingLoader(Sized, Asking):
        pass

    loader = AskingLoader(streams())
    if depth:
        loader = Sampled(streams(), Asking())
        if depth == 1:
            loader.batch_sampler = Asking()
            loader.order = lambda: range(10)
    trainer_of().fit(loader, epochs=3)
    assert told == [0, 1, 2]


def test_epochs_may_have_other_numbers_of_batches():
    class Growing(Plain):
        count = 2

        def order(self):
            self.count += 1
            return range(self.count)

    history = trainer_of().fit(Growing(streams()), epochs=3)
    assert history.column("step") == [3, 3 + 4, 3 + 4 + 5]
    assert history.column("epoch") == [1, 2, 3]


def test_the_share_of_an_epoch_is_told_as_soon_as_it_is_known():
    history = trainer_of().fit(Plain(streams()), epochs=2, validate_every=4)
    # 10 batches: of the first epoch nobody knows how many will come.
    assert history.column("step") == [4, 8, 12, 16, 20]
    assert history.column("epoch") == [0, 0, 1.2, 1.6, 2]
    history = trainer_of().fit(Sized(streams()), epochs=1, validate_every=4)
    assert history.column("epoch") == [0.4, 0.8, 1]


def test_a_run_of_unknown_length_is_shown_without_an_end(monkeypatch):
    made = []

    class Bar:
        disable = True

        def __init__(self, **options):
            made.append((options["total"], options["bar_format"]))

        def write(self, line, file):
            pass

        def close(self):
            pass

    monkeypatch.setattr("tqdm.tqdm", Bar)
    for loader, length in (
        (Plain(streams()), {"epochs": 1}),
        (Plain(streams()), {"epochs": 1, "steps": 5}),
        (Sized(streams()), {"epochs": 2, "steps": 50}),
    ):
        trainer = trainer_of()
        trainer.progress = True
        trainer.fit(loader, **length)
    assert [total for total, _ in made] == [None, 5, 20]
    assert "{total_fmt}" not in made[0][1]
    assert "{total_fmt}" in made[1][1]


def test_an_epoch_without_batches_is_an_error():
    class Once(Plain):
        def __iter__(self):
            batches, self.batches = self.batches, []
            yield from batches

    trainer = trainer_of()
    words = ["train_data", "at least one batch", "none in epoch 1"]
    refuses(ValueError, words, trainer.fit, Once(streams()), epochs=2)
    assert trainer.step == 10
    refuses(ValueError, ["train_data", "epoch 0"], trainer.fit, Plain([]))
    refuses(ValueError, ["train_data", "none"], trainer.fit, Sized([]))


@pytest.mark.parametrize("make", [lambda: iter([1]), lambda: map(abs, [1])])
def test_what_ends_with_its_first_epoch_is_refused(make):
    words = ["train_data", "ends with the first", "list(train_data)"]
    refuses(TypeError, words, trainer_of().fit, make())


# ------------------------------------------------------------------------ the batches


class Tensor:
    """What a tensor of PyTorch is to NumPy."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("kind", [tuple, list])
def test_tensors_of_a_batch_are_arrays_to_the_model(kind):
    class Strict(LastStep):
        def loss(self, batch, state=None):
            assert all(type(part) is np.ndarray for part in batch)
            return super().loss(batch, state)

        def evaluate(self, batch, state=None):
            assert all(type(part) is np.ndarray for part in batch)
            return super().evaluate(batch, state)

    data = sequences()
    tensors = [kind(map(Tensor, batch)) for batch in data]
    plain = sequence_trainer()
    plain.fit(list(data), list(data))
    for batches in (Plain(tensors), tensors):
        model = Strict()
        trainer = Trainer(model, Adam(model.params, lr=0.01), 1.0, progress=False)
        trainer.fit(batches, batches)
        assert_same_bits(plain, trainer)


def test_batches_by_name_are_those_in_order():
    data = list(sequences())
    named = [{"y": y, "x": x, "lengths": n} for x, n, y in data]
    models = [SequenceClassifier(3, 4, 2, seed=0) for _ in range(2)]
    one, other = (Trainer(m, SGD(m.params), progress=False) for m in models)
    one.fit(data, data)
    other.fit(Plain(named), Plain(named))
    assert_same_bits(one, other)
    assert models[0].count(data[0]) == models[0].count(named[0])


def test_lengths_may_be_left_out_of_a_batch_by_name():
    data = list(streams())
    models = [LanguageModel(5, 4, 6, seed=0) for _ in range(3)]
    alone = [(x, np.full(x.shape[1], len(x)), y) for x, y in data]
    forms = [
        data,
        [{"targets": y, "inputs": x} for x, y in data],
        [{"targets": y, "lengths": n, "inputs": x} for x, n, y in alone],
    ]
    losses = []
    for model, form in zip(models, forms, strict=True):
        trainer = Trainer(model, SGD(model.params), progress=False)
        losses.append(trainer.fit(form, form)[-1]["valid_loss"])
    assert losses[0] == losses[1]
    assert losses[2] != losses[0]  # with lengths, no state is carried


@pytest.mark.parametrize("model", [SequenceClassifier(3, 4, 2), LanguageModel(5, 4, 6)])
def test_wrong_names_in_a_batch_are_named(model):
    batch = {"x": np.zeros((2, 1, 3), np.float32), "length": [2], "y": [0]}
    refuses(ValueError, ["batch must have the entries", "'length'"], model.loss, batch)
    refuses(ValueError, ["batch must have the entries"], model.loss, {"x": None})


# ------------------------------------------------------------------ stopped and resumed


@pytest.mark.parametrize("stop", [1, 4, 9, 10, 13, 20, 27])
@pytest.mark.parametrize("kind", KEPT)
def test_interrupted_and_resumed_run_ends_with_the_same_bits(
    tmp_path, usual_handler, kind, stop
):
    path = tmp_path / "run.checkpoint"
    valid = streams(seed=1)
    whole = trainer_of(schedule=lambda step: 1.0)
    whole.fit(KEPT[kind](), valid, **LENGTH)

    first = trainer_of(schedule=Interrupting(stop - 1))
    with pytest.raises(TrainingInterrupted), warnings.catch_warnings():
        warnings.simplefilter("error")
        first.fit(KEPT[kind](), valid, **LENGTH, checkpoint=path)
    assert first.step == stop

    # Another loader, which has drawn something before.
    loader = KEPT[kind]()
    list(loader)
    second = trainer_of(schedule=lambda step: 1.0).resume(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.fit(loader, valid, **LENGTH, checkpoint=path)
    assert_same_bits(whole, second)


@pytest.mark.parametrize("kind", KEPT)
def test_runs_resume_from_any_step_and_from_a_resumed_run(tmp_path, kind):
    path = tmp_path / "run.checkpoint"
    whole = trainer_of()
    whole.fit(KEPT[kind](), steps=23)
    trainer_of().fit(KEPT[kind](), steps=0, checkpoint=path)
    for steps in (3, 8, 10, 15, 20, 23):
        trainer = trainer_of().resume(path)
        trainer.fit(KEPT[kind](), steps=steps, checkpoint=path)
    assert_same_weights(whole, trainer)


def test_a_state_spares_reading_what_was_done(tmp_path):
    path = tmp_path / "run.checkpoint"
    trainer_of().fit(Stateful(streams()), steps=17, checkpoint=path)
    loader = Stateful(streams())
    trainer_of().resume(path).fit(loader, epochs=2)
    assert loader.read == 3
    trainer_of().fit(drawn(), steps=17, checkpoint=path)
    loader = drawn()
    trainer_of().resume(path).fit(loader, epochs=2)
    assert loader.read == 10


def test_a_validation_that_draws_from_the_same_generator_leaves_no_trace(tmp_path):
    path = tmp_path / "run.checkpoint"

    def run(trainer, **length):
        train = drawn()
        valid = Drawn(streams(seed=1), 7)
        valid.generator = train.generator
        trainer.fit(train, valid, validate_every=3, **length)
        return trainer

    whole = run(trainer_of(), epochs=3)
    alone = trainer_of()
    alone.fit(drawn(), epochs=3)
    assert_same_weights(alone, whole)
    run(trainer_of(), steps=14, checkpoint=path)
    resumed = run(trainer_of().resume(path), epochs=3)
    assert_same_weights(whole, resumed)
    assert whole.history[-1]["valid_loss"] == resumed.history[-1]["valid_loss"]


@pytest.mark.parametrize("last", [13, 20])
def test_workers_that_end_before_the_run_take_no_step_with_them(
    tmp_path, usual_handler, last
):
    """As those of PyTorch do, which Ctrl-C in a terminal reaches as well."""
    path = tmp_path / "run.checkpoint"

    class Dying(Drawn):
        def __iter__(self):
            for batch in super().__iter__():
                yield batch
                if self.read == last:
                    signal.raise_signal(signal.SIGINT)
                    raise RuntimeError("a worker exited unexpectedly")

    whole = trainer_of()
    whole.fit(drawn(), streams(seed=1), epochs=3)
    first = trainer_of()
    with pytest.raises(TrainingInterrupted) as caught:
        first.fit(Dying(streams()), streams(seed=1), epochs=3, checkpoint=path)
    assert caught.value.step == last
    second = trainer_of().resume(path)
    second.fit(drawn(), streams(seed=1), epochs=3)
    assert_same_bits(whole, second)


def test_an_error_of_a_loader_is_raised_as_it_is():
    class Broken(Plain):
        def __iter__(self):
            yield self.batches[0]
            raise RuntimeError("no such file")

    with pytest.raises(RuntimeError, match="no such file"):
        trainer_of().fit(Broken(streams()))


def test_plateau_and_length_of_a_loader_without_one_survive(tmp_path):
    path = tmp_path / "run.checkpoint"

    def trainer():
        return trainer_of(schedule=plateau(factor=0.5, patience=0, threshold=0.9))

    def loader():
        return Stateful(streams())

    valid = streams(seed=1)
    whole, first, second = trainer(), trainer(), trainer()
    whole.fit(loader(), valid, epochs=3, validate_every=3)
    first.fit(loader(), valid, steps=13, validate_every=3, checkpoint=path)
    second.resume(path).fit(loader(), valid, epochs=3, validate_every=3)
    records = [r["epoch"] for r in whole.history if r["step"] > 13]
    assert [r["epoch"] for r in second.history if r["step"] > 13] == records
    assert any(epoch % 1 for epoch in records)


# --------------------------------------------------------------- what cannot be kept


class Unseeded(Sampled):
    """A loader whose state tells nothing of what its sampler draws."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Unseeded(streams(), RandomSampler()), ["RandomSampler", "generator="]),
        (lambda: Sized(streams()), ["Sized", "set_epoch", "state_dict"]),
        (
            lambda: Sampled(streams(), RandomSampler()),
            ["Sampled", "RandomSampler", "generator=torch.Generator()"],
        ),
    ],
)
def test_an_order_that_is_not_kept_is_warned_of_once(tmp_path, make, words):
    path = tmp_path / "run.checkpoint"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer_of().fit(make(), steps=3)  # nothing is to be kept
    with pytest.warns(RuntimeWarning) as caught:
        trainer_of().fit(make(), steps=3, checkpoint=path, checkpoint_steps=1)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    for word in ["train_data", "resumed", *words]:
        assert word in str(caught[0].message)
    with pytest.warns(RuntimeWarning) as caught:
        trainer_of().resume(path).fit(make(), steps=5)
    assert len(caught) == 1


def test_a_state_that_no_file_holds_is_warned_of(tmp_path):
    class Odd(Stateful):
        def state_dict(self):
            return {**super().state_dict(), "seen": {1, 2}}

    with pytest.warns(RuntimeWarning, match=r"state\['seen'\] is a set"):
        trainer_of().fit(Odd(streams()), steps=3, checkpoint=tmp_path / "checkpoint")


def test_a_generator_serves_where_a_state_cannot_be_kept(tmp_path):
    class Odd(Sampled):
        def state_dict(self):
            return {"seen": {1, 2}}

        def load_state_dict(self, state):
            raise AssertionError

    def loader():
        return Odd(streams(), RandomSampler(np.random.default_rng(2)))

    path = tmp_path / "run.checkpoint"
    whole, second = trainer_of(), trainer_of()
    whole.fit(loader(), epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer_of().fit(loader(), steps=13, checkpoint=path)
        second.resume(path).fit(loader(), epochs=2)
    assert_same_weights(whole, second)


def test_a_run_goes_on_with_other_batches_after_a_warning(tmp_path):
    path = tmp_path / "run.checkpoint"
    trainer_of().fit(drawn(), steps=13, checkpoint=path)
    other = Drawn(streams(seed=5))
    with pytest.warns(RuntimeWarning, match="not the one that came next"):
        history = trainer_of().resume(path).fit(other, epochs=2)
    assert history.column("step") == [10, 13, 20]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (drawn, lambda: Drawn(streams(num_tokens=300))),
        (drawn, lambda: Plain(streams())),
        (drawn, streams),
        (streams, drawn),
    ],
)
def test_other_data_are_refused(tmp_path, first, second):
    path = tmp_path / "run.checkpoint"
    trainer_of().fit(first(), steps=3, checkpoint=path)
    trainer = trainer_of().resume(path)
    words = ["run.checkpoint", "train_data must be those of the resumed run"]
    refuses(ValueError, words, trainer.fit, second(), epochs=2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data["order"].update(generators=[]),
        lambda data: data["order"].update(generators=[{"dict": 3}]),
        lambda data: data["order"].update(generators=[{"code": 3}]),
        lambda data: data["order"].update(state={"dict": []}),
        lambda data: data.pop("crc"),
        lambda data: data.update(length=-1),
        lambda data: data["order"].update(more=1),
    ],
)
def test_a_damaged_order_is_refused(tmp_path, damage):
    path = tmp_path / "run.checkpoint"
    trainer_of().fit(drawn(), steps=13, checkpoint=path)
    tree = read_checkpoint(path)
    damage(tree["data"])
    write_checkpoint(path, tree)
    with pytest.raises(ValueError, match=r"run\.checkpoint"):
        trainer_of().resume(path).fit(drawn(), epochs=2)


def test_the_position_in_a_loader_has_to_be_one(tmp_path):
    path = tmp_path / "run.checkpoint"
    trainer_of().fit(drawn(), steps=13, checkpoint=path)
    tree = read_checkpoint(path)
    tree["position"]["window"] = 14  # of 13 steps
    write_checkpoint(path, tree)
    refuses(ValueError, ["run.checkpoint", "window 14"], trainer_of().resume, path)
