r"""``fastcell explain``: the core's decisions about a layer, and a model of its time.

The time is predicted from probes, which run the core's own kernels on this machine:

F
    FLOP per second: a dense product whose weights stay in the first-level cache. For
    bf16 and int8, which have no dense layer, one step of many rows of the same cell
    with 256 units, less the time of the gates.
b
    Bytes of R per second: single-row steps over an R of as many bytes as a thread reads
    in each step, less the time of the gates. It includes the latency of the few
    accumulators of a single row.
g
    Seconds of a unit's gates in forward: its sigmoids and tanh, each timed by element.
    In backward only the tanh(c) of cells with such a state counts.

All are rates of one thread, the best of a few blocks. With n rows and 1/m of the units
(m: members of a team) for each thread, k ranges of rows for each thread, L layers and S
threads,

.. math::
    \text{loop} &= L k T \left(\max(2 G H^2 n / m F,\; r / m b) + n H g / m\right) \\
    \text{forward} &= \text{loop} + \text{input FLOP} / S F \\
    \text{backward} &= \text{loop} + (2 \cdot \text{input FLOP} + \text{recurrent FLOP})
                       / S F

where r is the number of bytes of the packed R. The model omits calls, barriers, reading
x, writing y, and the lower rate of few rows. If threads share a core, or other programs
use it, the measured time is longer.

For each layer the output says whether this CPU has an instruction for bf16 and int8.
Without one they are slower than float32 from a few rows on. With AVX2's other
instructions int8 is faster from about a hundred units on, bf16 about as fast. Even with
an instruction they may be slower. So a layer of such a precision is timed in turns with
the same layer of float32.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import fastcell
from fastcell import _core
from fastcell._judge.cells import gate_functions
from fastcell.cli.measure import (
    PRECISIONS,
    Layer,
    Shape,
    cores,
    duration,
    kernels,
    measure,
    number,
)
from fastcell.layers.recurrent import MOST_LAYERS

_PROBE_SECONDS = 0.06
_SECONDS = 0.5

# Expectations for AVX2, which has no instruction for them.
_BY_AVX2 = {
    "bf16": "0.7 to 1.1 times the speed of float32, more for one row of large layers",
    "int8": "it faster than float32 from about 100 units on",
}


@dataclass(frozen=True)
class Probes:
    """Rates of one thread: FLOP/s, bytes of R per second; seconds per element."""

    flop: float
    read: float
    sigmoid: float
    tanh: float


@dataclass(frozen=True)
class Prediction:
    """Seconds of a call, or of several in sequence."""

    products: float  # multiply-adds of all steps at once
    compute: float  # multiply-adds of the time loop
    read: float  # reading R in the time loop
    gates: float

    @property
    def seconds(self) -> float:
        """The total, with the longer of multiply-adds and reading, which overlap."""
        return self.products + max(self.compute, self.read) + self.gates

    @property
    def bound(self) -> str:
        """The part that limits the time loop."""
        if self.gates > max(self.compute, self.read):
            return "the gates"
        if self.read > self.compute:
            return "reading R in every step"
        return "multiply-adds"


def predict(layer: Layer, d: Any, training: int, probes: Probes) -> Prediction:
    """Return the time of one call, by the formula in this module's docstring.

    Parameters
    ----------
    layer : Layer
    d : dict
        Its `fc_description` for the same `training`: 0 or 1, or 2 for backward.
    training : int
    probes : Probes
    """
    T, B, _, H = layer.shape
    tasks = layer.directions * d["row_parts"] * d["members"]
    turns = layer.layers * math.ceil(tasks / d["loop_threads"]) * T
    loop_flop = d["recurrent_flop"] / (2 if training == 2 else 1)
    step_flop = loop_flop / (layer.layers * layer.directions * T)
    share = d["rows"] / B / d["members"]
    sigmoids, tanhs = gate_functions(layer.entry)
    if training == 2:  # its only transcendental is tanh(c), computed again
        sigmoids, tanhs = 0, len(layer.entry.states) - 1
    gates = B * H * share * (sigmoids * probes.sigmoid + tanhs * probes.tanh)
    threads = d["threads"] if training == 2 else d["loop_threads"]
    return Prediction(
        products=(d["flop"] - loop_flop) / threads / probes.flop,
        compute=turns * step_flop * share / probes.flop,
        read=turns * d["recurrent_bytes"] / d["members"] / probes.read,
        gates=turns * gates,
    )


def probe(layer: Layer, members: int) -> Probes:
    """Measure the rates of one thread; `members` threads share the R of a step."""
    before = fastcell.get_num_threads()
    fastcell.set_num_threads(1)
    try:
        sigmoid, tanh = _probe_gates()
        sigmoids, tanhs = gate_functions(layer.entry)
        unit = sigmoids * sigmoid + tanhs * tanh
        return Probes(
            _probe_product(layer, unit),
            _probe_read(layer, members, unit),
            sigmoid,
            tanh,
        )
    finally:
        fastcell.set_num_threads(before)


def _probe_gates() -> tuple[float, float]:
    x = np.linspace(-4, 4, 16384, dtype=np.float32)
    sigmoid = measure(lambda: _core.elementary("sigmoid", x), _PROBE_SECONDS).best
    tanh = measure(lambda: _core.elementary("tanh", x), _PROBE_SECONDS).best
    return sigmoid / x.size, tanh / x.size


def _probe_product(layer: Layer, unit: float) -> float:
    if layer.precision != "float32":
        many = Layer(layer.cell, Shape(1, 192, 256, 256), layer.precision)
        gates = many.shape.B * many.shape.H * unit
        return many.flop("forward") / _without(gates, many)
    rows, inputs, outputs = 1024, 64, 64
    random = np.random.default_rng(2)
    w = random.standard_normal((outputs, inputs), np.float32)
    x = random.standard_normal((rows, inputs), np.float32)
    y = np.empty((rows, outputs), np.float32)
    dense = _core.Dense(False, inputs, outputs)
    packed = dense.pack(False, w, None)
    timing = measure(lambda: dense.forward(packed, rows, x, y, 1), _PROBE_SECONDS)
    return 2 * rows * inputs * outputs / timing.best


def _probe_read(layer: Layer, members: int, unit: float) -> float:
    units = max(1, round(layer.shape.H / math.sqrt(members)))
    single = Layer(layer.cell, Shape(64, 1, 0, units), layer.precision)
    size: int = single.shape.T * single.describe(1, 0)["recurrent_bytes"]
    if size == 0:  # there is no R to read
        return math.inf
    return size / _without(single.shape.T * units * unit, single)


def _without(gates: float, layer: Layer) -> float:
    """Return the seconds of a forward call, without its gates."""
    seconds = measure(layer.call("forward"), _PROBE_SECONDS).best
    return max(seconds - gates, seconds / 10)


def explain(given: dict[str, Any]) -> int:
    """Print decisions, prediction and measurement."""
    layer = Layer(
        given.get("cell", "lstm"),
        given["shape"],
        given.get("precision", "float32"),
        given.get("layers", 1),
        2 if given.get("bidirectional") else 1,
    )
    if layer.layers > MOST_LAYERS:
        raise ValueError(f"--layers: must be at most {MOST_LAYERS}; got {layer.layers}")
    train = given.get("train", False)
    if train and layer.precision == "int8":
        raise ValueError("--train: a layer of precision int8 does not train")
    layer.check_memory(train)
    mode = "train" if train else "forward"
    before = fastcell.get_num_threads()
    fastcell.set_num_threads(given.get("threads", cores()))
    threads = fastcell.get_num_threads()
    try:
        calls = [(1 if train else 0, layer.describe(threads, 1 if train else 0))]
        if train:
            calls.append((2, layer.describe(threads, 2)))
        _print_rows(_decisions(layer, threads, calls))
        probes = probe(layer, calls[0][1]["members"])
        _print_rows(_probed(probes))
        timing = measure(layer.call(mode), _SECONDS)
        gain = None
        if layer.precision != "float32":
            gain = against_float32(layer, mode)
    finally:
        fastcell.set_num_threads(before)
    parts = [predict(layer, d, training, probes) for training, d in calls]
    predicted = sum(part.seconds for part in parts)
    rows = {"": ""} | {
        _name("predicted", training): _predicted(part)
        for (training, _), part in zip(calls, parts, strict=True)
    }
    rate = layer.flop(mode) / timing.median / 1e9
    rows["measured"] = (
        f"{duration(timing.median)} ± {100 * timing.spread:.0f} %, {rate:.1f} GFLOP/s"
    )
    rows["ratio"] = f"{timing.median / predicted:.2f} (measured / predicted)"
    if gain is not None:
        rows["against float32"] = f"{gain:.2f} times as fast (measured, in turns)"
    _print_rows(rows)
    return 0


def against_float32(layer: Layer, mode: str) -> float:
    """Return how many times as fast it is as the same layer of float32.

    Both are timed in turns, so that other load of the machine slows both.
    """
    calls = [one.call(mode) for one in (layer, replace(layer, precision="float32"))]
    turns = [[measure(call, _SECONDS / 4).median for call in calls] for _ in range(3)]
    own, exact = (float(statistics.median(t)) for t in zip(*turns, strict=True))
    return exact / own


def _narrow(layer: Layer, precision: str) -> str:
    """Return whether this CPU has an instruction for the layer's products, as text."""
    described = replace(layer, precision=precision).describe(1, 0)
    if described["native"]:
        return f"{precision} has an instruction here"
    expected = "it slower than float32"
    if described["isa"] == "avx2":
        expected = _BY_AVX2[precision]
    return f"{precision} has none here: expect {expected}"


