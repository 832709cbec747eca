"""Values and gradients of layers against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import joined, split
from tolerances import PEER_ERROR_RATIO, PEER_FLOAT32, PEER_FLOAT64, error

import fastcell

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

DTYPES = {np.float32: PEER_FLOAT32, np.float64: PEER_FLOAT64}
LAYERS = {
    "lstm": ("LSTM", {}),
    "lstm projected": ("LSTM", {"proj_size": 3}),
    "gru": ("GRU", {}),
    "rnn tanh": ("RNN", {"nonlinearity": "tanh"}),
    "rnn relu": ("RNN", {"nonlinearity": "relu"}),
}
by_layer = pytest.mark.parametrize("name, options", LAYERS.values(), ids=LAYERS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)

SHAPES = [
    {"num_layers": 1, "bidirectional": False},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 3, "bidirectional": False, "bias": False},
    {"num_layers": 1, "bidirectional": True, "batch_first": True},
]


def pair(name, options, dtype, I=5, H=9):  # noqa: E741  (the letter of DESIGN)
    """Return our layer and torch's, with torch's weights, handed over as tensors."""
    torch.manual_seed(0)
    kind = torch.float64 if dtype is np.float64 else torch.float32
    peer = getattr(torch.nn, name)(I, H, dtype=kind, **options)
    own = getattr(fastcell, name)(I, H, dtype=dtype, **options)
    own.load_state_dict({n: w.detach() for n, w in peer.state_dict().items()})
    return own, peer


def inputs(own, T, B, seed=0):
    """Return x, state, dy, dstate for a layer; torch's states have its shapes."""
    random = np.random.default_rng(seed)
    D = 2 if own.bidirectional else 1

    def draw(*shape):
        return random.standard_normal(shape).astype(own.dtype)

    shapes = [(own.num_layers * D, B, own.output_size)]
    if len(own.states) > 1:
        shapes.append((own.num_layers * D, B, own.hidden_size))
    steps = (B, T) if own.batch_first else (T, B)
    return (
        draw(*steps, own.input_size),
        tuple(draw(*s) for s in shapes),
        draw(*steps, D * own.output_size),
        tuple(draw(*s) for s in shapes),
    )


def run_own(own, x, state, dy, dstate, **sequence):
    y, final, saved = own.forward(x, joined(state), **sequence)
    dx, dinitial, grads = own.backward(dy, saved, joined(dstate))
    results = {"y": y, "dx": dx, **grads}
    for i, (part, gradient) in enumerate(
        zip(split(final), split(dinitial), strict=True)
    ):
        results[f"state {i}"], results[f"dstate {i}"] = part, gradient
    return results


def run_torch(peer, x, state, dy, dstate, lengths=None):
    x = torch.tensor(x, requires_grad=True)
    state = tuple(torch.tensor(s, requires_grad=True) for s in state)
    peer.zero_grad()
    batch_first = peer.batch_first
    given = x
    if lengths is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=False
        )
    y, final = peer(given, joined(state))
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(
            y, batch_first=batch_first, total_length=x.shape[1 if batch_first else 0]
        )
    loss = (y * torch.tensor(dy)).sum()
    for part, weight in zip(split(final), dstate, strict=True):
        loss = loss + (part * torch.tensor(weight)).sum()
    loss.backward()
    results = {"y": y, "dx": x.grad}
    for i, (part, initial) in enumerate(zip(split(final), state, strict=True)):
        results[f"state {i}"], results[f"dstate {i}"] = part, initial.grad
    results.update({n: w.grad for n, w in peer.named_parameters()})
    return {n: r.detach().numpy() for n, r in results.items()}


def assert_same(own, peer, tolerance):
    assert own.keys() == peer.keys()
    errors = {name: error(own[name], peer[name]) for name in peer}
    for name in peer:
        assert own[name].shape == peer[name].shape, name
    assert max(errors.values()) <= tolerance, errors


@pytest.mark.parametrize("shape", SHAPES)
@by_dtype
@by_layer
def test_values_and_gradients_are_torchs(name, options, dtype, shape, isa):
    own, peer = pair(name, {**options, **shape}, dtype)
    for T, B in ((7, 3), (1, 1), (5, 8)):
        arrays = inputs(own, T, B)
        assert_same(run_own(own, *arrays), run_torch(peer, *arrays), DTYPES[dtype])


@by_dtype
@by_layer
def test_many_units_are_torchs(name, options, dtype, isa):
    own, peer = pair(name, options, dtype, I=33, H=130)
    arrays = inputs(own, 12, 9)
    assert_same(run_own(own, *arrays), run_torch(peer, *arrays), DTYPES[dtype])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [[7, 3, 1], [2, 7, 5], [1, 1, 1]])
