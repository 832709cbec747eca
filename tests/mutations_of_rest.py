"""Mutations of what stands around the layers: functions, Python, CTC, optimizers.

Applied by mutations.py; each is (file, old text, new text, what).
"""

MUTATIONS = [  # -- functions
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
        "_core.dropout(self.dropout, key, None, masks, get_num_threads())",
        "_core.dropout(self.dropout, 0, None, masks, get_num_threads())",
        "dropout between layers is the same each time",
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
    # -- attention, dropout, models of frames
    (
        "src_c/attention.h",
        "vreal g = dscore * vi * (vset1(1) - h * h);",
        "vreal g = dscore * vi * (vset1(1) - h);",
        "attention: the slope of tanh is another",
    ),
    (
        "src_c/attention.c",
        "        j.k->add(dv, j.dv + (size_t)b * row, score->n);\n",
        "        j.k->add(dv, j.dv, score->n);\n",
        "attention: dv is that of the first sequence",
    ),
    (
        "src_c/attention.c",
        "j->k->softmax(values, rows);\n    clear_past(j, values, rows);\n",
        "j->k->softmax(values, rows);\n",
        "attention: rows past the lengths keep their scores",
    ),
    (
        "src_c/attention.c",
        "    ptrdiff_t last = a->batch * (part + 1) / parts;\n",
        "    ptrdiff_t last = a->batch / parts * (part + 1);\n",
        "attention: threads leave out the last sequences",
    ),
    (
        "fastcell/layers/attention.py",
        "sums.drows += np.matmul(weights.swapaxes(1, 2), dcontext)",
        "sums.drows += 0",
        "attention: the context is not in the gradient of the memory",
    ),
    (
        "src_c/dropout.c",
        "j->k->dropout(j->key, (uint64_t)block,",
        "j->k->dropout(j->key, 0,",
        "dropout: each thread begins with the same numbers",
    ),
    (
        "fastcell/layers/dropout.py",
        "return self._dropped(dy, saved), {}",
        "return dy, {}",
        "dropout: the gradient of what is dropped stays",
    ),
    (
        "fastcell/models/heads.py",
        "return loss * self.frame_size, doutputs",
        "return loss * self.frame_size, doutputs / self.frame_size",
        "frames: the gradient is that of an element",
    ),
    (
        "fastcell/models/mixture_head.py",
        "narrow * (1 - w * z) * (of.exp / of.scales),",
        "narrow * (1 - w * z),",
        "frames: the least scale of a mixture is not in its gradient",
    ),
    (
        "fastcell/models/feedback.py",
        "fed = dx[0] + dframe if self.residual else dx[0]",
        "fed = dx[0]",
        "a forecast is not in the gradient of the one before",
    ),
    (
        "fastcell/models/feedback.py",
        "        top_of(dstate)[...] += dh\n",
        "",
        "the first forecast is not in the gradient of the state",
    ),
    (
        "fastcell/_cli_cells.py",
        'counts["sigmoid" if halved else "tanh"]',
        'counts["tanh"]',
        "explain: sigmoids are counted as tanh",
    ),
    (
        "fastcell/_cli_cells.py",
        "firsts.setdefault(cell.layer_class, name)",
        "firsts.setdefault(len(cell.gates), name)",
        "bench: of classes with as many gates only one is measured by default",
    ),
    (
        "fastcell/_cli_measure.py",
        "self.directions * (self.proj_size or self.shape.H)",
        "self.directions * self.shape.H",
        "bench: y of a projected cell has a feature for each unit",
    ),
    (
        "fastcell/_cli_explain.py",
        "return exact / own",
        "return own / exact",
        "explain: the gain of narrow products is that of float32",
    ),
]
