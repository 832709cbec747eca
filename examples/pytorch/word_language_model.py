"""The word language model of PyTorch's examples before and after one line: training.

    python examples/pytorch/word_language_model.py --threads 1
    python examples/pytorch/word_language_model.py FOLDER

The network and its training have that program's default sizes: embedding, two LSTM
layers of 200 units with dropout between them, a score for each word; batches of 20 x 35
words, plain SGD with clipped gradients. The words are those of the text that comes with
fastcell; most of a step are their scores, which fastcell leaves to PyTorch.

FOLDER is word_language_model of a clone of https://github.com/pytorch/examples. With
it, the network is the RNNModel of its model.py and the words are those of
data/wikitext-2/train.txt.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import before_after
import torch
from torch.nn.functional import cross_entropy

import fastcell.torch
from fastcell.demo_data import tiny_shakespeare
from fastcell.programs import reading_data

SOURCE = "https://github.com/pytorch/examples"
ROWS, STEPS = 20, 35
RATE, CLIP = 20.0, 0.25
SIZE, DROPOUT = 200, 0.2


class Words(torch.nn.Module):
    """Scores of the next word, of all words."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, SIZE)
        self.lstm = torch.nn.LSTM(SIZE, SIZE, 2, dropout=DROPOUT)
        self.scores = torch.nn.Linear(SIZE, words)
        self.dropout = torch.nn.Dropout(DROPOUT)
        for weight in (self.embedding.weight, self.scores.weight):
            torch.nn.init.uniform_(weight, -0.1, 0.1)

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        y, state = self.lstm(self.dropout(self.embedding(ids)), state)
        return self.scores(self.dropout(y)).flatten(0, 1), state


def streams(text: str) -> tuple[torch.Tensor, int]:
    """Return numbers of words (T, 20), a part of the text a column; and how many."""
    numbers: dict[str, int] = {}
    ids = [
        numbers.setdefault(word, len(numbers))
        for line in text.splitlines()
        for word in [*line.split(), "<eos>"]
    ]
    steps = len(ids) // ROWS
    if steps <= STEPS:
        raise ValueError(
            f"the text must have {ROWS * (STEPS + 1)} words; got {len(ids)}"
        )
    parts = torch.tensor(ids[: steps * ROWS]).view(ROWS, steps)
    return parts.t().contiguous(), len(numbers)


def training(model: torch.nn.Module, ids: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return what takes a training step and returns its loss; the next goes on."""
    state, start = None, 0

    def step() -> torch.Tensor:
        nonlocal state, start
        if start + STEPS >= len(ids):
            state, start = None, 0
        model.zero_grad()
        scores, new = model(ids[start : start + STEPS], state)
        loss = cross_entropy(scores, ids[start + 1 : start + STEPS + 1].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(parameter.grad, alpha=-RATE)
        state, start = tuple(part.detach() for part in new), start + STEPS
        return loss.detach()

    return step


def first_steps(model: torch.nn.Module, ids: torch.Tensor) -> list[torch.Tensor]:
    """Return the losses of three training steps of a copy, and its gradients then."""
    torch.manual_seed(1)  # of the dropout
    model = copy.deepcopy(model)
    step = training(model, ids)
    losses = [step() for _ in range(3)]
    return [*losses, *(parameter.grad for parameter in model.parameters())]


def main() -> None:
    """Compare the numbers, then the times."""
    parser = before_after.options(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="default: our own text")
    parser.add_argument("--characters", type=int, help="of our own text; default: all")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    torch.manual_seed(0)
    if args.folder:
        path = args.folder / "data" / "wikitext-2" / "train.txt"
        with reading_data(path, SOURCE):
            ids, words = streams(path.read_text(encoding="utf-8"))
        with reading_data(args.folder / "model.py", SOURCE):
            sys.path.insert(0, str(args.folder))
            from model import RNNModel

            before = RNNModel("LSTM", words, SIZE, SIZE, 2, DROPOUT)
    else:
        ids, words = streams(tiny_shakespeare()[: args.characters])
        before = Words(words)
    after = copy.deepcopy(before)
    fastcell.torch.accelerate(after)

    models = (before, after)
    numbers = [first_steps(model, ids) for model in models]
    before_after.tell(2, before_after.error(numbers[1], numbers[0]), args.threads)
    calls = [training(model, ids) for model in models]
    times = before_after.seconds(calls, args.blocks)
    before_after.tell_speed(f"a training step, {words:,} words", *times)


if __name__ == "__main__":
    main()
