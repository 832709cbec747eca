"""A recurrent model of sequences of real vectors: from each frame to the next one."""

from __future__ import annotations

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

    The picture of many inputs and many outputs, in step, with frames of G numbers in
    place of tokens (Graves 2013, arXiv:1308.0850):

    .. math::
        h_t &= \mathrm{cell}(x_t, h_{t-1}) \\
        p(y_t \mid x_1 \dots x_t) &= \mathrm{head}(W \, \mathrm{dropout}(h_t) + b)

    Mostly :math:`y_t = x_{t+1}`, and :math:`x_1` is a frame of zeros. The loss is the
    mean of :math:`-\log p(y_t)` in nats over all frames, summed over the elements of
    each; so the mean times the number of frames is that of whole sequences. The head
    says what p is:

    - "bernoulli": elements are 0 or 1, each with a sigmoid of its own: see
      `fastcell.models.heads.base.BernoulliHead`.
    - "mixture": elements are real, of a mixture of Gaussians: see
      `fastcell.models.heads.mixture.MixtureHead`.
    - "values": no p; the loss is the mean error of the elements.

    Parameters
    ----------
    frame_size : int
        Elements G of a frame.
    hidden_size : int
        Units of each recurrent layer.
    num_layers : int, default 1
        Recurrent layers, one upon the other.
    cell : str, default "lstm"
        "lstm", "gru", "rnn" (with tanh), or another name of `fastcell.cells.REGISTRY`.
    head : {"bernoulli", "mixture", "values"}
        What a frame is.
    dropout : float, default 0.0
        Probability of dropping a value between the recurrent layers and before the
        head, in training; in [0, 1).
    mixtures : int, optional
        Components of the mixture, 20 if not given; for that head only.
    correlated : bool, optional
        Whether each component has a correlation; by default if G is 2, and possible
        only then. For the mixture only.
    min_scale : float, default 0.0
        What is added to all standard deviations of the mixture. Without it, a density
        grows beyond all bounds at values that come again and again to the bit.
    residual : bool, default False
        Predict what is added to the last frame; not for "bernoulli".
    loss : {"mse", "mae", "huber"}, optional
        The squared, absolute or Huber's error of an element, for "values" only; the
        squared one if not given.
    delta : float, optional
        Where Huber's error changes from squared to absolute; 1 if not given. For
        "huber" only.
    pos_weight : array of real numbers, optional
        Of elements that are 1, in the loss of "bernoulli": one for all, or (G,), at
        least 0. Above 1 it favours finding them all where they are rare; the
        likelihood, and the score "nll", are without.
    ignore_nan : bool, default False
        Leave out the elements of frames to be predicted that are NaN, such as gaps of a
        measurement, which are refused otherwise. x has to be without.
    input_size : int, optional
        Features I of a step, G if not given. If there are more, the frame comes first
        and the others say more about the step; such a model does not `generate`.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Of the initial weights and of dropout.
    precision : {"float32", "bf16"}, optional
        Of the recurrent products: see `fastcell.module.Module.to`. Weights, gradients
        and what an optimizer keeps are float32 in either case.

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
            Steps of each sequence, 0 to T; all T if not given.

        Returns
        -------
        ndarray, shape (T, B, G)
            Probabilities of "bernoulli", else values; zeros past the lengths.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is, or a value is not finite or out of range.
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
            steps. What stands past the lengths does not count. x is kept and not
            copied: it must not be written to before `backward`. weights, at least 0:
            of each sequence, (B,), or of each frame, (T, B); or None.
        state
            The recurrent state to start from; None is zeros.

        Returns
        -------
        loss : float
            Mean over the frames that count, by their weights if they have any.
        saved
            What `backward` needs, used up by it. ``saved.state`` is the state after the
            last step, for the next batch of the same streams, or None if the batch has
            lengths: then its sequences have come to their ends.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is, or a value is not finite, or is neither 0 nor 1 where the
            head is "bernoulli".
        """
        return super().loss(batch, state)

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, Any, dict[str, tuple[float, int]]]:
        """Return loss and state as `evaluate` does, and ``"nll"``: nats of all frames.

        A model of values has ``"mae"``, the absolute errors, instead. Parameters and
        errors are those of `loss`.
        """
        outputs, targets, weights, after, _ = self._assessed(batch, state)
        loss, scores = self.task.assess(outputs, targets, weights)
        return loss, after, scores

    def log_likelihood(self, batch: Any, state: Any = None) -> np.ndarray:
        """Return the log-likelihood of each sequence, of all its frames, in nats.

        Parameters and errors are those of `loss`; weights have no part in it.

        Returns
        -------
        ndarray of float64, shape (B,)
            Of real frames the logarithm of a density, which may be positive.

        Raises
        ------
        ValueError
            If the head is "values", which has none.
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
        """Return a `FrameSession`: a step at a time.

        Parameters
        ----------
        batch_size : int, default 1
            Streams that are stepped together.
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
        """Draw sequences, each frame fed back as the next step.

        Parameters
        ----------
        first_frames : array, shape (F, G) or (F, B, G), or None
            Frames to begin with, at least one; None is one frame of zeros. B sequences
            are continued side by side.
        length : int
            Frames to draw.
        temperature : float, default 1.0
            Below 1 what is likely grows likelier; 0 takes the likeliest: of each
            element, or the mean of the weightiest component. A model of values draws
            nothing, and goes on by its predictions.
        seed : int, optional
            Of the draws.
        count : int, optional
            Draw so many sequences from the same beginning, which is None or (F, G).

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
            or steps have other features than the frame.
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
        """Return outputs, targets, weights, the state after, and the batch's shape."""
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
        """Return frames (N, G) upon those of the steps (N, I), if residual."""
        return frames + x[:, : self.frame_size] if self.residual else frames

    def _steps(self, a: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Return the steps that there are of (T, B, ...), one below the other."""
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
