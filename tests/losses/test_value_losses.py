"""Squared, absolute and Huber errors: weights, gaps in the targets, reductions.

The slow twin applies the formulas with Python's own sums.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_losses import DIFFERENCE_TOLERANCE, assert_near, central_differences
from test_weighted_losses import REDUCTIONS, every_dtype, every_reduction, total

from fastcell.losses import huber, mae, mse

VALUES = {"mse": mse, "mae": mae, "huber": huber}

every_value_loss = pytest.mark.parametrize("name", VALUES)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def slow_value_loss(name, difference, delta=1.0):
    size = abs(difference)
    if name == "mse":
        return size**2
    if name == "mae":
        return size
    return size**2 / 2 if size <= delta else delta * (size - delta / 2)


def values_of(rng, dtype=np.float64):
    predictions, targets = 2 * rng.standard_normal((2, 7, 3)).astype(dtype)
    weight = rng.random((7, 3))
    weight[1, 1] = 0
    return predictions, targets, weight


@every_dtype
@every_value_loss
@every_reduction
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_value_losses_are_the_formula(rng, dtype, name, reduction, weighted, gaps):
    predictions, targets, weight = values_of(rng, dtype)
    options = {"weight": weight} if weighted else {}
    if gaps:
        targets[[0, 4], [2, 0]] = np.nan
        options["ignore_nan"] = True
    loss, slopes = VALUES[name](predictions, targets, **options, reduction=reduction)
    w = np.where(np.isnan(targets), 0, weight if weighted else 1.0)
    differences = (predictions.astype(np.float64) - targets).tolist()
    each = np.zeros(w.shape)
    for at in zip(*np.nonzero(w), strict=True):
        each[at] = w[at] * slow_value_loss(name, differences[at[0]][at[1]])
    if reduction == "none":
        assert_near(loss, each, dtype)
    else:
        assert type(loss) is float
        by = math.fsum(w.ravel()) if reduction == "mean" else 1
        assert_near(loss, math.fsum(each.ravel()) / by, dtype)
    assert (slopes.shape, slopes.dtype) == (predictions.shape, dtype)
    assert not slopes[w == 0].any()


@every_value_loss
@every_reduction
@pytest.mark.parametrize("delta", [0.1, 0.5, 3.0])
def test_gradients_of_value_losses_are_those_of_the_values(rng, name, reduction, delta):
    predictions, targets, weight = values_of(rng)
    predictions, targets = predictions / 4, targets / 4  # for sums of the size of 1
    targets[3, 2] = np.nan
    options = {"weight": weight, "ignore_nan": True, "reduction": reduction}
    if name == "huber":
        options["delta"] = delta
    _, slopes = VALUES[name](predictions, targets, **options)
    differences = central_differences(
        lambda y: total(VALUES[name](y, targets, **options)[0]), predictions
    )
    assert np.abs(slopes - differences).max() < DIFFERENCE_TOLERANCE


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_huber_is_the_squared_error_near_and_the_absolute_one_far(delta):
    d = np.array([0.0, 0.3, -0.4, delta, -delta, 5.0, -1e30, np.inf])
    loss, slopes = huber(d, np.zeros(8), delta=delta, reduction="none")
    expected = [slow_value_loss("huber", x, delta) for x in d.tolist()]
    assert loss == pytest.approx(expected, rel=1e-15)
    assert slopes.tolist() == np.clip(d, -delta, delta).tolist()


@every_value_loss
def test_a_target_that_is_nan_counts_unless_it_is_ignored(name):
    predictions, targets = np.array([1.0, 2.0]), np.array([np.nan, 4.0])
    loss, slopes = VALUES[name](predictions, targets)
    assert math.isnan(loss)
    assert math.isnan(slopes[0])
    alone, dalone = VALUES[name](predictions[1:], targets[1:])
    loss, slopes = VALUES[name](predictions, targets, ignore_nan=True)
    assert loss == alone
    assert slopes.tolist() == [0.0, *dalone.tolist()]


@every_value_loss
def test_predictions_that_are_nan_count_where_targets_are_ignored(name):
    loss, _ = VALUES[name](np.array([np.nan, 2.0]), np.ones(2), ignore_nan=True)
    assert math.isnan(loss)
    loss, slopes = VALUES[name](
        np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), ignore_nan=True
    )
    assert loss == 0.0
    assert slopes.tolist() == [0.0, 0.0]


@every_value_loss
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gaps_alone_are_a_loss_of_zero(name, reduction):
    loss, slopes = VALUES[name](
        np.ones(3), np.full(3, np.nan), ignore_nan=True, reduction=reduction
    )
    assert loss == 0.0
    assert not slopes.any()


@every_value_loss
def test_blocks_of_values_make_no_difference(rng, name, monkeypatch):
    predictions, targets, weight = values_of(rng)
    for reduction in REDUCTIONS:
        options = {"weight": weight, "reduction": reduction}
        whole = VALUES[name](predictions, targets, **options)
        monkeypatch.setattr("fastcell.losses.values.BLOCK", 4)
        loss, slopes = VALUES[name](predictions, targets, **options)
        monkeypatch.undo()
        assert_near(loss, whole[0], np.float64)
        np.testing.assert_array_equal(slopes, whole[1])


@every_value_loss
@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"weight": [1, 2, 3]}, ValueError, r"weight.*\(2,\).*\(3,\)"),
        ({"weight": [1, -2]}, ValueError, "weight.*-2"),
        ({"weight": [1, np.nan]}, ValueError, "weight.*nan"),
        ({"ignore_nan": 1}, TypeError, "ignore_nan.*1"),
    ],
)
def test_bad_options_of_value_losses_are_named(name, options, error, message):
    with pytest.raises(error, match=message):
        VALUES[name](np.ones(2), np.ones(2), **options)


@pytest.mark.parametrize("delta", [0, -1, math.nan, math.inf])
def test_delta_is_above_zero(delta):
    with pytest.raises(ValueError, match="delta"):
        huber(np.ones(2), np.ones(2), delta=delta)


@pytest.mark.peers
class TestAgainstTorch:
    @every_value_loss
    @every_reduction
    @pytest.mark.parametrize("weighted", [False, True])
    def test_values(self, rng, name, reduction, weighted):
        torch = pytest.importorskip("torch")
        functional = torch.nn.functional
        theirs = {
            "mse": functional.mse_loss,
            "mae": functional.l1_loss,
            "huber": functional.huber_loss,
        }[name]
        predictions, targets, weight = values_of(rng)
        options = {"delta": 0.7} if name == "huber" else {}
        x = torch.tensor(predictions, requires_grad=True)
        given = {"weight": torch.tensor(weight)} if weighted else {}
        expected = theirs(
            x, torch.tensor(targets), reduction=reduction, **options, **given
        )
        if name == "huber" and weighted and reduction == "mean":
            # Of all losses there, this one divides by the number of elements.
            expected = expected * weight.size / weight.sum()
        expected.sum().backward()
        loss, slopes = VALUES[name](
            predictions,
            targets,
            weight=weight if weighted else None,
            reduction=reduction,
            **options,
        )
        assert_near(loss, expected.detach().numpy(), np.float64)
        assert_near(slopes, x.grad.numpy(), np.float64)
