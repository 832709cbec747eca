"""Audio features against their formulas; wav files; utterances."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from scipy.io import wavfile

from fastcell.data import (
    Utterances,
    frames,
    log_mel,
    mel_filters,
    mfcc,
    normalize,
    read_wav,
    stack_frames,
)

RATE = 1000
# float32 results of sums in double: one rounding, relative to 1 + the value.
ROUNDING = 2e-7


def sound(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, count)


def pitch(frequency):
    return 2595 * math.log10(1 + frequency / 700)


def slow_log_mel(samples, rate, num_mels, length, step, size, low, high):
    """Apply the formula, one frame, one bin and one band after the other."""
    m = [
        pitch(low) + j * (pitch(high) - pitch(low)) / (num_mels + 1)
        for j in range(num_mels + 2)
    ]
    rows = []
    for start in range(0, len(samples) - length + 1, step):
        power = []
        for k in range(size // 2 + 1):
            total = 0
            for n in range(length):
                window = 0.5 - 0.5 * math.cos(2 * math.pi * n / length)
                turn = cmath.exp(-2j * math.pi * n * k / size)
                total += window * samples[start + n] * turn
            power.append(abs(total) ** 2)
        row = []
        for j in range(1, num_mels + 1):
            energy = 0
            for k, p in enumerate(power):
                f = pitch(k * rate / size)
                up = (f - m[j - 1]) / (m[j] - m[j - 1])
                down = (m[j + 1] - f) / (m[j + 1] - m[j])
                energy += max(0, min(up, down)) * p
            row.append(math.log(max(1e-10, energy)))
        rows.append(row)
    return np.array(rows)


# Samples, frame and hop in seconds, and what they are in samples; odd ones too.
CUTS = [
    (100, 0.020, 0.010, 20, 10, 32),
    (32, 0.032, 0.010, 32, 10, 32),
    (75, 0.017, 0.0072, 17, 7, 32),
]


@pytest.mark.parametrize("count, frame, hop, length, step, size", CUTS)
@pytest.mark.parametrize("num_mels", [1, 4])
def test_log_mel_is_its_formula(count, frame, hop, length, step, size, num_mels):
    samples = sound(count)
    found = log_mel(samples, RATE, num_mels, frame, hop, low=30, high=450)
    wanted = slow_log_mel(samples, RATE, num_mels, length, step, size, 30, 450)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape == (1 + (count - length) // step, num_mels)
    assert (np.abs(found - wanted) <= ROUNDING * (1 + np.abs(wanted))).all()


def test_log_mel_goes_from_20_hertz_to_half_the_rate():
    samples = sound(200)
    default = log_mel(samples, RATE, 3, 0.03)
    np.testing.assert_array_equal(
        default, log_mel(samples, RATE, 3, 0.03, 0.01, low=20.0, high=500.0)
    )


def test_silence_is_the_floor():
    np.testing.assert_array_equal(
        log_mel(np.zeros(400), 8000), np.full((3, 40), math.log(1e-10), np.float32)
    )


def test_mfcc_is_the_cosine_transform_of_log_mel():
    samples = sound(150)
    energies = log_mel(samples, RATE, 5, 0.03, low=30, high=450).astype(float)
    found = mfcc(samples, RATE, 4, 5, 0.03, low=30, high=450)
    assert found.shape == (len(energies), 4)
    for t, row in enumerate(energies):
        for i in range(4):
            wanted = math.sqrt((2 - (i == 0)) / 5) * sum(
                e * math.cos(math.pi * i * (j + 0.5) / 5) for j, e in enumerate(row)
            )
            assert abs(found[t, i] - wanted) <= 5 * ROUNDING * (1 + abs(wanted))


def test_filters_of_neighbours_sum_to_one_between_their_tops():
    filters = mel_filters(10, 512, 8000)
    tops = filters.argmax(axis=1)
    between = filters[:, tops[0] + 1 : tops[-1]]
    np.testing.assert_allclose(between.sum(axis=0), 1, rtol=1e-12)
    assert (filters >= 0).all()


def test_frames_are_whole_and_overlap():
    samples = np.arange(24.0)
    cut = frames(samples, 10, 0.5, 0.3)
    np.testing.assert_array_equal(cut, [samples[i : i + 5] for i in range(0, 20, 3)])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((np.zeros(10, np.int16), 10), TypeError, "samples.*int16"),
        ((np.zeros((10, 2)), 10), ValueError, r"samples.*\(N,\).*\(10, 2\)"),
        ((np.zeros(10), 0), ValueError, "rate.*0"),
        ((np.zeros(10), 10, 0.0), ValueError, "frame.*0"),
        ((np.zeros(10), 10, 0.5, 0.01), ValueError, "one sample.*0.01 s"),
        ((np.zeros(10), 10, 2.0, 1.0), ValueError, "samples.*20 of them; got 10"),
        ((np.zeros(0), 10, 0.5, 0.5), ValueError, "samples.*got 0"),
        ((np.array([1, np.nan, 2]), 1, 1, 1), ValueError, "samples.*finite"),
    ],
)
def test_bad_sound_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        frames(*arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 64, 8000), "num_mels.*0"),
        ((80, 64, 8000), "num_mels must be less.*holds no bin"),
        ((4, 64, 8000, 3000, 2000), "low must be below high, 2000 Hz; got 3000"),
        ((4, 64, 8000, 20, 5000), "high.*4000.*5000"),
    ],
)
def test_bad_filters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        mel_filters(*arguments)


def test_more_coefficients_than_bands_are_refused():
    with pytest.raises(ValueError, match=r"num_coefficients.*5.*got 6"):
        mfcc(sound(150), RATE, 6, 5, 0.03)


# -------------------------------------------------------------------------- wav files

SCALES = {np.uint8: (128, 128), np.int16: (0, 2**15), np.int32: (0, 2**31)}


@pytest.mark.parametrize("kind", SCALES)
def test_integers_are_scaled_to_one(tmp_path, kind):
    file = tmp_path / "sound.wav"
    info = np.iinfo(kind)
    written = np.array([info.min, info.max, info.max // 2, info.max // 3], kind)
    wavfile.write(file, 11025, written)
    samples, rate = read_wav(file)
    zero, scale = SCALES[kind]
    assert rate == 11025
    assert samples.dtype == np.float32
    wanted = (written.astype(float) - zero) / scale
    np.testing.assert_array_equal(samples, wanted.astype(np.float32))
    assert samples[0] == -1


def test_floats_stay_and_channels_are_averaged(tmp_path):
    file = tmp_path / "sound.wav"
    written = sound(20).astype(np.float32).reshape(10, 2)
    wavfile.write(str(file), 8000, written)
    samples, rate = read_wav(str(file))
    assert rate == 8000
    np.testing.assert_array_equal(
        samples, written.mean(axis=1, dtype=float).astype("f")
    )


def test_a_file_that_is_no_wav_is_named(tmp_path):
    file = tmp_path / "text.wav"
    for content in (b"", b"RIFF", b"a text that is long enough to have a header" * 3):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"text\.wav"):
            read_wav(file)
    wavfile.write(file, 8000, np.zeros(0, np.int16))
    with pytest.raises(ValueError, match="hold samples"):
        read_wav(file)
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav")


# --------------------------------------------------------------- stacking, normalizing


@pytest.mark.parametrize("steps", [0, 2, 3, 7])
def test_stacked_frames_are_those_that_follow_one_another(steps):
    features = sound(steps * 4).reshape(steps, 4)
    stacked = stack_frames(features, 3)
    assert stacked.shape == (steps // 3, 12)
    for i, row in enumerate(stacked):
        np.testing.assert_array_equal(row, features[3 * i : 3 * i + 3].reshape(-1))


def test_bad_stacks_are_named():
    with pytest.raises(ValueError, match=r"count.*0"):
        stack_frames(np.zeros((4, 2)), 0)
    with pytest.raises(ValueError, match=r"features.*\(T, F\).*\(4,\)"):
        stack_frames(np.zeros(4), 2)


def test_normalized_features_have_mean_0_and_spread_1():
    features = 5 + 3 * sound(60).reshape(20, 3)
    features[:, 1] = 7
    found = normalize(features)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(found.std(axis=0), [1, 0, 1], rtol=1e-13)


# -------------------------------------------------------------------------- utterances


def recordings(count=37, seed=0):
    random = np.random.default_rng(seed)
    features = [
        random.standard_normal((random.integers(1, 30), 2)).astype(np.float32)
        for _ in range(count)
    ]
    labels = [random.integers(1, 4, random.integers(0, 5)).tolist() for _ in features]
    return features, labels


def contents(batches):
    """Return the recordings of batches with their labels, in a comparable form."""
    found = []
    for x, lengths, labels, label_lengths in batches:
        assert x.shape[:2] == (lengths.max(), len(lengths))
        assert labels.shape == (len(lengths), label_lengths.max())
        for b, (n, k) in enumerate(zip(lengths, label_lengths, strict=True)):
            assert not x[n:, b].any()
            assert not labels[b, k:].any()
            found.append((x[:n, b].tobytes(), labels[b, :k].tolist()))
    return found


def test_every_epoch_has_every_recording_once_with_its_labels():
    features, labels = recordings()
    data = Utterances(features, labels, 4)
    wanted = sorted((f.tobytes(), row) for f, row in zip(features, labels, strict=True))
    assert len(data) == len(data.epoch(0)) == 10
    for batches in (data, data.epoch(0), data.epoch(7)):
        assert sorted(contents(batches)) == wanted


def test_epochs_differ_and_repeat():
    data, same = (Utterances(*recordings(), 4, seed=3) for _ in range(2))
    first, second = contents(data.epoch(0)), contents(data.epoch(1))
    assert first != second
    assert contents(same.epoch(1)) == second
    assert contents(data.epoch(0)) == first
    assert contents(Utterances(*recordings(), 4, seed=4).epoch(0)) != first


def test_noise_is_added_to_the_frames_of_an_epoch_and_drawn_anew():
    features, labels = recordings(60)
    clean = Utterances(features, labels, 4, seed=5)
    noisy, same = (Utterances(features, labels, 4, noise=0.5, seed=5) for _ in "ab")
    assert contents(noisy) == contents(clean)  # by index there is none
    first = [noisy.epoch(0)[i] for i in range(len(noisy))]
    assert contents(first) == contents(same.epoch(0))  # and nothing past the lengths
    assert contents(first) == contents(first[:3] + noisy.epoch(0)[3:])
    drawn = []
    for (x, lengths, *_), (y, *_) in zip(first, clean.epoch(0), strict=True):
        assert x.dtype == np.float32
        drawn += [x[:n, b] - y[:n, b] for b, n in enumerate(lengths)]
    drawn = np.concatenate(drawn)
    assert abs(drawn.std() - 0.5) < 5 * 0.5 / math.sqrt(2 * drawn.size)
    assert abs(drawn.mean()) < 5 * 0.5 / math.sqrt(drawn.size)
    recorded = {frames for frames, _ in contents(first)}
    assert not recorded & {frames for frames, _ in contents(noisy.epoch(1))}


def test_batches_are_of_like_length():
    features, labels = recordings(200)
    data = Utterances(features, labels, 8)
    frames_there = sum(len(f) for f in features)
    for batches in (data, data.epoch(0)):
        padded = sum(x.shape[0] * x.shape[1] for x, *_ in batches)
        assert padded < 1.35 * frames_there  # in any order it is 1.8


def test_a_slice_of_batches_is_some_of_them():
    data = Utterances(*recordings(), 4)
    assert contents(data[3:5]) == contents([data[3], data[4]])
    with pytest.raises(IndexError):
        data[10]


F = np.ones((3, 2))


@pytest.mark.parametrize(
    "features, labels, error, message",
    [
        ([], [], ValueError, "at least one; got 0 and 0"),
        ([F], [[1], [2]], ValueError, "got 1 and 2"),
        ([F.astype(int)], [[1]], TypeError, "features.*int64 in recording 0"),
        ([F, F.astype("f")], [[1], [1]], TypeError, "one dtype.*float32.*recording 1"),
        ([F, F[:, :1]], [[1], [1]], ValueError, r"\(T, 2\).*\(3, 1\) in recording 1"),
        ([F, F[:0]], [[1], [1]], ValueError, "T >= 1.*recording 1"),
        ([F, F * np.nan], [[1], [1]], ValueError, "finite.*recording 1"),
        ([F], [[0]], ValueError, r"labels.*from 1; got \[0\] in recording 0"),
        ([F], [[1.5]], TypeError, "labels.*float64 in recording 0"),
        ([F], [[[1]]], ValueError, "labels.*recording 0"),
    ],
)
def test_bad_recordings_are_named(features, labels, error, message):
    with pytest.raises(error, match=message):
        Utterances(features, labels, 2)
