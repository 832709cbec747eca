"""Speech: recognise words without their alignment, by an LSTM with the CTC loss.

    python examples/speech.py FOLDER

FOLDER holds the 60 wav files of https://www.openslr.org/1, of eight words each, which
are the digits of the file's name, 1 for yes and 0 for no: those whose name starts with
0 are trained on, the others tested. Their words are also cut out, in the pauses, and
joined to new strings; else the model learns 31 files by heart in place of two words.
Published: no error, by the hidden Markov models of Kaldi's recipe.

Or it holds the recordings of https://github.com/Jakobovski/free-spoken-digit-dataset in
one file fsdd_pcm16_8khz.npz (audio, length, digit, speaker, index), end to end. Strings
of three to seven digits are joined from recordings of one speaker; those of the indices
0 to 4 are tested.

A frame is the log-mel energies of 25 ms, one each 10 ms; a step is three of them.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import (
    Utterances,
    log_mel,
    normalize,
    read_npz,
    read_wav,
    stack_frames,
)
from fastcell.models import SpeechRecognizer
from fastcell.models.search.edit_distance import count_errors
from fastcell.optim import AdamW, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = (
    "https://www.openslr.org/1 or "
    "https://github.com/Jakobovski/free-spoken-digit-dataset"
)
RATE = 8000
BANDS = 40
YES_NO = ["no", "yes"]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven"]
DIGITS += ["eight", "nine"]
# Hidden size, whether both directions, batch size, epochs, learning rate, weight decay,
# noise on the frames, strings to train on and to test.
SETTINGS = {
    "words": (20, False, 2, 30, 0.01, 0.1, 0.3, [200, 0]),
    "digits": (96, True, 16, 12, 0.004, 0.0, 0.0, [2000, 200]),
}

Recordings = list[tuple[np.ndarray, list[int]]]  # samples, labels from 1


def joined(
    speakers: list[Recordings], count: int, most: int, random: np.random.Generator
) -> Recordings:
    """Join from three recordings to `most` of one speaker, so many times."""
    made = []
    for _ in range(count):
        mine = speakers[random.integers(len(speakers))]
        chosen = random.integers(len(mine), size=random.integers(3, most + 1))
        sounds, labels = zip(*(mine[i] for i in chosen), strict=True)
        made.append((np.concatenate(sounds), list(itertools.chain(*labels))))
    return made


def cut(samples: np.ndarray, labels: list[int]) -> Recordings:
    """Cut a recording in its pauses; into nothing if its words are not as many."""
    power = (samples[: len(samples) // 80 * 80].reshape(-1, 80) ** 2).mean(axis=1)
    level = np.log(np.convolve(power, np.full(5, 0.2), "same") + 1e-9)
    quiet, high = np.quantile(level, [0.1, 0.95])
    loud = np.flatnonzero(level > (quiet + high) / 2)
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > 10) + 1)
    runs = [run for run in runs if len(run) > 12]  # shorter ones are clicks
    if len(runs) != len(labels):
        return []
    middles = [(a[-1] + b[0]) // 2 * 80 for a, b in itertools.pairwise(runs)]
    parts = np.split(samples, middles)
    return [(part, [label]) for part, label in zip(parts, labels, strict=True)]


def yes_no(
    folder: Path, strings: list[int], random: np.random.Generator
) -> list[Recordings]:
    """Read files such as 0_1_1_0_1_0_0_1.wav: 1 is yes and 0 no."""
    parts: list[Recordings] = [[], []]
    for path in sorted(folder.glob("*.wav")):
        samples, rate = read_wav(path)
        if rate != RATE:
            raise ValueError(f"{path}: expected {RATE} samples a second; got {rate}")
        if not {*path.stem.split("_")} <= {"0", "1"}:
            raise ValueError(f"{path}: must have a name of 0 and 1, such as 0_1_1")
        labels = [int(digit) + 1 for digit in path.stem.split("_")]
        parts[labels[0] - 1].append((samples, labels))
    if not all(parts):
        raise FileNotFoundError(2, "neither wav files of both kinds nor digits", folder)
    for part, count in zip(parts, strings, strict=True):
        words = [word for recording in part for word in cut(*recording)]
        part += joined([words], count if words else 0, 9, random)
    return parts


def digit_strings(
    file: Path, strings: list[int], random: np.random.Generator
) -> list[Recordings]:
    """Join recordings of one speaker, so many times for each part."""
    audio, length, digit, speaker, index = read_npz(
        file, "audio", "length", "digit", "speaker", "index"
    )
    if len(audio) != length.sum():
        raise ValueError(f"{file}: audio must be all {length.sum()} samples")
    sounds, tested = (
        np.split(audio / np.float32(32768), length.cumsum()[:-1]),
        index < 5,
    )
    parts = []
    for part, count in zip((~tested, tested), strings, strict=True):
        speakers = [
            [(sounds[i], [int(digit[i]) + 1]) for i in np.flatnonzero(part & mine)]
            for mine in (speaker == name for name in np.unique(speaker))
        ]
        parts.append(joined(speakers, count, 7, random))
    return parts


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
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where the recordings are")
    parser.add_argument("--epochs", type=int, help="passes over the recordings")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, help="units of a direction")
    parser.add_argument("--stack", type=int, default=3, help="frames of a step")
    text = "strings to join, to train on and to test"
    parser.add_argument("--strings", type=int, nargs=2, help=text)
    parser.add_argument("--beam", type=int, default=10, help="of the search")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--save", type=Path, default=Path("speech.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    random = np.random.default_rng(args.seed)

    file = args.folder / "fsdd_pcm16_8khz.npz"
    digits = file.exists()
    settings = SETTINGS["digits" if digits else "words"]
    hidden, both, batch_size, epochs, rate, decay, noise, strings = settings
    how = args.strings or strings, random
    with reading_data(file if digits else args.folder, SOURCE):
        parts = digit_strings(file, *how) if digits else yes_no(args.folder, *how)
        train_data, test_data = (
            Utterances(
                [
                    stack_frames(normalize(log_mel(samples, RATE, BANDS)), args.stack)
                    for samples, _ in part
                ],
                [labels for _, labels in part],
                batch_size,
                noise=noise,
                seed=args.seed,
            )
            for part in parts
        )
    model = SpeechRecognizer(
        BANDS * args.stack,
        args.hidden or hidden,
        cell=args.cell,
        bidirectional=both,
        seed=args.seed,
        vocabulary=DIGITS if digits else YES_NO,
    )
    steps = (args.epochs or epochs) * len(train_data)
    optimizer = AdamW(model.params, lr=rate, weight_decay=decay)
    trainer = Trainer(model, optimizer, clip_norm=1.0, schedule=cosine(steps))
    trainer.fit(train_data, steps=steps, validate_every=max(1, steps // 10))
    fastcell.save(model, args.save)

    x, lengths, labels, label_lengths = test_data[0]
    said = [model.vocabulary[i - 1] for i in labels[0][: label_lengths[0]]]
    print("said:  ", " ".join(said))
    print("heard: ", " ".join(model.transcribe(x, lengths, args.beam)[0]))
    for beam_size in (1, args.beam):
        errors, words = word_errors(model, test_data, beam_size)
        name = "best path" if beam_size == 1 else f"beam of {beam_size}"
        print(f"word error rate, {name}: {errors}/{words} = {errors / words:.2%}")
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
