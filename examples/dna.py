"""DNA: is the middle of 60 bases a border of exon and intron, and which?

    python examples/dna.py FOLDER

FOLDER holds splice.tsv: the splice junctions of the UCI repository
(https://archive.ics.uci.edu/dataset/69, Towell et al. 1990), a header, and then a class
(EI, IE or N for neither), a tab, and 60 bases. The border, if there is one, lies in the
middle: between the bases 29 and 30, counted from 0.

The bases next to a border mark it, on both sides. So both directions end there: the
forward direction of a bidirectional LSTM reads the first 36 bases, to 6 beyond the
middle; the reverse direction reads the last 36, from the end to 6 before it; and the
three scores are computed from their last states. To have both in one sequence, step t
holds base t of the first 36 and base t of the last 36.

The accuracy is that of a 10-fold cross-validation, in which equal sequences stay
together; the model saved is that of the last fold. Published errors, in percent, of N,
EI and IE: back-propagation 5.29, 5.74, 10.75; KBANN 4.62, 7.56, 8.47.
"""

from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences, read_text
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://archive.ics.uci.edu/dataset/69"
CLASSES = ["EI", "IE", "N"]
# Beside the four bases, the codes for one of several.
LETTERS = {"A": "A", "C": "C", "G": "G", "T": "T"}
LETTERS |= {"D": "AGT", "N": "ACGT", "R": "AG", "S": "CG"}


def read(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the sequences of a file, and their classes as numbers."""
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines[1:], 2):
        name, _, bases = line.partition("\t")
        if name not in CLASSES or len(bases) != 60 or not {*bases} <= {*LETTERS}:
            raise ValueError(
                f"{path}, line {number}: must be a class, a tab and 60 bases; "
                f"got {line!r:.80}"
            )
    if len(lines) < 2:
        raise ValueError(f"{path}: must have sequences; got none")
    rows = [line.split("\t") for line in lines[1:]]
    return [bases for _, bases in rows], np.array([CLASSES.index(c) for c, _ in rows])


def features(sequences: list[str], beyond: int) -> np.ndarray:
    """Return (N, 30 + beyond, 8): the first bases, and beside them the last."""
    codes = {
        letter: [(base in bases) / len(bases) for base in "ACGT"]
        for letter, bases in LETTERS.items()
    }
    bases = np.array([[codes[b] for b in s] for s in sequences], np.float32)
    steps = bases.shape[1] // 2 + beyond
    return np.concatenate([bases[:, :steps], bases[:, -steps:]], axis=2)


def folds_of(sequences: list[str], count: int) -> np.ndarray:
    """Return the fold of each sequence, the same for equal ones."""
    different, numbers = np.unique(sequences, return_inverse=True)
    fold = np.arange(len(different)) % count
    return np.random.default_rng(0).permutation(fold)[numbers]


def main() -> None:
    """Train and test on each fold, save the last model."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where splice.tsv is")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--beyond", type=int, default=6, help="bases past the middle")
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=64, help="units a direction")
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("dna.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    path = args.folder / "splice.tsv"
    with reading_data(path, SOURCE):
        sequences, y = read(path)
    x = features(sequences, args.beyond)
    fold = folds_of(sequences, args.folds)
    answers = np.empty_like(y)
    for k in range(args.folds):
        model = SequenceClassifier(
            x.shape[2],
            args.hidden,
            len(CLASSES),
            cell=args.cell,
            bidirectional=True,
            dropout=args.dropout,
            classes=CLASSES,
            seed=args.seed + k,
        )
        data = Sequences(x[fold != k], y[fold != k], 32, seed=args.seed + k)
        steps = args.epochs * len(data)
        Trainer(
            model,
            Adam(model.params, lr=1e-2),
            clip_norm=1.0,
            schedule=cosine(steps),
            progress=False,
        ).fit(data, epochs=args.epochs)
        scores = model(x[fold == k].swapaxes(0, 1))
        answers[fold == k] = scores.argmax(axis=1)
        right = (answers == y)[fold == k].mean()
        print(f"fold {k + 1} of {args.folds}: {right:.2%}", flush=True)

    for number, name in enumerate(CLASSES):
        wrong = (answers != y)[y == number].mean()
        print(f"error of {name}: {wrong:.2%}")
    print(f"accuracy: {(answers == y).mean():.2%} of {len(y)} sequences")
    fastcell.save(model, args.save)
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
