"""Bridge: the initial states of a decoder from the final states of an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.layers import Linear
from fastcell.layers.recurrent import Recurrent
from fastcell.models.parts.common import part_seeds, prefixed, started
from fastcell.module import Module


class Bridge(Module):
    r"""Map the final state of each encoder layer to the decoder layer's initial state.

    States of equal sizes are passed on unchanged. Otherwise each state of each layer
    has its own dense layer (of an sLSTM only h, and the others are zeros),

    .. math:: s^{dec}_k = \tanh(W_k \, [s^{fwd}_k ; s^{rev}_k] + b_k)

    as in Bahdanau et al. 2015, arXiv:1409.0473, who take the reverse direction only.

    Parameters
    ----------
    encoder, decoder : Recurrent
        Layers of the same cell and the same number of layers; the decoder has one
        direction.
    """

    def __init__(
        self, encoder: Recurrent[Any], decoder: Recurrent[Any], *, seed: int | None
    ) -> None:
        self._directions = 2 if encoder.bidirectional else 1
        self._layers = decoder.num_layers
        names = started(decoder.states)
        self._others = decoder.states[len(names) :], decoder.hidden_size
        wide = [encoder.output_size, encoder.hidden_size][: len(names)]
        narrow = [decoder.output_size, decoder.hidden_size][: len(names)]
        wide = [self._directions * width for width in wide]
        self._dense: dict[tuple[int, int], Linear] = {}
        if wide != narrow:
            seeds = iter(part_seeds(seed, len(names) * self._layers))
            self._dense = {
                (i, k): Linear(
                    wide[i], narrow[i], dtype=decoder.dtype, seed=next(seeds)
                )
                for i in range(len(names))
                for k in range(self._layers)
            }
        self._names = {(i, k): f"{names[i]}_l{k}" for i, k in self._dense}

    def children(self) -> dict[str, Module]:
        """Return the dense layers, "h_l0" and so on; empty if state sizes are equal."""
        return {self._names[at]: layer for at, layer in self._dense.items()}

    def __call__(self, state: Any) -> Any:
        """Return the decoder's initial state."""
        return self.forward(state)[0]

    def forward(self, state: Any) -> tuple[Any, Any]:
        """Return the decoder's initial state, and `saved`.

        Parameters
        ----------
        state : ndarray, shape (L D, B, P), or tuple of two
            The encoder's final h, or (h, c).
        """
        if not self._dense:
            return state, None
        out, saved = [], {}
        parts = _parts(state)
        others, H = self._others
        for i, part in enumerate(parts[: len(parts) - len(others)]):
            rows = self._by_layer(part)
            layers = []
            for k in range(self._layers):
                y, kept = self._dense[i, k].forward(np.ascontiguousarray(rows[k]))
                np.tanh(y, out=y)
                saved[i, k] = y, kept
                layers.append(y)
            out.append(np.stack(layers))
        zeros = np.zeros((self._layers, parts[0].shape[1], H), parts[0].dtype)
        out += [zeros.copy() for _ in others]
        return _joined(out), saved

    def backward(self, dstate: Any, saved: Any) -> tuple[Any, dict[str, np.ndarray]]:
        """Return the gradients of the encoder's final state and of the parameters."""
        if not self._dense:
            return dstate, {}
        out, grads = [], {}
        parts = _parts(dstate)
        others, _ = self._others
        for i, part in enumerate(parts[: len(parts) - len(others)]):
            layers = []
            for k in range(self._layers):
                y, kept = saved[i, k]
                d, inner = self._dense[i, k].backward(part[k] * (1 - y * y), kept)
                grads.update(prefixed(self._names[i, k], inner))
                layers.append(d)
            out.append(self._by_pass(np.stack(layers)))
        # Of the same widths as h: a cell with more than two states has no projection.
        out += [np.zeros_like(out[0]) for _ in others]
        return _joined(out), grads

    def _by_layer(self, part: np.ndarray) -> np.ndarray:
        """Return (L D, B, P) as (L, B, D P)."""
        _, B, P = part.shape
        by_layer = part.reshape(self._layers, self._directions, B, P)
        return by_layer.swapaxes(1, 2).reshape(self._layers, B, self._directions * P)

    def _by_pass(self, part: np.ndarray) -> np.ndarray:
        """Return (L, B, D P) as (L D, B, P)."""
        _, B, wide = part.shape
        P = wide // self._directions
        by_layer = part.reshape(self._layers, B, self._directions, P).swapaxes(1, 2)
        return by_layer.reshape(self._layers * self._directions, B, P)


def _parts(state: Any) -> tuple[np.ndarray, ...]:
    return state if isinstance(state, tuple) else (state,)


def _joined(parts: list[np.ndarray]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)
