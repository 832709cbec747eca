"""Decoding: greedy, sampling and beam search against plain searches."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from refusals import refuses
from tolerances import FORWARD, error

from fastcell.models import Seq2Seq
from fastcell.models.search.beam_search import (
    beam_search,
    largest_of,
    length_penalty_of,
)
from fastcell.models.search.decode import decode
from fastcell.models.search.sampling import token_probabilities

BOS, EOS = 2, 3
MARKS = {"bos": BOS, "eos": EOS}


class Table:
    """A decoder whose scores depend on the sequence and its last two tokens."""

    def __init__(self, sequences, before, last):
        self.sequences, self.before, self.last = sequences, before, last

    def select(self, rows, sequences=None):
        return Table(self.sequences[rows], self.before[rows], self.last[rows])


def table_of(count, vocab_size, seed=0, dtype=np.float64):
    """A step function with random scores, and its first state."""
    random = np.random.default_rng(seed)
    shape = (count, vocab_size, vocab_size, vocab_size)
    scores = random.standard_normal(shape).astype(dtype) * 2

    def step(tokens, state):
        after = Table(state.sequences, state.last, tokens)
        return scores[after.sequences, after.before, after.last].copy(), after

    start = Table(np.arange(count), np.zeros(count, int), np.zeros(count, int))
    return step, start, scores


def log_probabilities(scores, sequence, before, last):
    row = scores[sequence, before, last].astype(float)
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


def everything(scores, sequence, max_length, power):
    """All answers of a sequence with their scores, the best first."""
    vocab_size = scores.shape[-1]
    answers = []

    def extend(said, total, before, last):
        if len(said) == max_length:
            answers.append((total / length_penalty_of(len(said), power), said))
            return
        p = log_probabilities(scores, sequence, before, last)
        for token in range(vocab_size):
            if token == EOS:
                penalty = length_penalty_of(len(said) + 1, power)
                answers.append(((total + p[token]) / penalty, said))
            else:
                extend([*said, token], total + p[token], last, token)

    extend([], 0.0, 0, BOS)
    return sorted(answers, key=lambda answer: -answer[0])


def plain_beam(scores, sequence, beam, max_length, power):
    """The search as it is described, of one sequence, to the end."""
    alive, found = [(0.0, [], 0, BOS)], []
    for t in range(max_length):
        candidates = []
        for total, said, before, last in alive:
            p = log_probabilities(scores, sequence, before, last)
            candidates += [(total + p[k], [*said, k], last, k) for k in range(len(p))]
        candidates.sort(key=lambda candidate: -candidate[0])
        alive = []
        for total, said, before, last in candidates[: beam - len(found)]:
            score = total / length_penalty_of(t + 1, power)
            if last == EOS:
                found.append((score, said[:-1]))
            elif t + 1 == max_length:
                found.append((score, said))
            else:
                alive.append((total, said, before, last))
        if not alive:
            break
    return max(found, key=lambda answer: answer[0])


POWERS = [0.0, 0.6, 1.0]


@pytest.mark.parametrize("power", POWERS)
def test_a_beam_that_holds_everything_finds_the_best_of_all(power):
    step, start, scores = table_of(6, 5)
    found = beam_search(
        step,
        start,
        6,
        beam_size=5**4,
        max_length=4,
        length_penalty=power,
        patient=True,
        **MARKS,
    )
    for sequence, hypotheses in enumerate(found):
        score, said = everything(scores, sequence, 4, power)[0]
        assert hypotheses[0].tokens == said
        assert hypotheses[0].score == pytest.approx(score, rel=1e-12)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("beam", [1, 2, 3, 5])
def test_a_batch_of_beams_is_the_plain_search_of_each(beam, power):
    step, start, scores = table_of(40, 7, seed=1)
    found = beam_search(
        step,
        start,
        40,
        beam_size=beam,
        max_length=9,
        length_penalty=power,
        patient=True,
        **MARKS,
    )
    assert any(len(h[0].tokens) < 3 for h in found)
    assert any(len(h[0].tokens) == 9 for h in found) or beam > 1
    for sequence, hypotheses in enumerate(found):
        score, said = plain_beam(scores, sequence, beam, 9, power)
        assert hypotheses[0].tokens == said
        assert hypotheses[0].score == pytest.approx(score, rel=1e-12)
        ranked = [h.score for h in hypotheses]
        assert ranked == sorted(ranked, reverse=True)
        assert 1 <= len(hypotheses) <= beam


def test_beams_over_a_larger_vocabulary_are_the_plain_search_of_each():
    step, start, scores = table_of(5, 90, seed=7)
    found = beam_search(
        step, start, 5, beam_size=4, max_length=40, patient=True, **MARKS
    )
    for sequence, hypotheses in enumerate(found):
        score, said = plain_beam(scores, sequence, 4, 40, 0.0)
        assert hypotheses[0].tokens == said
        assert hypotheses[0].score == pytest.approx(score, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 6, 7, 100])
def test_largest_values_come_in_their_order_and_the_first_of_equal_ones(k):
    random = np.random.default_rng(0)
    scores = random.integers(0, 20, (30, 100)).astype(float)
    scores[:10, 3:] = -np.inf  # fewer than k that are possible
    given = scores.copy()
    values, places = largest_of(scores, k)
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    np.testing.assert_array_equal(values, np.take_along_axis(scores, order, -1))
    possible = values > -np.inf
    np.testing.assert_array_equal(places[possible], order[possible])
    np.testing.assert_array_equal(scores, given)


@pytest.mark.parametrize("power", POWERS)
def test_impatience_ends_a_search_at_an_answer_that_is_ahead(power):
    step, start, _ = table_of(60, 7, seed=6)
    steps = {}

    def search(patient):
        def counted(tokens, state):
            steps[patient] = steps.get(patient, 0) + len(tokens)
            return step(tokens, state)

        return beam_search(
            counted,
            start,
            60,
            beam_size=4,
            max_length=30,
            length_penalty=power,
            patient=patient,
            **MARKS,
        )

    for soon, late in zip(search(False), search(True), strict=True):
        assert soon[0].score <= late[0].score
        if power == 0:
            assert soon == late
    if power > 0:
        assert steps[False] < steps[True]
    else:
        assert steps[False] == steps[True]


def test_a_wider_beam_is_not_worse_on_the_whole():
    step, start, _ = table_of(200, 7, seed=2)
    means = [
        np.mean(
            [
                hypotheses[0].score
                for hypotheses in beam_search(
                    step, start, 200, beam_size=beam, max_length=8, **MARKS
                )
            ]
        )
        for beam in (1, 2, 8)
    ]
    assert means == sorted(means)
    assert means[0] < means[2]


def test_a_length_penalty_prefers_longer_answers():
    step, start, _ = table_of(100, 7, seed=3)
    lengths = [
        sum(
            len(answer)
            for answer in decode(
                step,
                start,
                100,
                beam_size=4,
                max_length=10,
                length_penalty=power,
                **MARKS,
            )
        )
        for power in (0.0, 1.0)
    ]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_beam_of_one_is_greedy(dtype):
    step, start, scores = table_of(50, 7, seed=4, dtype=dtype)
    greedy = decode(step, start, 50, max_length=8, **MARKS)
    beam = beam_search(step, start, 50, beam_size=1, max_length=8, **MARKS)
    assert greedy == [hypotheses[0].tokens for hypotheses in beam]
    for sequence, answer in enumerate(greedy):
        before, last = 0, BOS
        for token in [*answer, EOS][:8]:
            assert scores[sequence, before, last].argmax() == token
            before, last = last, token


def test_greedy_takes_the_first_of_equal_scores():
    def step(tokens, state):
        return np.zeros((len(tokens), 5)), state

    _, start, _ = table_of(2, 5)
    assert decode(step, start, 2, max_length=3, **MARKS) == [[0, 0, 0]] * 2


def test_impossible_tokens_are_not_said():
    _, start, _ = table_of(1, 5)
    row = np.array([-np.inf, 0.0, -np.inf, -1.0, -np.inf])

    def step(tokens, state):
        return np.tile(row, (len(tokens), 1)), state

    found = beam_search(step, start, 1, beam_size=5, max_length=3, **MARKS)[0]
    assert {tuple(h.tokens) for h in found} <= {(), (1,), (1, 1), (1, 1, 1)}
    assert all(np.isfinite(h.score) for h in found)


@pytest.mark.parametrize("beam", [1, 3])
def test_scores_that_are_not_finite_are_refused(beam):
    _, start, _ = table_of(2, 5)

    def step(tokens, state):
        return np.full((len(tokens), 5), np.nan), state

    refuses(
        ValueError,
        ["scores", "finite"],
        decode,
        step,
        start,
        2,
        beam_size=beam,
        **MARKS,
    )


# ---------------------------------------------------------------------------- drawing


def test_draws_repeat_with_their_seed_and_follow_the_scores():
    step, start, scores = table_of(1, 5, seed=5)
    start = Table(np.zeros(4000, int), np.zeros(4000, int), np.zeros(4000, int))
    options = {"max_length": 6, "temperature": 0.7, **MARKS}
    one, same, other = (
        decode(step, start, 4000, seed=seed, **options) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other
    firsts = np.array([answer[0] if answer else EOS for answer in one])
    shares = np.bincount(firsts, minlength=5) / 4000
    expected = token_probabilities(scores[0, 0, BOS], 0.7)
    # Five standard deviations of a share of 4,000.
    np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / 4000**0.5)


def chances(scores, max_length, temperature):
    """The probability of every answer of a table's first sequence."""
    found = {}

    def extend(said, chance, before, last):
        if len(said) == max_length:
            found[said] = chance
            return
        p = token_probabilities(scores[0, before, last], temperature)
        for token in range(len(p)):
            if token == EOS:
                found[said] = chance * p[token]
            else:
                extend((*said, token), chance * p[token], last, token)

    extend((), 1.0, 0, BOS)
    return found


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_drawn_answers_come_as_often_as_their_tokens_say(temperature):
    step, _, scores = table_of(1, 4, seed=8)
    n = 20_000
    start = Table(np.zeros(n, int), np.zeros(n, int), np.zeros(n, int))
    drawn = decode(
        step, start, n, max_length=3, temperature=temperature, seed=0, **MARKS
    )
    counts = Counter(map(tuple, drawn))
    expected = chances(scores, 3, temperature)
    assert sum(expected.values()) == pytest.approx(1)
    assert set(counts) <= set(expected)
    for answer, p in expected.items():
        # Five standard deviations, and one for those that are hardly there.
        assert abs(counts[answer] - n * p) < 5 * (n * p * (1 - p)) ** 0.5 + 1


