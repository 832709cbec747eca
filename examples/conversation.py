"""Conversation: answer a user who looks for a restaurant, from the talk so far.

    python examples/conversation.py FOLDER

FOLDER holds CamRest676 (Wen et al. 2017, arXiv:1604.04562) as prepared for Sequicity:
CamRest676.json, plain or as .gz, and CamRestDB.json, the table of restaurants, from
https://github.com/WING-NUS/sequicity (data/CamRest676). 676 typed dialogues, split
3:1:1 in their order.

Values of the table, or derived from it, as "moderately", are delexicalised: "Prezzo
serves Italian food" is learned as "[name] serves [food] food", and a running system
fills in a restaurant of the table. A bidirectional GRU reads the number of restaurants
that match the user's wishes so far, the last turns, and the user's present turn;
another GRU with attention writes the reply word by word.

Scores of the test replies: perplexity; BLEU, by sacrebleu (pip install sacrebleu); slot
accuracy, the share of replies that have exactly the slots of the true one, and F1, slot
by slot. Published BLEU: 21.2 (NDM, Wen et al.), 25.3 (TSCP, Lei et al. 2018,
doi:10.18653/v1/P18-1133).
"""

import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import SequencePairs, WordVocabulary, read_text
from fastcell.models import Seq2Seq
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/WING-NUS/sequicity (data/CamRest676)"
SLOTS = ["name", "address", "phone", "postcode", "food", "area", "pricerange"]
MARKS = {f"[{slot}]" for slot in SLOTS}
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
BOS, EOS = 2, 3
TURN = ("usr", "transcript"), ("sys", "sent")
WORD = re.compile(r"\w+")


def load(path: Path) -> list:
    """Return the list that a JSON file holds, plain or as .gz."""
    packed = path.with_name(path.name + ".gz")
    if not path.exists() and packed.exists():
        path = packed
    try:
        found = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: must be JSON; {error}") from None
    if not (isinstance(found, list) and found and all(type(o) is dict for o in found)):
        raise ValueError(f"{path}: must be a list of objects; got {found!r:.60}")
    return found


class Restaurants:
    """A table of restaurants: what of it a text names, and who has what is named."""

    def __init__(self, table: list[dict[str, str]]) -> None:
        rows = [
            {slot: WORD.findall(str(row.get(slot) or "").lower()) for slot in SLOTS}
            for row in table
        ]
        self.rows = [{slot: "".join(row[slot]) for slot in row} for row in rows]
        pairs = [(row[slot], slot) for slot in SLOTS[::-1] for row in rows if row[slot]]
        self.slots = {"".join(words): slot for words, slot in pairs}
        pairs.sort(key=lambda pair: -len("".join(pair[0])))
        values = "|".join(r"\W*".join(words) for words, _ in pairs)
        self.pattern = re.compile(rf"\b({values})(?:ly|er|ern)?\b")

    def read(self, text: str) -> tuple[list[str], dict[str, str]]:
        """Return the tokens of a text, with slots for values, and the values."""
        named = {}

        def slot(found: re.Match) -> str:
            value = "".join(WORD.findall(found[1]))
            named[self.slots[value]] = value
            return f" [{self.slots[value]}] "

        text = self.pattern.sub(slot, text.lower())
        return re.findall(r"\[\w+\]|\w+(?:'\w+)?|[^\w\s]", text), named

    def number(self, wanted: dict[str, str]) -> str:
        """Return how many restaurants have what is wanted, as a token."""
        count = sum(wanted.items() <= row.items() for row in self.rows)
        return f"<{count}>" if count < 5 else "<many>"


