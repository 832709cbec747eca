"""The base class of layers and models: parameters, configuration, random generators."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import signature
from typing import Any, Protocol, Self, cast

import numpy as np

from fastcell._checks.names import WrongNames, mapping_of
from fastcell._checks.numbers import flag, shown
from fastcell._state_dicts import IncompatibleKeys, arrays_of
from fastcell.parameters import (
    AnyParameters,
    ParameterGroup,
    Parameters,
    UnsuffixedParameters,
    writable_values,
)

PRECISIONS = ("float32", "float64", "bf16", "int8")
ONE_FOR_ALL = ("float32", "bf16", "bfloat16")  # of these, constructors and `to` know


class HasPrecision(Protocol):
    """The members of a recurrent layer in addition to those of a module."""

    @property
    def precision(self) -> str: ...

    def _check_precision(self, precision: str) -> None: ...

    def _set_precision(self, precision: str) -> None: ...


class Module:
    """The base of layers and models.

    A leaf keeps its arrays in ``_parameters`` (a `Parameters`) and its random
    generator, if it has one, in ``_random``. A container has its parts as attributes,
    or returns them from `children`; its parameters are those of its parts, as
    "name.weight".

    A module keeps no state between calls: what backward needs is `saved`, which forward
    returns and backward uses up.

    Modules can be copied and pickled. A deep copy (`copy.deepcopy`) or an unpickled
    module is independent: configuration, parameters, precision and the state of random
    generators equal the original's, and so do the bits of results. What is shared
    inside, such as tied weights, is shared inside the copy. Packed weights are not
    copied but packed again. A shallow copy (`copy.copy`) shares the parameters, the
    parts and the random generator with the original, so a change of the weights affects
    both; the copy of a layer without parts has its own precision.

    Examples
    --------
    A user's model, which optimizers, `to` and `state_dict` accept like any other:

    >>> import numpy as np
    >>> import fastcell
    >>> class Net(fastcell.Module):
    ...     def __init__(self):
    ...         self.rnn = fastcell.GRU(3, 4, seed=0)
    ...         self.heads = [fastcell.Linear(4, 2, seed=1), fastcell.Linear(4, 1)]
    ...     def __call__(self, x):
    ...         y, _ = self.rnn(x)
    ...         return [head(y) for head in self.heads]
    >>> list(Net().params)[-3:]
    ['heads.0.bias', 'heads.1.weight', 'heads.1.bias']
    """

    # Only leaves have it.
    _parameters: Parameters | UnsuffixedParameters
    _random: np.random.Generator
    _group: ParameterGroup | None = None
    _takes_precision = True  # the constructor, what may be one for the whole

    def children(self) -> dict[str, Module]:
        """Return the parts by name: the attributes that are modules, in their order.

        Modules in a list, a tuple or a dict are named "name.0" or "name.key". A class
        with other names for its parts overrides this.
        """
        found: dict[str, Module] = {}
        for name, value in vars(self).items():
            parts: Iterable[tuple[Any, Any]] = ()
            if isinstance(value, Module):
                found[name] = value
            elif isinstance(value, (list, tuple)):
                parts = enumerate(value)
            elif isinstance(value, dict):
                parts = value.items()
            for key, part in parts:
                if isinstance(part, Module):
                    found[f"{name}.{key}"] = part
        return found

    def __setstate__(self, state: Any) -> None:
        own, slots = state if isinstance(state, tuple) else (state, None)
        self.__dict__.update(writable_values(own or {}))
        for name, value in (slots or {}).items():  # of a subclass
            setattr(self, name, value)
        if isinstance(self.__dict__.get("dtype"), np.dtype):
            # NumPy's own object: the fast path of calls compares dtypes by identity.
            self.__dict__["dtype"] = np.dtype(self.__dict__["dtype"].type)

    @property
    def params(self) -> AnyParameters:
        """The parameters themselves, by the names of `state_dict`.

        Raises
        ------
        TypeError
            If the module has parameters of its own and parts that have some too.
        """
        parts = {n: child.params for n, child in self.children().items()}
        if hasattr(self, "_parameters"):
            if any(map(len, parts.values())):
                raise TypeError(
                    f"{type(self).__name__} must have its own parameters or parts "
                    f"that have some; got both, with {', '.join(parts)}"
                )
            return self._parameters
        if self._group is None or not self._group.joins(parts):
            self._group = ParameterGroup(parts)
        return self._group

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters, by name."""
        return {name: array.copy() for name, array in self.params.arrays().items()}

    def load_state_dict(
        self, mapping: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy parameters in.

        Parameters
        ----------
        mapping : mapping of str to array
            Arrays of the names and shapes of `state_dict`, or objects that NumPy
            converts to arrays, such as PyTorch's tensors. Real numbers of any dtype,
            bfloat16 and float16 included, are cast to that of the parameter, as PyTorch
            does; tensors may require a gradient.
        strict : bool, default True
            Whether every parameter must be there, and nothing else.

        Returns
        -------
        IncompatibleKeys
            A named tuple: ``missing_keys``, parameters that stay as they are, and
            ``unexpected_keys``, names that are not used. Both are empty if `strict`.

        Raises
        ------
        KeyError
            If `strict` and a name is missing or unknown; it is a ValueError too. If
            names differ by a prefix, such as "module.", the error says so.
        TypeError
            If it is no mapping, or a value is no array of real numbers.
        ValueError
            If a shape differs. In all cases nothing is changed.

        Examples
        --------
        >>> import numpy as np
        >>> import fastcell
        >>> layer = fastcell.Linear(2, 1)
        >>> layer.load_state_dict({"weight": np.ones((1, 2))}, strict=False)
        IncompatibleKeys(missing_keys=['bias'], unexpected_keys=[])
        """
        params = self.params
        arrays, aliases = params.arrays(), getattr(params, "aliases", {})
        strict = flag("strict", strict)
        values, names = arrays_of(mapping, arrays, aliases, strict)
        for name, value in values.items():
            arrays[name][...] = value
        params.changed()
        return names

    def to(self, precision: str) -> Self:
        """Set the precision of the recurrent products, in place.

        With "bf16" the operands of all products of recurrent layers, forward and
        backward, are rounded to bfloat16; sums, states, gates, gradients and the
        parameters themselves stay float32. Training so has float32 master weights.

        The speed depends on the CPU, the results do not. On AMD Zen 4, which
        has AVX512_BF16, training in batches of 8 or more is 1.4 to 1.95 times as fast
        with one thread. AVX2 has no instruction for it: forward, single rows are 1.0 to
        2.3 times as fast from 256 units on, batches of 8 or more 0.8 to 1.3 times,
        layers of 64 units 0.7 to 1.0. Even with an instruction it may be slower: on an
        Intel Xeon (family 6, model 207) it is 0.5 to 0.7. ``fastcell explain
        --precision bf16`` shows whether there is one, and measures the gain.

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
            If a recurrent layer is of dtype float64. In both cases nothing is changed.

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
                f"precision must be 'float32' or 'bf16'; got {shown(precision)}"
            )
        self._set_precisions(names[precision])
        return self

    def quantize(self, precision: str = "int8") -> Self:
        """Return a copy for inference whose recurrent products are of 8-bit integers.

        Weights have one scale for each row of a gate, inputs one for each step. The
        scale of h is 1/127 where h stays in [-1, 1]; with relu or a projection, which
        leave this range, h has one for each step. States, gates and biases stay
        float32. Weights take a quarter of the memory traffic.

        On CPUs with AVX512_VNNI single rows are 1.9 to 4.9 times as fast as in float32
        (AMD Zen 4), with AVX-VNNI (Intel) 1.8 to 6.9 times, and batches of 8 or more
        1.6 to 3.3 times, from 256 units on. AVX2 alone has no instruction for it: 1.6
        to 4.7 and 1.0 to 1.8 times there, and 1.0 to 1.25 times with 64 units. Without
        AVX2, and on ARM, it is slower: quantise there to save memory, not time.
        ``fastcell explain --precision int8`` shows whether there is an instruction, and
        measures the gain.

        Parameters
        ----------
        precision : {"int8"}

        Returns
        -------
        Module
            A deep copy with the present weights. It does not train.

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
        if not isinstance(precision, str) or precision != "int8":
            raise ValueError(f"precision must be 'int8'; got {shown(precision)}")
        other = copy.deepcopy(self)
        other._set_precisions("int8")
        return other

    def _with_precision(self) -> dict[str, HasPrecision]:
        """Return the recurrent layers inside, by name: they have `precision`."""
        if hasattr(self, "_set_precision"):
            return {"": cast(HasPrecision, self)}
        return {
            f"{name}.{inner}".rstrip("."): layer
            for name, child in self.children().items()
            for inner, layer in child._with_precision().items()
        }

    def _set_precisions(self, precision: Any) -> None:
        """Set the precision of all recurrent layers, or of each by its name.

        Raises
        ------
        TypeError, ValueError
            If one is unknown, or not available for a layer's dtype. Nothing is changed
            then.
        """
        layers: dict[str, HasPrecision | None] = {**self._with_precision()}
        if not isinstance(precision, Mapping):
            precision = dict.fromkeys(layers or [""], precision)
            layers = layers or {"": None}
        for name, value in precision.items():
            if not isinstance(value, str) or value not in PRECISIONS:
                raise ValueError(
                    f"precision must be one of {', '.join(PRECISIONS)}; got {value!r}"
                )
            if name not in layers:
                raise ValueError(
                    f"precision must name recurrent layers, "
                    f"{', '.join(map(repr, layers))}; got {name!r}"
                )
            if (layer := layers[name]) is not None:
                layer._check_precision(value)
        for name, value in precision.items():
            if (layer := layers[name]) is not None:
                layer._set_precision(value)

    def _precision_config(self) -> dict[str, Any]:
        """Return the entry "precision" of a configuration, or {} for the default.

        It is the precision of all recurrent layers, or a dict by name if they differ.
        """
        found = {n: la.precision for n, la in self._with_precision().items()}
        different = set(found.values())
        if different <= {"float32", "float64"}:
            return {}
        return {"precision": different.pop() if len(different) == 1 else found}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        raise NotImplementedError(f"{type(self).__name__} has no configuration")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make a module from what `config` returned.

        Raises
        ------
        TypeError
            If it is no mapping of arguments that the constructor has.
        ValueError
            If a precision is unknown.
        """
        given = dict(
            mapping_of("config", config, "a mapping of the constructor's arguments")
        )
        precision = given.get("precision")
        one_for_all = isinstance(precision, str) and precision in ONE_FOR_ALL
        apart = precision is not None and not (cls._takes_precision and one_for_all)
        if apart:
            del given["precision"]
        try:
            signature(cls).bind(**given)
        except TypeError as error:
            raise TypeError(
                f"config must hold the arguments of {cls.__name__}; {error}"
            ) from None
        module = cls(**given)
        if apart:
            module._set_precisions(precision)
        return module

    def rng_state(self) -> dict[str, Any]:
        """Return the state of every random generator, by name, for JSON."""
        has_own = hasattr(self, "_random")
        states = {"": self._random.bit_generator.state} if has_own else {}
        for name, child in self.children().items():
            for inner, state in child.rng_state().items():
                states[f"{name}.{inner}".rstrip(".")] = state
        return states

    def set_rng_state(self, states: Mapping[str, Any]) -> None:
        """Restore what `rng_state` returned.

        Raises
        ------
        KeyError
            If the state of a generator is missing, or one is unknown; it is a
            ValueError too.
        TypeError
            If `states` is no mapping.
        ValueError
            If a state is not that of a generator. In all cases nothing is changed.
        """
        own = self.rng_state()
        mapping_of("states", states, "what rng_state returned, a mapping")
        if set(own) != set(states):
            raise WrongNames(
                f"states must be of {sorted(own)}; "
                f"got {shown(sorted(map(str, states)))}"
            )
        for name, state in states.items():
            try:  # on a scratch generator, before any of the module's is changed
                getattr(np.random, own[name]["bit_generator"])().state = state
            except (TypeError, ValueError, KeyError, OverflowError) as error:
                raise ValueError(
                    f"states[{name!r}] must be the state of a generator; {error!r}"
                ) from error
        self._restore(states, "")

    def _restore(self, states: Mapping[str, Any], name: str) -> None:
        if hasattr(self, "_random"):
            self._random.bit_generator.state = states[name]
        for child_name, child in self.children().items():
            child._restore(states, f"{name}.{child_name}".lstrip("."))


def _made(cls: type[Module], config: Mapping[str, Any]) -> Module:
    """Return ``cls(**config)``; errors about unknown arguments name `config`."""
    try:
        signature(cls).bind(**config)
    except TypeError as error:
        raise TypeError(
            f"config must hold the arguments of {cls.__name__}; {error}"
        ) from None
    return cls(**config)


def check_dtype(dtype: Any) -> np.dtype:
    """Return float32 or float64 as a dtype.

    Raises
    ------
    TypeError
        If it is neither.
    """
    try:
        found: np.dtype | None = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError, OverflowError):
        found = None
    # NumPy takes None for float64, also in comparisons.
    if found is None or found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype must be float32 or float64; got {shown(dtype)}")
    return found


_elements_left: ContextVar[int | None] = ContextVar("elements_left", default=None)


@contextmanager
def at_most(elements: int) -> Iterator[None]:
    """Limit the number of parameters of all modules made inside.

    A configuration from a file may specify any size: this limits it to what the file
    holds, before any memory is allocated.
    """
    token = _elements_left.set(elements)
    try:
        yield
    finally:
        _elements_left.reset(token)


def check_size(shapes: Iterable[tuple[int, ...]]) -> None:
    """Count the parameters of a new module against the limit of `at_most`.

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
