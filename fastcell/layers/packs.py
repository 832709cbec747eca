"""A cache of packed weights, the form that the products of the core read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastcell import _core
from fastcell.parameters import Parameters


class Packs:
    """Packed weights, computed once per version and instruction set.

    Parameters
    ----------
    parameters : Parameters
        The weights.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._packs: dict[bool, tuple[Any, Any]] = {}  # backward? -> (key, packed)

    def __getstate__(self) -> dict[str, Any]:
        # Packed memory depends on the instruction set; another process packs again.
        return {**self.__dict__, "_packs": {}}

    def get(
        self, backward: bool, pack: Callable[[bool, Mapping[str, np.ndarray]], Any]
    ) -> tuple[int, Any]:
        """Return the version of the weights, and ``pack(backward, weights)``, cached.

        Each call passes the layer's method. A stored method would be a reference cycle,
        and the weights of a deleted layer would wait for the garbage collector.
        """
        version = self._parameters.version()
        key = (version, _core.isa())
        known, packed = self._packs.get(backward, (None, None))
        if known != key:
            packed = pack(backward, self._parameters.arrays())
            self._packs[backward] = (key, packed)
        return version, packed
