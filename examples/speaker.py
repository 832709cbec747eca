"""Speaker: which of nine speakers says the two vowels /ae/?

    python examples/speaker.py FOLDER

FOLDER holds japanese_vowels.npz: the Japanese Vowels of the UCI repository
(https://archive.ics.uci.edu/dataset/128, Kudo et al. 1999) with the arrays x_train,
len_train, y_train and x_test, len_test, y_test. x is 12 cepstral coefficients a frame,
all utterances end to end; len is their frames, 7 to 29; y is the speaker, 1 to 9.

A bidirectional LSTM reads the utterance; the nine scores are computed from the mean of
its outputs over the frames. Published accuracies: 94.1 % (Kudo), 96.2 % (a hidden
Markov model).
"""

from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences, read_npz
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://archive.ics.uci.edu/dataset/128"


def read(path: Path, part: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the utterances (T, 12) of a part, and their speakers."""
    x, length, y = read_npz(path, *(f"{name}_{part}" for name in ("x", "len", "y")))
    if len(x) != length.sum():
        raise ValueError(
            f"{path}: x_{part} must be all {length.sum()} frames; {len(x)}"
        )
    return np.split(x, np.cumsum(length)[:-1]), y


def main() -> None:
    """Train, test, save."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where japanese_vowels.npz is")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=64, help="units a direction")
    parser.add_argument(
        "--pooling", choices=["last", "mean", "max", "attention"], default="mean"
    )
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("speaker.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    path = args.folder / "japanese_vowels.npz"
    with reading_data(path, SOURCE):
        (utterances, speakers), (test, test_speakers) = (
            read(path, part) for part in ("train", "test")
        )
        names, numbers = np.unique(speakers, return_inverse=True)
        train_data = Sequences(utterances, numbers, 16, seed=args.seed)
        test_numbers = np.searchsorted(names, test_speakers)
        test_data = Sequences(test, test_numbers, 64, shuffle=False)
    model = SequenceClassifier(
        utterances[0].shape[1],
        args.hidden,
        len(names),
        cell=args.cell,
        bidirectional=True,
        pooling=args.pooling,
        dropout=args.dropout,
        classes=names,
        seed=args.seed,
    )
    trainer = Trainer(model, Adam(model.params, lr=3e-3), clip_norm=5.0)
    trainer.fit(train_data, epochs=args.epochs)
    accuracy = trainer.assess(test_data)["accuracy"]
    print(f"accuracy: {accuracy:.2%} of {len(test)} utterances")

    x, lengths, _ = test_data[0]
    for name, p in zip(
        model.predict(x, lengths)[:3], model.predict_proba(x, lengths)[:3], strict=True
    ):
        print(f"  speaker {name}, with probability {p.max():.2f}")
    fastcell.save(model, args.save)
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
