"""Translation: German sentences to English ones, by an encoder, a decoder, attention.

    python examples/translation.py FOLDER
    python examples/translation.py FOLDER --pairs fra-eng.tsv.xz

FOLDER holds Multi30k (Elliott et al. 2016, arXiv:1605.00459): the files of
data/task1/tok of https://github.com/multi30k/dataset, train.lc.norm.tok.de and so on,
val and test_2016_flickr, plain or as .gz. Other languages: --source en --target fr.
Or it holds a file of pairs, apart by a tab, such as those of https://tatoeba.org from
http://www.manythings.org/anki: those of at most ten words are split at random, all
translations of one sentence kept together, and each of them is right.

A bidirectional GRU reads the sentence; another GRU writes the translation word by word,
with attention to the encoder's outputs (Luong et al. 2015, arXiv:1508.04025). Words
seen once in training are learned as the unknown word; if the model writes that word,
the source word with the largest weight replaces it.
The weights kept are those of the epoch with the lowest validation loss. The score is
BLEU of the tokenized text, by sacrebleu (pip install sacrebleu). Published for such a
model of Multi30k, de-en: 33.5 (model card msarmi9/multi30k); here 35.9, and 53.7 of
en-fr.
"""

import re
import time
from collections import defaultdict
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

import fastcell
from fastcell.data import SequencePairs, Sequences, WordVocabulary, read_text
from fastcell.models import Seq2Seq
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/multi30k/dataset (data/task1/tok)"
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
UNK, BOS, EOS = 1, 2, 3
OPTIONS = {
    "source": ("de", "language to translate"),
    "target": ("en", "language to translate to"),
    "pairs": ("", "a file of pairs in the folder, to be read in their place"),
    "epochs": (5, "passes over the training pairs"),
    "limit": (1_000_000, "training sentences at most"),
    "hidden": (256, "units of a direction"),
    "embedding": (256, "features of a word"),
    "dropout": (0.3, "share of values dropped in training"),
    "batch": (64, "pairs of a step"),
    "lr": (2e-3, "learning rate"),
    "beam": (5, "sentences that the search keeps"),
    "penalty": (1.0, "power of its length penalty"),
    "threads": (0, "0 takes all cores"),
    "seed": (0, "of weights, dropout, order and split"),
}
Part = list[tuple[list[str], list[list[str]]]]  # a sentence and its translations


def lines(path: Path) -> list[str]:
    """Return the lines of a file, which may be packed."""
    packed = path.with_name(path.name + ".gz")
    path = packed if packed.exists() and not path.exists() else path
    return read_text(path).splitlines()


def parallel(folder: Path, source: str, target: str) -> list[Part]:
    """Return the parts of Multi30k: files of two languages, line by line."""
    parts = []
    for split in ("train", "val", "test_2016_flickr"):
        files = [folder / f"{split}.lc.norm.tok.{n}" for n in (source, target)]
        sides = [lines(file) for file in files]
        if len(sides[0]) != len(sides[1]):
            raise ValueError(
                f"{files[0]} and {files[1].name} must have as many lines; "
                f"got {len(sides[0])} and {len(sides[1])}"
            )
        pairs = zip(*sides, strict=True)
        parts.append([(said.split(), [meant.split()]) for said, meant in pairs])
    return parts


def short_pairs(path: Path, seed: int) -> list[Part]:
    """Return nine tenths of the short pairs of a file, a twentieth, and another one."""
    found = defaultdict(list)
    for number, line in enumerate(lines(path), 1):
        if line.count("\t") != 1:
            raise ValueError(f"{path}, line {number}: must be a pair, apart by a tab")
        sides = line.lower().replace("\u2019", "'").split("\t")
        said, meant = (re.findall(r"\w+'?|[^\w\s]", side) for side in sides)
        if max(len(said), len(meant)) <= 10:
            found[tuple(said)].append(meant)
    rows = [(list(said), meant) for said, meant in found.items()]
    order = np.random.default_rng(seed).permutation(len(rows))
    n = len(rows) // 20
    return [[rows[i] for i in part] for part in np.split(order, [-2 * n, -n])]


def need(module: str, use: str) -> Any:
    """Return a module of a package that fastcell does without."""
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise SystemExit(f"{use} needs {package}: pip install {package}") from None


