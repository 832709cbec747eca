"""Language models of characters and of words: what comes next in a text?

    python examples/language.py FOLDER_OR_FILE --by char
    python examples/language.py FOLDER_OR_FILE --by word

A file is a text, .gz and .xz among them, such as data/tinyshakespeare/input.txt of
https://github.com/karpathy/char-rnn. Its last tenth is held out; if there are more
than two million characters, the tenth before is for validation. A folder holds one such
file, or ptb.train.txt, ptb.valid.txt and ptb.test.txt (.gz too), the Penn Treebank as
Mikolov et al. (2010) prepared it. Others report, and this program reaches on one core:

    tinyshakespeare, char  nats 1.555, minLSTM 3x384 (Feng et al. 2024)  1.505
    War and Peace, char    nats (Karpathy et al. 2015: another edition)  1.245
    Penn Treebank, char    bits 1.36, LSTM of 3 M (Bai et al. 2018)      1.477, 346 k
    Penn Treebank, word    perplexity 114.5, LSTM 2x200, 13 epochs       118.3, 3 epochs
                           (Zaremba et al. 2014, arXiv:1409.2329)

The text is cut into streams side by side, these into windows; the state is carried from
window to window, gradients are not (truncated backpropagation through time). Words are
those between white space, and <eos> for each end of line; rare ones are <unk>.
"""

import math
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import (
    CharVocabulary,
    TextStreams,
    WordVocabulary,
    iter_words,
    read_text,
    split_text,
)
from fastcell.models import LanguageModel
from fastcell.optim import SGD, Adam, cosine, warmup
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/karpathy/char-rnn (data/tinyshakespeare), or any text"
UNKNOWN, END = "<unk>", "<eos>"
# Characters: about so many are read in all, but each at most so often.
READ, MOST_EPOCHS = 26e6, 14
# Layers, units, embedding, streams, steps of a window, learning rate, clipping.
SETTINGS = {
    "char": (1, 256, 64, 32, 64, 6e-3, 5.0),
    # As Zaremba et al.; they sum over the 20 steps what is a mean here.
    "word": (2, 200, 200, 20, 20, 20.0, 5.0 / 20),
}


def read(path: Path) -> tuple[list[str], str]:
    """Return the parts of a text, to train on, to validate, to test, and its name."""
    ptb = [sorted(path.glob(f"ptb.{part}.txt*")) for part in ("train", "valid", "test")]
    if path.is_dir() and all(ptb):
        return [read_text(files[0]) for files in ptb], "Penn Treebank"
    if path.is_dir():
        files = [p for end in ("", ".gz", ".xz") for p in path.glob(f"*.txt{end}")]
        if len(files) != 1:
            raise ValueError(f"{path}: must hold one text; got {len(files)}")
        path = files[0]
    text = read_text(path)
    parts = split_text(text, (0.9, 0.1) if len(text) <= 2e6 else (0.8, 0.1, 0.1))
    return [parts[0], parts[-1] if len(parts) == 2 else parts[1], parts[-1]], path.name


def encode(texts: list[str], by: str, words: int) -> tuple[list[np.ndarray], object]:
    """Return the ids of the texts, and all characters or the words of the first."""
    if by == "char":
        vocabulary = CharVocabulary.from_texts(texts)
        return [vocabulary.encode(text) for text in texts], vocabulary
    split = [[w for part in iter_words([t], END) for w in part] for t in texts]
    vocabulary = WordVocabulary(split[0], 1, words, [UNKNOWN, END], unknown=UNKNOWN)
    return [vocabulary.encode(words) for words in split], vocabulary


def main() -> None:
    """Train, score, save, continue a line."""
    parser = command_line(__doc__)
    parser.add_argument("path", type=Path, help="a text, or the folder of one")
    parser.add_argument("--by", choices=["char", "word"], default="char")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, help="units of a layer")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--embedding", type=int)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--lr", type=float, help="learning rate at its highest")
    parser.add_argument("--words", type=int, default=10000, help="that are known")
    parser.add_argument("--sampled-softmax", type=int, help="words drawn for the loss")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, default=Path("language.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    layers, hidden, embedding, batch, steps, lr, clip = SETTINGS[args.by]

    with reading_data(args.path, SOURCE):
        texts, name = read(args.path)
        ids, vocabulary = encode(texts, args.by, args.words)
        train_data, valid_data, test_data = (
            TextStreams(part, max(1, min(batch, len(part) // (4 * steps))), steps)
            for part in ids
        )
    model = LanguageModel(
        len(vocabulary),
        args.embedding or embedding,
        args.hidden or hidden,
        args.layers or layers,
        cell=args.cell,
        dropout=args.dropout,
        sampled_softmax=args.sampled_softmax,
        seed=args.seed,
        vocabulary=vocabulary if args.by == "char" else None,
    )
    if args.by == "word":
        model.params["embedding.weight"][...] *= 0.1  # as small as in the paper
    print(f"{name}: {len(ids[0])} {args.by}s to train on, {len(vocabulary)} different")
    by_size = min(MOST_EPOCHS, max(1, round(READ / len(ids[0]))))
    by_size = 3 if args.by == "word" else by_size
    epochs = by_size if args.epochs is None else args.epochs
    count = max(1, epochs * len(train_data))
    kind = SGD if args.by == "word" else Adam
    optimizer = kind(model.params, lr=args.lr or lr)
    rising = 0 if args.by == "word" else count // 50
    schedule = warmup(rising, cosine(count, 0.02))
    trainer = Trainer(model, optimizer, clip, schedule)
    trainer.fit(train_data, valid_data, epochs=epochs)
    fastcell.save(model, args.save)
    words = args.save.with_suffix(f".{args.by}s.json")
    words.write_text(vocabulary.to_json(), encoding="utf-8")

    loss = trainer.evaluate(test_data)
    of = f"of {test_data.num_steps * test_data.batch_size} {args.by}s held out"
    if args.by == "word":
        print(f"perplexity: {math.exp(loss):.2f} {of}")
    print(f"nats per {args.by}: {loss:.4f} {of}")
    print(f"bits per {args.by}: {loss / math.log(2):.4f} {of}")
    if args.by == "char":
        start = "\n" if "\n" in vocabulary else vocabulary.symbols[0]
        print(model.generate(start, 500, 0.8, seed=args.seed))
    else:
        drawn = model.generate([vocabulary.index(END)], 100, seed=args.seed)
        print(" ".join(vocabulary.decode(drawn)).replace(END, "\n"))
    print(f"saved: {args.save}, {words}")


if __name__ == "__main__":
    main()
