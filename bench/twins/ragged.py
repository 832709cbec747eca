"""PyTorch's recurrent layers over sequences of different length, packed or padded.

``pack_padded_sequence`` is exact and slow: it uses the layer's general path, step by
step, instead of oneDNN's. With padding, a layer runs over all steps, and outputs past a
sequence's end are not read. That is exact too, because no step depends on later ones.
The last output of each sequence is gathered; a reverse direction reads each sequence
reversed within its own length, and its outputs are reversed again. Padding does not
give the c of an LSTM at the ends, which is not an output of the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

#: The ways of a twin for sequences of different length.
WAYS = ("padded", "packed")


class NotPadded(ValueError):
    """A twin needs a result of its layers that only packed sequences give."""


class Layers:
    """A layer of ``torch.nn``, run over sequences of different length in some way.

    Parameters
    ----------
    rnn : torch.nn.RNNBase
        Not batch first.

    Attributes
    ----------
    way : str
        One of `WAYS`.
    ragged : bool
        Whether any of the batches had sequences of different length.
    """

    def __init__(self, rnn: torch.nn.RNNBase) -> None:
        self.way = "padded"
        self.ragged = False
        self._rnn = rnn
        self._parts = _parts(rnn)

    def __call__(
        self,
        x: torch.Tensor,
        lengths: torch.Tensor | None = None,
        state: Any = None,
        final: str = "",
    ) -> tuple[torch.Tensor, Any]:
        """Run over sequences (T, B, I).

        Parameters
        ----------
        x : tensor, shape (T, B, I)
        lengths : tensor of int64, shape (B,), optional
        state : tensor or pair of tensors, optional
            The initial state of the layer.
        final : {"", "h", "state"}
            The part of the last state in use: none, h, or all of it.

        Returns
        -------
        y : tensor, shape (T, B, D H)
            Outputs; finite values past the lengths.
        state : tensor, pair of tensors or None
            The layer's state. If padded, unused parts are None: c, or all.

        Raises
        ------
        NotPadded
            If `final` is "state" of an LSTM, the lengths differ and the way is padded.
        """
        if lengths is None or bool((lengths == len(x)).all()):
            return self._rnn(x, state)
        self.ragged = True
        if self.way == "packed":
            return self._packed(x, lengths, state)
        lstm = isinstance(self._rnn, torch.nn.LSTM)
        if lstm and final == "state":
            raise NotPadded("an LSTM's c at the ends is not among its outputs")
        y, h = self._padded(x, lengths, state, bool(final))
        return y, (h, None) if lstm and final else h

    def _packed(
        self, x: torch.Tensor, lengths: torch.Tensor, state: Any
    ) -> tuple[torch.Tensor, Any]:
        sequence = pack_padded_sequence(x, lengths, enforce_sorted=False)
        sequence, state = self._rnn(sequence, state)
        return pad_packed_sequence(sequence, total_length=len(x))[0], state

    def _padded(
        self, x: torch.Tensor, lengths: torch.Tensor, state: Any, final: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        ends = Ends.of(lengths, len(x), both=self._rnn.bidirectional)
        if len(self._parts) == 1:  # the layer itself
            y, _ = self._rnn(x, state)
            return y, ends.last(y)[None] if final else None
        directions = 2 if self._rnn.bidirectional else 1
        h = []
        for k, part in enumerate(self._parts):
            reverse = k % directions == 1
            if k % directions == 0:
                if k:
                    x = functional.dropout(x, self._rnn.dropout, self._rnn.training)
                outputs = []
            first = _of_part(state, k)
            y, _ = part(ends.turned(x) if reverse else x, first)
            if final:
                h.append(ends.last(y))
            outputs.append(ends.turned(y) if reverse else y)
            if k % directions == directions - 1:
                x = torch.cat(outputs, dim=-1) if directions == 2 else y
        return x, torch.stack(h) if final else None


@dataclass(frozen=True)
class Ends:
    """The indices of the ends of sequences, and of their steps in reverse order.

    `last_rows` and `places` count the rows of (T B, H).
    """

    last_rows: torch.Tensor
    places: torch.Tensor | None

    @classmethod
    def of(cls, lengths: torch.Tensor, T: int, both: bool) -> Ends:
        """Return the indices of a batch; only `both` directions need the reverse."""
        B = len(lengths)
        rows = torch.arange(B)
        places = None
        if both:
            steps = torch.arange(T)[:, None]
            steps = torch.where(steps < lengths, lengths - 1 - steps, steps)
            places = (steps * B + rows).flatten()
        return cls((lengths - 1) * B + rows, places)

    def last(self, y: torch.Tensor) -> torch.Tensor:
        """Return the output at each sequence's last step, (B, H) of (T, B, H)."""
        return y.flatten(0, 1).index_select(0, self.last_rows)

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        """Return (T, B, I) with each sequence reversed within its length."""
        # Rows by index_select: twice as fast, with its gradient, as x[steps, rows] and
        # three times as fast as gather.
        return x.flatten(0, 1).index_select(0, self.places).view_as(x)


def _parts(rnn: torch.nn.RNNBase) -> list[torch.nn.RNNBase]:
    """Return each layer and direction as a separate layer with the same parameters."""
    suffixes = ("", "_reverse") if rnn.bidirectional else ("",)
    directions, parts = len(suffixes), []
    if rnn.num_layers * directions == 1:
        return [rnn]
    for k in range(rnn.num_layers):
        for suffix in suffixes:
            width = directions * rnn.hidden_size if k else rnn.input_size
            part = type(rnn)(width, rnn.hidden_size)
            for name, _ in list(part.named_parameters()):
                whole = f"{name.removesuffix('_l0')}_l{k}{suffix}"
                setattr(part, name, getattr(rnn, whole))
            parts.append(part)
    return parts


def _of_part(state: Any, k: int) -> Any:
    if isinstance(state, tuple):
        return tuple(part[k : k + 1] for part in state)
    return None if state is None else state[k : k + 1]
