"""Weights in the form that the products of the core read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastcell import _core
from fastcell.parameters import Parameters


class Packs:
    """Packed weights, made once for each version of them and instruction set.

    Parameters
    ----------
    parameters : Parameters
        The weights.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._packs: dict[bool, tuple[Any, Any]] = {}  # backward? -> (key, packed)

    def __getstate__(self) -> dict[str, Any]:
        # Packed memory serves one instruction set; it is made again where it is used.
        return {**self.__dict__, "_packs": {}}

    def get(
        self, backward: bool, pack: Callable[[bool, Mapping[str, np.ndarray]], Any]
    ) -> tuple[int, Any]:
        """Return the version of the weights, and what ``pack(backward, weights)`` gave.

        The layer's method comes with each call: kept here, it would be a cycle, and the
        weights of a layer that is let go of would wait for the garbage collector.
        """
        version = self._parameters.version()
        key = (version, _core.isa())
        known, packed = self._packs.get(backward, (None, None))
        if known != key:
            packed = pack(backward, self._parameters.arrays())
            self._packs[backward] = (key, packed)
        return version, packed
