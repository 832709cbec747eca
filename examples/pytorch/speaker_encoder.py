"""Resemblyzer's speaker encoder before and after one line, with its own weights.

    python examples/pytorch/speaker_encoder.py --threads 1

Needs `pip install Resemblyzer`. The encoder, three LSTM layers of 256 units, makes of
an utterance 256 numbers that tell who speaks. The utterance here is made up: harmonics
of a voice's pitch, louder and softer as syllables are. Timed are the whole of
`embed_utterance`, from samples to numbers, and the network alone.
"""

from __future__ import annotations

import copy

import before_after
import numpy as np
import torch
from resemblyzer import VoiceEncoder
from resemblyzer.audio import wav_to_mel_spectrogram

import fastcell.torch

RATE = 16_000  # samples a second, what the encoder was trained on
PARTIAL = 160  # frames that the encoder reads at once


def voice(seconds: float, pitch: float, seed: int) -> np.ndarray:
    """Return samples (N,) of what has the pitch in Hz and the rhythm of a voice."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time)))
    syllables = np.arange(0, seconds + 0.2, 0.2)
    wave = 0.01 * random.standard_normal(len(time))
    for harmonic in range(1, 25):
        loudness = random.random(len(syllables)) / harmonic
        wave += np.interp(time, syllables, loudness) * np.sin(harmonic * phase / RATE)
    return (0.1 * wave / wave.std()).astype(np.float32)


def main() -> None:
    """Compare the numbers, then the times."""
    parser = before_after.options(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the utterance")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    before = VoiceEncoder("cpu", verbose=False)
    after = copy.deepcopy(before)
    fastcell.torch.accelerate(after)

    wave = voice(args.seconds, 120.0, 0)
    frames = wav_to_mel_spectrogram(wave)
    starts = range(0, max(1, len(frames) - PARTIAL), PARTIAL // 2)
    parts = [torch.from_numpy(frames[start : start + PARTIAL]) for start in starts]
    x = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)

    models = (before, after)
    with torch.no_grad():
        numbers = [
            (model(x), torch.from_numpy(model.embed_utterance(wave)))
            for model in models
        ]
        before_after.tell(2, before_after.error(numbers[1], numbers[0]), args.threads)
        whole = [lambda m=model: m.embed_utterance(wave) for model in models]
        alone = [lambda m=model: m(x) for model in models]
        for what, calls in (
            (f"an utterance of {args.seconds:g} s", whole),
            (f"the network alone, {len(x)} x {PARTIAL} frames", alone),
        ):
            before_after.tell_speed(what, *before_after.seconds(calls, args.blocks))


if __name__ == "__main__":
    main()
