"""Losses and gradients against slow float64 references; bad arguments."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from fastcell.losses import binary_cross_entropy, cross_entropy, huber, mae, mse

# Relative to the largest element. float64: the twin rounds as often as the function.
# float32: a few roundings of 6e-8 in logits of up to 10.
TOLERANCE = {np.float64: 1e-13, np.float32: 2e-6}
# Central differences with a step of 1e-5 in float64: the square of the step, and
# rounding of 1e-16 / 1e-5.
DIFFERENCE_STEP = 1e-5
DIFFERENCE_TOLERANCE = 1e-9

DTYPES = [np.float32, np.float64]


def assert_near(actual, expected, dtype):
    expected = np.asarray(expected)
    scale = max(1e-30, float(np.abs(expected).max(initial=0)))
    error = np.abs(np.asarray(actual, np.float64) - expected).max(initial=0)
    assert error <= TOLERANCE[dtype] * scale


def central_differences(function, x):
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += DIFFERENCE_STEP
        behind[index] -= DIFFERENCE_STEP
        gradient[index] = (function(ahead) - function(behind)) / (2 * DIFFERENCE_STEP)
    return gradient


def slow_cross_entropy(logits, targets, ignore_index, label_smoothing, reduction):
    """Apply the formula, one row after the other, with Python's own sums."""
    num_classes = logits.shape[-1]
    losses = []
    for row, target in zip(
        logits.reshape(-1, num_classes).tolist(), targets.reshape(-1), strict=True
    ):
        if target == ignore_index:
            continue
        shift = max(row)
        log_sum = shift + math.log(math.fsum(math.exp(z - shift) for z in row))
        wanted = [label_smoothing / num_classes] * num_classes
        wanted[target] += 1 - label_smoothing
        losses.append(
            math.fsum(q * (log_sum - z) for q, z in zip(wanted, row, strict=True))
        )
    total = math.fsum(losses)
    return total / len(losses) if reduction == "mean" and losses else total


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# Shapes of the targets, and V: odd ones, none at all, and rows of several blocks.
SHAPES = [((), 3), ((1,), 1), ((7, 3), 9), ((2, 1, 5), 33), ((0, 4), 5), ((9001,), 2)]


