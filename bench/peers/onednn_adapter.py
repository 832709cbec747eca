"""oneDNN's adapter: its C library directly, the limit of frameworks that use it.

Weights are reordered to the layout that the primitive chooses: once for inference, in
every call for training, where they change.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from fastcell._judge.cases import Case
from peers import Arrays, BaseEngine, NotInstalled, Run, padded, state_names
from peers import dnnl as d

#: oneDNN's gates as indices into torch's: its GRU has update, reset, candidate.
GATE_ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}


class Engine(BaseEngine):
    """See :class:`peers.BaseEngine`."""

    label = "oneDNN"

    def __init__(self) -> None:
        try:
            self._library = d.Library()
        except OSError as error:
            raise NotInstalled(f"onednn: {error}") from None

    def versions(self) -> dict[str, str]:
        version = self._library.version
        return {"oneDNN": f"{version.major}.{version.minor}.{version.patch}"}

    def set_num_threads(self, n: int) -> None:
        self._library.set_num_threads(n)

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        problem = _Problem(self._library, case, weights)
        run, arrays = problem.inference(x)

        def call() -> Arrays:
            run()
            return arrays

        return [Run(self.label, call, _copied)]

    def step(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        problem = _Problem(self._library, case, weights)
        run, arrays = problem.stream(x[None])

        def call() -> np.ndarray:
            run()
            return arrays["y"]

        return [Run(self.label, call, lambda y: {"y": np.array(y).reshape(-1)})]

    def train(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        problem = _Problem(self._library, case, weights)
        run, read = problem.training(x, dy)
        return [Run(self.label, run, lambda _: read())]

    def ragged(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        return padded(self.train(case, weights, x, dy), case)


class _Problem:
    """Weights of one case as oneDNN names their dimensions: (l, d, i, g, o)."""

    def __init__(self, library: d.Library, case: Case, weights: Arrays) -> None:
        self.library, self.case = library, case
        self.names = state_names(case.cell)
        self.inputs = _gates(weights["weight_ih_l0"], case)
        self.recurrent = _gates(weights["weight_hh_l0"], case)
        self.bias = _bias(weights, case)

    def inference(self, x: np.ndarray) -> tuple[Callable[[], None], Arrays]:
        """One call over the sequence from a zero state, and the arrays it fills."""
        run, arrays, _ = self._forward(d.FORWARD_INFERENCE, x, False)
        return run, arrays

    def stream(self, x: np.ndarray) -> tuple[Callable[[], None], Arrays]:
        """One step; two pairs of states alternate as the old and the new."""
        one, arrays, made = self._forward(d.FORWARD_INFERENCE, x, True)
        descriptor, arguments = made
        swapped = dict(arguments)
        for k in range(len(self.names)):
            before, after = d.SRC_H + k, d.DST_H + k
            swapped[before], swapped[after] = arguments[after], arguments[before]
        other = self.library.execution(descriptor, swapped)
        turns = cycle((one, other))
        return lambda: next(turns)(), arrays

    def training(
        self, x: np.ndarray, dy: np.ndarray
    ) -> tuple[Callable[[], None], Callable[[], Arrays]]:
        """Forward and backward, and what reads the gradients as torch names them."""
        library, case = self.library, self.case
        forward, arrays, made = self._forward(d.FORWARD_TRAINING, x, True)
        hint, arguments = made
        # With zero states, because without states 3.2 returns a wrong gradient of the
        # recurrent weights for the LSTM and the RNN.
        descriptors = self._descriptors(True)
        wide = [*descriptors, *descriptors]
        descriptor = library.recurrent(case.cell, d.BACKWARD, wide, hint)
        kept = {k: m for k, m in arguments.items() if k not in (d.WEIGHTS, d.RECURRENT)}
        reorders = []
        for number, plain in self._plain_weights().items():
            kept[number] = library.memory(library.chosen(descriptor, number))
            reorders.append(library.reordering(plain, kept[number]))
        kept[d.DST + d.DIFF] = self._memory(dy)
        dx = kept[d.SRC + d.DIFF] = self._memory(np.zeros_like(x))
        for k in range(len(self.names)):
            for number in (d.SRC_H + k, d.DST_H + k):
                zero = np.zeros((1, 1, case.B, case.H), np.float32)
                kept[number + d.DIFF] = self._memory(zero)
        results = []
        for number, plain in self._plain_weights().items():
            chosen = library.memory(library.chosen(descriptor, number + d.DIFF))
            target = library.memory(plain.descriptor, np.zeros_like(plain.array))
            kept[number + d.DIFF] = chosen
            results.append((target, library.reordering(chosen, target)))
        dbias = kept[d.BIAS + d.DIFF] = self._memory(np.zeros_like(self.bias))
        backward = library.execution(descriptor, kept)

        def run() -> None:
            forward()
            for reorder in reorders:
                reorder()
            backward()
            for _, reorder in results:
                reorder()

        def read() -> Arrays:
            grads = [_gates(target.array, case, back=True) for target, _ in results]
            return {
                "y": arrays["y"].copy(),
                "dx": dx.array.copy(),
                "weight_ih_l0": grads[0],
                "weight_hh_l0": grads[1],
                **_bias_gradients(dbias.array, case),
            }

        return run, read

    def _forward(self, kind: int, x: np.ndarray, with_state: bool) -> Any:
        library, case = self.library, self.case
        descriptors = self._descriptors(with_state)
        descriptor = library.recurrent(case.cell, kind, descriptors)
        y = np.zeros((case.T, case.B, case.H), np.float32)
        arguments = {
            d.SRC: self._memory(x),
            d.BIAS: self._memory(self.bias),
            d.DST: self._memory(y),
        }
        training = kind == d.FORWARD_TRAINING
        reorders = []
        for number, plain in self._plain_weights().items():
            arguments[number] = library.memory(library.chosen(descriptor, number))
            reorder = library.reordering(plain, arguments[number])
            reorder()
            reorders += [reorder] if training else []
        arrays = {"y": y}
        for k, name in enumerate(self.names):
            state = self._memory(np.zeros((1, 1, case.B, case.H), np.float32))
            arguments[d.DST_H + k] = state
            if with_state:
                arguments[d.SRC_H + k] = self._memory(np.zeros_like(state.array))
            arrays[name] = state.array[0, 0]
        if training:
            wanted = library.chosen(descriptor, d.WORKSPACE)
            arguments[d.WORKSPACE] = library.memory(wanted)
        execution = library.execution(descriptor, arguments)

        def run() -> None:
            for reorder in reorders:
                reorder()
            execution()

        return run, arrays, (descriptor, arguments)

    def _descriptors(self, with_state: bool) -> list[Any]:
        """Source, states, weights, bias, destination, states, as C declares them."""
        library, case = self.library, self.case
        G = case.gates
        state = library.row_major((1, 1, case.B, case.H))
        after = [state] * len(self.names)
        before = after if with_state else [None] * len(after)
        return [
            library.row_major((case.T, case.B, case.I)),
            *before,
            library.described((1, 1, case.I, G, case.H)),
            library.described((1, 1, case.H, G, case.H)),
            *([None, None] if case.cell == "lstm" else []),  # peephole, projection
            library.row_major(self.bias.shape),
            library.row_major((case.T, case.B, case.H)),
            *after,
        ]

    def _plain_weights(self) -> dict[int, d.Memory]:
        """Weights as torch has them, (g, o, i), under the dimensions (i, g, o)."""
        G, H = self.case.gates, self.case.H
        arrays = {d.WEIGHTS: self.inputs, d.RECURRENT: self.recurrent}
        made = {}
        for number, array in arrays.items():
            width = array.shape[1]
            shape, size = (1, 1, width, G, H), array.size
            strides = (size, size, 1, H * width, width)
            made[number] = self.library.memory(
                self.library.described(shape, strides), array
            )
        return made

    def _memory(self, array: np.ndarray) -> d.Memory:
        return self.library.memory(self.library.row_major(array.shape), array)


def _copied(arrays: Arrays) -> Arrays:
    return {name: value.copy() for name, value in arrays.items()}


def _gates(array: np.ndarray, case: Case, back: bool = False) -> np.ndarray:
    """Reorder the gates from torch's order to oneDNN's, or back."""
    order = np.array(GATE_ORDER[case.cell])
    order = np.argsort(order) if back else order
    blocks = array.reshape(-1, case.H, *array.shape[1:])[order]
    return np.ascontiguousarray(blocks.reshape(array.shape))


def _bias(weights: Arrays, case: Case) -> np.ndarray:
    """One bias for each gate, (l, d, g, o); the GRU has both of its candidate's."""
    b_ih = _gates(weights["bias_ih_l0"], case)
    b_hh = _gates(weights["bias_hh_l0"], case)
    total = b_ih + b_hh
    if case.cell == "gru":
        H = case.H
        total = np.concatenate([total[: 2 * H], b_ih[2 * H :], b_hh[2 * H :]])
    return total.reshape(1, 1, -1, case.H)


def _bias_gradients(dbias: np.ndarray, case: Case) -> Arrays:
    flat, H = dbias.reshape(-1), case.H
    if case.cell != "gru":
        d_ih = d_hh = flat.copy()
    else:
        d_ih = flat[: 3 * H]
        d_hh = np.concatenate([flat[: 2 * H], flat[3 * H :]])
        d_ih, d_hh = (_gates(grad, case, back=True) for grad in (d_ih, d_hh))
    return {"bias_ih_l0": d_ih, "bias_hh_l0": d_hh}