@by_dtype
@by_layer
def test_lengths_are_torchs_packed_sequences(
    name, options, dtype, lengths, batch_first
):
    shape = {"num_layers": 2, "bidirectional": True, "batch_first": batch_first}
    own, peer = pair(name, {**options, **shape}, dtype)
    arrays = inputs(own, 7, 3)
    got = run_own(own, *arrays, lengths=lengths)
    assert_same(got, run_torch(peer, *arrays, lengths=lengths), DTYPES[dtype])


@by_layer
def test_an_unbatched_sequence_is_torchs(name, options):
    own, peer = pair(name, {**options, "bidirectional": True}, np.float64)
    x, state, _, _ = inputs(own, 7, 1)
    y, final = own(x[:, 0], joined(tuple(s[:, 0] for s in state)))
    flat = joined(tuple(torch.tensor(s[:, 0]) for s in state))
    y_peer, final_peer = peer(torch.tensor(x[:, 0]), flat)
    assert y.shape == y_peer.shape
    assert error(y, y_peer.detach().numpy()) <= PEER_FLOAT64
    for part, other in zip(split(final), split(final_peer), strict=True):
        assert part.shape == other.shape
        assert error(part, other.detach().numpy()) <= PEER_FLOAT64


CELLS = {
    "lstm": ("LSTMCell", {}),
    "gru": ("GRUCell", {}),
    "rnn tanh": ("RNNCell", {"nonlinearity": "tanh"}),
    "rnn relu": ("RNNCell", {"nonlinearity": "relu"}),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name, options", CELLS.values(), ids=CELLS)
def test_single_cells_are_torchs(name, options, bias):
    peer = getattr(torch.nn, name)(5, 9, bias=bias, dtype=torch.float64, **options)
    own = getattr(fastcell, name)(5, 9, bias=bias, dtype=np.float64, **options)
    own.load_state_dict({n: w.detach() for n, w in peer.state_dict().items()})
    random = np.random.default_rng(0)
    x = random.standard_normal((3, 5))
    states = 2 if name == "LSTMCell" else 1
    state = tuple(random.standard_normal((3, 9)) for _ in range(states))
    weights = tuple(random.standard_normal((3, 9)) for _ in range(states))
    next_state, saved = own.forward(x, joined(state))
    dx, dstate, grads = own.backward(joined(weights), saved)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *state)]
    other = split(peer(leaves[0], joined(tuple(leaves[1:]))))
    sum(
        (o * torch.tensor(w)).sum() for o, w in zip(other, weights, strict=True)
    ).backward()
    for got, expected in zip(split(next_state), other, strict=True):
        assert error(got, expected.detach().numpy()) <= PEER_FLOAT64
    for got, leaf in zip((dx, *split(dstate)), leaves, strict=True):
        assert error(got, leaf.grad.numpy()) <= PEER_FLOAT64
    for key, weight in peer.named_parameters():
        assert error(grads[key], weight.grad.numpy()) <= PEER_FLOAT64, key


def test_an_embedding_and_a_linear_layer_are_torchs():
    random = np.random.default_rng(0)
    ids = random.integers(0, 9, (7, 3))
    peer = torch.nn.Sequential(
        torch.nn.Embedding(9, 4, padding_idx=2, dtype=torch.float64),
        torch.nn.Linear(4, 5, dtype=torch.float64),
    )
    own = fastcell.Sequential(
        [
            fastcell.Embedding(9, 4, padding_idx=2, dtype=np.float64),
            fastcell.Linear(4, 5, dtype=np.float64),
        ]
    )
    own.load_state_dict(peer.state_dict())
    y, saved = own.forward(ids)
    dy = random.standard_normal(y.shape)
    _, grads = own.backward(dy, saved)
    y_peer = peer(torch.tensor(ids))
    (y_peer * torch.tensor(dy)).sum().backward()
    assert error(y, y_peer.detach().numpy()) <= PEER_FLOAT64
    for name, weight in peer.named_parameters():
        assert error(grads[name], weight.grad.numpy()) <= PEER_FLOAT64, name


def test_initial_weights_are_as_large_as_torchs():
    own, peer = fastcell.LSTM(256, 64, seed=0), torch.nn.LSTM(256, 64)
    for name, weight in peer.named_parameters():
        peers, ours = weight.detach().numpy(), own.params[name]
        assert peers.shape == ours.shape
        assert max(np.abs(peers).max(), np.abs(ours).max()) <= 64**-0.5
        # Of a uniform distribution; 3.5 standard errors of 256 values are a tenth.
        assert abs(ours.std() / (64**-0.5 / 3**0.5) - 1) < 0.1


