"""LanguageModel: loss, gradient, state, and generation."""

import json
import math

import numpy as np
import pytest

import fastcell
from fastcell.cells import REGISTRY
from fastcell.losses import cross_entropy
from fastcell.models import LanguageModel, Model
from fastcell.models.search.sampling import draw_tokens, token_probabilities

CELLS = ("rnn", *REGISTRY)
DIFFERENCE = 1e-6  # of a central difference in float64
GRADIENT_TOLERANCE = 1e-7  # its rounding, 1e-16 / 1e-6, with room, plus O(1e-12)


def ids_of(shape, vocab_size, seed=0):
    return np.random.default_rng(seed).integers(0, vocab_size, shape)


def batch_of(shape, vocab_size, seed=0):
    return ids_of(shape, vocab_size, seed), ids_of(shape, vocab_size, seed + 1)


def output_size(cell, hidden_size):
    """The features that a cell gives: less than its units if it projects."""
    project = REGISTRY[cell].proj_size if cell in REGISTRY else None
    return project(hidden_size) if project else hidden_size


def leaves(state):
    """The arrays of a state, which is h, or (h, c)."""
    return list(state) if isinstance(state, tuple) else [state]


@pytest.fixture(params=CELLS)
def model(request):
    return LanguageModel(7, 5, 9, 2, request.param, dtype=np.float64, seed=1)


# ------------------------------------------------------------------ loss and gradient


def test_loss_is_cross_entropy_of_predictions(model):
    inputs, targets = batch_of((5, 3), 7)
    logits, _ = model.predict(inputs)
    expected, _ = cross_entropy(logits, targets)
    loss, _ = model.loss((inputs, targets))
    assert loss == pytest.approx(expected, rel=1e-12)


