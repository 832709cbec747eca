"""Streaming: what a model says of sequences while their steps come in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from fastcell._checks.arrays import check_rows
from fastcell._checks.numbers import size
from fastcell.layers import Linear
from fastcell.models.sessions.steps import Encoder, Readout


class ModelSession:
    """The streams of a model of sequences; made by its `session`.

    It begins with nothing read. What a step returns is, bit for bit, what the model
    says of the sequence up to that step. Each step has the weights that the model has
    then. A session belongs to one thread at a time; copies are as those of
    `fastcell.layers.session.Session`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import SequenceClassifier
    >>> model = SequenceClassifier(3, 4, 2, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((5, 1, 3), np.float32)
    >>> session = model.session()
    >>> steps = [session.step(x_t) for x_t in x]
    >>> bool((steps[2] == model.predict_proba(x[:3])).all())
    True
    """

    def __init__(
        self,
        encoder: Encoder,
        readout: Readout,
        decoder: Linear,
        report: Callable[[np.ndarray], np.ndarray],
        batch_size: int,
    ) -> None:
        batch_size = size("batch_size", batch_size, minimum=0)
        self._checked = encoder.checked_step
        self._encoder = encoder.session(batch_size)
        self._running = readout.running(batch_size)
        self._decoder = decoder
        self._report = report
        self._rows = batch_size

    def step(self, x: Any) -> np.ndarray:
        """Return what the model says after one more step.

        Parameters
        ----------
        x : array, shape (B, I), or integer ids, shape (B,)
            The step of each stream; of one stream also (I,).

        Returns
        -------
        ndarray
            Of a classifier, the probabilities (B, num_classes) of the sequence so far,
            of a tagger those of the step; of a regressor the values, as `predict`
            returns them.

        Raises
        ------
        TypeError
            If the dtype is wrong.
        ValueError
            If the shape is, or a value is not finite or out of range.
        """
        r = self._encoder.step(self._checked(x, self._rows))
        if self._running is not None:
            self._running.update(r)
            r = self._running.value()
        return self._report(self._decoder(r))

    def reset(self, rows: Any = None) -> None:
        """Begin anew: all streams, or `rows` (indices or a mask)."""
        rows = None if rows is None else check_rows(rows, self._rows)
        self._encoder.reset(rows)
        if self._running is not None:
            self._running.reset(rows)

    def refresh(self) -> None:
        """Take the weights of now, as a step does by itself; the state stays."""
        self._encoder.refresh()

    def __copy__(self) -> ModelSession:
        return self.fork()

    def fork(self) -> ModelSession:
        """Return a session of the same model that has read the same."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._encoder = self._encoder.fork()
        other._running = copy.deepcopy(self._running)
        return other
