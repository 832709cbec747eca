"""Mutations of recurrent layers in C: time, cells, products, bits, threads.

Applied by mutations.py; each is (file, old text, new text, what).
"""

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
        "run_step(pass, s, p, p + rows, scratch->input + done, scratch, last - first,",
        "run_step(pass, s, p, p + rows, scratch->input, scratch, last - first,",
        "every step of a chunk reads the first one's input",
    ),
    (
        "src_c/stream_step.c",
        "job->s.side[fc_selected(&job->some, i)] ^= 1;",
        "job->s.side[fc_selected(&job->some, i)] ^= 0;",
        "a session's step does not keep its state",
    ),
    (
        "src_c/saved.c",
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
        "src_c/simd/simd.h",
        "memcpy(lane, from, (size_t)there * sizeof(real));",
        "memcpy(lane, from, (size_t)(there - 1) * sizeof(real));",
        "a part of a vector is loaded without its last lane",
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
        "vreal result = tile_result(job, r, first + v, acc[r][v]);",
        """vreal one = vset1(!transposed && m == 1);
            vreal result = tile_result(job, r, first + v, acc[r][v] + one - one);""",
        "a tile of one row rounds otherwise",
    ),
    (
        "src_c/product.h",
        "real *to = (real *)job->out[r] + job->column + (first + v) * V;",
        """real *to = (real *)job->out[r] + job->column + (first + v) * V;
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
        "int members = fc_barrier_last(team->barrier, team->part, team->parts, stops);",
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
        "team->parts = fc_barrier_last(team->barrier, team->part, team->parts, stops);",
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
    (
        "src_c/plan.h",
        "    if (reverse && (++t == batch->steps || !fc_exists(batch, t, row)))\n",
        "    if (reverse && t == batch->steps)\n",
        "the reverse direction is cut behind the first step of an episode",
    ),
    (
        "src_c/plan.h",
        "(++t == batch->steps || !fc_exists(batch, t, row))",
        "++t == batch->steps",
        "an episode past a row's length cuts the reverse direction",
    ),
    (
        "src_c/saved.c",
        "&fresh, FC_SEAL_USED_UP,",
        "&fresh, FC_SEAL_SAVED,",
        "saved is never used up",
    ),
    (
        "src_c/saved.c",
        "    kept.lengths = saved->lengths;\n",
        "",
        "backward reads the lengths that the caller has then",
    ),
    (
        "src_c/saved.c",
        "fc_arena_bytes(&arena) != sizes->bytes",
        "false",
        "the sizes in saved are followed unchecked",
    ),
    (
        "src_c/seal.h",
        "seal->units == expected->units &&",
        "",
        "a seal does not tell the hidden size",
    ),
    (
        "src_c/arena.h",
        "(uintptr_t)memory & (FC_ALIGNMENT - 1) ?",
        "(uintptr_t)memory & 7 ?",
        "memory may begin at a multiple of 8",
    ),
    (
        "src_c/carry.c",
        "after->pairs == segment->pairs_before + total",
        "true",
        "a carry is taken up at any pair",
    ),
    (
        "src_c/stack.c",
        "outer - n >= extent;",
        "outer >= extent;",
        "the last row of y may overlap the next step's first",
    ),
    (
        "src_c/stack.c",
        "    if (most < batch->rows / LEAST_ROWS)\n",
        "    if (false)\n",
        "scratch has no room for ranges of rows without teams",
    ),
    (
        "src_c/stream.c",
        "memcpy(memory, seal, sizeof *seal);",
        "(void)seal;",
        "a stream is not sealed by its first step",
    ),
    (
        "src_c/sequence.c",
        "        if (stops && team->parts == 1)\n            return false;\n",
        "",
        "a long forward goes on when it is to stop",
    ),
    (
        "src_c/pool.c",
        "        stops = stops || !sharing_pays();\n    }\n    if (!ends && stops)\n",
        "        stops = !sharing_pays();\n    }\n    if (!ends && stops && !stops)\n",
        "a team goes on when it is to stop",
    ),
    (
        "src_c/gradient.h",
        "            if (fc_gradient_stops(g, rows))\n",
        "            if (rows < 0)\n",
        "a long sum of weight gradients goes on when it is to stop",
    ),
    (
        "src_c/pool.c",
        "        bool watches = fc_watch_while_waiting();\n",
        "        bool watches = false;\n",
        "a caller that waits for its workers asks nobody",
    ),
    (
        "src_c/stack_forward.c",
        "    if (saved_memory && !fc_stopped(&watch))\n",
        "    if (saved_memory)\n",
        "saved of a stopped forward serves backward",
    ),
    (
        "src_c/pool.c",
        "__attribute__((destructor)) static",
        "__attribute__((unused)) static",
        "the workers stay when the library is unloaded",
    ),
    (
        "src_c/pool.c",
        "    if (pool.workers == 0 || pool.process != getpid())\n",
        "    if (pool.workers == 0)\n",
        "the end waits for workers of another process",
    ),
    (
        "src_c/walk.h",
        "row < operands->rows;\n         row += split.rows)",
        "row + 3 * !!split.tiles < operands->rows;\n         row += split.rows)",
        "16 registers: the last rows behind tiles of five and six are left out",
    ),
    (
        "src_c/walk.h",
        "one.vector += i * run.width;",
        "one.vector += 0 * run.width;",
        "16 registers: the second panel of a run is the first again",
    ),
    (
        "src_c/walk.h",
        "return (fc_split){.few = rows, .rows = TWICE_FOUR / 2};",
        "return (fc_split){.few = rows / 2, .rows = TWICE_FOUR / 2};",
        "16 registers: of eight rows, four are left out",
    ),
    (
        "src_c/product.h",
        "    tile_body(4, 2, 3, FC_SECOND_HALF, false, true, &second);",
        "    tile_body(4, 2, 3, FC_FIRST_HALF, false, true, &second);",
        "16 registers: four rows that fetch ahead make half of their columns twice",
    ),
    (
        "src_c/gradient.h",
        "vstore((real *)(tile + row / FC_GROUP * m + v), group);",
        "vstore((real *)(tile + row / FC_GROUP * V + v), group);",
        "16 registers: units are copied as far apart as lanes",
    ),
    (
        "src_c/pool.c",
        "wait_for_turn(barrier, part, &barrier->arrival[!part].turn, turn);",
        "wait_for_turn(barrier, part, &barrier->arrival[!part].turn, turn - 1);",
        "a member of two goes on before the other has come",
    ),
    (
        "src_c/stack.c",
        "most_members = paying_members(shape, sharing.step_flop, most_members, parts);",
        "(void)paying_members(shape, sharing.step_flop, most_members, parts);",
        "a team is made whatever its barriers cost",
    ),
    (
        "src_c/stack.c",
        "sharing->small = each < fc_least_of_a_part(each, false);",
        "sharing->small = each < fc_least_of_a_part(each, true);",
        "a sleeping thread is thought to cost what one awake does",
    ),
    (
        "src_c/costs.c",
        "return ns * cost(FLOP);",
        "return ns;",
        "what threads cost is compared with FLOP as if they took a nanosecond",
    ),
]
