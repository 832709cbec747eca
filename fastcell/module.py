"""What layers and models share: parameters, configuration, randomness."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from fastcell.parameters import (
    ParameterGroup,
    Parameters,
    UnsuffixedParameters,
    check_like,
)


class Module:
    """The base of layers and models.

    A leaf keeps its arrays in ``_parameters`` (a `Parameters`) and its generator, if it
    has one, in ``_random``; a container returns its parts from `children`.

    There is no hidden state between calls: what backward needs is `saved`, which
    forward returns and backward uses up.
    """

    _parameters: Parameters | UnsuffixedParameters | None = None
    _random: np.random.Generator | None = None
    _group: ParameterGroup | None = None

    def children(self) -> dict[str, Module]:
        """Return the parts by name; none for a leaf."""
        return {}

    @property
    def params(self) -> Parameters | UnsuffixedParameters | ParameterGroup:
        """The parameters themselves, by the names of `state_dict`."""
        if self._parameters is not None:
            return self._parameters
        parts = {n: child.params for n, child in self.children().items()}
        if self._group is None or not self._group.joins(parts):
            self._group = ParameterGroup(parts)
        return self._group

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters, by name."""
        return {name: array.copy() for name, array in self.params.arrays().items()}

    def load_state_dict(self, mapping: Mapping[str, Any], strict: bool = True) -> None:
        """Copy parameters in.

        Parameters
        ----------
        mapping : mapping of str to array
            Arrays of the names, shapes and dtypes of `state_dict`, or whatever NumPy
            takes for an array, such as PyTorch's tensors.
        strict : bool, default True
            Whether every parameter must be there, and nothing else.

        Raises
        ------
        KeyError
            If `strict` and a name is missing or unknown.
        TypeError
            If a dtype differs.
        ValueError
            If a shape differs. In all cases nothing is changed.
        """
        params = self.params
        arrays, aliases = params.arrays(), getattr(params, "aliases", {})
        missing = [name for name in arrays if name not in mapping]
        unknown = [
            name for name in mapping if name not in arrays and name not in aliases
        ]
        if strict and missing:
            raise KeyError(f"state dict: {', '.join(missing)} missing")
        if strict and unknown:
            raise KeyError(
                f"state dict: unknown {', '.join(map(str, unknown))}; "
                f"expected {', '.join(arrays)}"
            )
        values = {
            name: check_like(name, mapping[name], array)
            for name, array in arrays.items()
            if name in mapping
        }
        for name, value in values.items():
            arrays[name][...] = value
        params.changed()

    def to(self, precision: str) -> Self:
        """Set the precision of the recurrent products, in place.

        With "bf16" the operands of all products of recurrent layers, forward and
        backward, are rounded to bfloat16; sums, states, gates, gradients and the
        parameters themselves stay float32. So training goes on with float32 master
        weights.

        What that gains depends on the CPU, and the results do not. On AMD Zen 4, which
        has AVX512_BF16, training in batches of 8 or more is 1.4 to 1.95 times as fast
        with one thread. Without an instruction for it, as with AVX2, it is slower than
        float32: 0.6 to 0.9 times as fast. An instruction is no promise either: on an
        Intel Xeon (family 6, model 207) it is 0.5 to 0.7. ``fastcell explain
        --precision bf16`` tells whether there is one, and measures the gain.

        Parameters
        ----------
        precision : {"float32", "bf16"}
            "bfloat16" is another name of "bf16".

        Returns
        -------
        Module
            The module itself.

        Raises
        ------
        ValueError
            If the precision is unknown.
        TypeError
            If a recurrent layer is of dtype float64.

        Examples
        --------
        >>> import fastcell
        >>> layer = fastcell.LSTM(3, 4, seed=0).to("bf16")
        >>> layer.precision
        'bf16'
        """
        names = {"float32": "float32", "bf16": "bf16", "bfloat16": "bf16"}
        if not isinstance(precision, str) or precision not in names:
            raise ValueError(
                f"precision must be 'float32' or 'bf16'; got {precision!r}"
            )
        self._set_precision(names[precision])
        return self

    def quantize(self, precision: str = "int8") -> Self:
        """Return a copy for inference whose recurrent products are of 8-bit integers.

        Weights have one scale for each row of a gate; inputs one for each step; h,
        which stays in [-1, 1], the scale 1/127 (where it does not, as with relu or a
        projection, one for each step). States, gates and biases stay float32. Weights
        take a quarter of the memory traffic.

        On CPUs with AVX512_VNNI single rows are 1.9 to 4.9 times as fast as in float32
        (AMD Zen 4). Without an instruction for it, as with AVX2, all is slower than
        float32, batches of 8 or more 0.3 to 0.9 times as fast: quantise there to save
        memory, not time. ``fastcell explain --precision int8`` tells whether there is
        an instruction, and measures the gain.

        Parameters
        ----------
        precision : {"int8"}

        Returns
        -------
        Module
            A copy with the weights of now. It does not train.

        Raises
        ------
        ValueError
            If the precision is not "int8".
        TypeError
            If a recurrent layer is of dtype float64.

        Examples
        --------
        >>> import numpy as np
        >>> import fastcell
        >>> layer = fastcell.GRU(3, 4, seed=0)
        >>> x = np.ones((5, 3), np.float32)
        >>> bool(abs(layer.quantize()(x)[0] - layer(x)[0]).max() < 0.02)
        True
        """
        if precision != "int8":
            raise ValueError(f"precision must be 'int8'; got {precision!r}")
        other = type(self).from_config(self.config())
        other.load_state_dict(self.state_dict())
        other._set_precision("int8")
        return other

    def _set_precision(self, precision: str) -> None:
        for child in self.children().values():
            child._set_precision(precision)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        raise NotImplementedError(f"{type(self).__name__} has no configuration")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Module:
        """Make a module from what `config` returned."""
        return cls(**config)

    def rng_state(self) -> dict[str, Any]:
        """Return the state of every random generator, by name, for JSON."""
        states = {} if self._random is None else {"": self._random.bit_generator.state}
        for name, child in self.children().items():
            for inner, state in child.rng_state().items():
                states[f"{name}.{inner}".rstrip(".")] = state
        return states

    def set_rng_state(self, states: Mapping[str, Any]) -> None:
        """Restore what `rng_state` returned.

        Raises
        ------
        KeyError
            If the state of a generator is missing, or one is unknown.
        """
        own = self.rng_state()
        if set(own) != set(states):
            raise KeyError(
                f"rng state: expected {sorted(own)}; got {sorted(map(str, states))}"
            )
        self._restore(states, "")

    def _restore(self, states: Mapping[str, Any], name: str) -> None:
        if self._random is not None:
            self._random.bit_generator.state = states[name]
        for child_name, child in self.children().items():
            child._restore(states, f"{name}.{child_name}".lstrip("."))


def check_dtype(dtype: Any) -> np.dtype:
    """Return float32 or float64 as a dtype.

    Raises
    ------
    TypeError
        If it is neither.
    """
    try:
        found = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    # To NumPy, None is float64, and it compares equal to it.
    if found is None or found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype must be float32 or float64; got {dtype!r}")
    return found


_elements_left: ContextVar[int | None] = ContextVar("elements_left", default=None)


@contextmanager
def at_most(elements: int) -> Iterator[None]:
    """Let the modules made inside hold so many parameters in all.

    A configuration from a file may ask for any size: this keeps it to what the file
    holds, before any memory is taken.
    """
    token = _elements_left.set(elements)
    try:
        yield
    finally:
        _elements_left.reset(token)


def check_size(shapes: Iterable[tuple[int, ...]]) -> None:
    """Take the parameters of a new module from what `at_most` allows.

    Raises
    ------
    ValueError
        If they are too many.
    """
    left = _elements_left.get()
    if left is None:
        return
    wanted = sum(math.prod(shape) for shape in shapes)
    if wanted > left:
        raise ValueError(f"sizes ask for {wanted:,} parameters; {left:,} are there")
    _elements_left.set(left - wanted)