def test_evaluate_equals_loss_without_dropout(model):
    batch = batch_of((5, 3), 7)
    loss, saved = model.loss(batch)
    evaluated, state = model.evaluate(batch)
    assert evaluated == pytest.approx(loss, rel=1e-12)
    for mine, theirs in zip(leaves(state), leaves(saved.state), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_is_the_central_difference_of_the_loss(cell, tied):
    width = output_size(cell, 5)
    model = LanguageModel(
        4, width, 5, 2, cell, tie_weights=tied, dtype=np.float64, seed=2
    )
    batch = batch_of((4, 3), 4)
    _, saved = model.loss(batch_of((3, 3), 4, seed=5))
    state = saved.state
    _, saved = model.loss(batch, state)
    grads = model.backward(saved)
    rng = np.random.default_rng(0)
    for name, array in model.params.arrays().items():
        for at in rng.integers(0, array.size, 6):
            index = np.unravel_index(at, array.shape)
            before = array[index]
            losses = []
            for change in (DIFFERENCE, -DIFFERENCE):
                array[index] = before + change
                model.params.changed()
                losses.append(model.loss(batch, state)[0])
            array[index] = before
            model.params.changed()
            difference = (losses[0] - losses[1]) / (2 * DIFFERENCE)
            assert grads[name][index] == pytest.approx(
                difference, abs=GRADIENT_TOLERANCE
            ), name


def test_gradients_are_keyed_like_the_parameters(model):
    _, saved = model.loss(batch_of((3, 2), 7))
    grads = model.backward(saved)
    arrays = model.params.arrays()
    assert set(grads) == set(arrays) == set(model.state_dict())
    for name, grad in grads.items():
        assert (grad.shape, grad.dtype) == (arrays[name].shape, arrays[name].dtype)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_parameter_names_do_not_depend_on_dropout(dropout):
    model = LanguageModel(3, 2, 4, dropout=dropout)
    assert list(model.state_dict()) == [
        "embedding.weight",
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
        "rnn.bias_ih_l0",
        "rnn.bias_hh_l0",
        "decoder.weight",
        "decoder.bias",
    ]


def test_saved_values_serve_once(model):
    _, saved = model.loss(batch_of((3, 2), 7))
    model.backward(saved)
    with pytest.raises(ValueError, match="saved"):
        model.backward(saved)


def test_state_after_a_batch_survives_backward(model):
    batch = batch_of((5, 3), 7)
    _, saved = model.loss(batch)
    state = saved.state
    before = [array.copy() for array in leaves(state)]
    model.backward(saved)
    for array, copy in zip(leaves(state), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_two_windows_with_carried_state_equal_one(model):
    inputs, targets = batch_of((7, 3), 7)
    whole, _ = model.evaluate((inputs, targets))
    first, state = model.evaluate((inputs[:3], targets[:3]))
    second, _ = model.evaluate((inputs[3:], targets[3:]), state)
    assert (3 * first + 4 * second) / 7 == pytest.approx(whole, rel=1e-12)


def test_sequences_with_lengths_stand_alone(model):
    from fastcell.data import Sequences

    sequences = [ids_of(n, 7, n) for n in (4, 6, 1)]
    targets = [ids_of(len(s), 7, len(s) + 10) for s in sequences]
    batch = Sequences(sequences, targets, 3)[0]
    loss, saved = model.loss(batch)
    assert saved.state is None
    assert set(model.backward(saved)) == set(model.state_dict())
    assert model.count(batch) == 11
    evaluated, state = model.evaluate(batch)
    assert state is None
    alone = [
        len(s) * model.evaluate((s[:, np.newaxis], t[:, np.newaxis]))[0]
        for s, t in zip(sequences, targets, strict=True)
    ]
    assert loss == pytest.approx(sum(alone) / 11, rel=1e-12)
    assert evaluated == pytest.approx(loss, rel=1e-12)


def test_ignored_targets_are_not_counted(model):
    inputs, targets = batch_of((4, 2), 7)
    targets[1:, 0] = -100
    assert model.count((inputs, targets)) == 5
    logits, _ = model.predict(inputs)
    rows = logits[targets != -100]
    expected, _ = cross_entropy(rows, targets[targets != -100])
    assert model.loss((inputs, targets))[0] == pytest.approx(expected, rel=1e-12)


def test_loss_falls_on_a_repeating_text():
    model = LanguageModel(4, 8, 16, seed=0)
    optimizer = fastcell.optim.Adam(model.params, lr=0.02)
    ids = np.tile([0, 1, 2, 2, 3], 12)[:, np.newaxis]
    batch = ids[:-1], ids[1:]
    first, _ = model.evaluate(batch)
    for _ in range(80):
        _, saved = model.loss(batch)
        optimizer.step(model.backward(saved))
    last, _ = model.evaluate(batch)
    assert first > 1.0
    assert last < 0.1
    assert model.generate([0, 1], 6, temperature=0).tolist() == [2, 2, 3, 0, 1, 2]


def test_bits_per_character_are_nats_over_log_2():
    assert LanguageModel(2, 1, 1).metrics(math.log(8)) == {"bpc": pytest.approx(3.0)}


# ------------------------------------------------------------------ dropout and seeds


def test_dropout_changes_training_and_nothing_else():
    model = LanguageModel(5, 6, 7, 2, dropout=0.5, seed=0)
    plain = LanguageModel(5, 6, 7, 2, seed=0)
    batch = batch_of((6, 2), 5)
    assert model.loss(batch)[0] != model.loss(batch)[0]
    assert model.evaluate(batch)[0] == plain.evaluate(batch)[0]


def test_restored_generators_repeat_the_dropout():
    model = LanguageModel(5, 6, 7, 2, dropout=0.5, seed=0)
    batch = batch_of((6, 2), 5)
    state = json.loads(json.dumps(model.rng_state()))
    first = model.loss(batch)[0]
    model.set_rng_state(state)
    assert model.loss(batch)[0] == first


def test_equal_seeds_give_equal_weights():
    one, same, other = (LanguageModel(5, 4, 3, seed=s).state_dict() for s in (3, 3, 4))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name])
        assert (one[name] != other[name]).any()


# ----------------------------------------------------------------------- tied weights


def test_tied_weights_are_one_array():
    model = LanguageModel(5, 4, 4, tie_weights=True, seed=0)
    assert "decoder.weight" not in model.state_dict()
    untied = LanguageModel(5, 4, 4, seed=0)
    assert sum(a.size for a in model.params.arrays().values()) == (
        sum(a.size for a in untied.params.arrays().values()) - 20
    )


def test_tied_weights_stay_tied_in_training():
    model = LanguageModel(5, 4, 4, tie_weights=True, seed=0)
    batch = batch_of((6, 2), 5)
    optimizer = fastcell.optim.SGD(model.params, lr=0.5)
    _, saved = model.loss(batch)
    optimizer.step(model.backward(saved))
    twin = LanguageModel(5, 4, 4, seed=0)
    weights = model.state_dict()
    twin.load_state_dict({**weights, "decoder.weight": weights["embedding.weight"]})
    assert model.evaluate(batch)[0] == pytest.approx(twin.evaluate(batch)[0], rel=1e-6)


