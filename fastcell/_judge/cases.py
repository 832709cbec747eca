"""A benchmark case, one cell at one shape: sizes, FLOP, and input of all engines.

T time steps, B rows, I input features, H hidden units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastcell import _core
from fastcell._judge.cells import cells
from fastcell.cells import Cell


@dataclass(frozen=True)
class Case:
    """One cell at one shape; `cell` is a name of `fastcell._judge.cells.cells`."""

    cell: str
    T: int
    B: int
    I: int  # noqa: E741 (the letter of the whole project)
    H: int

    @property
    def shape(self) -> str:
        """The text in tables: ``100x8x256``, or with I and H if they differ."""
        if self.I == self.H:
            return f"{self.T}x{self.B}x{self.H}"
        return f"{self.T}x{self.B}, I={self.I} H={self.H}"

    @property
    def entry(self) -> Cell:
        """The cell's entry in the registry: its gates, its states, its layer."""
        return cells()[self.cell]

    @property
    def gates(self) -> int:
        """G, the number of gates."""
        return len(self.entry.gates)

    @property
    def width(self) -> int:
        """Features of h: H, or P for a projection."""
        size = self.entry.proj_size
        return self.H if size is None else size(self.H)

    @property
    def input_weights(self) -> int:
        """Number of elements of W: GHI."""
        return self._weights_that_read_x(True)

    @property
    def recurrent_weights(self) -> int:
        """Number of elements of R: GHH; with h projected to P, GHP + PH."""
        return self._weights_that_read_x(False)

    def _weights_that_read_x(self, read: bool) -> int:
        axes = _core.describe_cell(self.entry.name)["parameters"]
        return sum(
            math.prod(shape)
            for name, shape in self._shapes().items()
            if len(shape) == 2 and ("I" in axes[name]) == read
        )

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return _core.parameter_shapes(self.entry.name, self.I, self.H, self.width)

    @property
    def flop(self) -> float:
        """Multiplications and additions of the two products, forward.

        Per row and step 2GH(I+H) with G gates: 8H(I+H) for the LSTM, 6H(I+H) for
        the GRU, 2H(I+H) for the RNN. Gate functions are not counted, and forward
        plus backward is three times this.
        """
        return 2.0 * (self.input_weights + self.recurrent_weights) * self.T * self.B

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes by their letters."""
        return {"T": self.T, "B": self.B, "I": self.I, "H": self.H}

    def rows(self) -> np.ndarray:
        """The number of rows of each step, shape (T,)."""
        return np.full(self.T, self.B)

    def input(self) -> np.ndarray:
        """Standard normal input, shape (T, B, I), float32."""
        return normal((self.T, self.B, self.I), seed=1)

    def input_of_a_step(self) -> np.ndarray:
        """The first step of the input, shape (B, I)."""
        x: np.ndarray = self.input()[0]
        return x

    def dy(self) -> np.ndarray:
        """Standard normal gradient of the output, shape (T, B, width), float32."""
        return normal((self.T, self.B, self.width), seed=2)

    def weights(self) -> dict[str, np.ndarray]:
        """One layer's weights under torch's names, in torch's layout and gate order."""
        shapes = {f"{name}_l0": shape for name, shape in self._shapes().items()}
        return uniform(shapes, 1 / math.sqrt(self.H))


def normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def uniform(shapes: dict[str, tuple[int, ...]], bound: float) -> dict[str, np.ndarray]:
    """torch's initialisation: every weight uniform within `bound`."""
    rng = np.random.default_rng(5)
    return {
        name: rng.uniform(-bound, bound, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
