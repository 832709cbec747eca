"""Mutations of random masks and of the clip of recurrent gradients."""

MUTATIONS = [
    (
        "src_c/recurrent/masks.c",
        "shape->k->dropout(mixed(key + (uint64_t)rows->row[i]),",
        "shape->k->dropout(mixed(key),",
        "all rows have the same mask",
    ),
    (
        "src_c/recurrent/masks.c",
        ".key = mixed(batch->key ^ mixed((uint64_t)pass)),",
        ".key = mixed(batch->key ^ mixed(0)),",
        "all layers and directions have the same masks",
    ),
    (
        "src_c/recurrent/stack_backward.c",
        "memory->dropped ? memory->dropped : memory->h;",
        "memory->h;",
        "the gradient of R is by an h that was not dropped",
    ),
    (
        "src_c/cells/lstm_math.h",
        "vreal dg = back_update_of(t, r, u, dc * i, form & LSTM_DROPPED);",
        "vreal dg = dc * i;",
        "LSTM: the gradient of a dropped update passes",
    ),
    (
        "src_c/cells/gru.c",
        "vreal dz = dh * (load_row(t->h_prev, r_, u) - d_n);",
        "vreal dz = dh * (load_row(t->h_prev, r_, u) - n);",
        "GRU: the gradient of z is by an n that was not dropped",
    ),
    (
        "src_c/recurrent/masks.c",
        "double kept = 1 / (1 - shape->options->update_dropout);",
        "double kept = 1;",
        "updates that are kept are not divided by 1 - rate",
    ),
    (
        "src_c/recurrent/masks.c",
        "to.buffer = factors + block;",
        "to.buffer = factors + 0 * block;",
        "a team's later members read no factors of update dropout",
    ),
    (
        "src_c/recurrent/sequence_backward.c",
        "if (plan->previous[p] >= plan->rows || direction->continues) {",
        "if (plan->previous[p] >= 0 || direction->continues) {",
        "the gradient of an initial state is clipped",
    ),
    (
        "src_c/recurrent/sequence_backward.c",
        "if (plan->previous[p] >= plan->rows || direction->continues) {",
        "if (plan->previous[p] >= plan->rows) {",
        "gradients are not clipped at the borders of segments",
    ),
    (
        "src_c/recurrent/sequence_backward.c",
        "        clip_dh(direction, begin, end, dh, *team);",
        "        clip_dh(direction, begin, begin + 1, dh, *team);",
        "the gradient of the first row alone is clipped",
    ),
    (
        "src_c/recurrent/stream_step.c",
        "        zone(shape, &tile, c + first, *team);",
        "        (void)zone;",
        "sessions have no zoneout",
    ),
    (
        "src_c/recurrent/saved.c",
        "    kept.key = saved->sizes->key;\n",
        "",
        "backward has the masks of the key that it is called with",
    ),
]