@by_layer
def test_errors_of_float32_are_no_more_than_twice_torchs(name, options, isa):
    """Promise 2: root mean square errors of outputs and of gradients, over sizes.

    Each array counts by its error relative to its own root mean square.
    """
    squares = {"forward": np.zeros(2), "gradients": np.zeros(2)}
    sizes = [(20, 4, 8, 16), (50, 8, 33, 40), (10, 16, 64, 128)]
    for seed, (T, B, features, H) in enumerate(sizes):
        shape = {"num_layers": 2, "bidirectional": True}
        own, peer = pair(name, {**options, **shape}, np.float32, features, H)
        arrays = inputs(own, T, B, seed)
        wide = type(own).from_config({**own.config(), "dtype": "float64"})
        wide.load_state_dict(
            {n: w.astype(np.float64) for n, w in own.state_dict().items()}
        )
        x, state, dy, dstate = arrays
        exact = run_own(
            wide,
            x.astype(np.float64),
            tuple(s.astype(np.float64) for s in state),
            dy.astype(np.float64),
            tuple(d.astype(np.float64) for d in dstate),
        )
        mine, theirs = run_own(own, *arrays), run_torch(peer, *arrays)
        for key, truth in exact.items():
            kind = "forward" if key == "y" or key.startswith("state") else "gradients"
            squares[kind] += [
                ((result[key] - truth) ** 2).mean() / (truth**2).mean()
                for result in (mine, theirs)
            ]
    ratios = {kind: float(np.sqrt(own / peer)) for kind, (own, peer) in squares.items()}
    assert max(ratios.values()) <= PEER_ERROR_RATIO, ratios


def assert_follows(layer, step):
    """Compare outputs and gradients with those of a step in PyTorch's operators.

    It takes x_t, the states and the weights, and returns the states, h first.
    """
    random = np.random.default_rng(0)
    for name, weight in layer.params.items():
        weight += random.uniform(-0.2, 0.2, weight.shape) * ("_ln_" in name)
    w = {
        name.removesuffix("_l0"): torch.tensor(array, requires_grad=True)
        for name, array in layer.state_dict().items()
    }
    x = random.standard_normal((5, 2, layer.input_size))
    zeros = torch.zeros(2, layer.hidden_size, dtype=torch.float64)
    states, outputs = [zeros] * len(layer.states), []
    for x_t in torch.tensor(x):
        states = step(x_t, states, w)
        outputs.append(states[0])
    y_expected = torch.stack(outputs)
    dy = random.standard_normal(y_expected.shape)
    (y_expected * torch.tensor(dy)).sum().backward()
    y, _, saved = layer.forward(x)
    _, _, grads = layer.backward(dy, saved)
    assert error(y, y_expected.detach().numpy()) <= PEER_FLOAT64
    for name, weight in w.items():
        assert error(grads[f"{name}_l0"], weight.grad.numpy()) <= PEER_FLOAT64, name


def test_a_normalized_lstm_is_that_of_pytorchs_formula():
    # LayerNormLSTMCell of PyTorch's benchmarks (fastrnns/custom_lstms.py).
    H, norm = 7, torch.nn.functional.layer_norm

    def step(x, states, w):
        h, c = states
        a = norm(x @ w["weight_ih"].T, (4 * H,), w["weight_ln_ih"], w["bias_ih"])
        r = h @ w["weight_hh"].T
        a = a + norm(r, (4 * H,), w["weight_ln_hh"], w["bias_hh"])
        i, f, g, o = a.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        c_hat = norm(c, (H,), w["weight_ln_c"], w["bias_ln_c"])
        return o.sigmoid() * c_hat.tanh(), c

    assert_follows(fastcell.LSTM(3, H, layer_norm=True, dtype="f8", seed=1), step)


def test_a_normalized_gru_is_that_of_the_paper():
    # Ba et al. 2016, appendix: one normalization of r and z, one of the candidate.
    H, norm = 7, torch.nn.functional.layer_norm

    def gates(x, w, which):
        a, gain = x @ w[f"weight_{which}"].T, w[f"weight_ln_{which}"]
        bias = w[f"bias_{which}"]
        rz = norm(a[:, : 2 * H], (2 * H,), gain[: 2 * H], bias[: 2 * H])
        return *rz.chunk(2, 1), norm(a[:, 2 * H :], (H,), gain[2 * H :], bias[2 * H :])

    def step(x, states, w):
        (h,) = states
        (xr, xz, xn), (hr, hz, hn) = gates(x, w, "ih"), gates(h, w, "hh")
        r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
        return ((1 - z) * (xn + r * hn).tanh() + z * h,)

    assert_follows(fastcell.GRU(3, H, layer_norm=True, dtype="f8", seed=1), step)
