"""JAX: the cells' formulas in lax.scan, compiled by XLA; the input product hoisted."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fastcell._judge.cases import Case
from fastcell._judge.engines import Arrays, BaseEngine, Run, state_names


class Engine(BaseEngine):
    """See :class:`fastcell._judge.engines.BaseEngine`."""

    label = "JAX"
    threads_fixed = True

    def __init__(self) -> None:
        self._num_threads: int | None = None

    def versions(self) -> dict[str, str]:
        """The version of JAX."""
        return {"jax": jax.__version__}

    def notes(self) -> list[str]:
        """How to set its threads."""
        return ["JAX's threads are set by PJRT_NPROC before its first call"]

    def set_num_threads(self, n: int) -> None:
        """Set the number of threads, once for the process."""
        if self._num_threads not in (None, n):
            raise RuntimeError("JAX cannot change its number of threads once it runs")
        if self._num_threads is None:
            os.environ["PJRT_NPROC"] = str(n)
            jax.config.update("jax_platforms", "cpu")
            jax.devices()
        self._num_threads = n

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Forward by the compiled scan."""
        compiled = jax.jit(_layer, static_argnums=0)
        arrays = {name: jnp.asarray(value) for name, value in weights.items()}
        x_jax = jnp.asarray(x)

        def call() -> Any:
            return jax.block_until_ready(compiled(case.cell, arrays, x_jax))

        def read(result: Any) -> Arrays:
            y, states = result
            names = ("y", *state_names(case.cell))
            return dict(zip(names, map(np.asarray, (y, *states)), strict=True))

        return [Run(self.label, call, read)]

    def train(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """Training by the scan and its vector-Jacobian product, compiled."""

        def forward_and_backward(arrays: Any, x: Any, dy: Any) -> Any:
            y, pull_back = jax.vjp(lambda w, x: _layer(case.cell, w, x)[0], arrays, x)
            return y, pull_back(dy)

        compiled = jax.jit(forward_and_backward)
        arrays = {name: jnp.asarray(value) for name, value in weights.items()}
        x_jax, dy_jax = jnp.asarray(x), jnp.asarray(dy)

        def call() -> Any:
            return jax.block_until_ready(compiled(arrays, x_jax, dy_jax))

        def read(result: Any) -> Arrays:
            y, (grads, dx) = result
            grads = {name: np.asarray(grad) for name, grad in grads.items()}
            return {"y": np.asarray(y), "dx": np.asarray(dx), **grads}

        return [Run(self.label, call, read)]


def _layer(cell: str, weights: Any, x: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return outputs (T, B, H) and the last states, from a zero state."""
    product = x @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
    R, b = weights["weight_hh_l0"].T, weights["bias_hh_l0"]
    zero = jnp.zeros((x.shape[1], R.shape[0]), x.dtype)

    def step(state: tuple[Any, ...], a_t: Any) -> tuple[tuple[Any, ...], Any]:
        state = _STEPS[cell](state, a_t, state[0] @ R + b)
        return state, state[0]

    start = (zero,) * len(state_names(cell))
    states, y = lax.scan(step, start, product)
    return y, states


def _lstm(state: tuple[Any, ...], a: Any, r: Any) -> tuple[Any, ...]:
    i, f, g, o = jnp.split(a + r, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru(state: tuple[Any, ...], a: Any, r: Any) -> tuple[Any, ...]:
    a_r, a_z, a_n = jnp.split(a, 3, axis=-1)
    r_r, r_z, r_n = jnp.split(r, 3, axis=-1)
    z = jax.nn.sigmoid(a_z + r_z)
    n = jnp.tanh(a_n + jax.nn.sigmoid(a_r + r_r) * r_n)
    return ((1 - z) * n + z * state[0],)


def _rnn(state: tuple[Any, ...], a: Any, r: Any) -> tuple[Any, ...]:
    return (jnp.tanh(a + r),)


_STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
