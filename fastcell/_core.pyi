"""Types of the compiled module.

The module is private: its callers are layers, losses and optimizers, which check shapes
and types first.  Letters as in the C header: T steps, B rows, I inputs, H hidden units,
P projected units, D directions, L layers, N rows of a dense layer.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, TypeGuard

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

_Reals = npt.NDArray[np.floating[Any]]  # float32 or float64
_Lengths = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]
# In the order of describe_cell's parameters; None where the layer has no bias.
_PassArrays = tuple[_Reals | None, ...]

class _CpuInfo(TypedDict):
    cpu: str
    isas: list[str]
    isa: str
    compiler: str

class _CellDescription(TypedDict):
    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    traced: tuple[str, ...]
    slots: int
    projects: bool
    takes_heads: bool
    roles: int  # of activations to choose
    clips_cell: bool
    takes_update_dropout: bool
    parameters: dict[str, tuple[str, ...]]
    bias_of: dict[str, str]
    initial: dict[str, Literal["drawn", "zeros", "ones", "fractions"]]

# cell_clip and gate_clip, 0 for none; of each role: kind, alpha, beta; and maybe update
# dropout and the clip of recurrent gradients.
_Activations = tuple[tuple[str | None, float, float], ...]
_Options = (
    tuple[float, float, _Activations]
    | tuple[float, float, _Activations, float, float]
)

class _Description(TypedDict):
    isa: str
    native: int
    lanes: int
    group: int
    threads: int
    small: int
    loop_threads: int
    row_parts: int
    members: int
    sharing: str
    step_ns: float
    rows: int
    vectors: int
    tile_rows: int
    tile_vectors: int
    tile_panels: int
    weight_bytes: int
    packed_bytes: int
    recurrent_bytes: int
    saved_bytes: int
    scratch_bytes: int
    flop: float
    recurrent_flop: float

# Attributes that Cython generates.
__test__: dict[str, str]

def __reduce_cython__(self: Any) -> Any: ...
def __setstate_cython__(self: Any, __pyx_state: Any) -> Any: ...
class UsedUpError(ValueError): ...

@disjoint_base
class Views: ...

@disjoint_base
class Arrays(Views):
    def __init__(self, first: Any) -> None: ...

def aligned_empty(size: int, zeroed: bool = False) -> _Bytes: ...
def set_thread_costs(costs: tuple[float, float, float, float] | None) -> None: ...
def thread_costs() -> tuple[tuple[float, float, float, float], bool]: ...
def use_openmp(
    parallel: int, max_threads: int, num_threads: int, thread_num: int
) -> None: ...
def isa() -> str: ...
def isas() -> list[str]: ...
def select_isa(name: str) -> None: ...
def cells() -> list[str]: ...
def describe_cell(name: str) -> _CellDescription: ...
def parameter_shapes(
    name: str,
    input_size: int,
    hidden_size: int,
    output_size: int,
    heads: int = 1,
) -> dict[str, tuple[int, ...]]: ...
def cpu_info() -> _CpuInfo: ...
def cpu_name() -> str: ...
def follow_main_thread() -> None: ...

def trace(
    stack: Stack,
    call: Batch,
    h: _Reals | None,
    c: _Reals | None,
    values: _Reals | None,
    saved: _Bytes,
) -> None: ...
@disjoint_base
class Stack:
    def __init__(
        self,
        cell: str,
        precision: str,  # "float32", "float64", "bf16" or "int8"
        input_size: int,
        hidden_size: int,
        proj_size: int,
        layers: int,
        directions: int,
        heads: int = 1,
        rates: tuple[float, float, float] = ...,
        options: _Options | None = None,
    ) -> None: ...
    def pack(
        self, backward: bool, weights: list[_PassArrays], threads: int
    ) -> _Bytes: ...
    def saved_size(self, call: Batch) -> int: ...
    def carry_size(self, call: Batch) -> int: ...
    def describe(
        self, steps: int, rows: int, threads: int, training: int
    ) -> _Description: ...
    def forward(
        self,
        packed: _Bytes,
        call: Batch,
        y: _Reals | None,
        h: _Reals | None,
        c: _Reals | None,
        saved: _Bytes | None,
        cs: _Reals | None = None,
    ) -> None: ...
    def infer(
        self, packed: _Bytes, x: Any, dtype: np.dtype, threads: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None: ...
    def train(
        self,
        packed: _Bytes,
        x: Any,
        lengths: Any,
        dtype: np.dtype,
        threads: int,
        spare: Any,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, Batch, _Bytes] | None: ...
    def backward_alone(
        self,
        packed: _Bytes,
        call: Batch,
        dy: Any,
        dtype: np.dtype,
        names: list[list[str]],
        shapes: dict[str, tuple[int, ...]],
        saved: Any,
    ) -> (
        tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, np.ndarray], _Bytes]
        | None
    ): ...
    def step(
        self, packed: _Bytes, x: Any, state: Any, dtype: np.dtype, threads: int
    ) -> Any: ...
    def backward(
        self,
        packed: _Bytes,
        packed_forward: _Bytes | None,
        call: Batch,
        dy: _Reals | None,
        dh: _Reals | None,
        dc: _Reals | None,
        dx: _Reals | None,
        dh0: _Reals | None,
        dc0: _Reals | None,
        gradients: list[_PassArrays] | None,
        saved: _Bytes,
        segment: tuple[int, int, int, _Bytes] | None = None,
        dadded: _Reals | None = None,
    ) -> None: ...

@disjoint_base
class Batch:
    recompute: bool
    added: _Reals | None
    key: int | None  # of random masks; first_step: of the batch, for them
    first_step: int
    @property
    def steps(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def x(self) -> _Reals: ...
    @property
    def index(self) -> npt.NDArray[np.int32] | None: ...
    @property
    def lengths(self) -> npt.NDArray[np.int64] | None: ...
    @property
    def mask(self) -> npt.NDArray[Any] | None: ...
    @property
    def reset(self) -> npt.NDArray[Any] | None: ...
    @property
    def h0(self) -> _Reals | None: ...
    @property
    def c0(self) -> _Reals | None: ...
    @property
    def dropout(self) -> _Reals | None: ...
    @property
    def threads(self) -> int: ...
    def __init__(
        self,
        steps: int,
        rows: int,
        x: _Reals,
        index: npt.NDArray[np.int32] | None,
        lengths: npt.NDArray[np.int64] | None,
        mask: npt.NDArray[Any] | None,
        reset: npt.NDArray[Any] | None,
        h0: _Reals | None,
        c0: _Reals | None,
        dropout: _Reals | None,
        threads: int,
    ) -> None: ...
    def check_isa(self) -> None: ...
    def __reduce_cython__(self) -> Any: ...
    def __setstate_cython__(self, __pyx_state: Any) -> Any: ...

@disjoint_base
class Changes:
    count: int
    def __reduce_cython__(self) -> Any: ...
    def __setstate_cython__(self, __pyx_state: Any) -> Any: ...

@disjoint_base
class Exchange:
    def __init__(
        self, capsule: Any, tensor: type, parameter: type, watchers: tuple[Any, ...]
    ) -> None: ...

@disjoint_base
class TensorMarks:
    def __init__(self, exchange: Exchange | None) -> None: ...
    def update(self, tensors: list[Any]) -> bool: ...
    def forget(self) -> None: ...

@disjoint_base
class QuickCalls:
    def __init__(
        self,
        exchange: Exchange,
        stack: Stack,
        marks: TensorMarks,
        names: tuple[str, ...],
    ) -> None: ...
    def keep(self, packed: Any) -> None: ...
    def infer(
        self,
        held: dict[str, Any],
        x: Any,
        hx: Any,
        batch_first: bool,
        step: bool,
    ) -> Any: ...
    def step_of(self, stream: Stream, held: dict[str, Any], x: Any) -> Any: ...
    def hold(self, held: dict[str, Any]) -> bool: ...
    def begin(
        self, x: Any, hx: Any, batch_first: bool, step: bool, threads: int
    ) -> QuickCall | None: ...

@disjoint_base
class StepMemory: ...

@disjoint_base
class QuickCall:
    @property
    def h0(self) -> Any: ...
    @property
    def c0(self) -> Any: ...
    saved: _Bytes | None
    @property
    def steps(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def is_step(self) -> bool: ...
    @property
    def is_used_up(self) -> bool: ...
    def forward(self, spare: Any) -> tuple[Any, ...]: ...
    def backward(
        self,
        packed: Any,
        x: Any,
        dout: tuple[Any, ...],
        needed: tuple[bool, ...],
        spare: Any,
    ) -> list[Any]: ...

@disjoint_base
class Stream:
    @property
    def packed(self) -> _Bytes: ...
    @property
    def memory(self) -> _Bytes: ...
    @property
    def rows(self) -> int: ...
    def __init__(self, owner: Stack, packed: _Bytes, rows: int) -> None: ...
    def follow(
        self, changes: Changes, handed_out: dict[str, Any], version: int
    ) -> None: ...
    def postpone(self, rows: int) -> None: ...
    def outdated(self) -> bool: ...
    def renew(self, owner: Stack, packed: _Bytes) -> None: ...
    def step(self, x: Any, out: np.ndarray | None = None) -> np.ndarray: ...
    def get(self, h: _Reals | None, c: _Reals | None) -> None: ...
    def set(self, h: _Reals | None, c: _Reals | None) -> None: ...
    def step_some(
        self, which: npt.NDArray[np.int64], x: _Reals, y: _Reals, threads: int
    ) -> None: ...
    def get_some(
        self, which: npt.NDArray[np.int64], h: _Reals | None, c: _Reals | None
    ) -> None: ...
    def set_some(
        self, which: npt.NDArray[np.int64], h: _Reals | None, c: _Reals | None
    ) -> None: ...
    def fork_from(self, other: Stream) -> None: ...

@disjoint_base
class Dense:
    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    def __init__(self, double_precision: bool, inputs: int, outputs: int) -> None: ...
    def pack(self, backward: bool, w: _Reals, b: _Reals | None) -> _Bytes: ...
    def forward(
        self, packed: _Bytes, rows: int, x: _Reals, y: _Reals, threads: int
    ) -> None: ...
    def backward(
        self,
        packed: _Bytes,
        rows: int,
        x: _Reals,
        dy: _Reals,
        dx: _Reals | None,
        dw: _Reals | None,
        db: _Reals | None,
        threads: int,
    ) -> None: ...

def cross_entropy(
    logits: _Reals,
    targets: npt.NDArray[np.int64],
    ignore_index: int,
    smoothing: float,
    scale: float,
    loss: npt.NDArray[np.float64],
    dlogits: _Reals,
    threads: int,
) -> None: ...
def ctc_loss(
    logits: _Reals,
    lengths: npt.NDArray[np.int64] | None,
    labels: npt.NDArray[np.int64],
    label_lengths: npt.NDArray[np.int64],
    blank: int,
    zero_infinity: bool,
    scale: npt.NDArray[np.float64],
    loss: npt.NDArray[np.float64],
    dlogits: _Reals | None,
    threads: int,
) -> None: ...

@disjoint_base
class ParameterList:
    def __init__(
        self,
        arrays: dict[str, _Reals],
        kept: tuple[Mapping[str, _Reals] | None, ...],
        writable: bool,
    ) -> None: ...
    def take(self, arrays: dict[str, Any], grads: dict[str, Any]) -> bool: ...
    def release(self) -> None: ...
    def sgd(
        self,
        rate: float,
        decay: float,
        momentum: float,
        share: float,
        nesterov: bool,
        threads: int,
    ) -> None: ...
    def rmsprop(
        self,
        rate: float,
        decay: float,
        alpha: float,
        eps: float,
        momentum: float,
        threads: int,
    ) -> None: ...
    def adagrad(
        self, rate: float, decay: float, eps: float, threads: int
    ) -> None: ...
    def adam(
        self,
        beta1: float,
        beta2: float,
        eps: float,
        rate: float,
        root_correction: float,
        decay: float,
        shrink: float,
        threads: int,
    ) -> None: ...
    def sum_of_squares(self, threads: int) -> float: ...
    def scale(self, factor: float, threads: int) -> None: ...
    def clip(self, limit: float, threads: int) -> None: ...

def sum_steps(h: _Reals, lengths: _Lengths | None, y: _Reals) -> None: ...
def max_steps(
    h: _Reals, lengths: _Lengths | None, y: _Reals, where: npt.NDArray[np.int32]
) -> None: ...
def spread_steps(
    dy: _Reals,
    lengths: _Lengths | None,
    where: npt.NDArray[np.int32] | None,
    dh: _Reals,
) -> None: ...
def add_rows(ids: npt.NDArray[np.int64], x: _Reals, table: _Reals) -> None: ...
def additive_scores(
    query: _Reals,
    memory: _Reals,
    v: _Reals,
    lengths: _Lengths | None,
    scores: _Reals,
    threads: int,
) -> None: ...
def additive_scores_backward(
    dscores: _Reals,
    query: _Reals,
    memory: _Reals,
    v: _Reals,
    lengths: _Lengths | None,
    dquery: _Reals,
    dmemory: _Reals,
    dv: _Reals,
    threads: int,
) -> None: ...
def attention_weights(
    scores: _Reals, lengths: _Lengths | None, threads: int
) -> None: ...
def attention_weights_backward(
    weights: _Reals, dweights: _Reals, lengths: _Lengths | None, threads: int
) -> None: ...
def mlstm(
    inputs: tuple[_Reals, _Reals, _Reals, _Reals, _Reals],
    y: _Reals,
    before: tuple[_Reals, _Reals, _Reals] | None,
    after: tuple[_Reals, _Reals, _Reals] | None,
    scale: float,
    eps: float,
    step: bool,
    threads: int,
) -> None: ...
def dropout(
    p: float, key: int, x: _Reals | None, y: _Reals, threads: int
) -> None: ...
def fill_rows(
    x: npt.NDArray[Any], sequences: list[Any], lengths: _Lengths
) -> bool: ...
def in_range(
    values: Any, least: int, most: int
) -> TypeGuard[npt.NDArray[np.int64]]: ...
def are_finite(x: Any) -> bool: ...
def fingerprint(x: Any) -> int: ...
def elementary(function: Literal["exp", "sigmoid", "tanh"], x: _Reals) -> _Reals: ...
