"""The step of a recurrent layer in C: its products and the functions of its cell."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastcell.exporting.arrays import (
    Integers,
    gate_columns,
    gate_row,
    integers_of,
    padded,
)
from fastcell.exporting.program import Program, Value
from fastcell.exporting.sources import sources
from fastcell.layers.recurrent import Recurrent


class Sizes(NamedTuple):
    """Of one layer: I, H, P, the latter two also padded, and the heads K."""

    inputs: int
    units: int
    outputs: int
    units_padded: int
    outputs_padded: int
    heads: int


class Scratch:
    """Consecutive parts of the memory that layers use one after the other."""

    def __init__(self) -> None:
        self.numbers = 0
        self.lines: list[str] = []

    def take(self, name: str, numbers: int) -> str:
        """Declare a pointer at some numbers, and return its name."""
        self.lines.append(f"real *{name} = s->work + {self.numbers};")
        self.numbers += numbers
        return name


def add_recurrent(program: Program, layer: Recurrent[Any], x: Value) -> Value:
    """Add all layers of a stack, and return the output of the last."""
    for k in range(layer.num_layers):
        x = _Step(program, layer, k, x).add()
    return x


class _Step:
    """One layer of a stack."""

    def __init__(
        self, program: Program, layer: Recurrent[Any], k: int, x: Value
    ) -> None:
        self.program, self.layer, self.x = program, layer, x
        self.cell = sources().cell(layer._core_cell)
        self.number = len(program._functions)
        self.tag = f"{program.name}_{self.number}"
        arrays = layer._parameters.arrays()
        suffix = f"_l{k}"
        self.arrays = {
            name.removesuffix(suffix): array
            for name, array in arrays.items()
            if name.endswith(suffix)
        }
        self.zoneout = layer._regularizers.zoneout
        self.sizes = Sizes(
            x.width,
            layer.hidden_size,
            layer.output_size,
            padded(layer.hidden_size, program.lanes),
            padded(layer.output_size, program.lanes),
            layer.num_heads,
        )
        self.scratch = Scratch()
        self.body: list[str] = []
        self.integers = 0

    def add(self) -> Value:
        """Add the layer to the program, and return its output."""
        program, cell, sizes = self.program, self.cell, self.sizes
        gates, to = cell["gates"], sizes.units_padded
        others = (cell["states"] - 1) * to
        h = program.kept(f"h{self.number}", sizes.outputs_padded)
        c = program.kept(f"c{self.number}", others) if others else "NULL"
        take = self.scratch.take
        parts = take("parts", gates * to)
        product = "NULL"
        if any(phase.get("gates") for phase in cell["phase"]):
            # Blocks of heads may write some columns past the last unit.
            wide = gates * max(to, sizes.outputs_padded) + program.lanes
            product = take("product", wide)
        next_h = take("next_h", sizes.outputs_padded)
        middle = take("middle", to) if cell.get("has_middle") else "NULL"
        saved = take("saved", cell["slots"] * to) if cell["phases"] > 1 else "NULL"
        zones_c = bool(others and self.zoneout[1])
        next_c = take("next_c", others) if zones_c else c
        own_biases = bool(cell.get("own_biases"))
        self._multiply(
            "x", parts, self.arrays["weight_ih"], gates, to, self._bias("bias_ih")
        )
        if cell.get("whole_row"):
            parts = self._interleaved("parts", gates)
        pointers = {
            "input": parts,
            "h_prev": h,
            "c_prev": c,
            "h": next_h,
            "c": next_c,
            "middle": middle,
            "saved": saved,
        }
        fields = []
        for field, at in pointers.items():
            if at != "NULL":
                kind = (
                    "const void" if field in ("input", "h_prev", "c_prev") else "void"
                )
                fields.append((field, f"{kind} *{field}_rows[1] = {{{at}}};"))
        params = self._params(own_biases)
        options = self._options()
        initial = [".rows = 1", f".units = {to}", f".hidden = {sizes.units}"]
        initial += [f".slot = {to}", f".params = {params}", f".options = {options}"]
        initial += [f".{field} = {field}_rows" for field, _ in fields]
        tile = [line for _, line in fields]
        tile.append("fc_tile t = {" + ",\n                 ".join(initial) + "};")
        self._phases(h, product)
        self._end(h, c, next_h, next_c if zones_c else None, others)
        program.work(self.scratch.numbers, self.integers)
        declared = [*self.scratch.lines, *tile]
        if self.integers:
            declared.append("real scale;")
        text = "".join(f"    {line}\n" for line in [*declared, *self.body])
        about = (
            f"{type(self.layer).__name__}, cell {self.layer._core_cell}: "
            f"{sizes.inputs} -> {sizes.outputs}, {sizes.units} units"
        )
        program.notes.append(about)
        program.function(
            f"/* {about} */\nstatic void {self.tag}_layer({program.state} *s, "
            f"const real *x) {{\n{text}}}\n"
        )
        program.statements.append(f"{self.tag}_layer(s, {self.x.at});")
        program.uses("fc_tile", *cell["forward"])
        return Value(h, sizes.outputs)

    def _phases(self, h: str, product: str) -> None:
        """Add the phases: of each the product, then the cell's function."""
        cell, sizes = self.cell, self.sizes
        for phase, forward in zip(cell["phase"], cell["forward"], strict=True):
            gates = phase.get("gates", 0)
            operand = "middle" if phase.get("from_middle") else h
            at = "NULL"
            if gates:
                at = self._recurrent_product(phase, gates, operand, product)
            self.body.append(f"t.recurrent = {at};")
            if phase.get("projects"):
                self.body.append(f"t.units = {sizes.outputs_padded};")
            self.body.append(f"{forward}(&t);")

    def _recurrent_product(
        self, phase: dict[str, Any], gates: int, operand: str, product: str
    ) -> str:
        """Add the product of a phase, and return where its result is."""
        cell, sizes = self.cell, self.sizes
        bounded = bool(phase.get("bounded")) and not cell.get("whole_row")
        if phase.get("projects"):
            weight = self.arrays["weight_hr"]
            self._multiply(
                operand, product, weight, 1, sizes.outputs_padded, None, bounded
            )
            return product
        first, units = phase.get("first_gate", 0), sizes.units
        rows = slice(first * units, (first + gates) * units)
        weight, bias = self.arrays["weight_hh"][rows], self._bias("bias_hh")
        bias = None if bias is None else bias[rows]
        if sizes.heads > 1:
            self._multiply_heads(operand, product, weight, gates, bias, bounded)
        else:
            self._multiply(
                operand, product, weight, gates, sizes.units_padded, bias, bounded
            )
        return self._interleaved(product, gates) if cell.get("whole_row") else product

    def _multiply(
        self,
        operand: str,
        out: str,
        weight: np.ndarray,
        gates: int,
        to: int,
        bias: np.ndarray | None,
        bounded: bool = False,
    ) -> None:
        """Add a product: gates of `to` columns, of a weight (G H, K)."""
        row = None if bias is None else gate_row(bias, gates, to)
        self._product(operand, out, gate_columns(weight, gates, to), row, bounded)
        self.program.multiply_adds += weight.size

    def _multiply_heads(
        self,
        operand: str,
        out: str,
        weight: np.ndarray,
        gates: int,
        bias: np.ndarray | None,
        bounded: bool,
    ) -> None:
        """Add the products of R in blocks, a block for each gate and head.

        Blocks follow one another, so a block's padding is overwritten by the next.
        """
        sizes, lanes = self.sizes, self.program.lanes
        head = sizes.units // sizes.heads
        wide = padded(head, lanes)
        blocks = weight.reshape(gates, sizes.heads, head, head)
        self.program.multiply_adds += weight.size
        for g in range(gates):
            for i in range(sizes.heads):
                rows = slice(
                    g * sizes.units + i * head, g * sizes.units + (i + 1) * head
                )
                row = None if bias is None else gate_row(bias[rows], 1, wide)
                at = f"{out} + {g * sizes.units_padded + i * head}"
                columns = gate_columns(blocks[g, i], 1, wide)
                self._product(f"{operand} + {i * head}", at, columns, row, bounded)

    def _product(
        self,
        operand: str,
        out: str,
        columns: np.ndarray,
        bias: np.ndarray | None,
        bounded: bool,
    ) -> None:
        program, depth = self.program, columns.shape[0]
        name = f"{self.tag}_w{len(program._arrays)}"
        b = program.optional(f"{name}_bias", bias)
        count = columns.shape[1]
        if program.dtype != "int8":
            w = program.array(name, columns)
            program.uses("net_product")
            self.body.append(
                f"net_product({operand}, {depth}, {w}, {b}, {count}, {out});"
            )
            return
        narrow: Integers = integers_of(columns)
        w = program.array(name, narrow.numbers)
        scale = program.array(f"{name}_scale", narrow.scale)
        program.uses("net_quantized", "net_integer_product", "net_integers")
        program.constant(
            f"static const net_integers {name}_matrix = {{{w}, {scale}, {b}}};\n"
        )
        self.integers = max(self.integers, depth)
        self.body += [
            f"scale = net_quantized({operand}, {depth}, {int(bounded)}, s->integers);",
            f"net_integer_product(s->integers, scale, {depth}, &{name}_matrix, "
            f"{count}, {out});",
        ]

    def _interleaved(self, of: str, gates: int) -> str:
        """Add a copy with the gates side by side, and return its name."""
        to = self.sizes.units_padded
        name = self.scratch.take(f"{of}_side_by_side", gates * to)
        self.program.uses("net_interleave")
        self.body.append(f"net_interleave({of}, {gates}, {to}, {name});")
        return name

    def _params(self, own_biases: bool) -> str:
        """Add the cell's own parameters as vectors, and return their name."""
        cell, to = self.cell, self.sizes.units_padded
        if not cell.get("sums"):
            return "NULL"
        vectors: list[np.ndarray] = []
        if own_biases:
            for name in ("bias_ih", "bias_hh"):
                bias = self.arrays.get(name)
                if bias is None:
                    bias = np.zeros(cell["gates"] * self.sizes.units, np.float32)
                vectors.append(gate_row(bias, cell["gates"], to))
        for name, count, *_ in cell.get("own", []):
            vectors.append(gate_row(self.arrays[name.strip('"')], count, to))
        return self.program.array(f"{self.tag}_own", np.concatenate(vectors))

    def _options(self) -> str:
        """Add the options of the stack as a constant, and return its address."""
        given = self.layer._core_options
        if given is None or not self.cell.get("roles"):
            return "NULL"
        cell_clip, gate_clip, activations = given
        kinds = ",\n                   ".join(
            f"{{FC_ACT_{kind.upper()}, {alpha!r}, {beta!r}}}"
            for kind, alpha, beta in activations
        )
        name = f"{self.tag}_options"
        self.program.uses("fc_options", "fc_activation_kind")
        self.program.constant(
            f"static const fc_options {name} = {{\n"
            f"    .given = 1,\n"
            f"    .cell_clip = {float(cell_clip)!r},\n"
            f"    .gate_clip = {float(gate_clip)!r},\n"
            f"    .activation = {{{kinds}}},\n}};\n"
        )
        return f"&{name}"

    def _end(
        self, h: str, c: str, next_h: str, next_c: str | None, others: int
    ) -> None:
        """Add what makes the new states the states: zoneout, or a copy of h."""
        of_h, of_c = self.zoneout
        outputs = self.sizes.outputs_padded
        if of_h:
            self.program.uses("net_zone")
            share = f"{float(np.float32(of_h))!r}f"
            self.body.append(f"net_zone({next_h}, {h}, {share}, {outputs}, {h});")
        else:
            self.body.append(f"memcpy({h}, {next_h}, {outputs} * sizeof *{next_h});")
        if next_c is not None:
            self.program.uses("net_zone")
            share = f"{float(np.float32(of_c))!r}f"
            self.body.append(f"net_zone({next_c}, {c}, {share}, {others}, {c});")

    def _bias(self, name: str) -> np.ndarray | None:
        """Return a bias that the product adds."""
        return None if self.cell.get("own_biases") else self.arrays.get(name)
