"""Cross-entropies with weights and probabilities, and losses without reduction.

The slow twins apply the formulas with Python's own sums.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_losses import (
    DIFFERENCE_TOLERANCE,
    DTYPES,
    assert_near,
    central_differences,
)

from fastcell.losses import (
    binary_cross_entropy,
    cross_entropy,
    ctc,
    huber,
    mae,
    mse,
)

REDUCTIONS = ["mean", "sum", "none"]
ROWS, V = (7, 3), 5

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def total(loss):
    """Return a loss whose reduction may be "none" as one number."""
    return float(np.sum(loss))


# -------------------------------------------------------------------- cross-entropy


def slow_cross_entropy(logits, targets, per_class, per_row, smoothing, reduction):
    """Return the losses of rows, divided as `reduction` says; targets of any kind."""
    num_classes = logits.shape[-1]
    rows = logits.reshape(-1, num_classes).tolist()
    shares = np.broadcast_to(per_row, logits.shape[:-1]).ravel().tolist()
    losses, counted = [], []
    probabilities = targets.ndim == logits.ndim
    aims = targets.reshape(-1, num_classes) if probabilities else targets.ravel()
    for z, aim, share in zip(rows, aims.tolist(), shares, strict=True):
        if aim == -100:
            losses.append(0.0)
            continue
        shift = max(z)
        log_sum = shift + math.log(math.fsum(math.exp(a - shift) for a in z))
        one = aim if probabilities else [float(k == aim) for k in range(num_classes)]
        q = [(1 - smoothing) * p + smoothing / num_classes for p in one]
        terms = (w * p * (log_sum - a) for w, p, a in zip(per_class, q, z, strict=True))
        losses.append(share * math.fsum(terms))
        counted.append(share if probabilities else share * per_class[aim])
    if reduction == "mean":
        losses = [loss / math.fsum(counted) for loss in losses]
    if reduction == "none":
        return np.reshape(losses, logits.shape[:-1])
    return math.fsum(losses)


def classes_of(rng, dtype=None):
    targets = rng.integers(V, size=ROWS)
    targets[1, 2] = targets[5, 0] = -100
    return targets


def probabilities_of(rng, dtype=np.float64):
    targets = rng.random((*ROWS, V))
    return (targets / targets.sum(axis=-1, keepdims=True)).astype(dtype)


WEIGHTS = {
    "none": {},
    "classes": {"weight": [0.5, 2, 0, 1.25, 3]},
    "rows": {"sample_weight": np.linspace(0, 2, 21).reshape(ROWS)},
    "columns": {"sample_weight": [1, 0.25, 3]},  # broadcast
    "both": {
        "weight": [0.5, 2, 0, 1.25, 3],
        "sample_weight": np.linspace(0, 2, 21).reshape(ROWS),
    },
}
every_weight = pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
every_smoothing = pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
either_target = pytest.mark.parametrize("targets_of", [classes_of, probabilities_of])


@every_dtype
@either_target
@every_weight
@every_smoothing
@every_reduction
def test_cross_entropy_is_the_formula(
    rng, dtype, targets_of, weights, smoothing, reduction
):
    logits = (3 * rng.standard_normal((*ROWS, V))).astype(dtype)
    targets = targets_of(rng, dtype)
    loss, dlogits = cross_entropy(
        logits, targets, **weights, label_smoothing=smoothing, reduction=reduction
    )
    expected = slow_cross_entropy(
        logits,
        targets,
        weights.get("weight", [1.0] * V),
        weights.get("sample_weight", 1.0),
        smoothing,
        reduction,
    )
    if reduction == "none":
        assert (loss.shape, loss.dtype) == (ROWS, np.float64)
    else:
        assert type(loss) is float
    assert_near(loss, expected, dtype)
    assert (dlogits.shape, dlogits.dtype) == (logits.shape, dtype)


@either_target
@every_weight
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@every_reduction
def test_cross_entropys_gradient_is_that_of_the_value(
    rng, targets_of, weights, smoothing, reduction
):
    logits = rng.standard_normal((*ROWS, V))
    targets = targets_of(rng)
    options = {**weights, "label_smoothing": smoothing, "reduction": reduction}
    _, dlogits = cross_entropy(logits, targets, **options)
    differences = central_differences(
        lambda z: total(cross_entropy(z, targets, **options)[0]), logits
    )
    assert np.abs(dlogits - differences).max() < DIFFERENCE_TOLERANCE


@either_target
@every_weight
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_float32_gradient_is_near_the_float64_one(
    rng, targets_of, weights, smoothing
):
    logits = (3 * rng.standard_normal((*ROWS, V))).astype(np.float32)
    targets = targets_of(rng, np.float32)
    wide = targets if targets_of is classes_of else targets.astype(np.float64)
    options = {**weights, "label_smoothing": smoothing}
    _, narrow = cross_entropy(logits, targets, **options)
    _, expected = cross_entropy(logits.astype(np.float64), wide, **options)
    assert_near(narrow, expected, np.float32)


@every_smoothing
@every_reduction
def test_weights_of_one_change_nothing(rng, smoothing, reduction):
    logits, targets = rng.standard_normal((*ROWS, V)), classes_of(rng)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    loss, dlogits = cross_entropy(logits, targets, **options)
    for weights in ({"weight": np.ones(V)}, {"sample_weight": np.ones(ROWS)}):
        same, dsame = cross_entropy(logits, targets, **weights, **options)
        assert_near(same, loss, np.float64)
        assert_near(dsame, dlogits, np.float64)


@every_smoothing
def test_probabilities_of_one_class_are_that_class(rng, smoothing):
    logits, targets = rng.standard_normal((9, V)), rng.integers(V, size=9)
    loss, dlogits = cross_entropy(logits, targets, label_smoothing=smoothing)
    same, dsame = cross_entropy(logits, np.eye(V)[targets], label_smoothing=smoothing)
    assert_near(same, loss, np.float64)
    assert_near(dsame, dlogits, np.float64)


def test_a_weight_of_two_counts_as_two_rows(rng):
    logits, targets = rng.standard_normal((4, V)), rng.integers(V, size=4)
    weights = np.array([1, 2, 0, 1])
    index = np.repeat(np.arange(4), weights)
    loss, dlogits = cross_entropy(logits, targets, sample_weight=weights)
    twice, dtwice = cross_entropy(logits[index], targets[index])
    assert_near(loss, twice, np.float64)
    summed = np.zeros_like(logits)
    np.add.at(summed, index, dtwice)
    assert_near(dlogits, summed, np.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@either_target
def test_a_row_of_weight_zero_may_be_anything(rng, targets_of, smoothing):
    logits, targets = rng.standard_normal((*ROWS, V)), targets_of(rng)
    share = rng.random(ROWS)
    share[2, 1] = 0
    options = {
        "sample_weight": share,
        "label_smoothing": smoothing,
        "weight": np.arange(1, V + 1),
    }
    loss, dlogits = cross_entropy(logits, targets, **options)
    logits[2, 1] = np.nan
    other, dother = cross_entropy(logits, targets, **options)
    assert other == loss
    np.testing.assert_array_equal(dother, dlogits)
    assert not dother[2, 1].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(rng, bad):
    logits, targets = rng.standard_normal((5, V)), probabilities_of(rng)[0, :1]
    targets = np.repeat(targets, 5, axis=0)
    _, clean = cross_entropy(logits, targets)
    logits[2, 1] = bad
    loss, dlogits = cross_entropy(logits, targets)
    assert not math.isfinite(loss)
    assert np.isnan(dlogits[2]).all()
    np.testing.assert_array_equal(dlogits[[0, 1, 3, 4]], clean[[0, 1, 3, 4]])


def test_a_class_that_is_excluded_and_not_wanted_costs_nothing():
    logits = np.array([[0.0, -np.inf, 0.0]])
    loss, dlogits = cross_entropy(logits, np.array([[0.25, 0.0, 0.75]]))
    assert loss == pytest.approx(math.log(2), rel=1e-15)
    np.testing.assert_array_equal(dlogits, [[0.25, 0.0, -0.25]])


@either_target
def test_large_logits_do_not_overflow(rng, targets_of):
    logits = np.zeros((*ROWS, V), np.float32)
    logits[..., 0] = 1e38
    loss, dlogits = cross_entropy(
        logits, targets_of(rng, np.float32), weight=np.ones(V), label_smoothing=0.1
    )
    assert math.isfinite(loss)
    assert np.isfinite(dlogits).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@either_target
def test_where_nothing_counts_the_loss_is_zero(rng, targets_of, reduction):
    logits = np.full((*ROWS, V), np.nan)
    for weights in ({"sample_weight": 0}, {"sample_weight": 0, "weight": np.ones(V)}):
        loss, dlogits = cross_entropy(
            logits, targets_of(rng), **weights, reduction=reduction
        )
        assert loss == 0.0
        assert not dlogits.any()


def test_no_row_has_no_losses():
    for targets in (np.zeros((0, 2), int), np.zeros((0, 2, V))):
        loss, dlogits = cross_entropy(np.zeros((0, 2, V)), targets, reduction="none")
        assert loss.shape == (0, 2)
        assert dlogits.shape == (0, 2, V)


@either_target
def test_blocks_of_rows_make_no_difference(rng, targets_of, monkeypatch):
    logits, targets = rng.standard_normal((*ROWS, V)), targets_of(rng)
    options = {"weight": [0.5, 2, 0, 1.25, 3], "label_smoothing": 0.1}
    whole = cross_entropy(logits, targets, **options)
    for block in (1, V, 4 * V + 1):
        monkeypatch.setattr("fastcell.losses.classes._BLOCK", block)
        loss, dlogits = cross_entropy(logits, targets, **options)
        assert_near(loss, whole[0], np.float64)
        np.testing.assert_array_equal(dlogits, whole[1])


Z, T = np.zeros((2, 3)), np.full((2, 3), 1 / 3)


@pytest.mark.parametrize(
    "targets, options, error, message",
    [
        ([0, 1], {"weight": [1, 2]}, ValueError, r"weight.*\(3,\).*\(2,\)"),
        ([0, 1], {"weight": [1, -2, 1]}, ValueError, r"weight.*-2 at \(1,\)"),
        ([0, 1], {"weight": [1, np.nan, 1]}, ValueError, r"weight.*nan at \(1,\)"),
        ([0, 1], {"weight": ["a"] * 3}, TypeError, "weight.*real"),
        ([0, 1], {"weight": 1}, ValueError, r"weight.*\(3,\).*\(\)"),
        ([0, 1], {"sample_weight": [1] * 3}, ValueError, r"sample_weight.*\(2,\)"),
        ([0, 1], {"sample_weight": [[1, 1]]}, ValueError, r"sample_weight.*\(1, 2\)"),
        ([0, 1], {"sample_weight": -1}, ValueError, "sample_weight.*-1"),
        ([0, 1], {"sample_weight": [1, np.inf]}, ValueError, "sample_weight.*inf"),
        (T.astype(np.float32), {}, TypeError, "targets.*float64.*float32"),
        (T[:1], {}, TypeError, r"targets.*\(2, 3\).*\(1, 3\)"),
        (T + 1, {}, ValueError, r"targets.*0 to 1; got 1\.33.* at \(0, 0\)"),
        (T * np.nan, {}, ValueError, "targets.*nan"),
        (T, {"ignore_index": 2}, ValueError, "ignore_index.*negative.*2"),
    ],
)
def test_bad_arguments_of_cross_entropy_are_named(targets, options, error, message):
    with pytest.raises(error, match=message):
        cross_entropy(Z, targets, **options)


# ------------------------------------------------------------- binary cross-entropy

ELEMENTS = {
    "none": {},
    "weight": {"weight": np.linspace(0, 2, 15).reshape(3, 5)},
    "positive": {"pos_weight": 3},
    "of the last axis": {"pos_weight": [0.5, 2, 0, 1.25, 3]},
    "both": {
        "weight": np.linspace(0, 2, 15).reshape(3, 5),
        "pos_weight": [0.5, 2, 0, 1.25, 3],
    },
}
every_element = pytest.mark.parametrize("weights", ELEMENTS.values(), ids=ELEMENTS)


@every_dtype
@every_element
@every_reduction
def test_binary_cross_entropy_is_the_formula(rng, dtype, weights, reduction):
    logits = (4 * rng.standard_normal((3, 5))).astype(dtype)
    targets = rng.random((3, 5)).astype(dtype)
    loss, dlogits = binary_cross_entropy(
        logits, targets, **weights, reduction=reduction
    )
    z, t = logits.astype(np.float64), targets.astype(np.float64)
    w, c = weights.get("weight", 1.0), np.asarray(weights.get("pos_weight", 1.0))
    expected = w * (c * t * np.log1p(np.exp(-z)) + (1 - t) * np.log1p(np.exp(z)))
    if reduction == "none":
        assert loss.dtype == np.float64
    else:
        assert type(loss) is float
        expected = math.fsum(expected.ravel()) / (15 if reduction == "mean" else 1)
    assert_near(loss, expected, dtype)
    assert (dlogits.shape, dlogits.dtype) == (logits.shape, dtype)


@every_element
@every_reduction
def test_binary_cross_entropys_gradient_is_that_of_the_value(rng, weights, reduction):
    logits, targets = rng.standard_normal((3, 5)), rng.random((3, 5))
    options = {**weights, "reduction": reduction}
    _, dlogits = binary_cross_entropy(logits, targets, **options)
    differences = central_differences(
        lambda z: total(binary_cross_entropy(z, targets, **options)[0]), logits
    )
    assert np.abs(dlogits - differences).max() < DIFFERENCE_TOLERANCE


def test_extreme_logits_keep_their_digits_with_weights():
    logits = np.array([40.0, -40.0, 1000.0, -1000.0, 1000.0], np.float32)
    loss, dlogits = binary_cross_entropy(
        logits, [1, 0, 1, 0, 0], pos_weight=2, reduction="sum"
    )
    small = math.exp(-40)
    assert loss == 1000.0
    assert_near(dlogits[:2], [-2 * small, small], np.float32)
    np.testing.assert_array_equal(dlogits[2:], [0, 0, 1])


def test_an_element_of_weight_zero_may_be_anything():
    logits = np.array([0.0, np.nan])
    loss, dlogits = binary_cross_entropy(logits, [1, 1], weight=[1, 0])
    assert loss == pytest.approx(math.log(2) / 2)
    assert dlogits.tolist() == [-0.25, 0.0]


@pytest.mark.parametrize("name", ["weight", "pos_weight"])
@pytest.mark.parametrize(
    "value, error, message",
    [
        ([1, 1, 1], ValueError, r"\(2, 2\).*\(3,\)"),
        (np.ones((1, 2, 2)), ValueError, r"\(2, 2\).*\(1, 2, 2\)"),
        ([1, -1], ValueError, r"-1 at \(1,\)"),
        ([1, np.inf], ValueError, "inf"),
        ("1", TypeError, "real"),
    ],
)
def test_bad_weights_of_elements_are_named(name, value, error, message):
    with pytest.raises(error, match=rf"^{name} must.*{message}"):
        binary_cross_entropy(np.zeros((2, 2)), np.ones((2, 2)), **{name: value})


# -------------------------------------------------------------------- one value each


@every_reduction
def test_the_losses_of_ctc_are_those_of_the_rows(rng, reduction):
    logits = rng.standard_normal((9, 3, 4))
    labels, lengths = np.array([[1, 2], [3, 3], [2, 1]]), [9, 7, 5]
    each, slopes = ctc(logits, labels, lengths, reduction="none")
    assert (each.shape, each.dtype) == ((3,), np.float64)
    alone = [
        ctc(logits[:n, [row]], labels[[row]], reduction="sum")[0]
        for row, n in enumerate(lengths)
    ]
    assert each == pytest.approx(alone, rel=1e-12)
    np.testing.assert_array_equal(
        slopes, ctc(logits, labels, lengths, reduction="sum")[1]
    )


def test_no_row_has_no_losses_of_ctc():
    loss, _ = ctc(np.zeros((4, 0, 3)), np.zeros((0, 2), int), reduction="none")
    assert loss.shape == (0,)


def test_a_scalar_has_a_loss_of_its_own(rng):
    for loss in (binary_cross_entropy, mse, mae, huber):
        each, slope = loss(np.float64(0.5), np.float64(0.25), reduction="none")
        assert each.shape == slope.shape == ()


# --------------------------------------------------------------------------- PyTorch


@pytest.mark.peers
class TestAgainstTorch:
    @either_target
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    @every_reduction
    def test_cross_entropy(self, rng, targets_of, weighted, smoothing, reduction):
        torch = pytest.importorskip("torch")
        logits, targets = rng.standard_normal((*ROWS, V)), targets_of(rng)
        weight = np.array([0.5, 2, 0, 1.25, 3]) if weighted else None
        x = torch.tensor(logits, requires_grad=True)
        rows = torch.tensor(targets)
        expected = torch.nn.functional.cross_entropy(
            x.reshape(-1, V),
            rows.reshape(-1, V) if targets.ndim == 3 else rows.reshape(-1),
            weight=None if weight is None else torch.tensor(weight),
            label_smoothing=smoothing,
            reduction=reduction,
        )
        expected.sum().backward()
        loss, dlogits = cross_entropy(
            logits,
            targets,
            weight=weight,
            label_smoothing=smoothing,
            reduction=reduction,
        )
        assert_near(np.ravel(loss), expected.detach().numpy().ravel(), np.float64)
        assert_near(dlogits, x.grad.numpy(), np.float64)

    @every_element
    @every_reduction
    def test_binary_cross_entropy(self, rng, weights, reduction):
        torch = pytest.importorskip("torch")
        logits, targets = 3 * rng.standard_normal((3, 5)), rng.random((3, 5))
        x = torch.tensor(logits, requires_grad=True)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            x,
            torch.tensor(targets),
            reduction=reduction,
            **{n: torch.tensor(w, dtype=x.dtype) for n, w in weights.items()},
        )
        expected.sum().backward()
        loss, dlogits = binary_cross_entropy(
            logits, targets, **weights, reduction=reduction
        )
        assert_near(loss, expected.detach().numpy(), np.float64)
        assert_near(dlogits, x.grad.numpy(), np.float64)