def _name(name: str, training: int) -> str:
    return f"{name}, {'backward' if training == 2 else 'forward'}" if training else name


def _decisions(layer: Layer, threads: int, calls: list[Any]) -> dict[str, str]:
    T, B, I, H = layer.shape  # noqa: E741
    forward = calls[0][1]
    both = ", both directions" if layer.directions == 2 else ""
    stack = f"{layer.entry.name}, {_count(layer.layers, 'layer')}{both}, I={I} H={H}"
    table = f"{forward['lanes']} lanes"
    if forward["group"] > 1:
        table += f" of {forward['group']} numbers"
    goal = "training" if len(calls) > 1 else "inference"
    rows = {
        "layer": stack,
        "batch": f"{_count(T, 'step')} of {_count(B, 'row')}, {goal}",
        "kernels": f"{kernels(forward, layer.precision)}; {table}",
    }
    for training, d in calls:
        rows[_name("tile", training)] = (
            f"{_count(d['tile_rows'], 'row')} x "
            f"{_count(d['tile_vectors'], 'vector')} x "
            f"{_count(d['tile_panels'], 'panel')}, of a thread's "
            f"{_count(d['rows'], 'row')} x {_count(d['vectors'], 'vector')}"
        )
        rows[_name("threads", training)] = (
            f"{d['loop_threads']} of {threads}: "
            f"{_count(layer.directions, 'direction')} x "
            f"{_count(d['row_parts'], 'row range')} x "
            f"{_count(d['members'], 'team member')}"
            + (", while the pool is awake" if d["small"] else "")
        )
        rows[_name("team", training)] = _team(d)
    packed = " + ".join(_size(d["packed_bytes"]) for _, d in calls)
    scratch = " + ".join(_size(d["scratch_bytes"]) for _, d in calls)
    step_bytes = layer.layers * layer.directions * T * forward["recurrent_bytes"]
    rows |= {
        "narrow products": "; ".join(_narrow(layer, p) for p in PRECISIONS[1:]),
        "weights": f"{_size(forward['weight_bytes'])} as given, {packed} packed; "
        f"R {_size(forward['recurrent_bytes'])}",
        "memory": f"saved {_size(forward['saved_bytes'])}, scratch {scratch}",
        "FLOP": f"{sum(d['flop'] for _, d in calls):,.0f}",
        "FLOP per byte of R": f"{forward['recurrent_flop'] / step_bytes:.3g} "
        "(in a step of forward)"
        if step_bytes
        else "there is no R",
    }
    return rows


