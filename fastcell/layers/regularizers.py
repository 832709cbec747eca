"""Regularizers inside a recurrent layer: zoneout, dropout, a clip of gradients."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastcell import _core
from fastcell._checks.numbers import real
from fastcell.threads import get_num_threads

#: What a cell needs for each rate but zoneout.
_NEEDED = {
    "recurrent_dropout": "recurrent weights",
    "weight_drop": "recurrent weights",
    "update_dropout": "a candidate",
}
#: The least clip: the core's numbers may be float32, where less is 0.
LEAST_CLIP = float(np.finfo(np.float32).tiny)


class Regularizers(NamedTuple):
    """The rates of a layer, and its clip; see `fastcell.layers.options.Options`.

    All masks of a call follow from one key. The core makes those of states and of h, by
    the layer, the direction, the row, the step and the unit; those of R follow from the
    parameter and the element.

    Attributes
    ----------
    zoneout : tuple of two floats
        Of h, and of the other states.
    recurrent_dropout, weight_drop, update_dropout : float
    recurrent_grad_clip : float or None
    """

    zoneout: tuple[float, float]
    recurrent_dropout: float
    weight_drop: float
    update_dropout: float
    recurrent_grad_clip: float | None

    @classmethod
    def of(
        cls, options: Mapping[str, Any], description: Mapping[str, Any]
    ) -> Regularizers:
        """Check the options of a layer of a cell.

        Raises
        ------
        TypeError, ValueError
            If a rate is no number in [0, 1), or is not for a cell without the state,
            the recurrent weights or the candidate that it is about; or the clip is not
            above 0.
        """
        zoneout = options.get("zoneout", 0.0)
        both = zoneout if isinstance(zoneout, (tuple, list)) else (zoneout, zoneout)
        if len(both) != 2:
            raise ValueError(
                f"zoneout must be a number or two, of h and of c; got {len(both)}"
            )
        of_h, of_c = (_rate("zoneout", rate) for rate in both)
        if len(description["states"]) == 1:
            if isinstance(zoneout, (tuple, list)) and of_c:
                raise ValueError(
                    "zoneout must be a number for a cell whose only state is h; "
                    f"got {zoneout}"
                )
            of_c = 0.0
        has = {
            "recurrent weights": "weight_hh" in description["parameters"],
            "a candidate": description["takes_update_dropout"],
        }
        rates = {}
        for name, needed in _NEEDED.items():
            rate = options.get(name, 0.0)
            rates[name] = _rate(name, rate)
            if rates[name] and not has[needed]:
                raise ValueError(
                    f"{name} must be 0 for a cell without {needed}, such as "
                    f"{description['name']}; got {rate}"
                )
        clip = options.get("recurrent_grad_clip")
        if clip is not None:
            clip = real("recurrent_grad_clip", clip, minimum=LEAST_CLIP)
        return cls((of_h, of_c), **rates, recurrent_grad_clip=clip)

    @property
    def rates(self) -> tuple[float, float, float]:
        """What the core takes, but the options."""
        return (*self.zoneout, self.recurrent_dropout)

    def core_options(self, chosen: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        """Return the options that the core takes: a cell's choice, and a layer's."""
        if not self.update_dropout and self.recurrent_grad_clip is None:
            return chosen
        own = (self.update_dropout, self.recurrent_grad_clip or 0.0)
        return (*(chosen or (0.0, 0.0, ())), *own)

    @property
    def are_random(self) -> bool:
        """Whether a call of training has masks."""
        return any((*self.rates, self.weight_drop, self.update_dropout))

    def dropped(self, arrays: Mapping[str, np.ndarray], key: int) -> Any:
        """Return parameters, those of R with some elements 0."""
        return {
            name: self._masked(name, array, key) if _is_r(name) else array
            for name, array in arrays.items()
        }

    def gradients(
        self, grads: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return arrays for the core's gradients, and those of R among them.

        The latter are zeros: the gradient of a dropped R is that of R after the mask,
        which `add_masked` applies.
        """
        if not self.weight_drop:
            return dict(grads), {}
        of_r = {name: np.zeros_like(g) for name, g in grads.items() if _is_r(name)}
        return {**grads, **of_r}, of_r

    def add_masked(
        self,
        grads: Mapping[str, np.ndarray],
        of_r: Mapping[str, np.ndarray],
        key: int | None,
    ) -> None:
        """Add the gradients of a dropped R, if there are any, to those of R."""
        for name, grad in of_r.items():
            assert key is not None  # a call of training that drops elements has one
            grads[name][...] += self._masked(name, grad, key)

    def _masked(self, name: str, array: np.ndarray, key: int) -> np.ndarray:
        to = np.empty_like(array)
        # Of each parameter another: the name, and not its place, decides.
        own = key ^ zlib.crc32(name.encode())
        _core.dropout(self.weight_drop, own, array, to, get_num_threads())
        return to

    def config(self) -> dict[str, Any]:
        """Return the arguments that are not the defaults, for a layer's `config`."""
        found: dict[str, Any] = {}
        if any(self.zoneout):
            of_h, of_c = self.zoneout
            found["zoneout"] = of_h if of_c == of_h else [of_h, of_c]
        for name in (*_NEEDED, "recurrent_grad_clip"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found


def _rate(name: str, value: Any) -> float:
    rate = real(name, value, minimum=0, maximum=1)
    if rate == 1:
        raise ValueError(f"{name} must be below 1; got {value}")
    return rate


def _is_r(name: str) -> bool:
    return name.startswith("weight_hh")
