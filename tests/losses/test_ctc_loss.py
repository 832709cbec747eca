"""CTC loss against sums over all paths and central differences; bad arguments."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from fastcell.losses import ctc

# Relative to the largest element; the sums over paths are of some hundred terms.
TOLERANCE = {np.float64: 1e-13, np.float32: 1e-6}
# Central differences of float64 with this step: the square of the step, and rounding
# of 1e-16 / 1e-5 of a loss of some tens.
DIFFERENCE_STEP = 1e-5
DIFFERENCE_TOLERANCE = 2e-9


def collapse(path, blank):
    """Return what is left of a path: runs made one, and then the blanks taken out."""
    return [k for k, _ in itertools.groupby(path) if k != blank]


def probability(logits, labels, blank):
    """Sum over all paths of one row, (T, V), that give the labels."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    y = e / e.sum(axis=1, keepdims=True)
    return math.fsum(
        math.prod(y[t, k] for t, k in enumerate(path))
        for path in itertools.product(range(logits.shape[1]), repeat=len(logits))
        if collapse(path, blank) == list(labels)
    )


def slow_ctc(logits, labels, lengths, label_lengths, blank, reduction):
    losses = []
    for b, (length, count) in enumerate(zip(lengths, label_lengths, strict=True)):
        found = probability(logits[:length, b].astype(float), labels[b, :count], blank)
        loss = -math.log(found) if found else math.inf
        losses.append(loss / max(count, 1) if reduction == "mean" else loss)
    return math.fsum(losses) / (len(losses) if reduction == "mean" else 1)


def problem(seed, dtype=np.float64, fits=True):
    """Return logits, labels, lengths, label lengths and the blank, all drawn."""
    rng = np.random.default_rng(seed)
    T, B, V, L = (int(rng.integers(*r)) for r in ((1, 7), (1, 5), (2, 5), (0, 5)))
    blank = int(rng.integers(V))
    labels = rng.choice([k for k in range(V) if k != blank], (B, L))
    lengths = rng.integers(0, T + 1, B)
    label_lengths = rng.integers(0, L + 1, B)
    if fits:
        for b in range(B):
            while (
                label_lengths[b] and needed(labels[b, : label_lengths[b]]) > lengths[b]
            ):
                label_lengths[b] -= 1
    logits = 2 * rng.standard_normal((T, B, V))
    return logits.astype(dtype), labels, lengths, label_lengths, blank


def needed(labels):
    return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("seed", range(30))
def test_loss_is_the_sum_over_all_paths(dtype, reduction, seed):
    logits, labels, lengths, label_lengths, blank = problem(seed, dtype)
    loss, dlogits = ctc(
        logits, labels, lengths, label_lengths, blank=blank, reduction=reduction
    )
    expected = slow_ctc(logits, labels, lengths, label_lengths, blank, reduction)
    assert type(loss) is float
    assert abs(loss - expected) <= TOLERANCE[dtype] * max(1, abs(expected))
    assert dlogits.shape == logits.shape
    assert dlogits.dtype == dtype


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("seed", range(10))
def test_gradient_is_the_central_difference(reduction, seed, isa):
    logits, labels, lengths, label_lengths, blank = problem(100 + seed)
    rest = labels, lengths, label_lengths
    options = {"blank": blank, "reduction": reduction}
    _, dlogits = ctc(logits, *rest, **options)
    for at in np.ndindex(logits.shape):
        ahead, behind = logits.copy(), logits.copy()
        ahead[at] += DIFFERENCE_STEP
        behind[at] -= DIFFERENCE_STEP
        change = ctc(ahead, *rest, **options)[0] - ctc(behind, *rest, **options)[0]
        difference = change / (2 * DIFFERENCE_STEP)
        assert abs(dlogits[at] - difference) < DIFFERENCE_TOLERANCE


def test_float32_gradient_is_near_the_float64_one():
    rng = np.random.default_rng(0)
    logits = (3 * rng.standard_normal((80, 6, 11))).astype(np.float32)
    labels = rng.integers(1, 11, (6, 20))
    narrow, dnarrow = ctc(logits, labels)
    wide, dwide = ctc(logits.astype(np.float64), labels)
    assert narrow == pytest.approx(wide, rel=1e-13)  # the same sums in double
    assert np.abs(dnarrow - dwide).max() <= 6e-8 * np.abs(dwide).max()


