"""Base class of all optimizers: checks of parameters and gradients, and the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import as_array
from fastcell._checks.names import mapping_of
from fastcell._checks.numbers import integer, real, shown
from fastcell.optim.composition import flat, joined
from fastcell.parameters import writable
from fastcell.threads import get_num_threads

if TYPE_CHECKING:
    pass

Array = np.ndarray[tuple[Any, ...], np.dtype[np.floating[Any]]]

__all__ = ["Hyperparameter", "Optimizer"]


class Hyperparameter:
    """A checked attribute; only `lr` may be assigned after the constructor.

    Parameters
    ----------
    check : callable
        ``check(name, value, **limits)`` returns the value or raises an error.
    limits : float
        The keyword arguments of `check`.
    """

    def __init__(self, check: Callable[..., Any] = real, **limits: float) -> None:
        self._check, self._limits = check, limits

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        if optimizer is None:
            return self
        return optimizer._hyperparameters[self._name]

    def __set__(self, optimizer: Optimizer, value: object) -> None:
        if self._name != "lr":
            raise AttributeError(
                f"{self._name} is fixed when the optimizer is made; only lr may change"
            )
        optimizer._hyperparameters["lr"] = self.check(value)

    def check(self, value: object) -> Any:
        """Return `value`, or raise an error that names the attribute."""
        return self._check(self._name, value, **self._limits)


class Optimizer(ABC):
    """Base class of `SGD`, `RMSprop`, `Adagrad`, `Adam` and `AdamW`.

    A subclass specifies its hyperparameters as class attributes, the core function of
    its rule (`_rule`), the arrays that this function may keep for each parameter, in
    order (`_slot_order`), the ones actually kept (`_slot_names`), and the arguments of
    the rule in each step (`_arguments`).

    Parameters
    ----------
    params : mapping of str to array
        ``model.params``, or a dict of C-contiguous arrays of float32 or float64. Or
        several modules by name: ``{"policy": policy, "value": value}``, or their
        params; parameters are then named "policy.weight", and so on. Do not merge
        params, ``{**policy.params, **value.params}``: if both have the same name, a
        dict keeps only the last array.
    hyperparameters
        One value for each `Hyperparameter` of the class.

    Notes
    -----
    An optimizer that is deep-copied or pickled together with its model, as in
    ``copy.deepcopy((model, optimizer))``, steps the copied model; alone, it steps
    copies of the parameters. A shallow copy (`copy.copy`) steps the same parameters,
    with its own moments.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above, or two arrays share memory.
    """

    lr = Hyperparameter(minimum=0)

    _rule: ClassVar[str]
    _slot_order: ClassVar[tuple[str, ...]]

    def __init__(self, params: Mapping[str, Array], **hyperparameters: Any) -> None:
        self._hyperparameters = self._checked(hyperparameters)
        self._params = params = joined(
            mapping_of("params", params, "a mapping of names to arrays")
        )
        arrays = self._arrays()
        _check_parameters(arrays)
        self._layout = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        self._steps = 0
        self._slots = {
            slot: {name: np.zeros(*like) for name, like in self._layout.items()}
            for slot in self._slot_names(self._hyperparameters)
        }
        self._lists = self._parameter_lists(arrays)

    @property
    def steps(self) -> int:
        """Number of steps taken so far."""
        return self._steps

    def step(self, grads: Mapping[str, Array]) -> None:
        """Update the parameters by one step of the rule.

        Parameters
        ----------
        grads : mapping of str to array
            One gradient for each parameter, of its name, shape and dtype. They are not
            changed. NaN and infinity propagate to the parameters, as in torch. With
            several modules, also by module: ``{"policy": grads, "value":
            other_grads}``.

        Raises
        ------
        TypeError
            If a gradient has another dtype than its parameter.
        ValueError
            If a gradient is missing, unknown, or of another shape than its parameter.
            In both cases nothing is changed.
        """
        arrays = self._arrays()
        if not self._take(arrays, grads):
            self._check_layout(arrays)
            mapping_of("grads", grads, "a mapping of names to gradients")
            if not self._take(arrays, self._contiguous(flat(grads, self._params))):
                raise ValueError(
                    "params must stay C-contiguous and writable arrays, as they are "
                    "changed in place"
                )
        self._steps += 1
        arguments, threads = self._arguments(), get_num_threads()
        try:
            for some in self._lists:
                getattr(some, self._rule)(*arguments, threads)
        finally:
            for some in self._lists:
                some.release()
            if hasattr(self._params, "changed"):
                self._params.changed()

    def holds_any(self, arrays: Iterable[Array]) -> bool:
        """Return whether one of these arrays is a parameter.

        Examples
        --------
        >>> import fastcell
        >>> a, b = fastcell.Linear(2, 2), fastcell.Linear(2, 2)
        >>> optimizer = fastcell.optim.SGD(a.params, lr=1.0)
        >>> optimizer.holds_any(b.params.arrays().values())
        False
        """
        held = {_address(array) for array in self._arrays().values()}
        return any(_address(array) in held for array in arrays)

    def state_dict(self) -> dict[str, Any]:
        """Return the full state, for a bit-identical continuation.

        Returns
        -------
        state : dict
            A flat dict. ``"class"``, ``"steps"`` and the hyperparameters are
            JSON-serializable scalars. Copies of the arrays kept for a parameter are
            named ``"slot.parameter"``, for example ``"exp_avg.0.weight"``, with torch's
            names of slots.
        """
        state: dict[str, Any] = {"class": type(self).__name__, "steps": self._steps}
        state.update(self._hyperparameters)
        for slot, kept in self._slots.items():
            state.update({f"{slot}.{name}": kept[name].copy() for name in kept})
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned, including hyperparameters.

        Parameters
        ----------
        state : mapping
            State of an optimizer of the same class, over parameters of the same names,
            shapes and dtypes. It is copied.

        Raises
        ------
        TypeError
            If a value has the wrong type or dtype.
        ValueError
            If a key is missing, unknown, or its value does not fit.
            In both cases nothing is changed.
        """
        mine = type(self).__name__
        mapping_of("state", state, "what state_dict returned, a mapping")
        if state.get("class") != mine:
            raise ValueError(
                f"the state must be of the class {mine}; "
                f"got {shown(state.get('class'))}"
            )
        rest = {key: value for key, value in state.items() if key != "class"}

        def take(key: str) -> Any:
            if key not in rest:
                raise ValueError(f"the state of {mine} lacks {key!r}")
            return rest.pop(key)

        steps = integer("steps", take("steps"), minimum=0)
        hyperparameters = self._checked({k: take(k) for k in self._hyperparameters})
        slots = {
            slot: {
                name: _copy_like(f"{slot}.{name}", take(f"{slot}.{name}"), *like)
                for name, like in self._layout.items()
            }
            for slot in self._slot_names(hyperparameters)
        }
        if rest:
            raise ValueError(
                f"the state of {mine} has no place for {shown(next(iter(rest)))}"
            )
        self._steps, self._hyperparameters, self._slots = steps, hyperparameters, slots
        self._lists = self._parameter_lists(self._arrays())

    def __getstate__(self) -> dict[str, Any]:
        # The lists are views of the arrays; a copy builds its own.
        return {k: v for k, v in self.__dict__.items() if k != "_lists"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Arrays from a pickle may be read-only, also those of a user's dict.
        if isinstance(self._params, dict):
            for name, array in self._params.items():
                self._params[name] = writable(array)
        for kept in self._slots.values():
            kept.update({name: writable(array) for name, array in kept.items()})
        self._lists = self._parameter_lists(self._arrays())

    def __copy__(self) -> Self:
        # Steps of one must not change the means, or the rate, of the other.
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._hyperparameters = dict(self._hyperparameters)
        other._slots = {
            slot: {name: array.copy() for name, array in kept.items()}
            for slot, kept in self._slots.items()
        }
        other._lists = other._parameter_lists(other._arrays())
        return other

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v}" for k, v in self._hyperparameters.items())
        return f"{type(self).__name__}({shown})"

    @staticmethod
    @abstractmethod
    def _slot_names(hyperparameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter."""

    @abstractmethod
    def _arguments(self) -> tuple[Any, ...]:
        """Return the arguments of the rule in the current step, number `steps`."""

    @classmethod
    def _checked(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: getattr(cls, name).check(value) for name, value in values.items()}

    def _arrays(self) -> dict[str, Array]:
        # For fastcell's own parameters: an access that does not count as a change.
        if hasattr(self._params, "arrays"):
            arrays: dict[str, Array] = self._params.arrays()
            return arrays
        return dict(self._params)

    def _parameter_lists(self, arrays: Mapping[str, Array]) -> list[Any]:
        """Return the parameters as the core takes them, one list for each dtype."""
        by_dtype: dict[np.dtype, dict[str, Array]] = {}
        for name, (_, dtype) in self._layout.items():
            by_dtype.setdefault(dtype, {})[name] = arrays[name]
        kept = tuple(self._slots.get(name) for name in self._slot_order)
        return [_core.ParameterList(some, kept, True) for some in by_dtype.values()]

    def _take(self, arrays: dict[str, Array], grads: Mapping[str, Array]) -> bool:
        """Pass parameters and gradients to the core, if it accepts them as they are."""
        fit = (
            isinstance(grads, dict)
            and len(grads) == len(arrays) == len(self._layout)
            and all(some.take(arrays, grads) for some in self._lists)
        )
        if not fit:
            for some in self._lists:
                some.release()
        return fit

    def _check_layout(self, arrays: Mapping[str, Array]) -> None:
        layout = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        if layout != self._layout:
            raise ValueError(
                f"params must stay as they were given to the optimizer, "
                f"{_described(self._layout)}; got {_described(layout)}"
            )

    def _contiguous(self, grads: Mapping[str, Array]) -> dict[str, Array]:
        """Check the gradients, return them C-contiguous."""
        unknown = [name for name in grads if name not in self._layout]
        if unknown:
            raise ValueError(
                f"grads must have the names of the parameters, {list(self._layout)}; "
                f"got {unknown[0]!r}"
            )
        contiguous = {}
        for name, (shape, dtype) in self._layout.items():
            if name not in grads:
                raise ValueError(f"grads must have a gradient for {name!r}; got none")
            grad = as_array(f"grads[{name!r}]", grads[name])
            if grad.dtype != dtype:
                raise TypeError(
                    f"grads[{name!r}] must have the dtype {dtype} of its parameter; "
                    f"got {grad.dtype}"
                )
            if grad.shape != shape:
                raise ValueError(
                    f"grads[{name!r}] must have the shape {shape} of its parameter; "
                    f"got {grad.shape}"
                )
            contiguous[name] = np.array(grad, order="C", copy=None, subok=False)
        return contiguous


def _copy_like(
    key: str, value: object, shape: tuple[int, ...], dtype: np.dtype
) -> Array:
    array = as_array(f"state[{key!r}]", value)
    if array.dtype != dtype:
        raise TypeError(f"state[{key!r}] must be {dtype}; got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(
            f"state[{key!r}] must have the shape {shape}; got {array.shape}"
        )
    return array.copy(order="C")


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _check_parameters(arrays: Mapping[str, Array]) -> None:
    if not arrays:
        raise ValueError("params must hold at least one array; got none")
    ends = []
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"params[{name!r}] must be an array; got {type(array).__name__}"
            )
        if array.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"params[{name!r}] must be float32 or float64; got dtype {array.dtype}"
            )
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(
                f"params[{name!r}] must be C-contiguous and writable, "
                f"as it is changed in place"
            )
        if array.size:
            start = _address(array)
            ends.append((start, start + array.nbytes, name))
    # An array under two names would take two steps instead of one.
    ends.sort()
    for (_, end, name), (start, _, other) in pairwise(ends):
        if start < end:
            raise ValueError(
                f"params[{name!r}] and params[{other!r}] must not share memory; "
                f"give tied parameters once"
            )


def _described(layout: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> str:
    return ", ".join(f"{k} {shape} {dtype}" for k, (shape, dtype) in layout.items())