class TestCrossEntropy:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape, num_classes", SHAPES)
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
    def test_value_is_the_formula(
        self, rng, dtype, shape, num_classes, reduction, smoothing
    ):
        logits = (3 * rng.standard_normal((*shape, num_classes))).astype(dtype)
        targets = rng.integers(num_classes, size=shape)
        loss, dlogits = cross_entropy(
            logits, targets, label_smoothing=smoothing, reduction=reduction
        )
        expected = slow_cross_entropy(logits, targets, -100, smoothing, reduction)
        assert type(loss) is float
        assert_near(loss, expected, dtype)
        assert dlogits.shape == logits.shape
        assert dlogits.dtype == dtype

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_gradient_is_that_of_the_value(self, rng, reduction, smoothing):
        logits = rng.standard_normal((5, 3, 7))
        targets = rng.integers(7, size=(5, 3))
        targets[1, 2] = targets[4, 0] = -1
        options = {
            "ignore_index": -1,
            "label_smoothing": smoothing,
            "reduction": reduction,
        }
        _, dlogits = cross_entropy(logits, targets, **options)
        differences = central_differences(
            lambda z: cross_entropy(z, targets, **options)[0], logits
        )
        assert np.abs(dlogits - differences).max() < DIFFERENCE_TOLERANCE

    def test_float32_gradient_is_near_the_float64_one(self, rng):
        logits = (3 * rng.standard_normal((700, 65))).astype(np.float32)
        targets = rng.integers(65, size=700)
        for smoothing in (0.0, 0.2):
            _, narrow = cross_entropy(logits, targets, label_smoothing=smoothing)
            _, wide = cross_entropy(
                logits.astype(np.float64), targets, label_smoothing=smoothing
            )
            assert_near(narrow, wide, np.float32)

    def test_blocks_make_no_difference(self, rng, monkeypatch):
        logits = rng.standard_normal((50, 11))
        targets = rng.integers(11, size=50)
        _, whole = cross_entropy(logits, targets)
        for block in (1, 11, 100):
            monkeypatch.setattr("fastcell.losses.classes._BLOCK", block)
            loss, dlogits = cross_entropy(logits, targets)
            expected = slow_cross_entropy(logits, targets, -100, 0.0, "mean")
            assert_near(loss, expected, np.float64)
            np.testing.assert_array_equal(dlogits, whole)

    def test_ignored_rows_count_for_nothing(self, rng):
        logits = rng.standard_normal((6, 4))
        targets = np.array([0, -100, 3, -100, 1, -100])
        kept = targets != -100
        loss, dlogits = cross_entropy(logits, targets)
        alone, dalone = cross_entropy(logits[kept], targets[kept])
        assert loss == alone
        np.testing.assert_array_equal(dlogits[kept], dalone)
        assert not dlogits[~kept].any()

    def test_ignore_index_may_be_a_class(self, rng):
        logits = rng.standard_normal((3, 4))
        loss, dlogits = cross_entropy(logits, [2, 0, 2], ignore_index=2)
        assert loss == cross_entropy(logits[1:2], [0])[0]
        assert not dlogits[[0, 2]].any()

    @pytest.mark.parametrize("shape", [(5,), (0,), (2, 0)])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_nothing_counted_is_a_loss_of_zero(self, shape, reduction):
        logits = np.full((*shape, 3), np.nan, np.float32)
        loss, dlogits = cross_entropy(logits, np.full(shape, -100), reduction=reduction)
        assert loss == 0.0
        assert dlogits.shape == logits.shape
        assert dlogits.dtype == np.float32
        assert not dlogits.any()

    def test_large_logits_do_not_overflow(self):
        logits = np.array([[1e38, 0, -1e38], [-3e38, -3e38, -3e38]], np.float32)
        loss, dlogits = cross_entropy(logits, [0, 1], reduction="sum")
        assert loss == pytest.approx(math.log(3), rel=1e-6)
        assert_near(dlogits, [[0, 0, 0], [1 / 3, -2 / 3, 1 / 3]], np.float32)

    def test_minus_infinity_excludes_a_class(self):
        loss, dlogits = cross_entropy(np.array([[0.0, -np.inf, 0.0]]), [2])
        assert loss == pytest.approx(math.log(2), rel=1e-15)
        np.testing.assert_array_equal(dlogits, [[0.5, 0.0, -0.5]])

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_nan_and_infinity_stay_in_their_row(self, rng, bad):
        logits = rng.standard_normal((4, 3)).astype(np.float32)
        _, clean = cross_entropy(logits, [0, 1, 2, 0])
        logits[2, 1] = bad
        loss, dlogits = cross_entropy(logits, [0, 1, 2, 0])
        assert not math.isfinite(loss)
        assert np.isnan(dlogits[2]).all()
        np.testing.assert_array_equal(dlogits[[0, 1, 3]], clean[[0, 1, 3]])

    def test_nan_in_an_ignored_row_does_not_matter(self, rng):
        logits = rng.standard_normal((3, 5))
        logits[1] = np.nan
        loss, dlogits = cross_entropy(logits, [0, -100, 2])
        assert math.isfinite(loss)
        assert not dlogits[1].any()

    def test_sum_is_accumulated_in_float64(self):
        # Each row adds log 2. In float32 the sum of a million of them is off by 1e-3.
        count = 1_000_000
        loss, _ = cross_entropy(
            np.zeros((count, 2), np.float32), np.zeros(count, int), reduction="sum"
        )
        assert loss == pytest.approx(count * math.log(2), rel=1e-10)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
    def test_targets_of_any_integer_dtype(self, rng, dtype):
        logits = rng.standard_normal((3, 5))
        expected = cross_entropy(logits, np.array([4, 0, 2]))
        loss, dlogits = cross_entropy(logits, np.array([4, 0, 2], dtype))
        assert loss == expected[0]
        np.testing.assert_array_equal(dlogits, expected[1])

    def test_memory_order_makes_no_difference_and_inputs_stay(self, rng):
        logits = rng.standard_normal((4, 6, 5))
        targets = rng.integers(5, size=(4, 6))
        before = logits.copy(), targets.copy()
        loss, dlogits = cross_entropy(logits, targets)
        turned = cross_entropy(np.asfortranarray(logits), np.asfortranarray(targets))
        assert loss == turned[0]
        np.testing.assert_array_equal(dlogits, turned[1])
        np.testing.assert_array_equal(logits, before[0])
        np.testing.assert_array_equal(targets, before[1])

    @pytest.mark.parametrize("target", [-1, 5, 2**40])
    def test_target_out_of_range_is_named(self, target):
        targets = np.zeros((2, 3), int)
        targets[1, 2] = target
        with pytest.raises(ValueError, match=rf"0 to 4.*got {target} at \(1, 2\)"):
            cross_entropy(np.zeros((2, 3, 5)), targets)

    def test_no_class_is_no_range(self):
        with pytest.raises(ValueError, match="targets must be classes"):
            cross_entropy(np.zeros((1, 0)), [0])

    @pytest.mark.parametrize(
        "arguments, options, error, message",
        [
            ((np.zeros((2, 3), int), [0, 1]), {}, TypeError, "logits.*int64"),
            ((np.zeros((2, 3), np.float16), [0, 1]), {}, TypeError, "logits.*float16"),
            ((np.zeros((2, 3)), [0.0, 1.0]), {}, TypeError, "targets.*float64"),
            ((np.zeros((2, 3)), [True, False]), {}, TypeError, "targets.*bool"),
            ((np.float64(1.0), 0), {}, ValueError, r"logits.*\(\.\.\., V\)"),
            ((np.zeros((2, 3)), [0]), {}, ValueError, r"targets.*\(2,\).*\(1,\)"),
            (
                (np.zeros((2, 3)), [[0, 1, 2]] * 2),
                {},
                ValueError,
                r"targets.*\(2,\).*\(2, 3\)",
            ),
            (
                (np.zeros((1, 3)), [0]),
                {"label_smoothing": 1.5},
                ValueError,
                "label_smoothing.*1.5",
            ),
            (
                (np.zeros((1, 3)), [0]),
                {"label_smoothing": math.nan},
                ValueError,
                "label_smoothing.*nan",
            ),
            (
                (np.zeros((1, 3)), [0]),
                {"ignore_index": 1.0},
                TypeError,
                "ignore_index.*1.0",
            ),
            (
                (np.zeros((1, 3)), [0]),
                {"reduction": "median"},
                ValueError,
                "reduction.*'median'",
            ),
        ],
    )
    def test_bad_argument_is_named(self, arguments, options, error, message):
        with pytest.raises(error, match=message):
            cross_entropy(*arguments, **options)