def exchanges(
    dialogues: list[dict], restaurants: Restaurants, turns: int
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield what was said, the last turns of it, and the reply."""
    for dialogue in dialogues:
        said: list[list[str]] = []
        wanted: dict[str, str] = {}
        for turn in dialogue.get("dial", []):
            user, system = (turn.get(who, {}).get(what) for who, what in TURN)
            if not (isinstance(user, str) and isinstance(system, str)):
                got = f"got {turn!r:.60}"
                raise ValueError(f"turns must have usr.transcript and sys.sent; {got}")
            tokens, named = restaurants.read(user)
            wanted |= named
            said.append(["<user>", *tokens])
            history = [word for part in said[-turns:] for word in part]
            reply, _ = restaurants.read(system)
            yield [restaurants.number(wanted), *history], reply
            said.append(["<system>", *reply])


def bleu(replies: list[list[str]], references: list[list[str]]) -> float:
    """Return the BLEU of tokenized replies (Papineni et al. 2002)."""
    try:
        import sacrebleu
    except ImportError:
        raise SystemExit("BLEU needs sacrebleu: pip install sacrebleu") from None
    said, true = ([" ".join(words) for words in part] for part in (replies, references))
    return sacrebleu.corpus_bleu(said, [true], tokenize="none", force=True).score


def slot_scores(replies: list[list[str]], references: list[list[str]]) -> tuple:
    """Return the share of replies with exactly the true slots, and the F1 of slots."""
    said, true = ([MARKS & set(words) for words in p] for p in (replies, references))
    both = [len(a & b) for a, b in zip(said, true, strict=True)]
    either = sum(map(len, said + true))
    exactly = np.mean([a == b for a, b in zip(said, true, strict=True)])
    return exactly, 2 * sum(both) / max(1, either)


def main() -> None:
    """Train, choose the epoch, reply, score, save."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where the dialogues are")
    parser.add_argument("--turns", type=int, default=3, help="read the last so many")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="gru")
    parser.add_argument("--hidden", type=int, default=128, help="units a direction")
    parser.add_argument("--dropout", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("conversation.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    bleu([["a"]], [["a"]])  # a missing package shows now

    with reading_data(args.folder, SOURCE):
        restaurants = Restaurants(load(args.folder / "CamRestDB.json"))
        dialogues = load(args.folder / "CamRest676.json")
        borders = [len(dialogues) * k // 5 for k in (0, 3, 4, 5)]
        fifths = [dialogues[a:b] for a, b in pairwise(borders)]
        parts = [list(exchanges(part, restaurants, args.turns)) for part in fifths]
        if not all(parts):
            raise ValueError("CamRest676.json must have a turn in each part of 3:1:1")
    train, valid, test = parts
    vocabulary = WordVocabulary((w for pair in train for w in pair), 2, None, SPECIALS)

    def pairs(part: list, **options: bool) -> SequencePairs:
        sources = [vocabulary.encode(said) for said, _ in part]
        targets = [[BOS, *vocabulary.encode(reply), EOS] for _, reply in part]
        return SequencePairs(sources, targets, 32, seed=args.seed, **options)

    train_data, valid_data = pairs(train), pairs(valid, shuffle=False)
    sizes = len(vocabulary), len(vocabulary), args.hidden, args.hidden
    options = {"cell": args.cell, "dropout": args.dropout, "seed": args.seed}
    model = Seq2Seq(*sizes, **options, bos=BOS, eos=EOS)
    print(f"{len(train)} training replies; {len(vocabulary)} words")
    schedule = cosine(max(1, args.epochs * len(train_data)), 0.1)
    trainer = Trainer(model, Adam(model.params, lr=3e-3), 1.0, schedule)
    trainer.fit(train_data, valid_data, epochs=args.epochs, best=args.save)
    model.load_state_dict(fastcell.load(args.save).state_dict())

    test_data = pairs(test, shuffle=False)
    epoch = test_data.epoch(0)
    replies: list[list[str]] = [[]] * len(test)
    for k, (source, lengths, _, _) in enumerate(epoch):
        found = model.predict(source, lengths, 3, 60, length_penalty=2.0)
        for i, ids in zip(epoch.indices(k), found, strict=True):
            replies[i] = vocabulary.decode(ids)
    for (said, _), reply in zip(test[:12], replies, strict=False):
        print(f"\n  {' '.join(said).rpartition('<user> ')[2]}\n> {' '.join(reply)}")
    references = [reply for _, reply in test]
    accuracy, f1 = slot_scores(replies, references)
    print(f"\nperplexity: {math.exp(trainer.evaluate(test_data)):.2f} a token")
    print(f"slot accuracy: {accuracy:.2%} of the replies")
    print(f"slot F1: {f1:.2%}")
    print(f"BLEU: {bleu(replies, references):.2f} of {len(test)} test replies")
    args.save.with_suffix(".words.json").write_text(vocabulary.to_json())
    print(f"saved: {args.save}, and the words beside it")


if __name__ == "__main__":
    main()
