"""The mLSTM against mlstm_kernels and the formulas of xlstm, both in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import PEER_FLOAT32, PEER_FLOAT64

import fastcell

torch = pytest.importorskip("torch")
kernels = pytest.importorskip("mlstm_kernels.torch")
pytestmark = pytest.mark.peers

DTYPES = [torch.float32, torch.float64]
TOLERANCES = {torch.float32: PEER_FLOAT32, torch.float64: PEER_FLOAT64}


def draw(dtype, B=2, H=4, T=128, K=32, N=48):
    g = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=dtype)

    inputs = {"q": normal(B, H, T, K), "k": normal(B, H, T, K), "v": normal(B, H, T, N)}
    gates = {"i": normal(B, H, T), "f": normal(B, H, T) + 3}
    return inputs | gates, (normal(B, H, K, N), normal(B, H, K), normal(B, H, 1))


def check(got, wanted, dtype):
    (y, state), (wanted_y, wanted_state) = got, wanted
    for a, b in zip((y, *state), (wanted_y, *wanted_state), strict=True):
        b = b.numpy()
        assert a.shape == b.shape
        assert (abs(a - b) / (1 + abs(b))).max() <= TOLERANCES[dtype]


def first(state):
    return dict(zip(("c_initial", "n_initial", "m_initial"), state, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunk_size", [16, 64])
def test_a_sequence_is_that_of_the_chunkwise_kernel(dtype, chunk_size):
    kernel = kernels.get_mlstm_kernel("chunkwise--native_autograd")
    inputs, state = draw(dtype)
    for before in (None, state):
        wanted = kernel(
            **inputs,
            **({} if before is None else first(before)),
            return_last_states=True,
            chunk_size=chunk_size,
            autocast_kernel_dtype=dtype,
        )
        check(fastcell.mlstm(**inputs, state=before), wanted, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_are_those_of_the_parallel_kernel(dtype):
    """Its m has no part of a state, so it means another eps."""
    kernel = kernels.get_mlstm_kernel("parallel--native_autograd")
    inputs, _ = draw(dtype)
    wanted = kernel(**inputs, eps=0, autocast_kernel_dtype=dtype)
    y = fastcell.mlstm(**inputs, eps=0, return_state=False)
    check((y, ()), (wanted, ()), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_is_that_of_the_step_kernel(dtype):
    kernel = kernels.get_mlstm_step_kernel("native")
    inputs, state = draw(dtype, T=9)
    ours = theirs = state
    for t in range(9):
        q, k, v = (inputs[name][:, :, t] for name in "qkv")
        i, f = (inputs[name][:, :, t, None] for name in "if")
        c, n, m = theirs
        wanted, theirs = kernel(q, k, v, i, f, c, n, m, dtype_state=dtype)
        got, ours = fastcell.mlstm_step(q, k, v, i, f, ours)
        check((got, ours), (wanted, theirs), dtype)


def test_keys_scaled_before_give_what_xlstm_computes():
    """It scales k in place of q."""
    backends = pytest.importorskip("xlstm.blocks.mlstm.backends")
    inputs, _ = draw(torch.float64, N=32)
    gates = inputs["i"][..., None], inputs["f"][..., None]
    q, k, v = (inputs[name] for name in "qkv")
    wanted = backends.parallel_stabilized_simple(q, k, v, *gates, eps=0)
    scaled = inputs | {"k": k * 32**-0.5}
    y = fastcell.mlstm(**scaled, scale=1, eps=0, return_state=False)
    assert np.abs(y - wanted.numpy()).max() <= PEER_FLOAT64 * np.abs(y).max()


def test_a_whole_model_of_xlstm_computes_the_same_with_it():
    large = pytest.importorskip("xlstm.xlstm_large.model")

    class Ours(torch.nn.Module):
        def forward(self, q, k, v, i, f, c_initial=None, n_initial=None, **options):
            state = (c_initial, n_initial, options["m_initial"])
            before = None if c_initial is None else state
            y, after = fastcell.mlstm(q, k, v, i, f, before)
            return torch.from_numpy(y), tuple(map(torch.from_numpy, after))

    torch.manual_seed(0)
    config = large.xLSTMLargeConfig(
        embedding_dim=128,
        num_heads=2,
        num_blocks=2,
        vocab_size=50,
        chunkwise_kernel="chunkwise--native_autograd",
        sequence_kernel="native_sequence__native",
        step_kernel="native",
        return_last_states=True,
        mode="inference",
    )
    model = large.xLSTMLarge(config).eval()
    tokens = torch.randint(0, 50, (2, 77))
    with torch.inference_mode():
        wanted = [part.numpy() for part in _two_parts(model, tokens)]
        for block in model.backbone.blocks:
            block.mlstm_layer.mlstm_backend = Ours()
        got = [part.numpy() for part in _two_parts(model, tokens)]
    for a, b in zip(got, wanted, strict=True):
        assert (abs(a - b) / (1 + abs(b))).max() <= PEER_FLOAT32


def _two_parts(model, tokens):
    """Return the logits of 70 tokens, and of the rest after the states of those."""
    first, state = model(tokens[:, :70])
    rest, _ = model(tokens[:, 70:], state)
    return first, rest
