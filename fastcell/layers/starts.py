"""Initial parameters of recurrent layers: `init`, `forget_bias`, `chrono_steps`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastcell._checks.names import one_of
from fastcell._checks.numbers import integer, real
from fastcell.module import check_size

INITS = ("uniform", "orthogonal", "glorot", "keras", "chrono")
LARGEST = 1e4  # of a forget_bias: a sigmoid is constant long before
_MATRICES = ("weight_ih", "weight_hh", "weight_hr")


class Start(NamedTuple):
    r"""How the parameters of a recurrent layer begin.

    W, R and W_hr are the matrices ``weight_ih``, ``weight_hh`` and ``weight_hr``. A
    gate's part of W or R has H rows. *Glorot* is uniform in +-sqrt(6 / (rows +
    columns)) (Glorot and Bengio 2010, AISTATS 9, equation 16). *Orthogonal* is drawn
    uniformly from the matrices with orthonormal columns, or rows if there are fewer
    (Saxe, McClelland and Ganguli 2014, arXiv:1312.6120). With heads, both hold for each
    head's block of R.

    ==========  ===================  =====================  ===========================
    init        W and W_hr           R                      biases b_ih, b_hh
    ==========  ===================  =====================  ===========================
    uniform     +-1/sqrt(H)          +-1/sqrt(H)            +-1/sqrt(H), as torch.nn
    glorot      Glorot, each gate    Glorot, each gate      0
    orthogonal  Glorot, each gate    orthogonal, each gate  0
    keras       Glorot, all gates    orthogonal, all gates  0; b_f = 1 of an LSTM
                at once              at once
    chrono      Glorot, each gate    Glorot, each gate      log u, u ~ U(1, T_max - 1)
    ==========  ===================  =====================  ===========================

    "chrono" (Tallec and Ollivier 2018, arXiv:1804.11188) draws u for each unit. The
    bias of the gate that keeps the state (f of an LSTM, z of a GRU) is log u, that of
    an LSTM's i is -log u, the others are 0: the memory of a unit is about u steps.
    T_max is `chrono_steps`.

    All of these are values of b_ih; b_hh is 0 there, so that the sum, which the gate
    sees, is the value. The same holds for `forget_bias`. Other parameters of a cell,
    such as peepholes and gains, begin as without these arguments.

    Attributes
    ----------
    init : str
    forget_bias : float or None
    chrono_steps : int or None
    keeps : mapping of str to {1, -1}
        The gates whose bias lengthens (1) or shortens (-1) the memory, the forget gate
        first.
    """

    init: str
    forget_bias: float | None
    chrono_steps: int | None
    keeps: Mapping[str, int]

    @classmethod
    def of(
        cls,
        init: Any,
        forget_bias: Any,
        chrono_steps: Any,
        bias: bool,
        keeps: Mapping[str, int],
        gates: tuple[str, ...],
    ) -> Start:
        """Check the arguments of a layer.

        Raises
        ------
        TypeError, ValueError
            If one is of the wrong type or out of range, or is not for a layer without
            biases or without a gate that keeps the state, or two contradict each other.
        """
        one_of("init", init, INITS)
        keeps = {gate: sign for gate, sign in keeps.items() if gate in gates}
        if forget_bias is not None:
            forget_bias = real(
                "forget_bias", forget_bias, minimum=-LARGEST, maximum=LARGEST
            )
            _check_gates("forget_bias", bias, keeps, gates)
        if init == "chrono":
            _check_gates('init="chrono"', bias, keeps, gates)
            if forget_bias is not None:
                raise ValueError(
                    'forget_bias must be left out with init="chrono", which draws '
                    f"these biases; got {forget_bias}"
                )
            if chrono_steps is None:
                raise ValueError(
                    'chrono_steps must be the longest dependency with init="chrono", '
                    "in steps; got None"
                )
            chrono_steps = integer("chrono_steps", chrono_steps, minimum=2)
        elif chrono_steps is not None:
            raise ValueError(
                f'chrono_steps must be left out unless init="chrono"; got '
                f"{chrono_steps!r} with init={init!r}"
            )
        return cls(init, forget_bias, chrono_steps, keeps)

    def config(self) -> dict[str, Any]:
        """Return the arguments that are not the defaults."""
        given = {
            "init": None if self.init == "uniform" else self.init,
            "forget_bias": self.forget_bias,
            "chrono_steps": self.chrono_steps,
        }
        return {name: value for name, value in given.items() if value is not None}

    def arrays(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        description: Mapping[str, Any],
        hidden_size: int,
        heads: int,
        random: np.random.Generator,
        dtype: np.dtype,
    ) -> dict[str, np.ndarray]:
        """Return the initial parameters of a layer.

        Parameters
        ----------
        shapes : mapping of str to tuple
            By full name, as "weight_ih_l0_reverse".
        description : mapping
            That of the cell, by `fastcell._core.describe_cell`.
        hidden_size, heads : int
            H and K.
        random : Generator
        dtype : dtype
        """
        check_size(shapes.values())
        gates, bound = description["gates"], hidden_size**-0.5
        arrays = {}
        for name, shape in shapes.items():
            kind = name.rpartition("_l")[0]
            begin = description["initial"][kind]
            if self.init != "uniform" and kind in _MATRICES:
                array = self._matrix(kind, shape, hidden_size, heads, random)
            elif self.init != "uniform" and kind in description["bias_of"]:
                array = np.zeros(shape)
            elif begin == "drawn":
                array = random.uniform(-bound, bound, shape)
            elif begin == "fractions":
                array = random.uniform(0, 1, shape)
            else:
                array = np.full(shape, begin == "ones")
            arrays[name] = array.astype(dtype)
        for name, array in arrays.items():
            if name.startswith("bias_ih_l"):
                other = arrays.get(f"bias_hh_l{name.removeprefix('bias_ih_l')}")
                for gate, value in self._biases(hidden_size, random).items():
                    k = gates.index(gate)
                    rows = slice(k * hidden_size, (k + 1) * hidden_size)
                    array[rows] = value
                    if other is not None:
                        other[rows] = 0
        return arrays

    def _matrix(
        self,
        kind: str,
        shape: tuple[int, ...],
        hidden_size: int,
        heads: int,
        random: np.random.Generator,
    ) -> np.ndarray:
        rows, columns = shape
        at_once = self.init == "keras" or kind == "weight_hr"
        each = rows if at_once else hidden_size
        if kind == "weight_hh":
            each //= heads  # of the blocks on the diagonal of R
        if kind == "weight_hh" and self.init in ("orthogonal", "keras"):
            gates = rows // hidden_size
            together = gates if at_once else 1
            R = np.empty(
                (gates // together, together, heads, hidden_size // heads, columns)
            )
            for gate, head in np.ndindex(gates // together, heads):
                block = orthogonal(random, each, columns)
                R[gate, :, head] = block.reshape(together, -1, columns)
            return R.reshape(rows, columns)
        limit = (6 / (each + columns)) ** 0.5
        return random.uniform(-limit, limit, shape)

    def _biases(
        self, hidden_size: int, random: np.random.Generator
    ) -> dict[str, np.ndarray | float]:
        """Return the biases of the gates that this start sets: (H,), or one for all."""
        if self.init == "chrono":
            assert self.chrono_steps is not None
            log = np.log(random.uniform(1, self.chrono_steps - 1, hidden_size))
            return {gate: sign * log for gate, sign in self.keeps.items()}
        value = self.forget_bias
        if value is None and self.init == "keras" and self.keeps.get("f") == 1:
            value = 1.0
        if value is None:
            return {}
        gate, sign = next(iter(self.keeps.items()))
        return {gate: sign * value}


def orthogonal(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Return a matrix with orthonormal columns, or rows if there are fewer.

    It is the Q of a Gaussian matrix, with the signs of the diagonal of the triangular
    factor, which makes it uniformly distributed (Mezzadri 2007, arXiv:math-ph/0609050).

    Examples
    --------
    >>> q = orthogonal(np.random.default_rng(0), 5, 3)
    >>> bool(abs(q.T @ q - np.eye(3)).max() < 1e-12)
    True
    """
    tall = (max(rows, columns), min(rows, columns))
    if not prod(tall):
        return np.zeros((rows, columns))
    q, r = np.linalg.qr(random.standard_normal(tall))
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return q if rows >= columns else q.T


def _check_gates(
    what: str, bias: bool, keeps: Mapping[str, int], gates: tuple[str, ...]
) -> None:
    if not keeps:
        raise ValueError(
            f"{what} must be left out for a cell without a gate that keeps the state; "
            f"got one with {', '.join(gates) or 'none'}"
        )
    if not bias:
        raise ValueError(
            f"{what} must be left out with bias=False, which has no biases"
        )
