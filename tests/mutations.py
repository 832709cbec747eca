"""Break the code on purpose, and see that the tests notice.

Run by hand from the root of the repository, in an environment that can build it:

    python tests/mutations.py            all mutations, about half a minute each
    python tests/mutations.py gate dR    those whose description has one of the words
    python tests/mutations.py --list

Each mutation is made in a copy of the tree in a temporary folder, which is built in
place; then the fast tests run until the first one fails, and where none does and the
file is in C, those of the C core. A mutation that no test notices survives, and the
exit code is 1. A mutation whose text is no longer in its file is reported as stale:
write it anew, do not delete it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = (
    "test_cells_gradients.py",
    "test_cells_forward.py",
    "test_precision.py",
    "test_embedding.py",
    "test_memory_budget.py",
    "test_segments.py",
    "test_linear.py",
    "test_dropout.py",
    "test_sequential.py",
    "test_sessions.py",
    "test_parameters.py",
    "test_accuracy.py",
    "test_bits.py",
    "test_promises.py",
    "test_threads.py",
    "test_layers_arguments.py",
    "test_ctc_loss.py",
    "test_ctc_decoding.py",
    "test_optim.py",
    "test_optim_state.py",
    "test_clipping.py",
    "test_pooling.py",
)
# Tests take a minute; a mutation may also make a loop endless.
SECONDS = 400

# (file, old text, new text, what)
MUTATIONS = [
    # -- time
    (
        "src_c/sequence_backward.c",
        "for (ptrdiff_t s = end_step - 1; s >= begin_step; s--) {",
        "for (ptrdiff_t s = end_step - 1; s > begin_step; s--) {",
        "backward skips t=0",
    ),
    (
        "src_c/stack_backward.c",
        "pairs->h_prev[p] = pass->memory.h + (size_t)plan->previous[p] *",
        "pairs->h_prev[p] = pass->memory.h + (size_t)plan->next[p] *",
        "dR is shifted by a step",
    ),
    (
        "src_c/sequence.c",
        "run_step(pass, s, begin, end, scratch->input + done, scratch, last - first,",
        "run_step(pass, s, begin, end, scratch->input, scratch, last - first,",
        "every step of a chunk reads the first one's input",
    ),
    (
        "src_c/stream_step.c",
        "job->s.side[fc_selected(&job->some, i)] ^= 1;",
        "job->s.side[fc_selected(&job->some, i)] ^= 0;",
        "a session's step does not keep its state",
    ),
    (
        "src_c/stack.c",
        "int slot = saved->plan[0].kept ? layer : layer & 1;",
        "int slot = saved->plan[0].kept ? layer : 0;",
        "inference writes a layer's output over its input",
    ),
    # -- cells
    (
        "src_c/cells/lstm_math.h",
        "vreal c = vfma(f, load_row(t->c_prev, r, u), i * g);",
        "vreal c = load_row(t->c_prev, r, u) + i * g;",
        "LSTM: the forget gate is dropped",
    ),
    (
        "src_c/cells/lstm_math.h",
        "enum { LSTM_I, LSTM_F, LSTM_G, LSTM_O };",
        "enum { LSTM_F, LSTM_I, LSTM_G, LSTM_O };",
        "LSTM: two gates are swapped",
    ),
    (
        "src_c/cells/lstm_math.h",
        "store_row(t->dc, r, u, dc * f);",
        "store_row(t->dc, r, u, dc);",
        "LSTM: the forget gate is not in dc",
    ),
    (
        "src_c/cells/lstm_math.h",
        "vfma(dm * o, one - s * s, load_mutable(t->dc, r, u))",
        "vfma(dm, one - s * s, load_mutable(t->dc, r, u))",
        "LSTM: the output gate is not in dc",
    ),
    (
        "src_c/cells/gru.c",
        "store_slot(t, r_, u, GRU_SAVED_HN, dxn * r);",
        "store_slot(t, r_, u, GRU_SAVED_HN, dxn);",
        "GRU: the reset gate is not in the recurrent gradient",
    ),
    (
        "src_c/cells/gru.c",
        "store_row(t->dh, r_, u, dh * z);",
        "store_row(t->dh, r_, u, vzero());",
        "GRU: the direct path of dh is dropped",
    ),
    (
        "src_c/cells/gru_reset_before.c",
        "store_row(t->middle, r_, u, r * load_row(t->h_prev, r_, u));",
        "store_row(t->middle, r_, u, load_row(t->h_prev, r_, u));",
        "GRU, reset before: the reset gate is not in the middle row",
    ),
    (
        "src_c/cells/gru_reset_before.c",
        "store_row(t->dh, r_, u, vfma(dm, r, load_mutable(t->dh, r_, u)));",
        "store_row(t->dh, r_, u, dm * r);",
        "GRU, reset before: the first phase overwrites dh",
    ),
    (
        "src_c/cells/rnn.c",
        "vif_positive(load_row(t->h, r, u), dh, vzero())",
        "dh",
        "RNN: relu passes every gradient",
    ),
    # -- products and their edges
    (
        "src_c/product.h",
        "for (ptrdiff_t k = 0; k < depth; k++) {",
        "for (ptrdiff_t k = 0; k < depth - (depth > 9); k++) {",
        "the last k of a product is dropped",
    ),
    (
        "src_c/product.h",
        "size_t bytes = (size_t)(p->columns - run->vector * V) * sizeof(real);",
        "size_t bytes = (size_t)(p->columns - run->vector * V - 1) * sizeof(real);",
        "the last column of an edge tile is not written",
    ),
    (
        "src_c/pass.c",
        "ptrdiff_t here = units - first < lanes ? units - first : lanes;",
        "ptrdiff_t here = units - first < lanes ? units - first - 1 : lanes;",
        "the last unit of an odd H is not packed",
    ),
    (
        "src_c/step.h",
        "        at.saved += row;",
        "        at.saved += 0;",
        "rows of a second tile save over those of the first",
    ),
    (
        "src_c/gradient.h",
        "         row -= FC_GRADIENT_DEPTH) {",
        "         row = -1) {",
        "weight gradients stop after the last block of pairs",
    ),
    (
        "src_c/stack_backward.c",
        "job.low = job.begin ? (first + block - 1) / block * block : 0;",
        "job.low = first;",
        "blocks of a recomputed chunk begin anywhere",
    ),
    (
        "src_c/stack_backward.c",
        "                (size_t)(job.high - after) * slots);",
        "                (size_t)0 * (job.high - after) * slots);",
        "pairs of a begun block are not moved to the next chunk",
    ),
    (
        "src_c/product.h",
        "fc_tiles[rows][run->width][run->panels](&job);",
        "fc_tiles[rows - (rows > 2)][run->width][run->panels](&job);",
        "the last row of a tile of three and more is left out",
    ),
    (
        "src_c/product.h",
        "for (ptrdiff_t row = 0; row < operands.rows; row += rows) {",
        "for (ptrdiff_t row = 0; row + 3 * !!row < operands.rows; row += rows) {",
        "the remainder rows of a product are left out",
    ),
    (
        "src_c/product.h",
        "while (most > 1 && (left < most ||",
        "while (most > 1 && (left + 1 < most ||",
        "a tile takes a panel more than there are",
    ),
    (
        "src_c/product.h",
        "bool edge = (vector + run.width * run.panels) * V > p->columns;",
        "bool edge = (vector + run.width * run.panels) * V > p->columns + 1;",
        "a tile writes one lane more than there are columns",
    ),
    (
        "src_c/product.h",
        "memcpy(tile_rows[r], (const real *)out[r] + column, bytes);",
        "memcpy(tile_rows[r], (const real *)out[r] + column, bytes - sizeof(real));",
        "the last column of an edge tile is not added to",
    ),
    (
        "src_c/product.h",
        "next_operands(&operands, w, p->a + done, p->rows - done, p->scratch, false);",
        "next_operands(&operands, w, p->a, p->rows - done, p->scratch, false);",
        "narrow products read the first block of rows again",
    ),
    (
        "src_c/product.h",
        ".row_scale = operands->scale + row,",
        ".row_scale = operands->scale,",
        "int8: every tile takes the scales of the first rows",
    ),
    (
        "src_c/step.h",
        """rows = next_rows(t->rows - row, w->width);
            run_tile(""",
        """rows = next_rows(t->rows - row, w->width);
            if (row && rows < 4)
                break;
            run_tile(""",
        "the remainder rows of a step are left out",
    ),
    (
        "src_c/step.h",
        "at.units = reals / gates;",
        "at.units = reals / gates - V * (vector > 0);",
        "the cell leaves out the last vector of units of a tile",
    ),
    (
        "src_c/step.h",
        "next_operands(&operands, w, job->a + row, job->t->rows - row, job->scratch,",
        "next_operands(&operands, w, job->a, job->t->rows - row, job->scratch,",
        "narrow steps read the first block of rows again",
    ),
    (
        "src_c/operand.h",
        "to[i / 2] = bf16_of(x[i]) | (i + 1 < n ?",
        "to[i / 2] = bf16_of(x[i]) | (i + 2 < n ?",
        "bf16: the last of an even number of k is dropped",
    ),
    (
        "src_c/operand.h",
        "for (; i < n; i += 2)",
        "for (; i + 1 < n; i += 2)",
        "bf16: the last of an odd number of k is dropped",
    ),
    (
        "src_c/operand.h",
        "for (; i < n; i += 4) {",
        "for (; i + 1 < n; i += 4) {",
        "int8: a k that is alone in its group is dropped",
    ),
    (
        "src_c/operand.h",
        "int32_t q = i + j < n ? int8_of(x[i + j], inverse) : 0;",
        "int32_t q = i + j + 1 < n ? int8_of(x[i + j], inverse) : 0;",
        "int8: the last k is dropped",
    ),
    (
        "src_c/operand.h",
        "real rest = largest(x + i, n - i, 1),",
        "real rest = largest(x + i, n - i - 1, 1),",
        "int8: the last k has no part in the scale of its row",
    ),
    (
        "src_c/pack.h",
        "for (ptrdiff_t k = 0; k < from->count_k; k++) {\n            ptrdiff_t at",
        "for (ptrdiff_t k = 0; k + 1 < from->count_k; k++) {\n            ptrdiff_t at",
        "the last k of narrow weights is not packed",
    ),
    (
        "src_c/pack.h",
        "for (ptrdiff_t lane = 0; lane < from->lanes; lane++) {\n        const",
        "for (ptrdiff_t lane = 0; lane + 1 < from->lanes; lane++) {\n        const",
        "the last lane of narrow weights is not packed",
    ),
    (
        "src_c/pack.h",
        "for (ptrdiff_t k = block; k < end; k++)",
        "for (ptrdiff_t k = block; k < end - !!block; k++)",
        "the last k of a later block of weights is not packed",
    ),
    (
        "src_c/pack.h",
        "if (from->lanes == V && from->lane_stride == 1) {",
        "if (from->lane_stride == 1) {",
        "lanes that do not exist are packed",
    ),
    (
        "src_c/gradient.h",
        "for (ptrdiff_t row = fc_last_block(g->rows, FC_GRADIENT_DEPTH); row >= 0;",
        "for (ptrdiff_t row = fc_last_block(g->rows, FC_GRADIENT_DEPTH); row > 0;",
        "the first block of pairs is not in the weight gradients",
    ),
    (
        "src_c/gradient.h",
        "ptrdiff_t rows = g->rows - row;",
        "ptrdiff_t rows = g->rows - row - 1;",
        "the last pair is not in the weight gradients",
    ),
    (
        "src_c/gradient.h",
        "for (ptrdiff_t u = g->first_unit; u < g->last_unit; u += units) {",
        "for (ptrdiff_t u = g->first_unit; u == g->first_unit; u += units) {",
        "weight gradients stop after the first block of units",
    ),
    (
        "src_c/gradient.h",
        "memcpy(lane, from, (size_t)exist * sizeof(real));",
        "memcpy(lane, from, (size_t)(exist - 1) * sizeof(real));",
        "weight gradients load a lane less than there are columns",
    ),
    (
        "src_c/gradient.h",
        "size_t bytes = (size_t)(x->k - column) * sizeof(real);",
        "size_t bytes = (size_t)(x->k - column - 1) * sizeof(real);",
        "the last column of a weight gradient is not written",
    ),
    (
        "src_c/gradient.h",
        "for (ptrdiff_t u = 0; u < units; u += m) {",
        "for (ptrdiff_t u = 0; u + 3 * !!u < units; u += m) {",
        "the remainder units of a weight gradient are left out",
    ),
    (
        "src_c/gradient.h",
        "for (; first < units; first++) { /* a row may end here */",
        "for (; first + 1 < units; first++) { /* a row may end here */",
        "the last unit has no gradient of its bias",
    ),
    (
        "src_c/gradient.h",
        "for (ptrdiff_t u = 0; u < units; u += V) {",
        "for (ptrdiff_t u = 0; u + V <= units; u += V) {",
        "units that fill no vector are not copied for the weight gradients",
    ),
    (
        "src_c/gradient.h",
        "row + 1 < rows ? (const real *)x[row + 1] + v * V : NULL;",
        "row + 2 < rows ? (const real *)x[row + 1] + v * V : NULL;",
        "bf16: the last of an even number of pairs has no x",
    ),
    (
        "src_c/gradient.h",
        "load_group(one, row + 1 < rows ? one + d_row : NULL, units - u));",
        "load_group(one, row + 2 < rows ? one + d_row : NULL, units - u));",
        "bf16: the last of an even number of pairs has no gates",
    ),
    (
        "src_c/carry.c",
        "    ptrdiff_t begin = (first + block - 1) / block * block;",
        "    ptrdiff_t begin = first;",
        "a segment's border ends a block of pairs",
    ),
    (
        "fastcell/layers/segments.py",
        "state = self._borders[i - 1] if i else",
        "state = self._borders[i - 2] if i > 1 else",
        "a segment begins from the states of the one before",
    ),
    # -- bits: the values stay within their tolerances
    (
        "src_c/product.h",
        "vreal result = tile_result(job, r, v, acc[r][v]);",
        """vreal one = vset1(!transposed && m == 1);
            vreal result = tile_result(job, r, v, acc[r][v] + one - one);""",
        "a tile of one row rounds otherwise",
    ),
    (
        "src_c/product.h",
        "real *to = (real *)job->out[r] + job->column + v * V;",
        """real *to = (real *)job->out[r] + job->column + v * V;
            acc[r][v] = acc[r][v] + vset1(p > 1) - vset1(p > 1);""",
        "a tile of several panels rounds otherwise",
    ),
    (
        "src_c/product.h",
        "if (job->accumulate)\n                result",
        """if (transposed && m % 2)
                result = result + vset1(1) - vset1(1);
            if (job->accumulate)
                result""",
        "weight gradients round by the number of units of a tile",
    ),
    # -- lengths, masks, resets, directions, dropout
    (
        "src_c/sequence.c",
        "    if (!pass->batch->lengths)\n        return;",
        "    if (pass->batch)\n        return;",
        "y is not cleared past the lengths",
    ),
    (
        "src_c/sequence.c",
        "        if (pass->batch->mask && pass->y.data)\n",
        "        if (!pass->batch)\n",
        "masked steps have no y",
    ),
    (
        "src_c/sequence_backward.c",
        "        if (pass->batch->reset)\n",
        "        if (!pass->batch)\n",
        "gradients flow through a reset",
    ),
    (
        "src_c/stack_gradients.c",
        "push(&block, pass, d > 0, x_gradients(pass, p),",
        "push(&block, pass, false, x_gradients(pass, p),",
        "the reverse direction overwrites dx",
    ),
    (
        "src_c/stack_backward.c",
        "        if (job.pass[0].dropout)\n",
        "        if (!job.directions)\n",
        "dropout between layers is not in the gradient",
    ),
    # -- threads
    (
        "src_c/pool.c",
        "        if (mine < pool.parts)\n",
        "        if (mine + 1 < pool.parts)\n",
        "the last worker leaves its part out",
    ),
    # -- teams of threads
    (
        "src_c/pass.c",
        "last = grains * (part + 1) / parts * grain;",
        "last = grains / parts * (part + 1) * grain;",
        "the last member of a team drops an odd panel",
    ),
    (
        "src_c/pass.c",
        "    of.vectors = units.count / shape->k->lanes * gates;",
        "    of.vectors = (units.count / shape->k->lanes - !!units.first) * gates;",
        "members of a team leave their last units out",
    ),
    (
        "src_c/sequence.c",
        "int members = fc_barrier_last(team->barrier, team->part, team->parts);",
        "int members = team->parts;",
        "a team does not wait between steps",
    ),
    (
        "src_c/sequence.c",
        "        if (i > 0)\n            fc_barrier_wait(",
        "        if (i < 0)\n            fc_barrier_wait(",
        "a team does not wait between phases",
    ),
    (
        "src_c/sequence_backward.c",
        "team->parts = fc_barrier_last(team->barrier, team->part, team->parts);",
        "",
        "a team does not wait in backward",
    ),
    (
        "src_c/sequence.c",
        "            chunk_end = s + 1;",
        "            (void)chunk_end;",
        "a disbanded team leaves out the others' input parts",
    ),
    (
        "src_c/pool.c",
        "    return ends ? part == 0 : members;",
        "    return ends ? 1 : members;",
        "all members of a disbanded team go on, each alone",
    ),
    # -- functions
    (
        "src_c/math/elementary.h",
        "#define FC_TANH_MAX 10.0f",
        "#define FC_TANH_MAX 5.0f",
        "tanh saturates too early",
    ),
    (
        "src_c/math/elementary.h",
        "1.666657699e-1f",
        "1.666661699e-1f",  # 0.2 ulp; the eighth digit would be 0.02
        "a coefficient of exp is off in its seventh digit",
    ),
    # -- Python
    (
        "fastcell/parameters.py",
        "if not _same_bits(array, copy):",
        "if not np.array_equal(array, copy) and False:",
        "edits of parameters are not noticed",
    ),
    (
        "fastcell/parameters.py",
        "        with _lock:\n            for name in list(self._copies):",
        "        if True:\n            for name in list(self._copies):",
        "threads compare parameters without the lock",
    ),
    (
        "fastcell/layers/packs.py",
        "        if known != key:\n",
        "        if known is None:\n",
        "packed weights are not made anew",
    ),
    (
        "fastcell/layers/recurrent.py",
        "factor = 1 / (1 - self.dropout) if self.dropout < 1 else 0.0",
        "factor = 1.0",
        "dropout between layers does not scale",
    ),
    (
        "fastcell/layers/sequential.py",
        "dstates[len(self._recurrent) - 1 - len(before)]",
        "dstates[len(before)]",
        "Sequential hands dstate to the wrong layers",
    ),
    (
        "fastcell/layers/sequential.py",
        "named[full] = named[full] + grad if full in named else grad",
        "named[full] = grad",
        "Sequential keeps one gradient of a shared array",
    ),
    (
        "fastcell/layers/embedding.py",
        'grad[used] = drows\n        return {"weight": self._without_padding(grad)}',
        'grad[used] = drows\n        return {"weight": grad}',
        "a padding row learns on the gather path",
    ),
    (
        "fastcell/session.py",
        "part[:, rows] = 0",
        "part[rows] = 0",
        "a session resets layers in place of streams",
    ),
    # -- labels without their alignment
    (
        "src_c/ctc.c",
        "return s % 2 && s >= 3 && r->label[s / 2] != r->label[s / 2 - 1];",
        "return s % 2 && s >= 3;",
        "CTC: no blank is asked for between equal labels",
    ),
    (
        "src_c/ctc.c",
        "r->beta[s] = s >= states - 2 ? (wide){1, 0} : wide_zero;",
        "r->beta[s] = s >= states - 1 ? (wide){1, 0} : wide_zero;",
        "CTC: backward begins at the last blank only",
    ),
    (
        "fastcell/models/ctc_decoding.py",
        "longer[at] = -np.inf",
        "pass",
        "a beginning stands in the beam twice",
    ),
    # -- optimizers, and what stands around the layers
    (
        "src_c/optimizer.h",
        "return decay != 0 ? g + decay * p : g;",
        "return g;",
        "optimizers: the weight decay is not in the gradient",
    ),
    (
        "src_c/optimizer.h",
        "return decay != 0 ? g + decay * p : g;",
        "return g + decay * p;",
        "optimizers: an infinite parameter spoils its gradient without decay",
    ),
    (
        "src_c/optimizer.h",
        "real bi = momentum * b[i] + share * step;",
        "real bi = b[i] + share * step;",
        "SGD: the momentum does not fade",
    ),
    (
        "src_c/optimizer.h",
        "step = nesterov ? step + momentum * bi : bi;",
        "step = bi;",
        "SGD: nesterov looks not ahead",
    ),
    (
        "src_c/optimizer.h",
        "variance = variance - mi * mi;",
        "variance = variance + mi * mi;",
        "RMSprop: the mean is added to the variance",
    ),
    (
        "src_c/optimizer.h",
        "variance = variance < 0 ? 0 : variance;",
        "variance = variance + 0;",
        "RMSprop: a variance below zero has a root",
    ),
    (
        "src_c/optimizer.h",
        "b[i] = step = momentum * b[i] + step;",
        "b[i] = momentum * b[i] + step;",
        "RMSprop: the momentum is kept and not used",
    ),
    (
        "src_c/optimizer.h",
        "real si = s[i] + gi * gi;",
        "real si = gi * gi;",
        "Adagrad: forgets the squares before",
    ),
    (
        "src_c/optimizer.h",
        "v_max[i] = vi = v_max[i] >= vi ? v_max[i] : vi;",
        "v_max[i] = vi = vi >= v_max[i] ? vi : v_max[i];",
        "AMSGrad: the largest square forgets a NaN",
    ),
    (
        "src_c/optimizer.h",
        "x[i] = xi < -limit ? -limit : xi;",
        "x[i] = xi;",
        "clipping by value stops at the upper limit",
    ),
    (
        "src_c/optimizer.h",
        "total += (double)x[i] * (double)x[i];",
        "total += 0;",
        "the remainder is not in the sum of squares",
    ),
    (
        "src_c/optimizer.c",
        "part.kept[i] = past(a->kept[i], bytes);",
        "part.kept[i] = a->kept[i];",
        "a part of a parameter takes what is kept from its start",
    ),
    (
        "src_c/optimizer.c",
        "(end - line) * LINE : a->n;",
        "(end - line) * LINE : a->n - 1;",
        "optimizers: the last number of each parameter is left out",
    ),
    (
        "src_c/optimizer.c",
        "w.blocks = at_most(MOST_SUMS, w.numbers);",
        "w.blocks = at_most(threads, w.numbers);",
        "the sum of squares depends on the number of threads",
    ),
    (
        "fastcell/optim/sgd.py",
        "share = 1.0 if self.steps == 1 else 1.0 - self.dampening",
        "share = 1.0 - self.dampening",
        "SGD: the first step is dampened",
    ),
    (
        "fastcell/optim/adagrad.py",
        "self.lr / (1.0 + (self.steps - 1) * self.lr_decay)",
        "self.lr / (1.0 + self.steps * self.lr_decay)",
        "Adagrad: the rate falls a step early",
    ),
    (
        "fastcell/optim/base.py",
        "slots\n        self._lists = self._parameter_lists(self._arrays())\n\n",
        "slots\n\n",
        "an optimizer goes on with the arrays from before a load",
    ),
    (
        "fastcell/optim/base.py",
        "                self._params.changed()",
        "                pass",
        "layers are not told of an optimizer's step",
    ),
    (
        "src_c/steps.c",
        "            if (t < steps_of(&s, row))\n                s.k->add",
        "            if (t < steps)\n                s.k->add",
        "pooling adds what stands past the lengths",
    ),
    (
        "src_c/steps.c",
        "if (!where && t < steps_of(&s, row))",
        "if (!where)",
        "pooling has gradients past the lengths",
    ),
    (
        "src_c/steps.c",
        "        if (steps_of(&s, row) == 0)\n            continue;\n",
        "",
        "a sequence of no steps has a gradient of its maximum",
    ),
    (
        "src_c/isa/body.h",
        "y[i] = larger || x[i] != x[i] ? x[i] : y[i];",
        "y[i] = larger ? x[i] : y[i];",
        "pooling: a maximum passes a NaN by",
    ),
    (
        "src_c/isa/body.h",
        "bool larger = x[i] > y[i];",
        "bool larger = x[i] >= y[i];",
        "pooling: the maximum is from the last of equal steps",
    ),
    (
        "src_c/steps.c",
        "(const char *)x + (size_t)row * row_bytes(&s), n);",
        "(const char *)x, n);",
        "an embedding's gradient adds the first row for every token",
    ),
    (
        "fastcell/parameters.py",
        "self._shares == Parameters._shares",
        "True",
        "a container does not notice that its layers share",
    ),
]


def main(words: list[str]) -> int:
    if words == ["--list"]:
        print("\n".join(what for *_, what in MUTATIONS))
        return 0
    chosen = [m for m in MUTATIONS if not words or any(w in m[3] for w in words)]
    bad, built = 0, False  # built: what is built is a mutation
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder) / "tree"
        skipped = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "dist")
        shutil.copytree(ROOT, tree, ignore=skipped)
        for path in (tree / "setup.py", tree / "src_c/Makefile"):
            path.write_text(path.read_text().replace("-O3", "-O1"))  # built sooner
        if outcome := run(tree, build=True):
            print(f"without a mutation: {outcome}")
            return 1
        for file, old, new, what in chosen:
            begin = time.monotonic()
            path = tree / file
            text = path.read_text()
            if text.count(old) != 1:
                verdict = f"STALE: {text.count(old)} places in {file}"
                bad += 1
            else:
                path.write_text(text.replace(old, new))
                mutates_c = not file.endswith(".py")
                outcome = run(tree, build=mutates_c or built)
                if mutates_c and not outcome:
                    outcome = run_core(tree)
                built = mutates_c
                verdict = f"noticed by {outcome}" if outcome else "SURVIVED"
                bad += not outcome
                path.write_text(text)  # newer than what was built: built again
            seconds = time.monotonic() - begin
            print(f"{what}: {verdict} ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen)} mutations, {bad} not noticed")
    return 1 if bad else 0


def run(tree: Path, build: bool) -> str:
    """Build if asked, run the tests, and return what failed, or nothing."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if build:
        command = [
            sys.executable,
            "setup.py",
            "-q",
            "build_clib",
            "build_ext",
            "--inplace",
        ]
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
        if done.returncode:
            return "the compiler: " + done.stderr.strip().splitlines()[-1]
    tests = [f"tests/{name}" for name in TESTS]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "the clock"
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return failed[0].split()[1] if failed else f"exit code {done.returncode}"


def run_core(tree: Path) -> str:
    """Build the C core and run its tests; return what failed, or nothing."""
    for target in ("all", "check"):
        try:
            done = subprocess.run(
                ["make", "-s", "-C", str(tree / "src_c"), target],
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return "the clock"
        if done.returncode:
            said = done.stdout + done.stderr
            return f"make {target}: {(said.strip().splitlines() or ['?'])[0]}"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