def test_gradient_sums_to_zero_over_the_classes_and_is_zero_past_the_lengths():
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((9, 3, 5))
    _, dlogits = ctc(logits, rng.integers(1, 5, (3, 2)), [9, 5, 7], reduction="sum")
    assert np.abs(dlogits.sum(axis=2)).max() < 1e-14
    assert not dlogits[5:, 1].any()
    assert not dlogits[7:, 2].any()
    assert dlogits[4, 1].any()


def test_labels_and_frames_past_the_lengths_do_not_matter():
    rng = np.random.default_rng(2)
    logits = rng.standard_normal((6, 2, 4))
    labels = np.array([[1, 2, -7], [3, 99, 0]])
    loss, dlogits = ctc(logits, labels, [6, 4], [2, 1])
    logits[4:, 1] = np.nan
    labels[0, 2], labels[1, 1:] = 1, 2
    again, dagain = ctc(logits, labels, [6, 4], [2, 1])
    assert loss == again
    np.testing.assert_array_equal(dlogits, dagain)


def test_no_lengths_are_all_steps_and_all_labels():
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((6, 2, 4)), rng.integers(1, 4, (2, 3))
    loss, dlogits = ctc(logits, labels)
    again, dagain = ctc(logits, labels, [6, 6], [3, 3])
    assert loss == again
    np.testing.assert_array_equal(dlogits, dagain)


def test_no_label_is_blanks_all_along():
    logits = np.random.default_rng(4).standard_normal((5, 1, 3))
    expected = np.log(np.exp(logits).sum(axis=2)) - logits[..., 0]
    assert ctc(logits, [[]])[0] == pytest.approx(expected.sum(), rel=1e-13)


def test_no_step_and_no_label_is_certain():
    loss, dlogits = ctc(np.zeros((0, 2, 3)), np.zeros((2, 0), int))
    assert loss == 0.0
    assert dlogits.shape == (0, 2, 3)


def test_no_row_is_a_loss_of_zero():
    loss, dlogits = ctc(np.zeros((4, 0, 3)), np.zeros((0, 2), int))
    assert loss == 0.0
    assert dlogits.shape == (4, 0, 3)


# Labels that need more than the three steps there are.
TOO_LONG = [[1, 2, 1, 2], [1, 1, 2], [2, 2, 2]]


@pytest.mark.parametrize("labels", TOO_LONG)
def test_labels_that_do_not_fit_are_infinitely_far(labels):
    logits = np.random.default_rng(5).standard_normal((3, 2, 3))
    both = np.array([labels, [1] * len(labels)])
    loss, dlogits = ctc(logits, both, None, [len(labels), 1])
    assert loss == math.inf
    assert np.isnan(dlogits[:, 0]).all()
    assert np.isfinite(dlogits[:, 1]).all()


@pytest.mark.parametrize("labels", TOO_LONG)
def test_zero_infinity_leaves_such_rows_out(labels):
    logits = np.random.default_rng(6).standard_normal((3, 2, 3))
    both = np.array([labels, [1] * len(labels)])
    loss, dlogits = ctc(
        logits, both, None, [len(labels), 1], reduction="sum", zero_infinity=True
    )
    alone, dalone = ctc(logits[:, 1:], both[1:, :1], reduction="sum")
    assert loss == alone
    assert not dlogits[:, 0].any()
    np.testing.assert_array_equal(dlogits[:, 1:], dalone)


def test_probabilities_beyond_double_do_not_underflow():
    # 2,000 steps whose every label is 2,000 below the blank: log P is -4 million.
    logits = np.zeros((2000, 1, 3), np.float32)
    logits[:, :, 0] = 2000
    labels = np.tile([1, 2], 1000)[np.newaxis]
    loss, dlogits = ctc(logits, labels, reduction="sum")
    assert loss == pytest.approx(2000 * 2000, rel=1e-12)
    np.testing.assert_array_equal(dlogits[:, 0, 0], 1)