class TestBinaryCrossEntropy:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(), (1,), (7, 3, 5), (0, 2), (20011,)])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_value_is_the_formula(self, rng, dtype, shape, reduction):
        logits = (4 * rng.standard_normal(shape)).astype(dtype)
        targets = rng.random(shape).astype(dtype)
        loss, dlogits = binary_cross_entropy(logits, targets, reduction=reduction)
        terms = [
            t * math.log1p(math.exp(-z)) + (1 - t) * math.log1p(math.exp(z))
            for z, t in zip(logits.ravel().tolist(), targets.ravel(), strict=True)
        ]
        expected = math.fsum(terms)
        if reduction == "mean":
            expected /= max(1, len(terms))
        assert type(loss) is float
        assert_near(loss, expected, dtype)
        assert dlogits.shape == shape
        assert dlogits.dtype == dtype

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_gradient_is_that_of_the_value(self, rng, reduction):
        logits = rng.standard_normal((4, 3, 5))
        for targets in (rng.random((4, 3, 5)), rng.random((4, 3, 5)) < 0.5):
            _, dlogits = binary_cross_entropy(logits, targets, reduction=reduction)
            differences = central_differences(
                lambda z, t=targets: binary_cross_entropy(z, t, reduction=reduction)[0],
                logits,
            )
            assert np.abs(dlogits - differences).max() < DIFFERENCE_TOLERANCE

    def test_sum_is_accumulated_in_float64(self):
        count = 1_000_000
        zeros = np.zeros(count, np.float32)
        loss, _ = binary_cross_entropy(zeros, zeros, reduction="sum")
        assert loss == pytest.approx(count * float(np.log(np.float32(2))), rel=1e-10)

    def test_extreme_logits_keep_their_digits(self):
        # The gradient of a right prediction is tiny, not zero; nothing overflows.
        logits = np.array([40.0, -40.0, 1000.0, -1000.0, 1000.0], np.float32)
        targets = np.array([1, 0, 1, 0, 0])
        loss, dlogits = binary_cross_entropy(logits, targets, reduction="sum")
        small = math.exp(-40)
        assert loss == 1000.0
        assert_near(dlogits[:2], [-small, small], np.float32)
        np.testing.assert_array_equal(dlogits[2:], [0, 0, 1])

    @pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64])
    def test_bool_and_integer_targets(self, rng, dtype):
        logits = rng.standard_normal(9).astype(np.float32)
        targets = rng.random(9) < 0.5
        expected = binary_cross_entropy(logits, targets.astype(np.float32))
        loss, dlogits = binary_cross_entropy(logits, targets.astype(dtype))
        assert loss == expected[0]
        assert dlogits.dtype == np.float32
        np.testing.assert_array_equal(dlogits, expected[1])

    def test_nan_stays_in_its_element(self):
        loss, dlogits = binary_cross_entropy(np.array([0.0, np.nan]), [1, 1])
        assert math.isnan(loss)
        assert dlogits[0] == -0.25
        assert math.isnan(dlogits[1])

    @pytest.mark.parametrize("target", [-0.1, 1.1, np.nan])
    def test_target_that_is_no_probability_is_named(self, target):
        with pytest.raises(ValueError, match=rf"0 to 1; got {target} at \(1, 0\)"):
            binary_cross_entropy(np.zeros((2, 1)), np.array([[0.0], [target]]))

    @pytest.mark.parametrize(
        "logits, targets, error, message",
        [
            (np.zeros(2, int), [0, 1], TypeError, "logits.*int64"),
            (np.zeros(2, np.float32), np.zeros(2), TypeError, "targets.*float64"),
            (np.zeros(2), np.zeros((2, 1)), ValueError, r"\(2,\).*\(2, 1\)"),
            (np.zeros(2), [0, 2], ValueError, r"got 2 at \(1,\)"),
        ],
    )
    def test_bad_argument_is_named(self, logits, targets, error, message):
        with pytest.raises(error, match=message):
            binary_cross_entropy(logits, targets)


