"""Session of a frame model: the expected next frame after each step."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from fastcell._checks.arrays import check_rows, real_array
from fastcell._checks.numbers import real, shown, size
from fastcell.layers import Linear
from fastcell.models.sessions.steps import Encoder, Expectation


class Frames(Protocol):
    """The interface of a frame model that its session uses."""

    input_size: int
    frame_size: int
    decoder: Linear

    @property
    def encoder(self) -> Encoder: ...

    @property
    def task(self) -> Expectation: ...

    def _base(self, frames: np.ndarray, x: np.ndarray) -> np.ndarray: ...


class FrameSession:
    """Streams of a `FrameModel`, from its `session` method.

    A session starts with no step read. A step returns, bit for bit, what the model
    predicts from the sequence up to that step. Each step uses the model's current
    weights. Only one thread at a time may use a session. Copies are as for
    `fastcell.layers.session.Session`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import FrameModel
    >>> model = FrameModel(3, 4, head="values", seed=0)
    >>> x = np.random.default_rng(0).standard_normal((5, 1, 3), np.float32)
    >>> session = model.session()
    >>> steps = [session.step(x_t) for x_t in x]
    >>> bool((np.stack(steps) == model.predict(x)).all())
    True
    """

    def __init__(self, model: Frames, batch_size: int) -> None:
        batch_size = size("batch_size", batch_size, minimum=0)
        self._model = model
        self._encoder = model.encoder.session(batch_size)
        self._rows = batch_size

    def step(self, x: Any) -> np.ndarray:
        """Read a step, and return the expected next frame.

        Parameters
        ----------
        x : array, shape (B, I)
            One step of each stream; for one stream also (I,).

        Returns
        -------
        ndarray, shape (B, G)
            The mean of the next frame.

        Raises
        ------
        TypeError
            If the dtype is wrong.
        ValueError
            If the shape is wrong, or a value is not finite.
        """
        x = self._model.encoder.checked_step(x, self._rows)
        return self._model._base(self._model.task.mean(self._outputs(x)), x)

    def draw(
        self, x: Any, temperature: float, random: np.random.Generator
    ) -> np.ndarray:
        """Read a step, and return a next frame drawn from the distribution, (B, G).

        Parameters and errors are those of `step`; `temperature` is as for `generate`,
        and `random` is a `numpy.random.Generator`.
        """
        x = self._model.encoder.checked_step(x, self._rows)
        temperature = real("temperature", temperature, minimum=0)
        if not isinstance(random, np.random.Generator):
            raise TypeError(
                f"random must be a numpy.random.Generator; got {shown(random)}"
            )
        drawn = self._model.task.sample(self._outputs(x), temperature, random)
        return self._model._base(drawn, x)

    @property
    def state(self) -> Any:
        """A copy of the recurrent state; assign to set it."""
        return self._encoder.state

    @state.setter
    def state(self, state: Any) -> None:
        self._encoder.state = state

    def reset(self, rows: Any = None) -> None:
        """Reset all streams, or `rows` (indices or a mask), to the initial state."""
        self._encoder.reset(None if rows is None else check_rows(rows, self._rows))

    def refresh(self) -> None:
        """Use the current weights, as each step does; the state is kept."""
        self._encoder.refresh()

    def __copy__(self) -> FrameSession:
        return self.fork()

    def fork(self) -> FrameSession:
        """Return an independent copy of the session."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._encoder = self._encoder.fork()
        return other

    def _outputs(self, x: np.ndarray) -> np.ndarray:
        return self._model.decoder(self._encoder.step(x))


def first_columns(model: Frames, first_frames: Any, count: Any) -> np.ndarray:
    """Check the arguments of `generate` and return its first frames, (F, B, G)."""
    width = model.frame_size
    if model.input_size != width:
        raise ValueError(
            "input_size must be frame_size to generate, as frames are fed back; "
            f"got {model.input_size} and {width}"
        )
    if first_frames is None:
        first_frames = np.zeros((1, width), model.encoder.dtype)
    given = real_array("first_frames", first_frames, model.encoder.dtype)
    if given.ndim not in (2, 3) or given.shape[-1] != width:
        raise ValueError(
            f"first_frames must have the shape (F, {width}) or (F, B, {width}); "
            f"got {given.shape}"
        )
    if len(given) == 0:
        raise ValueError("first_frames must hold at least one frame; got none")
    if not np.isfinite(given).all():
        raise ValueError("first_frames must be finite; got NaN or infinity")
    if given.ndim == 3:
        if count is not None:
            raise ValueError(
                f"count must be left out if first_frames have a batch; got {count!r}"
            )
        return given
    rows = 1 if count is None else size("count", count)
    return np.repeat(given[:, np.newaxis], rows, axis=1)