def test_minus_infinity_excludes_a_class():
    logits = np.zeros((2, 1, 3))
    logits[:, :, 2] = -np.inf  # two classes, even: three of four paths give the label
    loss, dlogits = ctc(logits, [[1]])
    assert loss == pytest.approx(-math.log(0.75), rel=1e-14)
    assert not dlogits[:, :, 2].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_row(bad):
    logits = np.random.default_rng(7).standard_normal((4, 3, 3))
    labels = [[1], [2], [1]]
    _, clean = ctc(logits, labels)
    logits[2, 1, 0] = bad
    loss, dlogits = ctc(logits, labels)
    assert math.isnan(loss)
    assert np.isnan(dlogits[:, 1]).all()
    np.testing.assert_array_equal(dlogits[:, [0, 2]], clean[:, [0, 2]])


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_make_no_difference(threads, set_threads):
    rng = np.random.default_rng(8)
    logits, labels = rng.standard_normal((120, 9, 12)), rng.integers(1, 12, (9, 30))
    lengths = rng.integers(70, 121, 9)
    set_threads(1)
    loss, dlogits = ctc(logits, labels, lengths)
    set_threads(threads)
    again, dagain = ctc(logits, labels, lengths)
    assert loss == again
    np.testing.assert_array_equal(dlogits, dagain)


def test_inputs_stay_and_memory_order_makes_no_difference():
    rng = np.random.default_rng(9)
    logits, labels = rng.standard_normal((5, 3, 4)), rng.integers(1, 4, (3, 2))
    before = logits.copy(), labels.copy()
    loss, dlogits = ctc(logits, labels)
    turned = ctc(np.asfortranarray(logits), np.asfortranarray(labels.astype(np.uint8)))
    assert loss == turned[0]
    np.testing.assert_array_equal(dlogits, turned[1])
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(labels, before[1])


Z = np.zeros((4, 2, 3))


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((Z.astype(int), [[1], [1]]), {}, TypeError, "logits.*int64"),
        ((Z[0], [[1], [1]]), {}, ValueError, r"logits.*\(T, B, V\).*\(2, 3\)"),
        ((Z[..., :0], [[1], [1]]), {}, ValueError, "logits"),
        ((Z, [[1.0], [1.0]]), {}, TypeError, "labels.*float64"),
        ((Z, [1, 1]), {}, ValueError, r"labels.*\(B, L\).*\(2,\)"),
        ((Z, [[1]]), {}, ValueError, r"labels.*B = 2.*\(1, 1\)"),
        ((Z, [[1, 1], [2, 3]]), {}, ValueError, r"labels.*0 to 2.*got 3 at \(1, 1\)"),
        ((Z, [[1, -1], [2, 2]]), {}, ValueError, r"labels.*got -1 at \(0, 1\)"),
        ((Z, [[1], [0]]), {}, ValueError, r"labels.*blank, 0; got 0 at \(1, 0\)"),
        ((Z, [[1], [2]]), {"blank": 2}, ValueError, r"blank, 2; got 2 at \(1, 0\)"),
        ((Z, [[1], [1]], [4, 5]), {}, ValueError, "lengths.*0 to 4; got 5 in row 1"),
        ((Z, [[1], [1]], [-1, 4]), {}, ValueError, "lengths.*got -1 in row 0"),
        ((Z, [[1], [1]], [4.0, 4.0]), {}, TypeError, "lengths.*float64"),
        ((Z, [[1], [1]], [4]), {}, ValueError, r"lengths.*\(2,\).*\(1,\)"),
        (
            (Z, [[1], [1]], None, [1, 2]),
            {},
            ValueError,
            "label_lengths.*got 2 in row 1",
        ),
        ((Z, [[1], [1]]), {"blank": 3}, ValueError, "blank.*0 to 2; got 3"),
        ((Z, [[1], [1]]), {"blank": 0.0}, TypeError, "blank.*0.0"),
        ((Z, [[1], [1]]), {"reduction": "all"}, ValueError, "reduction.*'all'"),
        ((Z, [[1], [1]]), {"zero_infinity": 1}, TypeError, "zero_infinity.*1"),
    ],
)
def test_bad_argument_is_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        ctc(*arguments, **options)
