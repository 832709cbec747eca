"""Frame model: predicts or generates sequences of vectors, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell._checks.numbers import flag, real, seed_of, size
from fastcell.layers.pooling import existing_steps
from fastcell.models.heads.base import Head
from fastcell.models.heads.by_name import head_named
from fastcell.models.parts.common import SavedOnce, step_weights
from fastcell.models.parts.each_step import EachStep
from fastcell.models.parts.sequence_model import SequenceModel
from fastcell.models.sessions.frame_session import FrameSession, first_columns
from fastcell.module import check_dtype
from fastcell.named_classes import in_files


@in_files
class FrameModel(SequenceModel):
    r"""Predict each frame of a sequence from those before it.

    Many to many, in step: as a language model, with frames of G numbers in place of
    tokens (Graves 2013, arXiv:1308.0850):

    .. math::
        h_t &= \mathrm{cell}(x_t, h_{t-1}) \\
        p(y_t \mid x_1 \dots x_t) &= \mathrm{head}(W \, \mathrm{dropout}(h_t) + b)

    Usually :math:`y_t = x_{t+1}`, and :math:`x_1` is a frame of zeros. The loss is the
    mean of :math:`-\log p(y_t)` over all frames, in nats, summed over the elements of a
    frame. The head defines p:

    - "bernoulli": elements are 0 or 1, each with its own sigmoid: see
      `fastcell.models.heads.base.BernoulliHead`.
    - "mixture": elements are real, from a mixture of Gaussians: see
      `fastcell.models.heads.mixture.MixtureHead`.
    - "values": no distribution; the loss is the mean error of the elements.

    Parameters
    ----------
    frame_size : int
        Elements G of a frame.
    hidden_size : int
        Units of each recurrent layer.
    num_layers : int, default 1
        Stacked recurrent layers.
    cell : str, default "lstm"
        "lstm", "gru", "rnn" (with tanh), or another name of `fastcell.cells.REGISTRY`.
    head : {"bernoulli", "mixture", "values"}
        The distribution of a frame.
    dropout : float, default 0.0
        Probability of dropping a value between the recurrent layers and before the
        head, in training; in [0, 1).
    mixtures : int, optional
        Components of the mixture, 20 if not given; for "mixture" only.
    correlated : bool, optional
        Whether each component has a correlation: possible, and the default, if G is 2.
        For "mixture" only.
    min_scale : float, default 0.0
        Added to all standard deviations of the mixture. Without it, the density grows
        without bound at values that repeat exactly in the data.
    residual : bool, default False
        Predict the difference to the last frame; not for "bernoulli".
    loss : {"mse", "mae", "huber"}, optional
        The squared, absolute or Huber's error of an element, for "values" only; "mse"
        if not given.
    delta : float, optional
        Where Huber's error changes from squared to absolute; 1 if not given. For
        "huber" only.
    pos_weight : array of real numbers, optional
        Weights of elements that are 1, in the loss of "bernoulli": one for all, or
        (G,), at least 0. Above 1 it favours recall of rare ones. The likelihood and the
        score "nll" are unweighted.
    ignore_nan : bool, default False
        Leave out elements of target frames that are NaN, such as gaps of a measurement;
        by default they are errors. x must not have any.
    input_size : int, optional
        Features I of a step, G if not given. If I exceeds G, the frame comes first and
        the others are additional inputs; such a model cannot `generate`.
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

    Attributes
    ----------
    task : fastcell.models.heads.base.Head
        The head.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import FrameModel
    >>> model = FrameModel(2, 8, head="mixture", mixtures=3, seed=0)
    >>> y = np.random.default_rng(0).standard_normal((7, 5, 2)).astype(np.float32)
    >>> x = np.concatenate([np.zeros((1, 5, 2), np.float32), y[:-1]])
    >>> loss, saved = model.loss((x, None, y))
    >>> model.predict(x).shape, model.log_likelihood((x, None, y)).shape
    ((7, 5, 2), (5,))
    >>> model.generate(None, 4, seed=1).shape
    (4, 2)
    """

    unit = "frames"

    task: Head  # type: ignore[assignment]
    _carries_state = True

    def __init__(
        self,
        frame_size: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: str = "lstm",
        head: str = "bernoulli",
        dropout: float = 0.0,
        *,
        mixtures: int | None = None,
        correlated: bool | None = None,
        min_scale: float = 0.0,
        residual: bool = False,
        loss: str | None = None,
        delta: float | None = None,
        pos_weight: Any = None,
        ignore_nan: bool = False,
        input_size: int | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        precision: str | None = None,
        layer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.frame_size = size("frame_size", frame_size)
        dtype = check_dtype(dtype)
        self.task = head_named(
            head,
            self.frame_size,
            dtype,
            mixtures=mixtures,
            correlated=correlated,
            min_scale=min_scale,
            loss=loss,
            delta=delta,
            pos_weight=pos_weight,
            ignore_nan=ignore_nan,
        )
        self.head = head
        self.residual = flag("residual", residual)
        if self.residual and head == "bernoulli":
            raise ValueError('residual must be False for the head "bernoulli"')
        self.input_size = self.frame_size
        if input_size is not None:
            self.input_size = size("input_size", input_size)
        if self.residual and self.input_size < self.frame_size:
            raise ValueError(
                f"input_size must be at least frame_size, {frame_size}, of a residual "
                f"model; got {input_size}"
            )
        self._build(
            input_size=self.input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            cell=cell,
            dropout=dropout,
            dtype=dtype,
            seed=seed,
            precision=precision,
            layer_options=layer_options,
        )

    def _make_readout(self, seed: int | None) -> EachStep:
        return EachStep()

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        config = super().config()
        for name in ("bidirectional", "embedding_dim"):
            del config[name]
        config |= {n: getattr(self, n) for n in ("frame_size", "head", "residual")}
        return {**config, **self.task.config()}

    def predict(self, x: Any, lengths: Any = None) -> np.ndarray:
        """Return the frame expected after each step: the mean of the head.

        Parameters
        ----------
        x : array, shape (T, B, I)
            The sequences, of the model's dtype, finite.
        lengths : array of int, shape (B,), optional
            Steps of each sequence, 0 to T; all T by default.

        Returns
        -------
        ndarray, shape (T, B, G)
            Probabilities of "bernoulli", else values; zeros past the lengths.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is wrong, or a value is not finite or out of range.
        """
        x, lengths = self.encoder.checked(x, lengths)
        means = self._base(
            self.task.mean(self._infer(x, lengths)), self._steps(x, lengths)
        )
        return self._laid_out(means, x, lengths)

    # ------------------------------------------------------------------- the model

    def loss(self, batch: Any, state: Any = None) -> tuple[float, SavedOnce]:
        """Return the mean loss of a frame, for training.

        Parameters
        ----------
        batch : tuple (x, lengths, y) or (x, lengths, y, weights)
            x and lengths as in `predict`; y (T, B, G) are the frames that follow the
            steps. Values past the lengths have no effect. x is kept and not copied: it
            must not be written to before `backward`. weights, at least 0: of each
            sequence, (B,), or of each frame, (T, B); or None.
        state
            The recurrent state to start from; None is zeros.

        Returns
        -------
        loss : float
            Mean over the frames that count, weighted if they have weights.
        saved
            Values for `backward`, which consumes them. ``saved.state`` is the state
            after the last step, for the next batch of the same streams; None if the
            batch has lengths.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is wrong, or a value is not finite, or neither 0 nor 1 with the
            head "bernoulli".
        """
        return super().loss(batch, state)

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, Any, dict[str, tuple[float, int]]]:
        """Return loss and state as `evaluate`, and ``"nll"``: nats of all frames.

        With the head "values", the score is ``"mae"``, the absolute errors. Parameters
        and errors are those of `loss`.
        """
        outputs, targets, weights, after, _ = self._assessed(batch, state)
        loss, scores = self.task.assess(outputs, targets, weights)
        return loss, after, scores

    def log_likelihood(self, batch: Any, state: Any = None) -> np.ndarray:
        """Return the log-likelihood of each sequence, in nats, summed over its frames.

        Parameters and errors are those of `loss`; weights have no effect.

        Returns
        -------
        ndarray of float64, shape (B,)
            For real frames the logarithm of a density, which may be positive.

        Raises
        ------
        ValueError
            If the head is "values", which has no likelihood.
        """
        outputs, targets, _, _, (T, B, lengths) = self._assessed(batch, state)
        nll = self.task.nll(outputs, targets)
        steps = np.full(B, T) if lengths is None else lengths
        rows = np.broadcast_to(np.arange(B), (T, B))[existing_steps(steps, T)]
        return -np.bincount(rows, nll, B)

    def count(self, batch: Any) -> int:
        """Return the number of frames that count."""
        return self.task.count(*self._checked(batch)[2:])

    def session(self, batch_size: int = 1) -> FrameSession:  # type: ignore[override]
        """Return a `FrameSession`, which reads one step at a time.

        Parameters
        ----------
        batch_size : int, default 1
            Number of streams.
        """
        return FrameSession(self, batch_size)

    def generate(
        self,
        first_frames: Any,
        length: int,
        temperature: float = 1.0,
        seed: int | None = None,
        *,
        count: int | None = None,
    ) -> np.ndarray:
        """Draw sequences; each frame drawn is the next input.

        Parameters
        ----------
        first_frames : array, shape (F, G) or (F, B, G), or None
            Initial frames, at least one; None is one frame of zeros. B sequences are
            continued in parallel.
        length : int
            Frames to draw.
        temperature : float, default 1.0
            Below 1, likely frames become likelier; 0 takes the likeliest: of each
            element, or the mean of the largest component. With the head "values"
            nothing is drawn: predictions are fed back.
        seed : int, optional
            Seed of the draws.
        count : int, optional
            Number of sequences to draw from the same first frames, None or (F, G).

        Returns
        -------
        ndarray, shape (length, G), or (length, B, G) or (length, count, G)
            The frames after the first ones.

        Raises
        ------
        TypeError
            If an argument is of the wrong type.
        ValueError
            If one is out of its range, a shape is wrong, a first frame is not finite,
            or I is not G.
        """
        length = size("length", length, minimum=0)
        temperature = real("temperature", temperature, minimum=0)
        columns = first_columns(self, first_frames, count)
        random = np.random.default_rng(seed_of(seed))
        session = self.session(columns.shape[1])
        for frame in columns[:-1]:
            session.step(frame)
        drawn = np.empty((length, *columns.shape[1:]), columns.dtype)
        frame = columns[-1]
        for t in range(length):
            frame = drawn[t] = session.draw(frame, temperature, random)
        single = count is None and np.ndim(first_frames) < 3
        return drawn[:, 0] if single else drawn

    # ------------------------------------------------------------------------ inside

    def _assessed(self, batch: Any, state: Any) -> tuple[Any, ...]:
        """Return outputs, targets, weights, the final state, and the batch's shape."""
        x, lengths, targets, weights = self._checked(batch)
        h, after = self.encoder(x, state, lengths=lengths)
        outputs = self.decoder(self._readout(h, lengths))
        after = self._carried(after, lengths)
        return outputs, targets, weights, after, (*x.shape[:2], lengths)

    def _targets(self, y: Any, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        y = self.task.targets(y, x.shape[:2], lengths)
        targets = self._steps(y, lengths)
        if self.residual:
            targets = targets - self._steps(x, lengths)[:, : self.frame_size]
        return targets

    def _target_weights(
        self, weights: Any, x: np.ndarray, lengths: np.ndarray | None
    ) -> np.ndarray | None:
        weights = step_weights(weights, x.shape[:2])
        return None if weights is None else EachStep.selected(weights, lengths)

    def _base(self, frames: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return frames (N, G), added to those of the steps (N, I) if residual."""
        return frames + x[:, : self.frame_size] if self.residual else frames

    def _steps(self, a: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Return the steps within the lengths of (T, B, ...), as rows."""
        steps: np.ndarray = self._readout(a, lengths)
        return steps

    def _laid_out(
        self,
        values: np.ndarray,
        x: np.ndarray,
        lengths: np.ndarray | None,
        fill: Any = 0,
    ) -> np.ndarray:
        return EachStep.laid_out(values, x.shape[:2], lengths, fill)
