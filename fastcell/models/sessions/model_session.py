"""Session of a classifier, regressor or tagger: its output after each step."""

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
    """Streams of a sequence model, from its `session` method.

    A session starts with no step read. A step returns, bit for bit, what the model
    returns for the sequence up to that step. Each step uses the model's current
    weights. Only one thread at a time may use a session. Copies are as for
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
        """Read a step, and return the model's output after it.

        Parameters
        ----------
        x : array, shape (B, I), or integer ids, shape (B,)
            One step of each stream; for one stream also (I,).

        Returns
        -------
        ndarray
            For a classifier, the probabilities (B, num_classes) of the sequence so far;
            for a tagger, those of the step; for a regressor, the values as from
            `predict`.

        Raises
        ------
        TypeError
            If the dtype is wrong.
        ValueError
            If the shape is wrong, or a value is not finite or out of range.
        """
        r = self._encoder.step(self._checked(x, self._rows))
        if self._running is not None:
            self._running.update(r)
            r = self._running.value()
        return self._report(self._decoder(r))

    def reset(self, rows: Any = None) -> None:
        """Reset all streams, or `rows` (indices or a mask), to the initial state."""
        rows = None if rows is None else check_rows(rows, self._rows)
        self._encoder.reset(rows)
        if self._running is not None:
            self._running.reset(rows)

    def refresh(self) -> None:
        """Use the current weights, as each step does; the state is kept."""
        self._encoder.refresh()

    def __copy__(self) -> ModelSession:
        return self.fork()

    def fork(self) -> ModelSession:
        """Return an independent copy of the session."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._encoder = self._encoder.fork()
        other._running = copy.deepcopy(self._running)
        return other
