"""Digits: read a picture row by row, as a sequence, and say which digit it shows.

    python examples/digits.py FOLDER

FOLDER holds mnist.npz: the handwritten digits of LeCun et al. (1998) as the arrays
x_train (60000, 28, 28), y_train, x_test (10000, 28, 28) and y_test, of uint8, in their
usual order; for instance made from https://github.com/rasbt/mnist-pngs.

A step is a row of 28 pixels; the ten scores are computed from the state after the last
row. The network reads in one direction, so it has scores for a part of a picture: at
the end the example shows its prediction of a digit after each few rows.
"""

from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences, read_npz
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/rasbt/mnist-pngs"
NAMES = ["x_train", "x_test", "y_train", "y_test"]


def follow(model: SequenceClassifier, picture: np.ndarray, digit: int) -> None:
    """Print what the model thinks while the rows of a picture come in."""
    print(f"a {digit}, row by row:")
    session = model.session()
    for t, row in enumerate(picture, 1):
        p = session.step(row[np.newaxis])[0]
        if t % 4 == 0:
            print(f"  after row {t:2}: {p.argmax()}, with probability {p.max():.2f}")


def main() -> None:
    """Train, test, save."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where mnist.npz is")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=128, help="units")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("digits.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    path = args.folder / "mnist.npz"
    with reading_data(path, SOURCE):
        x, test, y, test_y = read_npz(path, *NAMES)
        x, test = x / np.float32(255), test / np.float32(255)
        train_data = Sequences(x, y, 64, seed=args.seed)
        test_data = Sequences(test, test_y, 256, shuffle=False)
    model = SequenceClassifier(
        x.shape[2], args.hidden, 10, cell=args.cell, classes=range(10), seed=args.seed
    )
    steps = args.epochs * len(train_data)
    trainer = Trainer(
        model,
        Adam(model.params, lr=3e-3),
        clip_norm=1.0,
        schedule=cosine(steps),
    )
    trainer.fit(train_data, test_data, epochs=args.epochs)
    accuracy = trainer.assess(test_data)["accuracy"]
    print(f"accuracy: {accuracy:.2%} of {len(test)} pictures")
    follow(model, test[0], test_y[0])
    fastcell.save(model, args.save)
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
