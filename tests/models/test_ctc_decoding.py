"""CTC decoding against sums over all paths; edit distance by its definition."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest

from fastcell.losses import ctc
from fastcell.models.search.ctc_decoding import greedy, prefix_beam_search
from fastcell.models.search.edit_distance import count_errors, edit_distance


def collapse(path, blank):
    return tuple(int(k) for k, _ in itertools.groupby(path) if k != blank)


def all_labels(logits, blank):
    """Return the probability of every sequence of labels of one row, (T, V)."""
    y = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = defaultdict(float)
    for path in itertools.product(range(y.shape[1]), repeat=len(y)):
        found[collapse(path, blank)] += np.prod([y[t, k] for t, k in enumerate(path)])
    return found


def ragged(seed, T=5, B=4, V=3, spread=1.0):
    rng = np.random.default_rng(seed)
    return spread * rng.standard_normal((T, B, V)), rng.integers(0, T + 1, B)


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_the_best_path_made_short(seed, blank):
    logits, lengths = ragged(seed, T=30, V=4)
    found = greedy(logits, lengths, blank)
    for b, length in enumerate(lengths):
        path = logits[:length, b].argmax(axis=1)
        assert tuple(found[b]) == collapse(path, blank)


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_a_beam_that_drops_nothing_is_exact(seed, blank):
    logits, lengths = ragged(seed, spread=2)
    found = prefix_beam_search(logits, lengths, 200, blank)
    for b, length in enumerate(lengths):
        wanted = all_labels(logits[:length, b], blank)
        assert {tuple(labels) for labels, _ in found[b]} == set(wanted)
        assert len(found[b]) == len(wanted)  # none twice
        scores = [score for _, score in found[b]]
        assert scores == sorted(scores, reverse=True)
        for labels, score in found[b]:
            assert np.exp(score) == pytest.approx(wanted[tuple(labels)], rel=1e-12)


@pytest.mark.parametrize("beam_size", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_a_narrow_beam_loses_probability_and_never_makes_any(seed, beam_size):
    logits, _ = ragged(seed, T=7)
    found = prefix_beam_search(logits, None, beam_size)
    for b in range(4):
        wanted = all_labels(logits[:, b], 0)
        assert 1 <= len(found[b]) <= beam_size
        for labels, score in found[b]:
            assert np.exp(score) <= wanted[tuple(labels)] * (1 + 1e-12)


def test_a_beam_of_some_width_finds_the_best_labels_mostly():
    right = 0
    for seed in range(25):
        logits, _ = ragged(seed, T=7, spread=2)
        found = prefix_beam_search(logits, None, 8)
        for b in range(4):
            wanted = all_labels(logits[:, b], 0)
            right += tuple(found[b][0][0]) == max(wanted, key=wanted.get)
    assert right >= 95


def test_score_is_minus_the_loss():
    logits, lengths = ragged(3, T=6)
    lengths = np.maximum(lengths, 1)
    for b, beams in enumerate(prefix_beam_search(logits, lengths, 500)):
        for labels, score in beams:
            row = logits[: lengths[b], b : b + 1]
            loss, _ = ctc(row, np.array([labels], int).reshape(1, -1), reduction="sum")
            assert score == pytest.approx(-loss, rel=1e-12, abs=1e-12)


def test_beginnings_that_return_after_they_were_dropped_are_told_apart():
    # Narrow beams over many steps: whatever is kept, no labels stand there twice.
    rng = np.random.default_rng(0)
    logits = 0.1 * rng.standard_normal((40, 3, 3))
    for beams in prefix_beam_search(logits, None, 12):
        labels = [tuple(labels) for labels, _ in beams]
        assert len(set(labels)) == len(labels)


def test_rows_do_not_know_of_one_another():
    logits, lengths = ragged(4, T=8)
    together = prefix_beam_search(logits, lengths, 6)
    for b, length in enumerate(lengths):
        alone = prefix_beam_search(logits[:length, b : b + 1], None, 6)[0]
        assert [labels for labels, _ in alone] == [x for x, _ in together[b]]


def test_what_stands_past_the_lengths_does_not_matter():
    logits, _ = ragged(5)
    lengths = [5, 3, 0, 2]
    before = greedy(logits, lengths), prefix_beam_search(logits, lengths)
    logits[3:, 1] = logits[:, 2] = np.nan
    assert (greedy(logits, lengths), prefix_beam_search(logits, lengths)) == before
    assert before[0][2] == []


def test_an_excluded_class_is_never_found():
    logits, _ = ragged(6)
    logits[..., 2] = -np.inf
    assert not any(2 in labels for labels in greedy(logits))
    for beams in prefix_beam_search(logits, None, 100):
        assert not any(2 in labels for labels, _ in beams)


@pytest.mark.parametrize("decode", [greedy, prefix_beam_search])
@pytest.mark.parametrize(
    "logits, options, message",
    [
        (np.zeros((2, 3)), {}, r"logits.*\(T, B, V\)"),
        (np.zeros((2, 1, 3), int), {}, "logits.*int64"),
        (np.full((2, 1, 3), np.nan), {}, "logits.*NaN"),
        (np.full((2, 1, 3), np.inf), {}, "logits.*infinite"),
        (np.zeros((2, 1, 3)), {"lengths": [3]}, "lengths.*0 to 2.*3"),
        (np.zeros((2, 1, 3)), {"lengths": [1, 1]}, r"lengths.*\(1,\)"),
        (np.zeros((2, 1, 3)), {"blank": 3}, "blank.*0 to 2; got 3"),
    ],
)
def test_bad_arguments_are_named(decode, logits, options, message):
    with pytest.raises(ValueError, match=message):
        decode(logits, **options)


def test_a_beam_of_none_is_refused():
    with pytest.raises(ValueError, match="beam_size"):
        prefix_beam_search(np.zeros((2, 1, 3)), None, 0)


def slow_distance(a, b):
    """By the definition: the last two are kept, replaced, or one is taken out."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        slow_distance(a[:-1], b[:-1]) + (a[-1] != b[-1]),
        slow_distance(a[:-1], b) + 1,
        slow_distance(a, b[:-1]) + 1,
    )


def test_edit_distance_is_its_definition():
    rng = np.random.default_rng(0)
    for _ in range(60):
        a, b = (rng.integers(0, 3, rng.integers(0, 6)).tolist() for _ in range(2))
        assert edit_distance(a, b) == slow_distance(a, b) == edit_distance(b, a)


def test_errors_are_summed_over_pairs():
    assert count_errors([[1], [], [1, 2]], [[1], [2, 2], [2, 1]]) == (4, 5)
    with pytest.raises(ValueError):
        count_errors([[1]], [])
