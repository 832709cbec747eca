"""Sequential: a chain of layers, with the states of its recurrent ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import is_
from typing import Any, Self

import numpy as np

from fastcell._checks.arrays import check_ids
from fastcell._checks.names import list_of, mapping_of, one_of, strings_of
from fastcell._checks.numbers import integer
from fastcell.layers.embedding import Embedding
from fastcell.layers.recurrent import Recurrent
from fastcell.layers.saved import Once, check_saved
from fastcell.layers.stateful import has_state
from fastcell.module import Module
from fastcell.named_classes import CLASSES, class_named, in_files
from fastcell.parameters import Parameters


class SavedLayers(Once):
    """The `saved` of all layers of a `Sequential`; ``saved[i]`` is that of layer i."""

    __slots__ = ()

    def __getitem__(self, i: int) -> Any:
        return self.look()[i]

    def __len__(self) -> int:
        return len(self._values[0]) if self._values else 0


@in_files
class Sequential(Module):
    """Layers, each reading the output of the one before.

    An `Embedding` directly before a recurrent layer uses the gather path: the input
    product is computed once for each token that occurs, not once for each step. With a

    recurrent layer, calls take and return its state, and `session` steps through all
    layers; with several, the state is a tuple of theirs. Without one, calls have no
    state.

    Parameters
    ----------
    layers : iterable of Module, or mapping of str to Module
        At least one layer. Parameters are named "0.weight", "1.weight_ih_l0", and so
        on; with a mapping, by its names: "encoder.weight_ih_l0".

    Raises
    ------
    TypeError
        If an item is no layer.
    ValueError
        If there is none.

    Examples
    --------
    >>> import fastcell
    >>> model = fastcell.Sequential(
    ...     [fastcell.Embedding(5, 3), fastcell.LSTM(3, 4), fastcell.Linear(4, 5)]
    ... )
    >>> y, state = model([[0], [1], [2]])
    >>> y.shape
    (3, 1, 5)
    >>> model = fastcell.Sequential(
    ...     {"encoder": fastcell.GRU(3, 4), "head": fastcell.Linear(4, 2)}
    ... )
    >>> sorted(model.params)[-2:]
    ['head.bias', 'head.weight']
    """

    _known_aliases: tuple[int, list[Any], dict[str, str]] | None = None

    def __init__(self, layers: Iterable[Module] | Mapping[str, Module]) -> None:
        self._names: list[str] | None = None
        if isinstance(layers, Mapping):
            self._names = [_checked_name(name) for name in layers]
            layers = layers.values()
        what = "layers, or a mapping of names to layers"
        self.layers = list_of("layers", layers, what)
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Module):
                raise TypeError(
                    f"layers must be layers; got {type(layer).__name__} at {i}"
                )
        if not self.layers:
            raise ValueError("layers must hold at least one layer; got none")
        self._recurrent = [i for i, la in enumerate(self.layers) if has_state(la)]

    def children(self) -> dict[str, Module]:
        """Return the layers by their name or number."""
        return dict(zip(self._prefixes(), self.layers, strict=True))

    def _prefixes(self) -> list[str]:
        return self._names or [str(i) for i in range(len(self.layers))]

    def __call__(self, x: Any, state: Any = None, **sequence: Any) -> Any:
        """Run the layers for inference.

        Parameters
        ----------
        x : array
            Input of the first layer.
        state : optional
            State of the recurrent layer; a tuple if there are several.
        **sequence
            lengths, mask and reset of the recurrent layers; outputs of the last of them
            (see `fastcell.LSTM.forward`).

        Returns
        -------
        y : ndarray
            Output of the last layer.
        state
            Final states; only if there is a recurrent layer.
        """
        x, states = self._named(x), self._states_in("state", state)
        after: list[Any] = []
        for i, layer in enumerate(self.layers):
            if self._gathers(i):
                x, _ = layer.gather(x)
            elif has_state(layer):
                place = len(after)
                x, final = layer(x, states[place], **self._of_one(place, sequence))
                after.append(final)
            else:
                x = layer(x)
        return (x, self._states_out(after)) if self._recurrent else x

    def forward(self, x: Any, state: Any = None, **sequence: Any) -> tuple[Any, ...]:
        """Run the layers for training: y, (state,) saved. Arguments as for a call.

        If the first layer keeps x without a copy, x must not be written to before
        `backward`.
        """
        x, states = self._named(x), self._states_in("state", state)
        after: list[Any] = []
        saved: list[Any] = []
        for i, layer in enumerate(self.layers):
            if self._gathers(i):
                x, kept = layer.gather(x)
            elif has_state(layer):
                given = self._of_one(len(after), sequence)
                x, final, kept = layer.forward(x, states[len(after)], **given)
                after.append(final)
            else:
                x, kept = layer.forward(x)
            saved.append(kept)
        if self._recurrent:
            return x, self._states_out(after), SavedLayers(*saved)
        return x, SavedLayers(*saved)

    def backward(
        self, dy: Any, saved: SavedLayers, dstate: Any = None
    ) -> tuple[Any, ...]:
        """Return dx, (dstate,) and the gradients by name; uses `saved` up.

        dx is None if the first layer takes integers. With a recurrent layer, dy may be
        None for zeros: the gradient then comes from `dstate` alone.

        Raises
        ------
        ValueError
            If `saved` was used before, also by another thread at the same time; or a
            parameter or x has changed since forward; or a shape is wrong. In the last
            case `saved` can still be used.
        TypeError
            If a dtype is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, SavedLayers)
        if len(saved.look()) != len(self.layers):
            raise ValueError("saved was made by another model's forward")
        if dstate is not None:
            self.check_dstate(dstate, saved)
        dstates = self._states_in("dstate", dstate)
        kept = saved.take()  # by one thread only
        try:
            return self._backward(dy, kept, dstates)
        except BaseException:
            # Layers whose own `saved` is already used up raise an error then.
            saved.put_back(kept)
            raise

    def check_dstate(self, dstate: Any, saved: SavedLayers) -> None:
        """Raise if `dstate` is not what `backward` takes with this `saved`."""
        kept = saved.look()
        for place, part in zip(
            self._recurrent, self._states_in("dstate", dstate), strict=True
        ):
            self.layers[place].check_dstate(part, kept[place])

    def _backward(
        self, dy: Any, saved: tuple[Any, ...], dstates: list[Any]
    ) -> tuple[Any, ...]:
        before: list[Any] = []
        by_layer: list[dict[str, np.ndarray]] = []
        d = dy
        for i in reversed(range(len(self.layers))):
            layer, kept = self.layers[i], saved[i]
            if self._gathers(i):
                d, grads = None, layer.scatter(d, kept)
            elif has_state(layer):
                d, initial, grads = layer.backward(
                    d, kept, dstates[len(self._recurrent) - 1 - len(before)]
                )
                before.append(initial)
            elif d is None and self._recurrent and i > self._recurrent[-1]:
                grads = {n: np.zeros_like(a) for n, a in layer.params.arrays().items()}
            else:
                d, grads = layer.backward(d, kept)
            by_layer.append(grads)
        # The first names of arrays that several layers share.
        first_name = self._aliases()
        named: dict[str, np.ndarray] = {}
        for prefix, grads in zip(self._prefixes(), reversed(by_layer), strict=True):
            for name, grad in grads.items():
                full = f"{prefix}.{name}"
                full = first_name.get(full, full)
                named[full] = named[full] + grad if full in named else grad
        if self._recurrent:
            return d, self._states_out(before[::-1]), named
        return d, named

    def _aliases(self) -> dict[str, str]:
        """Return the other names of shared arrays, each with the array's first name.

        The result is cached until the next `share` of any array; not if a layer has
        parts, which may be replaced.
        """
        shares = Parameters._shares
        held = [getattr(layer, "_parameters", None) for layer in self.layers]
        known = self._known_aliases
        if known is None or known[0] != shares or not _same_objects(known[1], held):
            aliases: dict[str, str] = getattr(self.params, "aliases", {})
            if any(one is None for one in held):
                return aliases
            known = self._known_aliases = shares, held, aliases
        return known[2]

    def __getstate__(self) -> dict[str, Any]:
        # The count of `share` differs in another process.
        return {k: v for k, v in self.__dict__.items() if k != "_known_aliases"}

    def session(self, batch_size: int = 1) -> SequentialSession:
        """Return a session that steps through all layers.

        Raises
        ------
        ValueError
            If a recurrent layer is bidirectional.
        MemoryError
            If there is not enough memory.
        """
        return SequentialSession(self, integer("batch_size", batch_size, minimum=0))

    def config(self) -> dict[str, Any]:
        """Return the layers' classes and configurations, and their names if any."""
        layers = [
            {"class": type(layer).__name__, "config": layer.config()}
            for layer in self.layers
        ]
        return {"layers": layers} | ({"names": self._names} if self._names else {})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a `Sequential` from a result of `config`.

        Raises
        ------
        TypeError
            If it is no mapping, or a part of it has a wrong type.
        ValueError
            If a layer's class is unknown, or the number of names is not that of layers.
        """
        what = "what config returned, a mapping with layers"
        mapping_of("config", config, what)
        layers = []
        described = list_of("config['layers']", config.get("layers"), "a list of them")
        for i, layer in enumerate(described):
            where = f"config['layers'][{i}]"
            mapping_of(where, layer, "a mapping with a class and a config")
            one_of(f"{where}['class']", layer.get("class"), CLASSES)
            layers.append(class_named(layer["class"]).from_config(layer.get("config")))
        if "names" not in config:
            return cls(layers)
        names = strings_of("config['names']", config["names"])
        if len(names) != len(layers):
            raise ValueError(
                f"config['names'] must be {len(layers)} names; got {len(names)}"
            )
        return cls(dict(zip(names, layers, strict=True)))

    def _named(self, x: Any) -> Any:
        """Return x; errors of an `Embedding`'s ids name it x."""
        first = self.layers[0]
        if isinstance(first, Embedding):
            return check_ids("x", x, first.num_embeddings)
        return x

    def _gathers(self, i: int) -> bool:
        """Return whether layer i is an embedding that uses the gather path."""
        return (
            isinstance(self.layers[i], Embedding)
            and i + 1 < len(self.layers)
            and isinstance(self.layers[i + 1], Recurrent)
        )

    def _of_one(self, place: int, sequence: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of one recurrent layer: only the last has `outputs`."""
        if "outputs" not in sequence or place == len(self._recurrent) - 1:
            return sequence
        return {name: value for name, value in sequence.items() if name != "outputs"}

    def _states_in(self, name: str, state: Any) -> list[Any]:
        count = len(self._recurrent)
        if state is None:
            return [None] * count
        if count == 1:
            return [state]
        if not isinstance(state, (tuple, list)) or len(state) != count:
            raise ValueError(f"{name} must be a tuple of {count} states")
        return list(state)

    def _states_out(self, states: list[Any]) -> Any:
        return states[0] if len(states) == 1 else tuple(states)


class SequentialSession:
    """All layers of a `Sequential`, one step at a time; made by its `session`.

    Each step uses the layers' weights at that time. Copies behave as those of
    `fastcell.layers.session.Session`.

    Attributes
    ----------
    state
        State of the recurrent layer, or a tuple of states; assign to set it.
    """

    def __init__(self, model: Sequential, batch_size: int) -> None:
        self._model = model
        self._parts: list[Any] = [
            layer.session(batch_size) if has_state(layer) else layer
            for layer in model.layers
        ]
        self._sessions = [self._parts[i] for i in model._recurrent]

    def step(self, x: Any) -> np.ndarray:
        """Return the output of one step.

        Parameters
        ----------
        x : array, shape (B, ...) or (B,) of ids
            Input of the first layer, without the time axis.
        """
        x = self._model._named(x)
        for part in self._parts:
            is_layer = isinstance(part, Module)
            x = part(x) if is_layer else part.step(x)
        y: np.ndarray = x
        return y

    @property
    def state(self) -> Any:
        return self._model._states_out([s.state for s in self._sessions])

    @state.setter
    def state(self, state: Any) -> None:
        states = self._model._states_in("state", state)
        for session, value in zip(self._sessions, states, strict=True):
            session.state = value

    def reset(self, rows: Any = None) -> None:
        """Set the states to zero, of all streams or of some rows."""
        for session in self._sessions:
            session.reset(rows)

    def refresh(self) -> None:
        """Use the present weights, as a step does itself; the state stays."""
        for session in self._sessions:
            session.refresh()

    def __copy__(self) -> SequentialSession:
        return self.fork()

    def fork(self) -> SequentialSession:
        """Return a session of the same layers with copies of the states."""
        other = type(self).__new__(type(self))
        other._model = self._model
        other._parts = [
            part if isinstance(part, Module) else part.fork() for part in self._parts
        ]
        other._sessions = [other._parts[i] for i in self._model._recurrent]
        return other


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(
            f"layers must have names that are not empty and have no dot; got {name!r}"
        )
    return name


def _same_objects(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))