def bleu(answers: list[str], references: list[list[str]]) -> float:
    """Return the BLEU of tokenized translations (Papineni et al. 2002)."""
    columns = list(zip_longest(*references))
    score = need("sacrebleu", "BLEU").corpus_bleu
    return score(answers, columns, tokenize="none", force=True).score


def draw(path: Path, shown: list[tuple[list[str], list[str], np.ndarray]]) -> None:
    """Draw what each word of some translations looked at."""
    figure = need("matplotlib.figure", "--plot").Figure((5 * len(shown), 5))
    for k, (said, answer, weights) in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), k + 1)
        axes.imshow(weights, cmap="gray_r", vmin=0, vmax=1)
        axes.set_xticks(range(len(said)), said, rotation=90)
        axes.set_yticks(range(len(answer) + 1), [*answer, "(end)"])
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    """Train, choose, translate, score, save."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where the sentences are")
    for name, (value, text) in OPTIONS.items():
        text += f" (default: {value})" if value else ""
        parser.add_argument(f"--{name}", type=type(value), default=value, help=text)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="gru")
    parser.add_argument("--plot", type=Path, help="file for a picture of the attention")
    parser.add_argument("--save", type=Path, default=Path("translation.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    need("sacrebleu", "BLEU")  # before the training
    if args.plot:
        need("matplotlib", "--plot")

    with reading_data(args.folder, SOURCE):
        if args.pairs:
            parts = short_pairs(args.folder / args.pairs, args.seed)
        else:
            parts = parallel(args.folder, args.source, args.target)
        if not all(parts):
            raise ValueError("must have sentences in each part; got none")
    del parts[0][args.limit :]
    train, valid = ([(s, t) for s, ts in part for t in ts] for part in parts[:2])
    sources = WordVocabulary([said for said, _ in train], 2, None, SPECIALS)
    targets = WordVocabulary([meant for _, meant in train], 2, None, SPECIALS)

    def batches(pairs: list[tuple[list[str], list[str]]]) -> SequencePairs:
        said = [sources.encode(words) for words, _ in pairs]
        meant = [np.array([BOS, *targets.encode(words), EOS]) for _, words in pairs]
        return SequencePairs(said, meant, args.batch, seed=args.seed)

    sizes = len(sources), len(targets), args.embedding, args.hidden
    options = {"dropout": args.dropout, "bos": BOS, "eos": EOS, "seed": args.seed}
    model = Seq2Seq(*sizes, cell=args.cell, **options)
    train_data = batches(train)
    print(f"pairs: {len(train)}, of {sizes[0]} and {sizes[1]} words")
    schedule = cosine(max(1, args.epochs * len(train_data)), 0.05)
    trainer = Trainer(model, Adam(model.params, lr=args.lr), 1.0, schedule)
    trainer.fit(train_data, batches(valid), epochs=args.epochs, best=args.save)
    model.load_state_dict(fastcell.load(args.save).state_dict())
    for side, vocabulary in (("source", sources), ("target", targets)):
        file = args.save.with_suffix(f".{side}.json")
        file.write_text(vocabulary.to_json(), encoding="utf-8")

    said = [words for words, _ in parts[2]]
    ids, looked, start = [], [], time.perf_counter()
    encoded = [sources.encode(words) for words in said]
    for x, lengths, _ in Sequences(encoded, None, 50, shuffle=False, bucket=False):
        how = args.beam, 60, args.penalty
        found, weights = model.predict(x, lengths, *how, return_attention=True)
        ids, looked = ids + found, looked + weights
    seconds = time.perf_counter() - start
    answers = [
        [
            s[w.argmax()] if i == UNK else targets.words[i]
            for i, w in zip(*row, strict=False)
        ]
        for s, *row in zip(said, ids, looked, strict=True)
    ]
    texts = [" ".join(answer) for answer in answers]
    references = [[" ".join(meant) for meant in all_of] for _, all_of in parts[2]]
    shown = range(0, len(said), max(1, len(said) // 5))
    for i in shown:
        print(f"\n  {' '.join(said[i])}\n> {texts[i]}\n= {references[i][0]}")
    print(f"\nBLEU: {bleu(texts, references):.2f} of {len(said)} test sentences")
    print(f"speed: {len(said) / seconds:.0f} sentences a second, beam {args.beam}")
    print(f"saved: {args.save}, and the vocabularies beside it")
    if args.plot:
        draw(args.plot, [(said[i], answers[i], looked[i]) for i in shown])
        print(f"drawn: {args.plot}")


if __name__ == "__main__":
    main()
