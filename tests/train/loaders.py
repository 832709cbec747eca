"""Loaders for the tests of training: iterables of batches without access by index."""

from __future__ import annotations

import numpy as np


class Plain:
    """Batches in their order, without a length."""

    def __init__(self, batches):
        self.batches = list(batches)
        self.read = 0  # batches that were asked for

    def order(self):
        return range(len(self.batches))

    def __iter__(self):
        for place in self.order():
            self.read += 1
            yield self.batches[place]


class Sized(Plain):
    """The same with a length."""

    def __len__(self):
        return len(self.batches)


class Drawn(Sized):
    """Batches in an order that a generator of NumPy draws for each epoch."""

    def __init__(self, batches, seed=0):
        super().__init__(batches)
        self.generator = np.random.default_rng(seed)

    def order(self):
        return self.generator.permutation(len(self.batches))


class ByEpoch(Sized):
    """Batches in an order that follows from the number of the epoch, once told."""

    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def order(self):
        return np.random.default_rng(self.epoch).permutation(len(self.batches))


class Stateful(Plain):
    """Batches drawn by a generator that nobody sees, and a state that tells of it."""

    def __init__(self, batches, seed=0):
        super().__init__(batches)
        self._random = np.random.default_rng(seed)
        self._before = self._random.bit_generator.state
        self._place = 0

    def __iter__(self):
        self._before = self._random.bit_generator.state
        order = self._random.permutation(len(self.batches))
        for place in range(self._place, len(order)):
            self.read += 1
            self._place = place + 1
            yield self.batches[order[place]]
        self._before, self._place = self._random.bit_generator.state, 0

    def state_dict(self):
        # Keys and values of kinds that JSON does not know.
        return {0: self._before, "place": (self._place, b"\0\1")}

    def load_state_dict(self, state):
        self._random.bit_generator.state = state[0]
        self._place, marks = state["place"]
        assert marks == b"\0\1"


class SequentialSampler:
    """By its name the sampler of PyTorch that takes places in their order."""


class RandomSampler:
    def __init__(self, generator=None):
        self.generator = generator


class BatchSampler:
    def __init__(self, sampler):
        self.sampler = sampler


class Sampled(Sized):
    """What is seen of a DataLoader of PyTorch: a sampler within a sampler."""

    generator = None

    def __init__(self, batches, sampler):
        super().__init__(batches)
        # Which is asked for nothing where there is one of batches.
        self.sampler = SequentialSampler()
        self.batch_sampler = BatchSampler(sampler)

    def order(self):
        sampler = self.batch_sampler.sampler
        if isinstance(sampler, SequentialSampler):
            return super().order()
        random = sampler.generator or np.random.default_rng()
        return random.permutation(len(self.batches))
