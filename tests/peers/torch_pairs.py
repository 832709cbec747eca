"""Helper: modules of torch.nn and fastcell.torch with equal weights."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import PackedSequence

import fastcell.torch

NAMES = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")


def pair(name, *arguments, seed=0, **options):
    """Return torch's module and ours, made under the same seed."""
    made = []
    for module in (torch.nn, fastcell.torch):
        torch.manual_seed(seed)
        made.append(getattr(module, name)(*arguments, **options))
    return made


def tensors_in(value):
    """Return the tensors of nested tuples and packed sequences, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, PackedSequence):
        return [value.data]
    if isinstance(value, (tuple, list)):
        return [t for part in value for t in tensors_in(part)]
    return []


def results(module, *arguments, seed=1, **options):
    """Return all outputs and gradients of a call, by name."""
    torch.manual_seed(seed)
    module.zero_grad()
    inputs = [t for t in tensors_in(arguments) if t.requires_grad and t.is_leaf]
    for tensor in inputs:
        tensor.grad = None
    out = tensors_in(module(*arguments, **options))
    found = {f"output {i}": t.detach() for i, t in enumerate(out)}
    if any(t.requires_grad for t in out):
        torch.manual_seed(seed + 1)
        loss = sum((t * torch.randn(t.shape).to(t.dtype)).sum() for t in out)
        loss.backward()
        for i, tensor in enumerate(inputs):
            found[f"gradient of input {i}"] = tensor.grad.clone()
        for key, parameter in module.named_parameters():
            if parameter.grad is not None:
                found[f"gradient of {key}"] = parameter.grad.clone()
    return found


def assert_alike(own, peer, tolerance):
    """Compare what `results` returned for both."""
    assert own.keys() == peer.keys()
    for key, value in peer.items():
        assert own[key].shape == value.shape, key
        assert own[key].dtype == value.dtype, key
        scale = max(1.0, float(value.abs().max())) if value.numel() else 1.0
        worst = float((own[key] - value).abs().max()) if value.numel() else 0.0
        assert worst <= tolerance * scale, (key, worst, scale)
