"""Mutations of fastcell.torch and fastcell.sklearn.

Applied by mutations.py, where PyTorch and scikit-learn are installed; each is (file,
old text, new text, what).
"""

MUTATIONS = [
    (
        "fastcell/torch/call.py",
        "dx = dx.view(T * B, -1).index_select(0, call.flat)",
        "dx = dx.view(T * B, -1)[: len(call.flat)]",
        "packed sequences: dx lies as the padded rows do",
    ),
    (
        "fastcell/torch/call.py",
        "if call.version != call.layer._parameters.version():  # rebound since",
        "if False:",
        "backward reads the weights of another call",
    ),
    (
        "fastcell/torch/call.py",
        "if call.kept is None:  # consumed",
        "if False:",
        "retain_graph: a second backward finds nothing",
    ),
    (
        "fastcell/torch/call.py",
        "    if is_for_formula(dout):\n",
        "    if False:\n",
        "gradients of gradients are constants",
    ),
    (
        "fastcell/torch/formula.py",
        "(1 - z) * n + z * state[0]",
        "z * n + (1 - z) * state[0]",
        "formula of the GRU: the update gate keeps what it should renew",
    ),
    (
        "fastcell/torch/quick.py",
        "if ctx.version != layer._parameters.version():",
        "if False:",
        "quick backward reads the weights of another call",
    ),
    (
        "fastcell/torch/quick.py",
        "dout = (None, *dout) if call.is_step else dout",
        "dout = dout",
        "cells: gradients of gradients of h are those of y",
    ),
    (
        "fastcell/_bindings/quick.pxi",
        "            if memcmp(&now, &self.marks.marks[i], sizeof(now)) != 0:\n",
        "            if False:\n",
        "quick calls keep the weights that they had first",
    ),
    (
        "fastcell/_bindings/quick.pxi",
        "if memory.rows == rows:",
        "if True:",
        "a step of other rows takes the stream that is there",
    ),
    (
        "fastcell/_bindings/tensors.pxi",
        "            return tensor._version\n",
        "            return 0\n",
        "weights: writes that PyTorch counts are not counted",
    ),
    (
        "fastcell/_bindings/tensors.pxi",
        "if found.shape[i] != shape[i]:",
        "if False:",
        "quick calls: a state of another shape is read as if it had the right one",
    ),
    (
        "fastcell/torch/layers.py",
        "drawn.bernoulli_(1 - p).div_(1 - p)",
        "drawn.bernoulli_(1 - p)",
        "torch: dropout does not divide by what is kept",
    ),
    (
        "fastcell/torch/layers.py",
        "            hx = self.permute_hidden(hx, order)\n        if not",
        "            pass\n        if not",
        "packed sequences: h0 stays in the caller's order",
    ),
    (
        "fastcell/_bindings/quick.pxi",
        "if biased and not wanted:",
        "if biased and not wanted and k != 1:",
        "a bias alone gets no gradient",
    ),
    (
        "fastcell/torch/swap.py",
        "if names is not None and name not in names:",
        "if False:",
        "with accelerate: the end restores what was there before, too",
    ),
    (
        "fastcell/torch/swap.py",
        'if "forward" in module.__dict__:',
        "if False:",
        "accelerate: a module whose forward was replaced is taken",
    ),
    (
        "fastcell/torch/weights.py",
        "if layer is None or (layer.dtype == np.float64) != double:",
        "if layer is None:",
        "torch: a module stays in the dtype of its first call",
    ),
    (
        "fastcell/torch/streaming.py",
        "        _bound(self._module)\n        return torch.from_numpy(session.step",
        "        return torch.from_numpy(session.step",
        "torch: a session keeps the weights that it was made with",
    ),
    (
        "fastcell/sklearn/base.py",
        "index = index[sample_weight > 0]",
        "pass",
        "scikit-learn: sequences of weight 0 are trained on",
    ),
    (
        "fastcell/sklearn/base.py",
        "model.load_state_dict(callbacks[0].parameters)",
        "pass",
        "scikit-learn: early stopping keeps the last parameters, not the best",
    ),
    (
        "fastcell/sklearn/base.py",
        "outputs[epoch.indices(k)] = model(x, lengths)",
        "outputs[k * _INFERENCE_BATCH :][: len(x[0])] = model(x, lengths)",
        "scikit-learn: predictions lie in the order of the batches",
    ),
    (
        "fastcell/sklearn/inputs.py",
        "        if its != names:\n",
        "        if False:\n",
        "scikit-learn: frames with their columns in another order are taken",
    ),
    (
        "fastcell/torch/weights.py",
        "        may_have_tangents,\n",
        "",
        "torch: calls without autograd lose the tangents of forward mode",
    ),
    (
        "fastcell/torch/weights.py",
        "if not self.is_dtype_of(weights):",
        "if False:",
        "quick calls: weights of another dtype than the input are taken",
    ),
    (
        "fastcell/torch/call.py",
        "if are_hooks_asked() and call.kept is not None:",
        "if False:",
        "torch: a checkpoint keeps the gates",
    ),
    (
        "fastcell/torch/layers.py",
        "hx = self.permute_hidden(hx, order)\n        padded",
        "pass\n        padded",
        "traced packed sequences: h0 stays in the caller's order",
    ),
]
