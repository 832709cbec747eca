"""`recurrent_grad_clip`: gradients of h are bounded from step to step."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import by_name, joined, same_bits, split
from tolerances import GRADIENT_FLOAT64, error

import fastcell

CLIP = 0.02


def layer_of(cell, clip, **options):
    I, H = 4, 9  # noqa: E741
    return cell.layer(
        I, H, dtype=np.float64, seed=0, recurrent_grad_clip=clip, **options
    )


def batch(T=6, B=3, uneven=False):
    random = np.random.default_rng(1)
    x = random.standard_normal((T, B, 4))
    if not uneven:
        return x, {}
    return x, {
        "lengths": np.array([T, T // 2, T - 1])[:B],
        "mask": random.random((T, B)) < 0.7,
        "reset": random.random((T, B)) < 0.2,
    }


def trained(layer, x, dstate=None, **sequence):
    y, _, saved = layer.forward(x, **sequence)
    dx, dstate_in, grads = layer.backward(np.cos(y), saved, dstate)
    return [dx, *split(dstate_in), *grads.values()]


def by_single_steps(cell, layer, x, dstate):
    """Return `trained` of whole sequences, by steps of a layer without a clip."""
    plain = layer_of(cell, None, num_layers=layer.num_layers)
    state, steps = None, []
    for x_t in x:
        y, state, saved = plain.forward(x_t[np.newaxis], state)
        steps.append((y, saved))
    dx, grads = [], {name: np.zeros_like(p) for name, p in plain.params.items()}
    for t, (y, saved) in reversed(list(enumerate(steps))):
        dx_t, dstate, _ = plain.backward(np.cos(y), saved, dstate, add_to=grads)
        dx.insert(0, dx_t)
        if t:
            h, *others = split(dstate)
            dstate = joined((np.clip(h, -CLIP, CLIP), *others))
    return [np.concatenate(dx), *split(dstate), *grads.values()]


@by_name
def test_gradients_are_those_of_steps_with_a_clip_between(cell, isa):
    layer, (x, _) = layer_of(cell, CLIP, num_layers=2), batch()
    _, final = layer(x)
    dstate = joined(
        tuple(np.sin(np.arange(s.size)).reshape(s.shape) for s in split(final))
    )
    got = trained(layer, x, dstate)
    expected = by_single_steps(cell, layer, x, dstate)
    for a, b in zip(got, expected, strict=True):
        assert error(a, b) <= GRADIENT_FLOAT64
    unclipped = trained(layer_of(cell, None, num_layers=2), x, dstate)
    assert error(got[0], unclipped[0]) > 1e-3


@by_name
def test_a_clip_that_never_holds_changes_no_bit(cell):
    x, sequence = batch(uneven=True)
    plain, clipped = (
        trained(layer_of(cell, clip, bidirectional=True, num_layers=2), x, **sequence)
        for clip in (None, 1e6)
    )
    assert all(map(same_bits, plain, clipped))


@pytest.mark.parametrize("uneven", [False, True], ids=["even", "uneven"])
@by_name
def test_budgets_and_threads_change_no_bit(cell, uneven):
    x, sequence = batch(T=40, uneven=uneven)
    layer = layer_of(cell, CLIP, num_layers=2)
    whole = trained(layer, x, **sequence)
    nbytes = layer.forward(x, **sequence)[2].nbytes
    for budget in (nbytes - 1, nbytes // 4, 0):
        again = trained(layer, x, memory_budget=budget, **sequence)
        assert all(map(same_bits, again, whole))
    before = fastcell.get_num_threads()
    try:
        fastcell.set_num_threads(4)
        assert all(map(same_bits, trained(layer, x, **sequence), whole))
    finally:
        fastcell.set_num_threads(before)


def test_a_team_clips_its_units(monkeypatch):
    layer = fastcell.LSTM(5, 200, num_heads=2, recurrent_grad_clip=1e-3, seed=0)
    x = np.random.default_rng(3).standard_normal((60, 1, 5)).astype(np.float32)
    before = fastcell.get_num_threads()
    try:
        fastcell.set_num_threads(1)
        alone = trained(layer, x)
        fastcell.set_num_threads(4)
        assert all(map(same_bits, trained(layer, x), alone))
    finally:
        fastcell.set_num_threads(before)


def test_sequences_do_not_depend_on_batch_mates():
    x, _ = batch(B=3)
    layer = fastcell.GRU(4, 9, dtype=np.float64, recurrent_grad_clip=CLIP, seed=0)
    whole = trained(layer, x)[0]
    lengths = np.array([6, 4, 2])
    uneven = trained(layer, x, lengths=lengths)[0]
    for row, length in enumerate(lengths):
        alone = trained(layer, x[:length, row : row + 1])[0]
        assert same_bits(uneven[:length, row : row + 1], alone)
    assert same_bits(whole[:, :1], uneven[:, :1])


def test_the_gradient_of_the_final_state_is_not_clipped():
    layer = fastcell.LSTM(4, 9, dtype=np.float64, recurrent_grad_clip=1e-3, seed=0)
    x, _ = batch(T=1)
    y, _, saved = layer.forward(x)
    dx = layer.backward(y, saved)[0]
    last, _, saved = layer.forward(x, outputs="last")
    assert same_bits(layer.backward(last, saved)[0], dx)
    _, _, saved = layer.forward(x)
    assert same_bits(layer.backward(None, saved, (y, None))[0], dx)


def test_resets_keep_episodes_apart():
    layer = fastcell.GRU(4, 9, dtype=np.float64, recurrent_grad_clip=CLIP, seed=0)
    x, _ = batch(T=6)
    reset = np.zeros((6, 3), bool)
    reset[2] = True
    dx = trained(layer, x, reset=reset)[0]
    assert same_bits(dx[2:], trained(layer, x[2:])[0])
    assert same_bits(dx[:2], trained(layer, x[:2])[0])


def test_config_and_files_keep_it(tmp_path):
    layer = fastcell.MGU(3, 4, recurrent_grad_clip=0.5, seed=0)
    fastcell.save(layer, tmp_path / "layer.safetensors")
    again = fastcell.load(tmp_path / "layer.safetensors")
    assert again.config() == layer.config()
    assert again.config()["recurrent_grad_clip"] == 0.5
    assert "recurrent_grad_clip" not in fastcell.MGU(3, 4).config()


@pytest.mark.parametrize("clip", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_wrong_clip_is_refused(clip):
    with pytest.raises(ValueError, match="recurrent_grad_clip must be a finite number"):
        fastcell.GRU(3, 4, recurrent_grad_clip=clip)
    with pytest.raises(TypeError, match="recurrent_grad_clip"):
        fastcell.GRU(3, 4, recurrent_grad_clip="1")