# ------------------------------------------------------------------------- generation


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.7}]
)
def test_generation_repeats_with_its_seed(model, options):
    one, same, other = (
        model.generate([1, 2], 40, seed=seed, **options) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("options", [{"top_k": 1}, {"temperature": 0}])
def test_greedy_generation_takes_the_largest_score_of_the_whole(model, options):
    prompt = ids_of((4, 3), 7)
    tokens = model.generate(prompt, 9, seed=0, **options)
    whole = np.concatenate([prompt, tokens])
    logits, _ = model.predict(whole[:-1])
    np.testing.assert_array_equal(tokens, logits[3:].argmax(axis=-1))


def test_sampled_tokens_follow_the_predictions_on_the_whole(model):
    prompt = ids_of((4,), 7)
    tokens = model.generate(prompt, 12, temperature=0.7, top_k=4, seed=3)
    logits, _ = model.predict(np.concatenate([prompt, tokens])[:-1, np.newaxis])
    random = np.random.default_rng(3)
    for t, token in enumerate(tokens):
        p = token_probabilities(logits[3 + t], 0.7, 4)
        assert draw_tokens(p, random)[0] == token


def test_generated_tokens_have_the_shape_of_the_prompt(model):
    assert model.generate([1], 5).shape == (5,)
    assert model.generate(np.ones((2, 3), int), 5).shape == (5, 3)
    assert model.generate([1], 0).shape == (0,)


def test_text_continues_text():
    model = LanguageModel(4, 3, 5, vocabulary="helo", seed=0)
    ids = model.generate([0, 1], 8, seed=2)
    assert model.generate("he", 8, seed=2) == "".join("helo"[i] for i in ids)


def test_tokens_are_drawn_in_proportion():
    p = np.array([0.1, 0.0, 0.6, 0.3])
    tokens = draw_tokens(np.tile(p, (20000, 1)), np.random.default_rng(0))
    shares = np.bincount(tokens, minlength=4) / 20000
    # Five standard deviations of a share of 20,000 draws.
    np.testing.assert_allclose(shares, p, atol=5 * math.sqrt(0.25 / 20000))
    assert shares[1] == 0


class Always:
    """A generator whose every number is the same."""

    def __init__(self, number):
        self.number = number

    def random(self, shape):
        return np.full(shape, self.number)


def test_extreme_uniform_numbers_draw_possible_tokens():
    p = np.array([[0.2, 0.7, 0.1, 0.0], [0.0, 0.0, 1.0, 0.0]])
    assert draw_tokens(p, Always(np.nextafter(1.0, 0.0))).tolist() == [2, 2]
    assert draw_tokens(p, Always(0.0)).tolist() == [0, 2]


def test_temperature_divides_the_scores():
    logits = np.array([1.0, -2.0, 0.5])
    expected = np.exp(logits / 0.3) / np.exp(logits / 0.3).sum()
    np.testing.assert_allclose(token_probabilities(logits, 0.3), expected)


def test_top_k_keeps_k_tokens_and_the_lower_of_equals():
    p = token_probabilities(np.array([0.0, 1.0, 1.0, 1.0, -1.0]), top_k=2)
    np.testing.assert_allclose(p, [0, 0.5, 0.5, 0, 0])


def test_top_k_above_the_vocabulary_keeps_all():
    logits = np.array([0.0, 1.0, 2.0])
    np.testing.assert_array_equal(
        token_probabilities(logits, top_k=9), token_probabilities(logits)
    )


@pytest.mark.parametrize(
    ("top_p", "kept"), [(1e-9, 1), (0.49, 1), (0.51, 2), (0.81, 3), (1.0, 4)]
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
    logits = np.log([0.15, 0.5, 0.3, 0.05])
    p = token_probabilities(logits, top_p=top_p)
    order = [1, 2, 0, 3]
    assert np.flatnonzero(p).tolist() == sorted(order[:kept])
    assert p.sum() == pytest.approx(1.0)
    assert p[1] / p.sum() == pytest.approx(0.5 / sum([0.5, 0.3, 0.15, 0.05][:kept]))


def test_top_p_counts_the_probability_left_by_top_k():
    # Of 0.4, 0.3, 0.2, 0.1 the two first are 4/7 and 3/7 of what top_k leaves.
    logits = np.log([0.4, 0.3, 0.2, 0.1])
    assert np.count_nonzero(token_probabilities(logits, top_k=2, top_p=0.5)) == 1
    assert np.count_nonzero(token_probabilities(logits, top_p=0.5)) == 2


def test_tiny_temperature_is_greedy():
    p = token_probabilities(np.array([1.0, 3.0, 2.0]), 1e-308)
    np.testing.assert_array_equal(p, [0, 1, 0])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="logits"):
        token_probabilities(np.array([0.0, bad]))


# -------------------------------------------------------------------- saving, loading


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_saved_model_loads_with_its_vocabulary(tmp_path, cell, tied):
    width = output_size(cell, 6)
    model = LanguageModel(
        4, width, 6, 2, cell, 0.25, tied, seed=4, vocabulary=["h", "\n", "é", "o"]
    )
    path = tmp_path / "model.safetensors"
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    assert isinstance(loaded, LanguageModel)
    assert loaded.config() == model.config()
    assert loaded.vocabulary.symbols == ("h", "\n", "é", "o")
    ids = ids_of((5, 2), 4)
    np.testing.assert_array_equal(loaded.predict(ids)[0], model.predict(ids)[0])


def test_config_survives_json(model):
    config = json.loads(json.dumps(model.config()))
    assert type(model).from_config(config).config() == model.config()


# -------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"vocab_size": 0}, ValueError, "vocab_size"),
        ({"embedding_dim": -1}, ValueError, "embedding_dim"),
        ({"hidden_size": 2.0}, TypeError, "hidden_size"),
        ({"num_layers": 0}, ValueError, "num_layers"),
        ({"cell": "transformer"}, ValueError, "cell"),
        ({"dropout": 1.0}, ValueError, "dropout"),
        ({"dropout": math.nan}, ValueError, "dropout"),
        ({"tie_weights": True}, ValueError, "embedding_dim"),
        ({"tie_weights": 1}, TypeError, "tie_weights"),
        ({"dtype": np.int32}, TypeError, "dtype"),
        ({"seed": -1}, ValueError, "seed"),
        ({"vocabulary": "abc"}, ValueError, "vocabulary"),
        ({"vocabulary": "abca"}, ValueError, "symbols"),
    ],
)
def test_bad_constructor_arguments_are_named(arguments, error, match):
    good = {"vocab_size": 4, "embedding_dim": 3, "hidden_size": 5}
    with pytest.raises(error, match=match):
        LanguageModel(**{**good, **arguments})


