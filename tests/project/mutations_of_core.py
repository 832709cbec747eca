"""Mutations of recurrent layers in C: time, cells, lengths, threads.

Applied by mutations.py; each is (file, old text, new text, what).
"""

MUTATIONS = [
    # -- time
    (
        "src_c/recurrent/sequence_backward.c",
        "for (ptrdiff_t s = end_step - 1; s >= begin_step; s--) {",
        "for (ptrdiff_t s = end_step - 1; s > begin_step; s--) {",
        "backward skips t=0",
    ),
    (
        "src_c/recurrent/stack_backward.c",
        "(size_t)plan->previous[p] * fc_bytes(shape, shape->out_padded);\n",
        "(size_t)plan->next[p] * fc_bytes(shape, shape->out_padded);\n",
        "dR is shifted by a step",
    ),
    (
        "src_c/recurrent/sequence.c",
        "run_step(direction, s, p, p + rows, scratch->input + done, scratch,",
        "run_step(direction, s, p, p + rows, scratch->input, scratch,",
        "every step of a chunk reads the first one's input",
    ),
    (
        "src_c/recurrent/stream_step.c",
        "job->s.side[fc_selected(&job->some, i)] ^= 1;",
        "job->s.side[fc_selected(&job->some, i)] ^= 0;",
        "a session's step does not keep its state",
    ),
    (
        "src_c/recurrent/saved.c",
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
        "vreal dc_prev = dc * f;",
        "vreal dc_prev = dc;",
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
    # -- lengths, masks, resets, directions, dropout
    (
        "src_c/recurrent/sequence.c",
        "    if (!direction->batch->lengths)\n        return;",
        "    if (direction->batch)\n        return;",
        "y is not cleared past the lengths",
    ),
    (
        "src_c/recurrent/sequence.c",
        "        if (direction->batch->mask && direction->y.data)\n",
        "        if (!direction->batch)\n",
        "masked steps have no y",
    ),
    (
        "src_c/recurrent/sequence_backward.c",
        "        if (direction->batch->reset)\n",
        "        if (!direction->batch)\n",
        "gradients flow through a reset",
    ),
    (
        "src_c/recurrent/stack_gradients.c",
        "push(&block, direction, d > 0, x_gradients(direction, p),",
        "push(&block, direction, false, x_gradients(direction, p),",
        "the reverse direction overwrites dx",
    ),
    (
        "src_c/recurrent/stack_backward.c",
        "        if (job.direction[0].dropout)\n",
        "        if (!job.directions)\n",
        "dropout between layers is not in the gradient",
    ),
    # -- threads
    (
        "src_c/runtime/pool.c",
        "        if (mine < pool.parts)\n",
        "        if (mine + 1 < pool.parts)\n",
        "the last worker leaves its part out",
    ),
    # -- teams of threads
    (
        "src_c/recurrent/direction.c",
        "last = grains * (part + 1) / parts * grain;",
        "last = grains / parts * (part + 1) * grain;",
        "the last member of a team drops an odd panel",
    ),
    (
        "src_c/recurrent/direction.c",
        "    of.vectors = units.count / shape->k->lanes * gates;",
        "    of.vectors = (units.count / shape->k->lanes - !!units.first) * gates;",
        "members of a team leave their last units out",
    ),
    (
        "src_c/recurrent/sequence.c",
        "int members = fc_barrier_last(team->barrier, team->part, team->parts, stops);",
        "int members = team->parts;",
        "a team does not wait between steps",
    ),
    (
        "src_c/recurrent/phases.c",
        "        if (i > 0)\n            fc_barrier_wait(",
        "        if (i < 0)\n            fc_barrier_wait(",
        "a team does not wait between phases",
    ),
    (
        "src_c/recurrent/sequence_backward.c",
        "team->parts = fc_barrier_last(team->barrier, team->part, team->parts, stops);",
        "",
        "a team does not wait in backward",
    ),
    (
        "src_c/recurrent/sequence.c",
        "            chunk_end = s + 1;",
        "            (void)chunk_end;",
        "a disbanded team leaves out the others' input parts",
    ),
    (
        "src_c/runtime/pool.c",
        "    return ends ? part == 0 : members;",
        "    return ends ? 1 : members;",
        "all members of a disbanded team go on, each alone",
    ),
    (
        "src_c/recurrent/plan.h",
        "    if (reverse && (++t == batch->steps || !fc_exists(batch, t, row)))\n",
        "    if (reverse && t == batch->steps)\n",
        "the reverse direction is cut behind the first step of an episode",
    ),
    (
        "src_c/recurrent/plan.h",
        "(++t == batch->steps || !fc_exists(batch, t, row))",
        "++t == batch->steps",
        "an episode past a row's length cuts the reverse direction",
    ),
    (
        "src_c/recurrent/saved.c",
        "&fresh, FC_SEAL_USED_UP,",
        "&fresh, FC_SEAL_SAVED,",
        "saved is never used up",
    ),
    (
        "src_c/recurrent/saved.c",
        "    kept.lengths = saved->lengths;\n",
        "",
        "backward reads the lengths that the caller has then",
    ),
    (
        "src_c/recurrent/saved.c",
        "fc_arena_bytes(&arena) != sizes->bytes",
        "false",
        "the sizes in saved are followed unchecked",
    ),
    (
        "src_c/runtime/seal.h",
        "seal->units == expected->units &&",
        "",
        "a seal does not tell the hidden size",
    ),
    (
        "src_c/runtime/arena.h",
        "(uintptr_t)memory & (FC_ALIGNMENT - 1) ?",
        "(uintptr_t)memory & 7 ?",
        "memory may begin at a multiple of 8",
    ),
    (
        "src_c/recurrent/carry.c",
        "after->pairs == segment->pairs_before + total",
        "true",
        "a carry is taken up at any pair",
    ),
    (
        "src_c/recurrent/stack.c",
        "outer - n >= extent;",
        "outer >= extent;",
        "the last row of y may overlap the next step's first",
    ),
    (
        "src_c/recurrent/sharing.c",
        "    if (most < batch->rows / LEAST_ROWS)\n",
        "    if (false)\n",
        "scratch has no room for ranges of rows without teams",
    ),
    (
        "src_c/recurrent/stream.c",
        "memcpy(memory, seal, sizeof *seal);",
        "(void)seal;",
        "a stream is not sealed by its first step",
    ),
    (
        "src_c/recurrent/sequence.c",
        "        if (stops && team->parts == 1)\n            return false;\n",
        "",
        "a long forward goes on when it is to stop",
    ),
    (
        "src_c/runtime/pool.c",
        "        stops = stops || !sharing_pays();\n    }\n    if (!ends && stops)\n",
        "        stops = !sharing_pays();\n    }\n    if (!ends && stops && !stops)\n",
        "a team goes on when it is to stop",
    ),
    (
        "src_c/kernels/gradient.h",
        "            if (fc_gradient_stops(g, rows))\n",
        "            if (rows < 0)\n",
        "a long sum of weight gradients goes on when it is to stop",
    ),
    (
        "src_c/runtime/pool.c",
        "        bool watches = fc_watch_while_waiting();\n",
        "        bool watches = false;\n",
        "a caller that waits for its workers asks nobody",
    ),
    (
        "src_c/recurrent/stack_forward.c",
        "    if (saved_memory && !fc_stopped(&watch))\n",
        "    if (saved_memory)\n",
        "saved of a stopped forward serves backward",
    ),
    (
        "src_c/runtime/pool.c",
        "__attribute__((destructor)) static",
        "__attribute__((unused)) static",
        "the workers stay when the library is unloaded",
    ),
    (
        "src_c/runtime/pool.c",
        "    if (pool.workers == 0 || pool.process != getpid())\n",
        "    if (pool.workers == 0)\n",
        "the end waits for workers of another process",
    ),
    (
        "src_c/runtime/pool.c",
        "wait_for_turn(barrier, part, &barrier->arrival[!part].turn, turn);",
        "wait_for_turn(barrier, part, &barrier->arrival[!part].turn, turn - 1);",
        "a member of two goes on before the other has come",
    ),
    (
        "src_c/recurrent/sharing.c",
        "most_members = paying_members(shape, sharing.step_flop, most_members, parts);",
        "(void)paying_members(shape, sharing.step_flop, most_members, parts);",
        "a team is made whatever its barriers cost",
    ),
    (
        "src_c/recurrent/sharing.c",
        "sharing->small = each < fc_least_of_a_part(each, false);",
        "sharing->small = each < fc_least_of_a_part(each, true);",
        "a sleeping thread is thought to cost what one awake does",
    ),
    (
        "src_c/runtime/costs.c",
        "return ns * cost(FLOP);",
        "return ns;",
        "what threads cost is compared with FLOP as if they took a nanosecond",
    ),
    (
        "src_c/runtime/costs.c",
        "    if (atomic_load(&measured_of) == now) ",
        "    if (atomic_load(&measured_of) <= now) ",
        "costs of the threads before are taken for those of now",
    ),
    (
        "src_c/runtime/costs.c",
        "    atomic_store(&measured_of, now);\n    if (atomic_load(&given))\n",
        "    atomic_store(&measured_of, now);\n    if (false)\n",
        "costs that were given are forgotten with other threads",
    ),
    # -- what a cell is said to be
    (
        "src_c/recurrent/describe_cell.c",
        '{"weight_hh", FC_AXIS_GATES, FC_AXIS_OUTPUT,',
        '{"weight_hh", FC_AXIS_GATES, FC_AXIS_HIDDEN,',
        "R of a projected cell is as wide as its units",
    ),
    (
        "src_c/cells/lstm_projected.c",
        '.gate_names = {"i", "f",',
        '.gate_names = {"f", "i",',
        "a descriptor swaps the names of two gates",
    ),
    (
        "src_c/cells/lstm_math.h",
        "vreal c = vfma(f, load_row(t->c_prev, r, u), i * g);",
        "store_row(t->c, r, u, i * g);\n"
        "    vreal c = vfma(f, load_row(t->c_prev, r, u), i * g);",
        "a cell reads c_prev after it has written c",
    ),
    (
        "src_c/cells/lstm_math.h",
        "vfma(unit_param(t, lstm_peephole_of(LSTM_O, form), u), c,",
        "vfma(unit_param(t, lstm_peephole_of(LSTM_O, form), u),\n"
        "                          load_row(t->c_prev, r, u),",
        "a peephole cell's output gate sees c of the step before",
    ),
    (
        "src_c/cells/layer_norm.h",
        "d = vif_positive(live, d, vzero());",
        "d = vif_positive(vset1(1), d, vzero());",
        "padded units count in a layer norm's variance",
    ),
    (
        "src_c/recurrent/carry.c",
        "keep_row(to->c_prev, place, pairs->c_prev[p],",
        "keep_row(to->c_prev, place, pairs->h_prev[p],",
        "h_prev waits in the carry in place of c_prev",
    ),
    (
        "src_c/recurrent/stack_gradients.c",
        "pairs->c ? pairs->c + job->low : NULL",
        "pairs->c",
        "sums of c read the rows of other pairs in a chunk",
    ),
    (
        "src_c/recurrent/stack_gradients.c",
        "    if (!out->array[which])\n        return;\n",
        "",
        "the gradient of a parameter of a cell's own is made though nobody wants it",
    ),
    # -- forms of the LSTM, MGU, light GRU, layer-normalized GRU
    (
        "src_c/cells/lstm_math.h",
        "of_f = c_prev - g;",
        "of_f = c_prev;",
        "coupled gates: the gradient of 1 - f is not in that of f",
    ),
    (
        "src_c/cells/lstm_math.h",
        "if (form == LSTM_PEEPHOLE)",
        "if (false)",
        "dc does not go through the input gate's peephole",
    ),
    (
        "src_c/cells/lstm_peephole_coupled.c",
        "{.to = 0, .vectors = 1, .slot = 0, .factor = FC_BY_C_PREV}",
        "{.to = 0, .vectors = 1, .slot = 0, .factor = FC_BY_C}",
        "the gradient of a forget gate's peephole is by c of its own step",
    ),
    (
        "src_c/cells/mgu.c",
        "store_row(t->dh, r, u, vfma(dm, f, load_mutable(t->dh, r, u)));",
        "store_row(t->dh, r, u, load_mutable(t->dh, r, u));",
        "MGU: dh does not go through f h",
    ),
    (
        "src_c/cells/mgu.c",
        "vfma(dm, load_row(t->h_prev, r, u), load_slot(t, r, u, MGU_DF))",
        "dm * load_row(t->h_prev, r, u)",
        "MGU: f has only the gradient of f h",
    ),
    (
        "src_c/cells/ligru.c",
        "vif_positive(n, dh * (one - z), vzero())",
        "dh * (one - z)",
        "light GRU: a gradient passes where relu is 0",
    ),
    (
        "src_c/cells/layer_norm.h",
        "    a += first * V;\n",
        "",
        "the norm of some gates is that of the first ones",
    ),
    (
        "src_c/cells/gru_layer_norm.c",
        "grun_product(t, r, GRUN_DH, GRUN_N, 1, h_n);",
        "grun_product(t, r, GRUN_DH, GRUN_N, 1, h);",
        "GRU with layer norm: n's gradient has the scale of r and z",
    ),
    (
        "src_c/cells/gru_layer_norm.c",
        "gate == GRUN_N && of == GRUN_DH ? GRUN_HN",
        "gate == GRUN_N && of == GRUN_DX ? GRUN_HN",
        "GRU with layer norm: the two gradients of n are swapped",
    ),
]
