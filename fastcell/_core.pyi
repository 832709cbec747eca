from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Pass = tuple[Array, Array, Array | None, Array | None, Array | None]

class CpuInfo(TypedDict):
    cpu: str
    isas: list[str]
    isa: str
    compiler: str

def aligned_empty(size: int, zeroed: bool = False) -> Bytes: ...
def isa() -> str: ...
def isas() -> list[str]: ...
def select_isa(name: str) -> None: ...
def cells() -> dict[str, tuple[int, int]]: ...
def cpu_info() -> CpuInfo: ...
def cpu_name() -> str: ...
def elementary(function: str, x: Array) -> Array: ...
def sum_of_squares(x: Array) -> float: ...
def adam(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    beta1: float,
    beta2: float,
    eps: float,
    rate: float,
    root_correction: float,
    decay: float,
    shrink: float,
) -> None: ...
def cross_entropy(
    logits: Array,
    targets: NDArray[np.int64],
    ignore_index: int,
    smoothing: float,
    scale: float,
    loss: NDArray[np.float64],
    dlogits: Array,
    threads: int,
) -> None: ...

class Batch:
    steps: int
    rows: int
    x: Array
    index: NDArray[np.int32] | None
    lengths: NDArray[np.int64] | None
    mask: Bytes | None
    reset: Bytes | None
    h0: Array | None
    c0: Array | None
    dropout: Array | None
    threads: int
    def __init__(
        self,
        steps: int,
        rows: int,
        x: Array,
        index: NDArray[np.int32] | None,
        lengths: NDArray[np.int64] | None,
        mask: Bytes | None,
        reset: Bytes | None,
        h0: Array | None,
        c0: Array | None,
        dropout: Array | None,
        threads: int,
    ) -> None: ...

class Stack:
    def __init__(
        self,
        cell: str,
        double_precision: bool,
        input_size: int,
        hidden_size: int,
        proj_size: int,
        layers: int,
        directions: int,
    ) -> None: ...
    def pack(self, backward: bool, weights: list[Pass]) -> Bytes: ...
    def saved_size(self, call: Batch) -> int: ...
    def forward(
        self,
        packed: Bytes,
        call: Batch,
        y: Array,
        h: Array | None,
        c: Array | None,
        saved: Bytes | None,
    ) -> None: ...
    def backward(
        self,
        packed: Bytes,
        call: Batch,
        dy: Array,
        dh: Array | None,
        dc: Array | None,
        dx: Array | None,
        dh0: Array | None,
        dc0: Array | None,
        gradients: list[Pass] | None,
        saved: Bytes,
    ) -> None: ...

class Stream:
    packed: Bytes
    memory: Bytes
    rows: int
    def __init__(self, owner: Stack, packed: Bytes, rows: int) -> None: ...
    def step(self, x: Array, out: Array | None = None) -> Array: ...
    def get(self, h: Array | None, c: Array | None) -> None: ...
    def set(self, h: Array | None, c: Array | None) -> None: ...
    def copy_from(self, other: Stream) -> None: ...

class Dense:
    inputs: int
    outputs: int
    def __init__(self, double_precision: bool, inputs: int, outputs: int) -> None: ...
    def pack(self, backward: bool, w: Array, b: Array | None) -> Bytes: ...
    def forward(
        self, packed: Bytes, rows: int, x: Array, y: Array, threads: int
    ) -> None: ...
    def backward(
        self,
        packed: Bytes,
        rows: int,
        x: Array,
        dy: Array,
        dx: Array | None,
        dw: Array | None,
        db: Array | None,
        threads: int,
    ) -> None: ...
