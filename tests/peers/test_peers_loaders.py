"""Training on loaders of PyTorch and torchdata, interrupted and resumed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from last_step import sequences
from last_step import trainer_of as sequence_trainer
from trainers import assert_same_bits, streams, trainer_of

from fastcell.models import SequenceClassifier
from fastcell.optim import Adam
from fastcell.train import Trainer

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

from torch.utils.data import (  # noqa: E402
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    TensorDataset,
)

X = np.random.default_rng(0).normal(size=(22, 5, 3)).astype(np.float32)
ITEMS = TensorDataset(torch.from_numpy(X), torch.from_numpy(X[:, -1, 0] > X[:, 0, 0]))


def collate(items):
    """Batches are time first, as all models take them."""
    x, y = (torch.stack(part) for part in zip(*items, strict=True))
    return {"x": x.swapaxes(0, 1), "y": y.long()}


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def shuffled(**options):
    return DataLoader(
        ITEMS, 4, shuffle=True, generator=generator(), collate_fn=collate, **options
    )


def with_replacement():
    sampler = RandomSampler(ITEMS, True, 50, generator=generator())
    return DataLoader(ITEMS, 4, sampler=sampler, collate_fn=collate)


def distributed():
    sampler = DistributedSampler(ITEMS, num_replicas=2, rank=1, seed=5)
    return DataLoader(ITEMS, 2, sampler=sampler, collate_fn=collate)


def stateful(**options):
    # Its default sampler has a generator, which the program's seeds.
    module = pytest.importorskip("torchdata.stateful_dataloader")
    return module.StatefulDataLoader(ITEMS, 4, collate_fn=collate, **options)


LOADERS = {
    "in order": lambda: DataLoader(ITEMS, 4, collate_fn=collate),
    "shuffled": shuffled,
    "workers": lambda: shuffled(num_workers=1),
    "with replacement": with_replacement,
    "distributed": distributed,
    "stateful": lambda: stateful(shuffle=True),
    "stateful, generator": lambda: stateful(shuffle=True, generator=generator()),
    "stateful, in order": stateful,
}


def classifier(seed=0):
    model = SequenceClassifier(3, 4, 2, dropout=0.2, seed=seed)
    return Trainer(model, Adam(model.params, lr=0.01), 1.0, progress=False)


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("stops", [[4], [6], [13, 14]])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, kind, stops):
    path = tmp_path / "run.checkpoint"
    make = LOADERS[kind]
    length = {"epochs": 3, "validate_every": 5}
    valid = DataLoader(ITEMS, 7, collate_fn=collate)
    whole, last = classifier(), classifier(7)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        torch.manual_seed(5)
        whole.fit(make(), valid, **length)
        for n, stop in enumerate(stops):
            torch.manual_seed(5 + n)  # only what is resumed may begin otherwise
            trainer = classifier(n)
            if n:
                trainer.resume(path)
            trainer.fit(make(), valid, steps=stop, **length, checkpoint=path)
        torch.manual_seed(9)
        last.resume(path).fit(make(), valid, **length, checkpoint=path)
    for trainer in (whole, last):
        # The last step of a run makes a record, and losses are those since the last.
        trainer.history[:] = [r for r in trainer.history if r["step"] not in stops]
        for record in trainer.history:
            del record["train_loss"]
    assert_same_bits(whole, last)


def test_the_orders_of_epochs_differ_and_are_those_of_the_loader():
    seen = []

    class Seen(SequenceClassifier):
        def loss(self, batch, state=None):
            seen.append(batch["x"].copy())
            return super().loss(batch, state)

    model = Seen(3, 4, 2, seed=0)
    trainer = Trainer(model, Adam(model.params), progress=False)
    trainer.fit(shuffled(), epochs=2)
    loader = shuffled()
    wanted = [batch["x"].numpy() for _ in range(2) for batch in loader]
    assert [a.tobytes() for a in seen] == [b.tobytes() for b in wanted]
    assert seen[0].tobytes() != seen[6].tobytes()


def test_tensors_give_the_bits_of_arrays():
    class Items(Dataset):
        def __init__(self, batches):
            self.batches = [tuple(map(torch.from_numpy, batch)) for batch in batches]

        def __len__(self):
            return len(self.batches)

        def __getitem__(self, i):
            return self.batches[i]

    data = list(sequences())
    arrays, tensors = sequence_trainer(), sequence_trainer()
    loader = DataLoader(Items(data), batch_size=None)
    arrays.fit(data, data, epochs=2)
    tensors.fit(loader, loader, epochs=2)
    assert_same_bits(arrays, tensors)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: DataLoader(ITEMS, 4, shuffle=True, collate_fn=collate),
            r"RandomSampler draws from a generator of the whole program.*generator=",
        ),
        (
            lambda: DataLoader(Unending(), batch_size=None),
            r"a Unending follows from: it has neither a generator, nor set_epoch",
        ),
    ],
)
def test_a_loader_that_repeats_nothing_is_warned_of(tmp_path, make, match):
    path = tmp_path / "run.checkpoint"
    data = make()
    trainer = classifier() if data.batch_size else trainer_of()
    with pytest.warns(RuntimeWarning, match=match):
        trainer.fit(data, steps=8, checkpoint=path)
    assert trainer.step == 8


class Unending(IterableDataset):
    """Batches without a number, which begin again."""

    def __iter__(self):
        while True:
            yield from streams()


def test_data_without_a_length_tell_their_epochs_at_their_end():
    class Once(IterableDataset):
        def __iter__(self):
            yield from streams()

    one, other = trainer_of(), trainer_of()
    one.fit(DataLoader(Once(), batch_size=None), epochs=2)
    other.fit(streams(), epochs=2)
    assert_same_bits(one, other)