class TestMse:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(), (1,), (7, 3, 5), (0, 2), (20011,)])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_value_and_gradient_are_the_formula(self, rng, dtype, shape, reduction):
        predictions = rng.standard_normal(shape).astype(dtype)
        targets = rng.standard_normal(shape).astype(dtype)
        loss, dpredictions = mse(predictions, targets, reduction=reduction)
        difference = predictions.astype(np.float64) - targets.astype(np.float64)
        count = max(1, difference.size) if reduction == "mean" else 1
        assert type(loss) is float
        assert_near(loss, math.fsum(difference.ravel() ** 2) / count, dtype)
        assert dpredictions.shape == shape
        assert dpredictions.dtype == dtype
        assert_near(dpredictions, 2 * difference / count, dtype)

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_gradient_is_that_of_the_value(self, rng, reduction):
        predictions, targets = rng.standard_normal((2, 4, 3))
        _, dpredictions = mse(predictions, targets, reduction=reduction)
        differences = central_differences(
            lambda y: mse(y, targets, reduction=reduction)[0], predictions
        )
        assert np.abs(dpredictions - differences).max() < DIFFERENCE_TOLERANCE

    def test_large_differences_do_not_overflow(self):
        loss, _ = mse(np.array([1e30], np.float32), np.array([0], np.float32))
        assert loss == pytest.approx(1e60, rel=1e-6)

    @pytest.mark.parametrize(
        "predictions, targets, error, message",
        [
            ([1, 2], [1, 2], TypeError, "predictions.*int64"),
            ([1.0, 2.0], [1, 2], TypeError, "targets.*float64.*int64"),
            ([1.0, 2.0], [1.0], ValueError, r"targets.*\(2,\).*\(1,\)"),
        ],
    )
    def test_bad_argument_is_named(self, predictions, targets, error, message):
        with pytest.raises(error, match=message):
            mse(predictions, targets)

    def test_unknown_reduction_is_named(self):
        for loss in (huber, mae, mse, binary_cross_entropy):
            with pytest.raises(ValueError, match=r"reduction.*'median'"):
                loss([1.0], np.array([1.0]), reduction="median")


