"""Words in speech, without their places: an LSTM trained with the CTC loss.

    python examples/speech.py                  tones that stand for yes and no
    python examples/speech.py --data yesno     real recordings of yes and no
    python examples/speech.py --data fsdd      strings of three to seven spoken digits

yesno: the 60 wav files of https://www.openslr.org/1, of eight words each, which are the
digits of the file's name; the files whose name starts with 0 (no) are trained on, the
others tested.
fsdd: the recordings of https://github.com/Jakobovski/free-spoken-digit-dataset in one
file fsdd_pcm16_8khz.npz (audio, length, digit, speaker, index), end to end. Strings are
joined from recordings of one speaker; those of the indices 0 to 4 are tested.

A frame is the log-mel energies of 25 ms, one each 10 ms; a step is three of them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Utterances, log_mel, normalize, read_wav, stack_frames
from fastcell.models import SpeechRecognizer
from fastcell.models.edit_distance import count_errors
from fastcell.optim import AdamW, cosine
from fastcell.train import Trainer

RATE = 8000
YES_NO = ["no", "yes"]
DIGITS = [*("zero", "one", "two", "three", "four"), *("five", "six", "seven")]
DIGITS += ["eight", "nine"]
# Log-mel bands, hidden size, whether both directions, batch size, epochs, learning
# rate, weight decay, noise. Larger models learn the 31 files of yesno by heart.
SETTINGS = {
    "words": (20, 20, False, 2, 60, 0.01, 0.3, 0.0),
    "digits": (40, 96, True, 16, 12, 0.004, 0.0, 0.0),
}

Recordings = list[tuple[np.ndarray, list[int]]]  # samples, labels from 1


def tones(count: int, random: np.random.Generator) -> Recordings:
    """Make recordings of four words: no is a low tone, yes one that rises."""
    made = []
    for _ in range(count):
        labels = random.integers(1, 3, 4).tolist()
        parts = [np.zeros(800)]
        for label in labels:
            t = np.arange(random.integers(1600, 2400)) / RATE
            pitch = (
                400 + 40 * random.standard_normal() + (1500 * t if label == 2 else 0)
            )
            gap = np.zeros(random.integers(600, 1600))
            parts += [0.3 * np.sin(2 * np.pi * pitch * t), gap]
        sound = np.concatenate(parts)
        made.append((sound + 0.01 * random.standard_normal(len(sound)), labels))
    return made


def yes_no(folder: Path) -> tuple[Recordings, Recordings]:
    """Read files such as 0_1_1_0_1_0_0_1.wav: 1 is yes and 0 no."""
    train, test = [], []
    for path in sorted(folder.glob("*.wav")):
        samples, rate = read_wav(path)
        if rate != RATE:
            raise SystemExit(f"{path}: expected {RATE} samples a second; got {rate}")
        labels = [int(digit) + 1 for digit in path.stem.split("_")]
        (train if labels[0] == 1 else test).append((samples, labels))
    return train, test


def digit_strings(
    file: Path, strings: tuple[int, int], random: np.random.Generator
) -> tuple[Recordings, Recordings]:
    """Join three to seven recordings of one speaker, so many times for each part."""
    with np.load(file, allow_pickle=False) as data:
        sounds = np.split(
            data["audio"] / np.float32(32768), data["length"].cumsum()[:-1]
        )
        digit, speaker, tested = data["digit"], data["speaker"], data["index"] < 5
    parts = []
    for part, count in zip((~tested, tested), strings, strict=True):
        made = []
        for _ in range(count):
            mine = np.flatnonzero(part & (speaker == random.choice(speaker)))
            chosen = random.choice(mine, random.integers(3, 8))
            sound = np.concatenate([sounds[i] for i in chosen])
            made.append((sound, (digit[chosen] + 1).tolist()))
        parts.append(made)
    return parts[0], parts[1]


def batches(
    recordings: Recordings, bands: int, stack: int, batch_size: int, noise: float
) -> Utterances:
    """Return the frames of recordings and their labels, in batches."""
    features = [
        stack_frames(normalize(log_mel(samples, RATE, bands)), stack)
        for samples, _ in recordings
    ]
    labels = [labels for _, labels in recordings]
    return Utterances(features, labels, batch_size, noise=noise)


def word_errors(
    model: SpeechRecognizer, data: Utterances, beam_size: int
) -> tuple[int, int]:
    """Return how many words are wrong, missing or too many, and how many there are."""
    found, wanted = [], []
    for x, lengths, labels, label_lengths in data:
        found += model.predict(x, lengths, beam_size)
        wanted += [
            row[:n].tolist() for row, n in zip(labels, label_lengths, strict=True)
        ]
    return count_errors(found, wanted)


def main() -> None:
    """Train, test, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of wav files, or of the npz")
    parser.add_argument("--epochs", type=int, help="passes over the recordings")
    parser.add_argument("--threads", type=int, help="as many as there are cores")
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, help="units of a direction")
    parser.add_argument("--stack", type=int, default=3, help="frames of a step")
    parser.add_argument(
        "--strings",
        type=int,
        nargs=2,
        default=[2000, 200],
        help="of digits to train on and to test",
    )
    parser.add_argument("--beam", type=int, default=10, help="of the search")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument(
        "--save",
        type=Path,
        default=Path("speech.safetensors"),
        help="file of the model",
    )
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    random = np.random.default_rng(args.seed)

    task, vocabulary = "words", YES_NO
    if args.data is None:
        train, test = tones(40, random), tones(20, random)
    elif (file := args.data / "fsdd_pcm16_8khz.npz").exists():
        task, vocabulary = "digits", DIGITS
        train, test = digit_strings(file, tuple(args.strings), random)
    else:
        train, test = yes_no(args.data)
    if not train or not test:
        raise SystemExit(
            f"{args.data}: neither wav files of both kinds nor {file.name}"
        )
    bands, hidden, both, batch_size, epochs, rate, decay, noise = SETTINGS[task]
    train_data = batches(train, bands, args.stack, batch_size, noise)
    test_data = batches(test, bands, args.stack, batch_size, 0.0)
    model = SpeechRecognizer(
        bands * args.stack,
        args.hidden or hidden,
        cell=args.cell,
        bidirectional=both,
        seed=args.seed,
        vocabulary=vocabulary,
    )
    steps = (args.epochs or epochs) * len(train_data)
    trainer = Trainer(
        model,
        AdamW(model.params, lr=rate, weight_decay=decay),
        clip_norm=1.0,
        schedule=cosine(steps),
    )
    start = time.perf_counter()
    trainer.fit(train_data, steps=steps, validate_every=max(1, steps // 10))
    print(f"{steps} steps in {time.perf_counter() - start:.1f} s")

    for beam_size in (1, args.beam):
        errors, words = word_errors(model, test_data, beam_size)
        how = "best path" if beam_size == 1 else f"beam of {beam_size}"
        print(f"word error rate, {how}: {errors}/{words} = {errors / words:.1%}")
    x, lengths, labels, label_lengths = test_data[0]
    print("said:  ", " ".join(vocabulary[i - 1] for i in labels[0][: label_lengths[0]]))
    print("heard: ", " ".join(model.transcribe(x, lengths, args.beam)[0]))
    fastcell.save(model, args.save)
    print(f"saved as {args.save}")


if __name__ == "__main__":
    main()