def test_a_low_temperature_takes_the_most_likely_tokens():
    step, start, _ = table_of(50, 7, seed=4)
    greedy = decode(step, start, 50, max_length=8, **MARKS)
    assert greedy == decode(
        step, start, 50, max_length=8, temperature=1e-4, seed=0, **MARKS
    )


def test_search_refuses():
    step, start, _ = table_of(2, 5)

    def search(**options):
        return decode(step, start, 2, **MARKS, **options)

    refuses(ValueError, ["beam_size", ">= 1", "0"], search, beam_size=0)
    refuses(TypeError, ["beam_size", "integer"], search, beam_size=2.0)
    refuses(ValueError, ["max_length", ">= 1"], search, max_length=0)
    refuses(ValueError, ["length_penalty", ">= 0"], search, length_penalty=-0.5)
    refuses(ValueError, ["temperature", ">= 0"], search, temperature=-1)
    refuses(TypeError, ["max_length", "integer"], search, max_length=2.5)
    for name in ("length_penalty", "temperature"):
        for value in (np.nan, np.inf):
            refuses(ValueError, [name, "finite"], search, **{name: value})
        refuses(TypeError, [name, "high"], search, **{name: "high"})
    refuses(ValueError, ["seed", ">= 0"], search, seed=-1)
    refuses(
        ValueError,
        ["beam_size", "temperature"],
        search,
        beam_size=2,
        temperature=1.0,
    )


