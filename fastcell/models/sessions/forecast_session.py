"""Session of a forecaster: reads frame by frame, forecasts at any time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastcell._checks.arrays import check_rows
from fastcell._checks.numbers import size
from fastcell.layers.recurrent import Recurrent
from fastcell.models.sessions.steps import Encoder
from fastcell.parameters import writable_values


class ForecastSession:
    """Streams of a `Forecaster`, from its `session` method.

    A session starts with no frame read. Each step uses the model's current weights. A
    forecast equals, to the bit, `Forecaster.predict` of the same frames. Only one
    thread at a time may use a session. Copies are as for
    `fastcell.layers.session.Session`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import Forecaster
    >>> model = Forecaster(3, 8, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((5, 1, 3), np.float32)
    >>> session = model.session()
    >>> for frame in x:
    ...     following = session.step(frame)  # the frame expected next, (B, I)
    >>> bool((session.forecast(7) == model.predict(x, 7)).all())
    True
    """

    def __init__(
        self,
        encoder: Encoder,
        rnn: Recurrent[Any],
        following: Callable[[np.ndarray, np.ndarray], np.ndarray],
        frame_size: int,
        batch_size: int,
    ) -> None:
        batch_size = size("batch_size", batch_size, minimum=0)
        self._checked = encoder.checked_step
        self._next = following
        self._rnn = rnn.session(batch_size)
        self._expected = np.zeros((batch_size, frame_size), encoder.dtype)
        self._begun = np.zeros(batch_size, bool)

    def step(self, x: Any) -> np.ndarray:
        """Read a frame, and return the prediction of the next one.

        Parameters
        ----------
        x : array, shape (B, I), or (I,) of one stream

        Returns
        -------
        ndarray, shape (B, I)

        Raises
        ------
        TypeError
            If the dtype is wrong.
        ValueError
            If the shape is wrong, or a value is not finite.
        """
        x = self._checked(x, len(self._begun))
        self._expected = self._next(self._rnn.step(x), x)
        self._begun[:] = True
        return self._expected.copy()

    def forecast(self, horizon: int) -> np.ndarray:
        """Return the next frames; the session's state is unchanged.

        Parameters
        ----------
        horizon : int
            Number of frames K, at least 1.

        Returns
        -------
        ndarray, shape (K, B, I)

        Raises
        ------
        TypeError, ValueError
            If `horizon` is not an integer from 1, or a stream has read no frame.
        """
        horizon = size("horizon", horizon)
        if not self._begun.all():
            row = int(self._begun.argmin())
            raise ValueError(
                f"each stream must have read a frame; stream {row} has not"
            )
        return continued(self._rnn.fork(), self._next, self._expected, horizon)

    def reset(self, rows: Any = None) -> None:
        """Reset all streams, or `rows` (indices or a mask), to the initial state."""
        rows = slice(None) if rows is None else check_rows(rows, len(self._begun))
        self._rnn.reset(rows)
        self._begun[rows] = False

    def refresh(self) -> None:
        """Use the current weights, as each step does; the state is kept."""
        self._rnn.refresh()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(writable_values(state))

    def __copy__(self) -> ForecastSession:
        return self.fork()

    def fork(self) -> ForecastSession:
        """Return an independent copy of the session."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._rnn = self._rnn.fork()
        other._begun = self._begun.copy()
        return other


def continued(rnn: Any, following: Any, frame: np.ndarray, horizon: int) -> np.ndarray:
    """Return K frames: `frame` (B, I), then each predicted from the one before.

    Parameters
    ----------
    rnn : Session
        Session of the recurrent layers; its state advances.
    following : callable
        Function of the units and a frame that returns the next frame.
    """
    frames = np.empty((horizon, *frame.shape), frame.dtype)
    frames[0] = frame
    for k in range(1, horizon):
        frames[k] = following(rnn.step(frames[k - 1]), frames[k - 1])
    return frames
