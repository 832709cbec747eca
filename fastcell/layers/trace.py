"""States and gates of all steps of a recurrent layer, to look at: `layer.trace(x)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np

from fastcell import _core
from fastcell._checks.names import one_of
from fastcell.layers.batches import Layout
from fastcell.layers.states import StateT


@dataclass(frozen=True, eq=False, repr=False)
class Trace(Generic[StateT]):
    """What a recurrent layer computed for a batch, by name.

    ``trace["f"]`` is a state or a gate of all layers, directions, steps and rows: an
    array (L, D, T, B, H), so ``trace["f"][1, 0]`` is that of the second layer, forward.
    The axes T and B are as those of x: (L, D, B, T, H) if batch_first, (L, D, T, H) for
    an unbatched x; for a `Ragged` T is the longest length. h has P features if the
    layer projects.

    Past a sequence's length all is 0. A masked step has the states that the row keeps,
    and gates of 0, since none are computed. The reverse direction has its values at the
    time that it reads, like y; with go_backwards the order is that of y, too.

    Attributes
    ----------
    y : ndarray or Ragged
        The outputs, as the layer returns them.
    state : ndarray or tuple of ndarray
        The final state, likewise.
    states : dict of str to ndarray
        The states after each step: h, and c and others where there are such.
    gates : dict of str to ndarray
        The gates, as the states use them: after their activations. Some cells have
        values besides: "h_n" of a GRU with the reset after the product is
        R_n h_{t-1} + b_hn, which r is a factor of; "s" of a minLSTM is f / (f + i), the
        share of h_{t-1}. A gate that is the state itself, as that of an RNN, is not
        repeated here, nor is the input gate of coupled ones, which is 1 - f.
    """

    y: Any
    state: StateT
    states: Mapping[str, np.ndarray]
    gates: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a state or a gate.

        Raises
        ------
        ValueError, TypeError
            If there is none of that name.
        """
        found = {**self.states, **self.gates}
        return found[one_of("name", name, tuple(found))]

    @property
    def names(self) -> tuple[str, ...]:
        """The states, h first, then the gates."""
        return (*self.states, *self.gates)

    def __repr__(self) -> str:
        return f"Trace({', '.join(self.names)}: {self.states['h'].shape})"


class Traced(Generic[StateT]):
    """The method `trace` of recurrent layers."""

    def trace(
        self: Any,
        x: Any,
        state: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
    ) -> Trace[StateT]:
        """Run the layer as a call does, and return all its states and gates.

        They are the ones that y is computed from, to the last bit. As in a call there
        is no dropout, and zoneout takes shares. The time is that of `forward` and of
        one copy, the memory that of `forward`'s `saved` and of the arrays. A
        `Trace` keeps all steps, so a long sequence is better traced in parts, each from
        the state of the one before.

        Parameters, and errors beside the one below, are those of `forward`.

        Raises
        ------
        RuntimeError
            If the layer is quantized to 8 bits: it keeps no gates.

        Examples
        --------
        >>> import numpy as np
        >>> import fastcell
        >>> layer = fastcell.LSTM(3, 5, num_layers=2, seed=0)
        >>> trace = layer.trace(np.ones((7, 4, 3), np.float32))
        >>> trace.names
        ('h', 'c', 'i', 'f', 'g', 'o')
        >>> trace["f"].shape  # layers, directions, steps, rows, units
        (2, 1, 7, 4, 5)
        >>> bool((trace["h"][-1, 0] == trace.y).all())
        True
        """
        if self.precision == "int8":
            raise RuntimeError("a layer of precision int8 keeps no gates to trace")
        _, packed = self._packed(False)
        call, layout = self._batch(x, state, lengths, mask, reset, None)
        memory = self._spare.take(self._stack.saved_size(call))
        y, final, _ = self._run(call, layout, packed, memory, False)
        steps = self.num_layers, self._directions, call.steps, call.rows
        others, names = self.states[1:], self._description["traced"]
        h = np.empty((*steps, self.output_size), self.dtype)
        c = np.empty((len(others), *steps, self.hidden_size), self.dtype)
        values = np.empty((len(names), *steps, self.hidden_size), self.dtype)
        _core.trace(self._stack, call, h, c, values, memory)
        self._spare.give(memory)
        return Trace(
            y,
            final,
            {"h": _to_caller(h, layout), **_by_name(others, c, layout)},
            # In the order of the weights; the core's is that of its memory.
            _by_name(names, values, layout, self.gates),
        )


def _by_name(
    names: tuple[str, ...],
    arrays: np.ndarray,
    layout: Layout,
    first: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
    """Return arrays (N, L, D, T, B, H) by name, those of `first` first."""
    found = {
        name: _to_caller(array, layout)
        for name, array in zip(names, arrays, strict=True)
    }
    order = (*(name for name in first if name in found), *found)
    return {name: found[name] for name in order}


def _to_caller(array: np.ndarray, layout: Layout) -> np.ndarray:
    """Return a view with the caller's axes of an array (L, D, T, B, H)."""
    if layout.unbatched:
        return array[:, :, :, 0]
    return array.swapaxes(2, 3) if layout.batch_first else array