@pytest.mark.parametrize(
    ("batch", "error", "match"),
    [
        (np.zeros((2, 3), int), TypeError, "batch"),
        ((np.zeros((2, 3)), np.zeros((2, 3), int)), TypeError, "inputs"),
        ((np.zeros((2, 3), int), np.zeros((2, 3))), TypeError, "targets"),
        ((np.zeros(2, int), np.zeros(2, int)), ValueError, r"inputs .*\(T, B\)"),
        ((np.zeros((2, 3), int), np.zeros((3, 2), int)), ValueError, "targets"),
        ((np.full((2, 3), 7), np.zeros((2, 3), int)), ValueError, "inputs .*got 7"),
        ((np.zeros((2, 3), int), np.full((2, 3), -1)), ValueError, "targets .*got -1"),
    ],
)
def test_bad_batches_are_named(model, batch, error, match):
    with pytest.raises(error, match=match):
        model.loss(batch)
    with pytest.raises(error, match=match):
        model.evaluate(batch)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"prompt": []}, ValueError, "prompt"),
        ({"prompt": [0.5]}, TypeError, "prompt"),
        ({"prompt": [7]}, ValueError, "prompt"),
        ({"prompt": np.zeros((1, 1, 1), int)}, ValueError, "prompt"),
        ({"prompt": "text"}, ValueError, "vocabulary"),
        ({"length": -1}, ValueError, "length"),
        ({"length": 1.5}, TypeError, "length"),
        ({"temperature": -0.1}, ValueError, "temperature"),
        ({"temperature": math.inf}, ValueError, "temperature"),
        ({"temperature": "1"}, TypeError, "temperature"),
        ({"top_k": 0}, ValueError, "top_k"),
        ({"top_k": 1.5}, TypeError, "top_k"),
        ({"top_p": 0.0}, ValueError, "top_p"),
        ({"top_p": 1.1}, ValueError, "top_p"),
        ({"top_p": math.nan}, ValueError, "top_p"),
    ],
)
def test_bad_arguments_of_generate_are_named(model, arguments, error, match):
    with pytest.raises(error, match=match):
        model.generate(**{"prompt": [1], "length": 3, **arguments})


def test_unknown_symbols_are_named():
    model = LanguageModel(4, 3, 5, vocabulary="helo")
    with pytest.raises(ValueError, match="'x'"):
        model.generate("hex", 3)


def test_model_without_all_methods_cannot_be_made():
    class Half(Model):
        def loss(self, batch, state=None):
            return 0.0, None

    with pytest.raises(TypeError, match="abstract"):
        Half()