# ------------------------------------------------------------------ of a whole model

MODELS = [
    {"attention": None, "cell": "lstm"},
    {"attention": "additive"},
    {"attention": "general", "input_feeding": True, "cell": "lstm", "num_layers": 2},
    {"attention": "dot", "bidirectional": False, "input_feeding": True},
]
by_model = pytest.mark.parametrize("options", MODELS, ids=["none", "add", "gen", "dot"])


def model_of(options, vocab_size=5):
    """A small model with large weights, whose answers differ."""
    model = Seq2Seq(6, vocab_size, 4, 7, dtype=np.float64, seed=5, **options)
    model.load_state_dict({n: 3 * w for n, w in model.state_dict().items()})
    return model


def sources_of(B=5, S=4, seed=0):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, S + 1, B)
    lengths[0] = S
    return random.integers(0, 6, (S, B)), lengths


def loss_of(model, source, answer):
    """Minus the log-probability of an answer with its end, by teacher forcing."""
    target = np.array([BOS, *answer, EOS])[:, np.newaxis]
    return model.evaluate((source, None, target, None))[0] * (len(target) - 1)


@by_model
def test_a_model_s_beam_finds_the_best_of_all_answers(options):
    model = model_of(options)
    source, lengths = sources_of(B=4)
    # Answers that end within three tokens; longer ones are cut and have no end.
    answers = model.predict(source, lengths, beam_size=5**4, max_length=4)
    for b, answer in enumerate(answers):
        alone = source[: lengths[b], b : b + 1]
        complete = {
            said: loss_of(model, alone, said)
            for n in range(4)
            for said in itertools.product([0, 1, 2, 4], repeat=n)
        }
        best = min(complete, key=complete.get)
        if len(answer) < 4:
            assert tuple(answer) == best
        else:  # cut: likelier as it is than any that has ended
            assert _cut(model, alone, answer) < complete[best]


