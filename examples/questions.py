"""Questions: read a story and a question about it, and answer with a word.

    python examples/questions.py FOLDER

FOLDER holds tasks of bAbI (Weston et al. 2015, arXiv:1502.05698), qa1_train.txt,
qa1_test.txt and so on, as https://github.com/facebookarchive/bAbI-tasks makes them. A
line is its number in the story and a statement, or a number and a question, a tab, the
answer, a tab, and the lines that it comes from, which are not used. Each task asks for
another skill and has a model of its own; --tasks 1,4,6 chooses some. Where an answer is
a list ("apple,milk", task 8), the list is one class.

An LSTM reads the question first, and then the story, the newest statement first: of
contradicting statements the first one read is the valid one. The scores of the answers
are computed from the maximum of each unit over all words. The published LSTM reads the
story in its order, then the question.
"""

import argparse
import re
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences, WordVocabulary, read_text
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/facebookarchive/bAbI-tasks"
# Weston et al. 2015, table 3: the accuracy of the LSTM in percent, tasks 1 to 20.
PUBLISHED = [50, 20, 20, 61, 70, 48, 49, 45, 64, 44, 72, 74, 94, 27, 21, 23, 51, 52, 8]
PUBLISHED += [91]


def read(path: Path) -> tuple[list[list[str]], list[str]]:
    """Return the words of each question and its story, and the answers."""
    asked, answers, story = [], [], []
    for place, line in enumerate(read_text(path).splitlines(), 1):
        number, _, text = line.partition(" ")
        sentence, *answer = text.split("\t")
        words = re.findall(r"\w+", sentence.lower())
        wrong = None if number.isdigit() and words else "be a number and a sentence"
        if number == "1":
            story = []
        if not answer:
            story = words + story
        elif not answer[0].strip():
            wrong = wrong or "have an answer"
        elif not story:
            wrong = wrong or "have a story before it"
        else:
            asked.append([*words, "?", *story])
            answers.append(answer[0].strip())
        if wrong:
            raise ValueError(f"{path}, line {place} must {wrong}; got {line!r:.80}")
    if not asked:
        raise ValueError(f"{path}: must have a question; got none")
    return asked, answers


def answered(
    model: SequenceClassifier, vocabulary: WordVocabulary, asked: list[list[str]]
) -> list[str]:
    """Return the answers to questions."""
    ids = [vocabulary.encode(words) for words in asked]
    epoch = Sequences(ids, batch_size=100, shuffle=False).epoch(0)
    answers = np.empty(len(asked), object)
    for k, (x, lengths, _) in enumerate(epoch):
        answers[epoch.indices(k)] = model.predict(x, lengths)
    return answers.tolist()


def learn(
    asked: list[list[str]], answers: list[str], args: argparse.Namespace
) -> tuple[SequenceClassifier, WordVocabulary]:
    """Return a model of a task, and its words."""
    classes = sorted(set(answers))
    vocabulary = WordVocabulary(asked)
    data = Sequences(
        [vocabulary.encode(words) for words in asked],
        [classes.index(answer) for answer in answers],
        32,
        seed=args.seed,
    )
    model = SequenceClassifier(
        len(vocabulary),
        args.hidden,
        len(classes),
        cell=args.cell,
        pooling="max",
        dropout=args.dropout,
        embedding_dim=32,
        classes=classes,
        seed=args.seed,
    )
    schedule = cosine(max(1, args.epochs * len(data)), 0.1)
    trainer = Trainer(model, Adam(model.params, 1e-2), 1.0, schedule, progress=False)
    trainer.fit(data, epochs=args.epochs)
    return model, vocabulary


def main() -> None:
    """Train, test and save a model for each task."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where the tasks are")
    parser.add_argument("--tasks", help="numbers such as 1,4,6; default: all there are")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=64, help="units")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("questions"), help="a folder")
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    numbers = [str(number) for number in range(1, 21)]
    there = [n for n in numbers if (args.folder / f"qa{n}_train.txt").exists()]
    tasks = args.tasks.split(",") if args.tasks else there or numbers
    if not {*tasks} <= {*numbers}:
        parser.error(f"--tasks must be numbers from 1 to 20; got {args.tasks!r}")

    args.save.mkdir(parents=True, exist_ok=True)
    shares, published = [], []
    print("task  accuracy  published  the first question", flush=True)
    for task in tasks:
        path = args.folder / f"qa{task}_train.txt"
        with reading_data(path, SOURCE):
            train = read(path)
            test = read(args.folder / f"qa{task}_test.txt")
            if len({*train[1]}) < 2:
                raise ValueError(f"must have two answers; got {train[1][0]!r} only")
        model, vocabulary = learn(*train, args)
        found = answered(model, vocabulary, test[0])
        shares.append(np.mean([a == b for a, b in zip(found, test[1], strict=True)]))
        published.append(PUBLISHED[int(task) - 1] / 100)
        question = " ".join(test[0][0][: test[0][0].index("?")])
        row = f"{task:>4}    {shares[-1]:6.1%}       {published[-1]:4.0%}"
        print(f"{row}  {question}? {found[0]} (true: {test[1][0]})", flush=True)
        path = args.save / f"qa{task}.safetensors"
        fastcell.save(model, path)
        path.with_suffix(".words.json").write_text(vocabulary.to_json())

    reached = sum(a >= b for a, b in zip(shares, published, strict=True))
    print(f"as published or above: {reached} of {len(tasks)} tasks")
    print(f"published: {np.mean(published):.2%}, mean of {len(tasks)} tasks")
    print(f"accuracy: {np.mean(shares):.2%}, mean of {len(tasks)} tasks")
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