class TestMae:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(), (1,), (7, 3, 5), (0, 2), (20011,)])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_value_and_gradient_are_the_formula(self, rng, dtype, shape, reduction):
        predictions = rng.standard_normal(shape).astype(dtype)
        targets = rng.standard_normal(shape).astype(dtype)
        loss, dpredictions = mae(predictions, targets, reduction=reduction)
        difference = predictions.astype(np.float64) - targets.astype(np.float64)
        count = max(1, difference.size) if reduction == "mean" else 1
        assert type(loss) is float
        assert_near(loss, math.fsum(np.abs(difference).ravel()) / count, dtype)
        assert dpredictions.shape == shape
        assert dpredictions.dtype == dtype
        assert_near(dpredictions, np.sign(difference) / count, dtype)

    def test_equal_values_have_no_gradient(self):
        assert mae(np.array([2.0]), np.array([2.0]))[1].tolist() == [0.0]

    @pytest.mark.parametrize(
        "predictions, targets, error, message",
        [
            ([1, 2], [1, 2], TypeError, "predictions.*int64"),
            ([1.0, 2.0], [1, 2], TypeError, "targets.*float64.*int64"),
            ([1.0, 2.0], [1.0], ValueError, r"targets.*\(2,\).*\(1,\)"),
        ],
    )
    def test_bad_argument_is_named(self, predictions, targets, error, message):
        with pytest.raises(error, match=message):
            mae(predictions, targets)


def test_cross_entropy_of_two_classes_is_the_binary_one(rng):
    score = rng.standard_normal(20)
    targets = rng.integers(2, size=20)
    both = np.stack([np.zeros(20), score], axis=1)
    loss, dlogits = cross_entropy(both, targets)
    binary, dscore = binary_cross_entropy(score, targets)
    assert_near(loss, binary, np.float64)
    assert_near(dlogits[:, 1], dscore, np.float64)


def test_gradient_descent_lowers_each_loss(rng):
    x = rng.standard_normal((8, 3))
    for loss, targets in (
        (cross_entropy, rng.integers(3, size=8)),
        (binary_cross_entropy, rng.integers(2, size=(8, 3))),
        (mse, rng.standard_normal((8, 3))),
    ):
        y, values = x.copy(), []
        for _ in range(20):
            value, gradient = loss(y, targets)
            values.append(value)
            y -= gradient
        assert all(after < before for before, after in pairwise(values))


@pytest.mark.peers
class TestAgainstTorch:
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_cross_entropy(self, rng, smoothing, reduction):
        torch = pytest.importorskip("torch")
        logits = rng.standard_normal((30, 9))
        targets = rng.integers(9, size=30)
        targets[3] = -100
        x = torch.tensor(logits, requires_grad=True)
        expected = torch.nn.functional.cross_entropy(
            x,
            torch.tensor(targets),
            label_smoothing=smoothing,
            reduction=reduction,
        )
        expected.backward()
        loss, dlogits = cross_entropy(
            logits, targets, label_smoothing=smoothing, reduction=reduction
        )
        assert_near(loss, expected.item(), np.float64)
        assert_near(dlogits, x.grad.numpy(), np.float64)

    @pytest.mark.parametrize("name", ["binary_cross_entropy", "mae", "mse"])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_elementwise(self, rng, name, reduction):
        torch = pytest.importorskip("torch")
        ours, theirs = {
            "binary_cross_entropy": (
                binary_cross_entropy,
                torch.nn.functional.binary_cross_entropy_with_logits,
            ),
            "mae": (mae, torch.nn.functional.l1_loss),
            "mse": (mse, torch.nn.functional.mse_loss),
        }[name]
        x, targets = 3 * rng.standard_normal((5, 7)), rng.random((5, 7))
        tensor = torch.tensor(x, requires_grad=True)
        expected = theirs(tensor, torch.tensor(targets), reduction=reduction)
        expected.backward()
        loss, gradient = ours(x, targets, reduction=reduction)
        assert_near(loss, expected.item(), np.float64)
        assert_near(gradient, tensor.grad.numpy(), np.float64)
