"""The base of RNN, LSTM and GRU: layers, directions, batches, forward and backward.

A subclass names its cell of the C core, which describes the rest: gates, states and
parameters. See fastcell/cells/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Unpack

import numpy as np

from fastcell import _core
from fastcell._checks.numbers import flag, integer, real, seed_of
from fastcell.layers.batches import PLAIN, Layout, flags_of, lengths_of, sequence_of
from fastcell.layers.dropout import drawn_factors, drawn_key
from fastcell.layers.gradients import gradient_arrays
from fastcell.layers.last_outputs import is_last
from fastcell.layers.options import Options, check_options
from fastcell.layers.outputs import Outputs
from fastcell.layers.packs import Packs
from fastcell.layers.ragged import Ragged, ragged_call
from fastcell.layers.regularizers import Regularizers
from fastcell.layers.saved import Saved, SpareMemory, check_saved, check_version
from fastcell.layers.segments import Segments, cut
from fastcell.layers.session import Session
from fastcell.layers.starts import Start
from fastcell.layers.states import States, StateT
from fastcell.layers.trace import Traced
from fastcell.layers.turning import goes_backwards, turned, turned_batch
from fastcell.module import Module, check_dtype
from fastcell.parameters import Parameters
from fastcell.threads import get_num_threads

MOST_LAYERS = 10_000  # far above any use: a configuration may come from a file


class Recurrent(Traced[StateT], Module, Generic[StateT]):
    """A stack of recurrent layers, in one direction or both.

    The base of `fastcell.RNN`, `fastcell.LSTM` and the others, which document it;
    `fastcell.layers.options.Options` documents the arguments that all of them take.

    Attributes
    ----------
    gates : tuple of str
        Names of the gates, in the order of the weight rows.
    states : tuple of str
        Names of the states, "h" first.
    """

    _takes_precision = False
    # Gates whose bias lengthens (1) or shortens (-1) the memory, the forget gate first.
    _keeping_gates: ClassVar[Mapping[str, int]] = {}
    # Of cells with options: activations and clips, as the core takes them.
    _core_options: tuple[Any, ...] | None = None

    def __init__(
        self,
        core_cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        dtype: Any,
        seed: int | None,
        /,
        **options: Unpack[Options],
    ) -> None:
        check_options(type(self).__name__, options)
        self.input_size = integer("input_size", input_size, minimum=0)
        self.hidden_size = integer("hidden_size", hidden_size, minimum=1)
        self.num_layers = integer("num_layers", num_layers, minimum=1)
        if self.num_layers > MOST_LAYERS:
            raise ValueError(
                f"num_layers must be at most {MOST_LAYERS}; got {num_layers}"
            )
        self.bias = flag("bias", bias)
        self.batch_first = flag("batch_first", batch_first)
        self.dropout = real("dropout", dropout, minimum=0, maximum=1)
        self.bidirectional = flag("bidirectional", bidirectional)
        self.go_backwards = goes_backwards(
            options.get("go_backwards", False), self.bidirectional
        )
        self.proj_size = integer("proj_size", proj_size, minimum=0)
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"proj_size must be less than hidden_size, {self.hidden_size}; "
                f"got {self.proj_size}"
            )
        self.num_heads = integer("num_heads", options.get("num_heads", 1), minimum=1)
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"num_heads must divide hidden_size, {self.hidden_size}; "
                f"got {self.num_heads}"
            )
        self.zero_output_for_mask = flag(
            "zero_output_for_mask", options.get("zero_output_for_mask", False)
        )
        self.dtype = check_dtype(dtype)
        self.seed = seed_of(seed)
        self.output_size = self.proj_size or self.hidden_size
        self._directions = 2 if self.bidirectional else 1
        self._core_cell = core_cell
        self._description = _core.describe_cell(core_cell)
        if self.num_heads > 1 and not self._description["takes_heads"]:
            raise ValueError(
                f"num_heads must be 1 for the cell {core_cell}; got {self.num_heads}"
            )
        self.gates = self._description["gates"]
        self.states = self._description["states"]
        self._start = Start.of(
            options.get("init", "uniform"),
            options.get("forget_bias"),
            options.get("chrono_steps"),
            self.bias,
            self._keeping_gates,
            self.gates,
        )
        self._regularizers = Regularizers.of(options, self._description)
        self._random: np.random.Generator = np.random.default_rng(self.seed)
        self._shapes = self._parameter_shapes()
        names = self._description["parameters"]
        self._names = [[n + suffix for n in names] for suffix in self._suffixes()]
        self._parameters: Parameters = self._new_parameters()
        self._set_precision(self.dtype.name)
        self._spare = SpareMemory()
        self._states = States(
            self.states,
            self.num_layers * self._directions,
            self.output_size,
            self.hidden_size,
            self.dtype,
        )
        self._outputs = Outputs(
            options.get("merge", "concat"),
            options.get("zero_length", "keep"),
            self.zero_output_for_mask,
            self.num_layers,
            self._directions,
            self.output_size,
            self._states,
            self.dtype,
        )
        self.merge, self.zero_length = self._outputs.merge, self._outputs.zero_length
        # Whether results are the core's own: the quick way of a call is open then.
        plain = self._outputs.are_plain and not self.go_backwards
        self._plain = plain and not self.batch_first

    def _set_precision(self, precision: str) -> None:
        """Set the precision; packed weights and `saved` of earlier calls are void."""
        self._check_precision(precision)
        self.precision = precision
        self._stack = _core.Stack(
            self._core_cell,
            precision,
            self.input_size,
            self.hidden_size,
            self.proj_size,
            self.num_layers,
            self._directions,
            self.num_heads,
            self._regularizers.rates,
            self._regularizers.core_options(self._core_options),
        )
        self._packs = Packs(self._parameters)
        self._parameters.changed()  # sessions fetch the weights again

    def _check_precision(self, precision: str) -> None:
        double = self.dtype == np.float64
        if double != (precision == "float64"):
            raise TypeError(
                f"precision: a layer of dtype {self.dtype} computes in "
                f"{'float64' if double else 'float32, bf16 or int8'}; got {precision!r}"
            )

    # -------------------------------------------------------------- parameters

    def _suffixes(self) -> list[str]:
        """Return the suffixes of parameter names, pass by pass."""
        directions = ("", "_reverse")[: self._directions]
        return [f"_l{k}{d}" for k in range(self.num_layers) for d in directions]

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        below = self._directions * self.output_size
        shapes: dict[str, tuple[int, ...]] = {}
        for i, suffix in enumerate(self._suffixes()):
            of_pass = _core.parameter_shapes(
                self._core_cell,
                self.input_size if i < self._directions else below,
                self.hidden_size,
                self.output_size,
                self.num_heads,
            )
            for name, shape in of_pass.items():
                if self.bias or name not in self._description["bias_of"]:
                    shapes[name + suffix] = shape
        return shapes

    def _new_parameters(self) -> Parameters:
        return Parameters(
            self._start.arrays(
                self._shapes,
                self._description,
                self.hidden_size,
                self.num_heads,
                self._random,
                self.dtype,
            )
        )

    def _by_pass(self, arrays: Mapping[str, np.ndarray]) -> list[tuple[Any, ...]]:
        """Return the parameters of each pass in the core's order; None: no bias."""
        return [tuple(map(arrays.get, names)) for names in self._names]

    def _pack(self, backward: bool, arrays: Mapping[str, np.ndarray]) -> Any:
        return self._stack.pack(backward, self._by_pass(arrays), get_num_threads())

    def _packed(self, backward: bool) -> tuple[int, Any]:
        """Return the version of the weights and their packed form, cached."""
        return self._packs.get(backward, self._pack)

    def _packed_for(self, call: _core.Batch, backward: bool) -> Any:
        """Return the packed weights of a call of training, some of R dropped."""
        if call.key is None or not self._regularizers.weight_drop:
            return self._packed(backward)[1]
        arrays = self._regularizers.dropped(self._parameters.arrays(), call.key)
        return self._pack(backward, arrays)

    # ------------------------------------------------------------------- calls

    def __call__(
        self,
        x: Any,
        state: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
        outputs: str = "all",
    ) -> tuple[np.ndarray, StateT]:
        """Run the layer for inference: without dropout, and without `saved`.

        Parameters, other results and errors are those of `forward`.
        """
        _, packed = self._packed(False)
        alone = state is None and lengths is None and mask is None and reset is None
        if alone and self._plain and outputs == "all":
            # The usual case. For one step it takes half the time of the checks below.
            quick = self._stack.infer(packed, x, self.dtype, get_num_threads())
            if quick is not None:
                y, h, c = quick
                return y, self._states.joined(h, c)
        call, layout = self._batch(x, state, lengths, mask, reset, None)
        y, state, _ = self._run(call, layout, packed, None, is_last(outputs))
        return y, state

    def forward(
        self,
        x: Any,
        state: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
        memory_budget: int | None = None,
        outputs: str = "all",
    ) -> tuple[np.ndarray, StateT, Saved]:
        """Run the layer for training.

        Parameters
        ----------
        x : array, shape (T, B, I), or (B, T, I) if batch_first, or (T, I), or Ragged
            The sequences, of the layer's dtype. An array is kept without a copy: it
            must not be written to before `backward`, which compares a sample of 127 of
            its elements. All other arguments are copied. With a `fastcell.Ragged` y, dy
            and dx are one, too, and mask and reset are one or (T, B) of the longest.
        state : array or tuple of two, optional
            Initial h, or (h, c): h (L D, B, P) and c (L D, B, H), without B for an
            unbatched x; P is proj_size or H. Default: zeros.
        lengths : array of int, shape (B,), optional
            Steps of each sequence, 0 to T, in any order. Outputs past them are 0, and
            the final state is that of each sequence's own last step. A sequence without
            steps keeps its initial state, or has a final state of zero, whose gradient
            is not read, if the layer's zero_length is "zero".
        mask : array of bool, shape (T, B), or (B, T) if batch_first, or (T,), optional
            A step where it is False is skipped: the state stays, as in Keras. y is then
            the unchanged h of each direction, and its dy is added to the gradient of
            the step that h is from. With zero_output_for_mask, as in Keras'
            Bidirectional, y is 0 and its dy is not read.
        reset : array of bool, shaped as mask, optional
            Where True, a new episode begins with the step, masked or not, and the state
            is set to zero before it. The reverse direction is cut at the same place:
            its state is zero before step t-1 where reset[t] is True. So consecutive
            episodes of a sequence have the same results as each alone, with the same
            bits. In the forward direction the initial state belongs to the first
            episode, and reset[0] discards it; the final state belongs to the last one.
            In the reverse direction the initial state belongs to the last episode, the
            final state to the first, and reset[0] has no effect.
        memory_budget : int, optional
            Most bytes to keep for backward; default: no limit. All results have the
            same bits. The first of these that fits is used: (1) `saved` holds gates and
            states. (2) It holds the states, and backward computes the gates again, some
            steps at a time: a third of the memory of an LSTM, for the time of one more
            forward. (3) The sequences are cut into the fewest segments that fit:
            `saved` holds the states between them, and backward runs each segment
            forward again, whose memory counts too, once, or twice if its gates do not
            fit either. If nothing fits, segments have about sqrt(T) steps, which
            exceeds the budget but is about the least possible. A bidirectional layer
            cannot be cut, because its second direction begins at the end: its states
            must fit. The caller's x and y, the factors of merge="mul" and of dropout,
            and the scratch memory of a call are not counted.
        outputs : {"all", "last"}, default "all"
            "last": y has the final h of the last layer only, (B, D P), forward's then
            reverse's, or (D P,) for an unbatched x. Those of the other steps are not
            stored. It is the h of the state, also where the last step is masked. In
            backward dy has the shape of y, too.

        Returns
        -------
        y : ndarray, shape as x with D P features, or P if they are merged
            The outputs h_t of the last layer, forward's then reverse's.
        state : ndarray or tuple of two
            Final h, or (h, c), shaped as the initial one.
        saved : Saved
            What `backward` needs.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is wrong, or a length is out of range, or the states of a
            bidirectional layer exceed the memory budget.
        RuntimeError
            If the layer is quantized to 8 bits.
        """
        if self.precision == "int8":
            raise RuntimeError("a layer of precision int8 is for inference only")
        version, packed = self._packed(False)
        alone = state is None and mask is None and reset is None and outputs == "all"
        drops = self.dropout > 0 and self.num_layers > 1
        drops = drops or self._regularizers.are_random
        if alone and memory_budget is None and self._plain and not drops:
            # The usual case. With few units the checks take longer than the core.
            quick = self._stack.train(
                packed, x, lengths, self.dtype, get_num_threads(), self._spare
            )
            if quick is not None:
                y, h, c, call, memory = quick
                saved = Saved(self._stack, call, memory, PLAIN, version)
                return y, self._states.joined(h, c), saved
        masks, last = self._dropout_masks, is_last(outputs)
        call, layout = self._batch(x, state, lengths, mask, reset, masks)
        if self._regularizers.are_random:
            call.key = drawn_key(self._random)
            packed = self._packed_for(call, False)
        memory = self._memory_for(call, memory_budget)
        y, state, parts = self._run(call, layout, packed, memory, last)
        kept = Saved(self._stack, call, memory, layout, version, parts, last)
        return y, state, kept

    def backward(
        self,
        dy: Any | None,
        saved: Saved,
        dstate: Any = None,
        *,
        add_to: dict[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, StateT, dict[str, np.ndarray]]:
        """Return the gradients of the input, the initial state and the parameters.

        Parameters
        ----------
        dy : array, shape as y, or None
            Gradient of the outputs; None for zeros, if only the final state is used.
        saved : Saved
            From `forward`; used up.
        dstate : array or tuple of two, optional
            Gradient of the final state. None, also for one of two as in ``(dh, None)``,
            is zero; default: None.
        add_to : dict of str to ndarray, optional
            Gradients to add those of the parameters to, such as the `grads` of the
            later step if steps are run one by one. Default: zeros. A call interrupted
            by Ctrl-C leaves them partly updated.

        Returns
        -------
        dx : ndarray, shape as x
        dstate : ndarray or tuple of two, shaped as the state
        grads : dict of str to ndarray
            Keyed like `state_dict()`; `add_to` itself, if it is given.

        Raises
        ------
        ValueError
            If `saved` was used before, also by another thread at the same time, or is
            another layer's; or a parameter or x has changed since forward; or a shape
            is wrong. In the last case `saved` can still be used.
        TypeError
            If a dtype is wrong.
        RuntimeError
            If the instruction set has changed since forward.
        """
        check_saved(saved, Saved)
        if saved._stack is not self._stack:
            raise ValueError(
                "saved was made by another layer's forward, or in another precision"
            )
        (call, _), layout = saved.look(), saved._layout
        version, packed = self._packed(True)
        check_version(saved._version, version)
        if call.key is not None:
            packed = self._packed_for(call, True)
        elif layout is PLAIN and dstate is None and add_to is None:
            # The usual case, as in forward.
            quick = self._stack.backward_alone(
                packed, call, dy, self.dtype, self._names, self._shapes, saved
            )
            if quick is not None:
                dx, dh, dc, grads, memory = quick
                self._spare.give(memory)
                return dx, self._states.joined(dh, dc), grads
        T, B = call.steps, call.rows
        dy, dh, dc = self._outputs.gradients(dy, dstate, saved, call)
        indexed = call.index is not None
        dx = (
            np.empty(call.x.shape, self.dtype)
            if indexed
            else layout.empty((T, B, self.input_size), self.dtype)
        )
        dstate_in = self._states.empty(B)
        grads = gradient_arrays(self._shapes, self.dtype, add_to)
        dx_core = dx if indexed else layout.to_core(dx)
        dx_turned = self.go_backwards and not indexed
        if dx_turned:  # the core's is in its order: a view of dx, or a copy
            dx_core = turned(dx_core, call.lengths)
        of_core, of_r = self._regularizers.gradients(grads)
        by_pass = self._by_pass(of_core)
        call.check_isa()
        memory = saved.take()  # by one thread only, and after all checks
        if isinstance(memory, Segments):
            segments, forward = memory, self._packed_for(call, False)
            memory = self._spare.take(segments.saved_bytes, segments.peak_bytes)
            segments.backward(
                packed, forward, dy, (dh, dc), dx_core, dstate_in, by_pass, memory
            )
        else:
            forward = self._packed_for(call, False) if call.recompute else None
            self._stack.backward(
                packed, forward, call, dy, dh, dc, dx_core, *dstate_in, by_pass, memory
            )
        self._spare.give(memory)
        self._regularizers.add_masked(grads, of_r, call.key)
        if dx_turned and call.lengths is not None:
            layout.to_core(dx)[...] = turned(dx_core, call.lengths)
        if not indexed:
            dx = layout.finished(dx)
        return dx, self._states.to_caller(dstate_in, layout), grads

    def check_dstate(self, dstate: Any, saved: Saved) -> None:
        """Raise if `dstate` is not what `backward` takes with this `saved`."""
        check_saved(saved, Saved)
        call, _ = saved.look()
        self._outputs.gradients(None, dstate, saved, call)

    def session(self, batch_size: int = 1) -> Session[StateT]:
        """Return a `Session`: the layer one step at a time.

        Each step uses the layer's weights at that time.

        Parameters
        ----------
        batch_size : int, default 1
            Number of streams that step together.

        Raises
        ------
        ValueError
            If the layer is bidirectional or goes backwards: a direction begins at the
            end.
        MemoryError
            If there is not enough memory.

        Examples
        --------
        >>> import fastcell
        >>> layer = fastcell.GRU(3, 5, seed=0)
        >>> session = layer.session()
        >>> session.step(np.zeros(3, np.float32)).shape
        (5,)
        """
        return Session(self, integer("batch_size", batch_size, minimum=0))

    # ------------------------------------------------------------- preparation

    def _run(
        self, call: _core.Batch, layout: Layout, packed: Any, memory: Any, last: bool
    ) -> tuple[np.ndarray, Any, np.ndarray | None]:
        """Return what `Outputs.run` does."""

        def forward(y: Any, h: Any, c: Any) -> None:
            if isinstance(memory, Segments):
                memory.forward(packed, y, h, c)
            else:
                self._stack.forward(packed, call, y, h, c, memory)

        return self._outputs.run(call, layout, last, forward)

    def _memory_for(self, call: _core.Batch, budget: int | None) -> Any:
        """Return the storage for backward: memory, or segments."""
        size = self._stack.saved_size(call)
        if budget is not None:
            budget = integer("memory_budget", budget, minimum=0)
            if size > budget:
                call.recompute = True
                size = self._stack.saved_size(call)
            if size > budget and self.bidirectional:
                raise ValueError(
                    f"memory_budget must be at least {size} bytes for this batch, "
                    f"which no bidirectional layer can cut in time; got {budget}"
                )
            if size > budget:
                segments = cut(self._stack, call, self._states, budget)
                self._spare.drop(segments.peak_bytes)
                return segments
        return self._spare.take(size, budget)

    def _batch(
        self, x: Any, state: Any, lengths: Any, mask: Any, reset: Any, masks: Any
    ) -> tuple[_core.Batch, Layout]:
        """Check the arguments of a call, and return them as a batch for the core."""
        size, index = self.input_size, None
        if isinstance(x, Ragged):
            layout, rows, lengths, mask, reset = ragged_call(
                x, size, self.dtype, lengths, mask, reset
            )
        else:
            layout, rows, index = sequence_of(x, size, self.dtype, self.batch_first)
        T, B = rows.shape[:2] if index is None else index.shape
        h0, c0 = self._states.to_core("state", state, layout, B, copies=bool(masks))
        call = _core.Batch(
            T,
            B,
            rows,
            index,
            lengths_of(lengths, T, B),
            flags_of("mask", mask, layout, T, B),
            flags_of("reset", reset, layout, T, B),
            h0,
            c0,
            masks(T, B) if masks else None,
            get_num_threads(),
        )
        return turned_batch(call) if self.go_backwards else call, layout

    def _dropout_masks(self, T: int, B: int) -> np.ndarray | None:
        """Return factors 0 or 1/(1-p) for the outputs between layers."""
        if self.dropout == 0 or self.num_layers == 1:
            return None
        shape = (self.num_layers - 1, T, B, self._directions * self.output_size)
        return drawn_factors(self.dropout, shape, self.dtype, self._random)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({given})"

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "bias": self.bias,
            "batch_first": self.batch_first,
            "dropout": self.dropout,
            "bidirectional": self.bidirectional,
            "zero_output_for_mask": self.zero_output_for_mask,
            **({} if self.num_heads == 1 else {"num_heads": self.num_heads}),
            "dtype": self.dtype.name,
            "seed": self.seed,
            **self._outputs.config(),
            **({"go_backwards": True} if self.go_backwards else {}),
            **self._start.config(),
            **self._regularizers.config(),
            **self._precision_config(),
        }