def test_a_model_draws_answers_as_often_as_its_loss_says():
    model = model_of({"attention": "additive", "input_feeding": True})
    model.load_state_dict({n: w / 3 for n, w in model.state_dict().items()})
    source, lengths = sources_of()
    n, alone = 20_000, source[: lengths[1], 1:2]
    drawn = model.predict(np.tile(alone, n), temperature=1.0, seed=0, max_length=20)
    counts = Counter(map(tuple, drawn))
    for answer in itertools.chain.from_iterable(
        itertools.product([0, 1, 2, 4], repeat=k) for k in range(3)
    ):
        p = np.exp(-loss_of(model, alone, answer))
        assert abs(counts[answer] - n * p) < 5 * (n * p * (1 - p)) ** 0.5 + 1


def _cut(model, source, answer):
    """Minus the log-probability of an answer without its end."""
    ended = loss_of(model, source, answer)
    decoding = model._decoder.start(*model._encode(source, None))
    for token in [BOS, *answer]:
        scores, decoding = model._step(np.array([token]), decoding)
    p = scores[0] - scores[0].max()
    return ended + (p[EOS] - np.log(np.exp(p).sum()))


@by_model
def test_greedy_answers_take_the_largest_score_of_the_whole(options):
    model = model_of(options, vocab_size=8)
    source, lengths = sources_of(B=12)
    answers = model.predict(source, lengths, max_length=7)
    assert len({tuple(answer) for answer in answers}) > 1
    said = np.full((9, 12), EOS)
    said[0] = BOS
    for b, answer in enumerate(answers):
        said[1 : len(answer) + 1, b] = answer
    inputs = np.ascontiguousarray(said[:-1])
    vectors, _ = model._decoder(inputs, *model._encode(source, lengths))
    largest = model._output(vectors).argmax(axis=-1)
    for b, answer in enumerate(answers):
        assert largest[: len(answer), b].tolist() == answer
        if len(answer) < 7:
            assert largest[len(answer), b] == EOS


@by_model
@pytest.mark.parametrize("beam", [1, 3])
def test_answers_do_not_depend_on_the_batch(options, beam):
    model = model_of(options, vocab_size=8)
    source, lengths = sources_of(B=9)
    together = model.predict(source, lengths, beam, 7, 0.6)
    for b in range(9):
        alone = source[: lengths[b], b : b + 1]
        assert model.predict(alone, None, beam, 7, 0.6) == [together[b]]


@pytest.mark.parametrize("options", MODELS[1:], ids=["add", "gen", "dot"])
def test_attention_of_the_answers_is_returned(options):
    model = model_of(options, vocab_size=8)
    source, lengths = sources_of(B=6)
    plain = model.predict(source, lengths, 2, 7)
    answers, weights = model.predict(source, lengths, 2, 7, return_attention=True)
    assert answers == plain
    for b, answer in enumerate(answers):
        assert weights[b].shape == (len(answer) + 1, lengths[b])
        assert error(weights[b].sum(axis=-1), np.ones(len(answer) + 1)) <= 1e-14
        # The same as the steps had.
        alone = source[: lengths[b], b : b + 1]
        decoding = model._decoder.start(*model._encode(alone, None))
        seen = []
        attend = model._decoder.attention._attend

        def spy(query, keys, attend=attend, seen=seen):
            result = attend(query, keys)
            seen.append(result[1][0, 0].copy())
            return result

        model._decoder.attention._attend = spy
        for token in [BOS, *answer]:
            _, decoding = model._step(np.array([token]), decoding)
        model._decoder.attention._attend = attend
        assert error(weights[b], np.array(seen)) <= FORWARD[np.float64]


def test_prediction_refuses():
    model = model_of({"attention": None})
    source, lengths = sources_of()
    refuses(TypeError, ["source", "integers"], model.predict, source * 1.0)
    refuses(ValueError, ["source", "(T, B)"], model.predict, source[0])
    refuses(ValueError, ["source", "0 to 5", "got 6"], model.predict, source * 0 + 6)
    refuses(ValueError, ["source", "1 or more"], model.predict, source, lengths * 0)
    refuses(ValueError, ["source", "none"], model.predict, source[:, :0])
    refuses(
        ValueError,
        ["return_attention", "without attention"],
        model.predict,
        source,
        return_attention=True,
    )
    refuses(ValueError, ["attend"], model.attend, source, None, [[1]] * 5)
    model = model_of(MODELS[1])
    refuses(ValueError, ["answers", "5", "2"], model.attend, source, None, [[1], [1]])
    refuses(ValueError, ["answers", "got 9"], model.attend, source, None, [[9]] * 5)
    model.params["output.bias"][:] = np.nan
    refuses(ValueError, ["finite"], model.predict, source)
    refuses(ValueError, ["finite"], model.predict, source, beam_size=2)