def _team(d: Any) -> str:
    """Return why threads share the units of each step, or why not, as text."""
    match d["sharing"]:
        case "one thread":
            return "no, one thread is set"
        case "directions":
            return "no, each direction has its thread"
        case "rows":
            return "no, there are rows enough to share"
        case "narrow":
            return "no, the units cannot be shared: one panel, or whole rows"
    (turn, hand_over, wake, _), known = _core.thread_costs()
    here = "on this machine" if known else "usually (the cores are busy)"
    if d["sharing"] == "little":
        return (
            f"no, the call is too short: to hand work over costs {_ns(hand_over)}, "
            f"to wake a thread {_ns(wake)} {here}"
        )
    step, barrier = _ns(d["step_ns"]), _ns(turn)
    answer = "no" if d["sharing"] == "short" else "yes"
    return f"{answer}, one step has {step} of work and a barrier costs {barrier} {here}"


def _ns(nanoseconds: float) -> str:
    return duration(nanoseconds / 1e9) if nanoseconds else "nothing"


def _probed(probes: Probes) -> dict[str, str]:
    read = f"R at {probes.read / 1e9:.1f} GB/s; " if probes.read < math.inf else ""
    return {
        "this machine": f"a thread: {probes.flop / 1e9:.1f} GFLOP/s; {read}"
        f"sigmoid {probes.sigmoid * 1e9:.2f} ns, tanh {probes.tanh * 1e9:.2f} ns"
    }


def _predicted(part: Prediction) -> str:
    return (
        f"{duration(part.seconds)}, bound by {part.bound}: the larger of "
        f"{duration(part.compute)} multiply-adds and {duration(part.read)} reading R, "
        f"+ {duration(part.gates)} gates + {duration(part.products)} outside the loop"
    )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _size(count: int) -> str:
    for factor, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= factor:
            return f"{number(count / factor)} {unit}"
    return f"{count} B"


def _print_rows(rows: dict[str, str]) -> None:
    for name, value in rows.items():
        print(f"{name:19}  {value}" if name else "", flush=True)
