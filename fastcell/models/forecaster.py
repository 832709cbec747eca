"""Forecaster: reads frames of a sequence, then predicts the frames that follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import flag, size
from fastcell.layers import Dropout, Linear
from fastcell.models.parts.base import ScoredModel
from fastcell.models.parts.cells import options_config
from fastcell.models.parts.common import (
    SavedOnce,
    check_no_state,
    check_seed,
    check_weighted,
    part_seeds,
    precision_of,
    prefixed,
    step_weights,
    take_saved,
)
from fastcell.models.parts.encoder import Encoder
from fastcell.models.parts.feedback import Feedback, top_of
from fastcell.models.parts.tasks import Regression
from fastcell.models.sessions.forecast_session import ForecastSession, continued
from fastcell.module import Module
from fastcell.named_classes import in_files

if TYPE_CHECKING:
    from fastcell.layers.recurrent import Recurrent


@in_files
class Forecaster(ScoredModel):
    r"""Continue a sequence of frames, such as the poses of a dancer.

    Recurrent layers read the frames :math:`x_1 \dots x_T`, then their own predictions,
    up to the horizon:

    .. math::
        h_t &= \mathrm{cell}(x_t, h_{t-1}), \quad
        \hat x_{t+1} = x_t + W \, \mathrm{dropout}(h_t) + b & t \le T \\
        h_t &= \mathrm{cell}(\hat x_t, h_{t-1}), \quad
        \hat x_{t+1} = \hat x_t + W \, \mathrm{dropout}(h_t) + b & t > T

    (Martinez et al. 2017, arXiv:1705.02445: the residual decoder, with the same weights
    for reading and predicting). Training predicts as inference does, each frame from
    the predicted one before, and gradients flow through all steps (their sampling-based
    loss). The loss is over the frames :math:`\hat x_{T+1} \dots \hat x_{T+K}`.

    A batch is ``(x, lengths, y)``, as from `fastcell.data.Windows`: x (T, B, I); the
    lengths (B,), at least 1, or None if all are T; and the frames y (K, B, I) that
    follow. An optional fourth part is weights, at least 0: of each sequence, (B,), or
    of each frame that follows, (K, B).

    Parameters
    ----------
    frame_size : int
        Values I of a frame.
    hidden_size : int
        Units of each recurrent layer.
    num_layers : int, default 1
        Stacked recurrent layers.
    cell : str, default "lstm"
        The cell of the recurrent layers: "lstm", "gru", "rnn" (with tanh), or another
        name of `fastcell.cells.REGISTRY`.
    residual : bool, default True
        Whether to predict the difference to the frame before, as above, or the frame
        itself.
    dropout : float, default 0.0
        Probability of dropping a value between the recurrent layers and before W, in
        training; in [0, 1).
    loss : {"mse", "mae", "huber"}, default "mse"
        The mean squared, absolute or Huber's error of a value.
    delta : float, optional
        Where Huber's error changes from squared to absolute; 1 if not given. For
        "huber" only.
    ignore_nan : bool, default False
        Leave out values of y that are NaN, such as gaps of a measurement; by default
        they are errors. x must not have any.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial weights and of dropout.
    precision : {"float32", "bf16"}, optional
        Precision of the recurrent products: see `fastcell.module.Module.to`. Weights,
        gradients and optimizer state are float32 in both cases.
    layer_options : mapping of str to value, optional
        Other arguments of the recurrent layers, such as ``{"init": "orthogonal",
        "forget_bias": 1.0, "zoneout": 0.1}``: those of all layers
        (`fastcell.layers.options.Options`), and those of the cell's class. They are
        saved with the model.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import Forecaster
    >>> model = Forecaster(3, 8, cell="gru", seed=0)
    >>> x = np.zeros((5, 2, 3), np.float32)  # 5 frames of 2 sequences
    >>> model.predict(x, 4).shape
    (4, 2, 3)
    >>> loss, saved = model.loss((x, None, np.ones((4, 2, 3))))
    >>> sorted(model.backward(saved))[:2]
    ['decoder.bias', 'decoder.weight']
    """

    unit = "values"

    def __init__(
        self,
        frame_size: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: str = "lstm",
        residual: bool = True,
        dropout: float = 0.0,
        *,
        loss: str = "mse",
        delta: float | None = None,
        ignore_nan: bool = False,
        dtype: Any = np.float32,
        seed: int | None = None,
        precision: str | None = None,
        layer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.frame_size = size("frame_size", frame_size)
        self.residual = flag("residual", residual)
        self.seed = check_seed(seed)
        seeds = part_seeds(self.seed, 3)
        self.encoder = Encoder(
            self.frame_size,
            hidden_size,
            num_layers,
            cell,
            dropout=dropout,
            dtype=dtype,
            seed=seeds[0],
            precision=precision,
            layer_options=layer_options,
        )
        self.task = Regression(
            self.frame_size, self.encoder.dtype, loss, delta, ignore_nan
        )
        self.feedback = Feedback(
            cast("Recurrent[Any]", self.encoder.children()["rnn"]),
            Dropout(self.encoder.dropout, seed=seeds[1]),
            Linear(
                self.encoder.output_size,
                self.frame_size,
                dtype=self.encoder.dtype,
                seed=seeds[2],
            ),
            self.residual,
        )

    # ------------------------------------------------------------------ the module

    def children(self) -> dict[str, Module]:
        """Return the layers by name."""
        return self.feedback.children()

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        return {
            "frame_size": self.frame_size,
            "hidden_size": self.encoder.hidden_size,
            "num_layers": self.encoder.num_layers,
            "cell": self.encoder.cell,
            "residual": self.residual,
            "dropout": self.encoder.dropout,
            "loss": self.task.error,
            **self.task.config(),
            "dtype": self.encoder.dtype.name,
            "seed": self.seed,
            **precision_of(self),
            **options_config(self.encoder),
        }

    # -------------------------------------------------------------------- training

    def loss(self, batch: Any, state: Any = None) -> tuple[float, SavedOnce]:
        """Return the mean error of the values of the predicted frames, for training.

        Parameters
        ----------
        batch : tuple
            ``(x, lengths, y)``, or with weights, see the class. All values are finite,
            and x has the model's dtype. x is kept and not copied: it must not be
            written to before `backward`.
        state
            Must be None: batches do not continue one another.

        Returns
        -------
        loss : float
        saved
            Values for `backward`, which consumes them; ``saved.state`` is None.

        Raises
        ------
        TypeError, ValueError
            If a part of the batch is not as described.
        """
        check_no_state(state)
        x, lengths, y, weights = self._checked(batch)
        _, read, encoded = self.feedback.rnn.forward(x, lengths=lengths)
        frames, made = self.feedback.forward(_last(x, lengths), read, len(y))
        loss, dframes = self.task.loss(frames, y, weights)
        saved = SavedOnce(None, dframes, made, encoded)
        saved.count = self.task.count(y, weights)
        saved.weight = self.task.total(y, weights)
        return loss, saved

    def backward(self, saved: SavedOnce) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If `saved` was used before.
        """
        dframes, made, encoded = take_saved(saved)
        dstate, rnn, grads = self.feedback.backward(dframes, made)
        _, _, rnn = self.feedback.rnn.backward(None, encoded, dstate, add_to=rnn)
        return {**prefixed("rnn", rnn), **grads}

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, None, dict[str, tuple[float, int]]]:
        """Return the loss, None, and the sum of the absolute errors under "mae".

        Parameters and errors are those of `loss`.
        """
        check_no_state(state)
        x, lengths, y, weights = self._checked(batch)
        frames = self._continued(x, lengths, len(y))
        return (
            self.task.loss(frames, y, weights)[0],
            None,
            self.task.assess(frames, y, weights),
        )

    def count(self, batch: Any) -> int:
        """Return the number of values over which `loss` is the mean."""
        return self.task.count(*self._checked(batch)[2:])

    def total_weight(self, batch: Any) -> float:
        """Return the sum of the weights that `loss` is divided by."""
        return self.task.total(*self._checked(batch)[2:])

    # ------------------------------------------------------------------ prediction

    def predict(self, x: Any, horizon: int, lengths: Any = None) -> np.ndarray:
        """Return the frames that follow.

        Parameters
        ----------
        x : array, shape (T, B, I)
            The frames to continue, of the model's dtype, finite.
        horizon : int
            Number of frames K to predict, at least 1; it may exceed that of training.
        lengths : array of int, shape (B,), optional
            Frames of each sequence, 1 to T; all T by default.

        Returns
        -------
        ndarray, shape (K, B, I)
            The forecast of a sequence has the same bits in any batch.

        Raises
        ------
        TypeError
            If a dtype is wrong, or `horizon` is not an integer.
        ValueError
            If a shape is wrong, or a value is not finite or out of range.
        """
        horizon = size("horizon", horizon)
        return self._continued(*self._given(x, lengths), horizon)

    def session(self, batch_size: int = 1) -> ForecastSession:
        """Return a `ForecastSession`, which reads frame by frame.

        Parameters
        ----------
        batch_size : int, default 1
            Number of streams.
        """
        return ForecastSession(
            self.encoder,
            self.feedback.rnn,
            self.feedback.next_frame,
            self.frame_size,
            batch_size,
        )

    # ------------------------------------------------------------------------ inside

    def _continued(
        self, x: np.ndarray, lengths: np.ndarray | None, horizon: int
    ) -> np.ndarray:
        """Return the frames that follow, without dropout."""
        rnn, following = self.feedback.rnn, self.feedback.next_frame
        _, state = rnn(x, lengths=lengths)
        first = following(top_of(state), _last(x, lengths))
        session = rnn.session(x.shape[1])
        session.state = state
        return continued(session, following, first, horizon)

    def _given(self, x: Any, lengths: Any) -> tuple[np.ndarray, np.ndarray | None]:
        x, lengths = self.encoder.checked(x, lengths)
        if len(x) == 0:
            raise ValueError(f"x must have at least one frame; got the shape {x.shape}")
        if lengths is not None and (lengths < 1).any():
            raise ValueError(
                f"lengths must be at least 1; got 0 in row {int(lengths.argmin())}"
            )
        return x, lengths

    def _checked(
        self, batch: Any
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
        x, lengths, y, weights = check_weighted(batch, "(x, lengths, y)")
        x, lengths = self._given(x, lengths)
        y = as_array("y", y)
        if y.ndim not in (2, 3) or len(y) == 0:
            raise ValueError(
                f"y must have the shape (K, {x.shape[1]}, {self.frame_size}) with K at "
                f"least 1; got {y.shape}"
            )
        shape = len(y), x.shape[1]
        y = self.task.targets(y, shape)
        return x, lengths, y, step_weights(weights, shape)


def _last(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Return the last frame of each sequence, (B, I)."""
    if lengths is None:
        return np.ascontiguousarray(x[-1])
    last: np.ndarray = x[lengths - 1, np.arange(x.shape[1])]
    return last
