"""Translation: German sentences to English ones, by an encoder, a decoder, attention.

    python examples/translation.py FOLDER

FOLDER holds Multi30k (Elliott et al. 2016, arXiv:1605.00459), the files of
data/task1/tok of https://github.com/multi30k/dataset, plain or as .gz:
train.lc.norm.tok.de, train.lc.norm.tok.en and so on, val and test_2016_flickr. Line i
of two languages is a pair. Any other pairs of languages do, in files of these names
(--source, --target).

A bidirectional GRU reads the sentence; another GRU writes the translation word by word
and looks back at what the encoder gave for each word (Luong et al. 2015,
arXiv:1508.04025). Words seen once in training are learned as the unknown word; where
the model writes that word, the source word that it looked at most stands in its place.

The score is BLEU of the tokenized text, by sacrebleu (pip install sacrebleu).
"""

import argparse
import gzip
import time
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import SequencePairs, WordVocabulary
from fastcell.models import Seq2Seq
from fastcell.optim import Adam
from fastcell.optim.schedules import cosine
from fastcell.train import Trainer

SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
UNK, BOS, EOS = 1, 2, 3


def read(folder: Path, split: str, language: str, limit: int | None) -> list[list[str]]:
    """Return the sentences of a file as words."""
    path = folder / f"{split}.lc.norm.tok.{language}"
    text = (
        path.read_bytes()
        if path.exists()
        else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())
    ).decode("utf-8")
    return [line.split() for line in text.splitlines()[:limit]]


def translate(
    model: Seq2Seq, data: SequencePairs, sources: list[list[str]], words: WordVocabulary
) -> list[str]:
    """Translate all sentences of the data by beam search."""
    answers = [""] * len(sources)
    epoch = data.epoch(0)
    for k, (source, lengths, _, _) in enumerate(epoch):
        found, weights = model.predict(
            source, lengths, 5, 60, length_penalty=1.0, return_attention=True
        )
        for i, ids, looked in zip(epoch.indices(k), found, weights, strict=True):
            said = [
                sources[i][looked[t].argmax()] if token == UNK else words.words[token]
                for t, token in enumerate(ids)
            ]
            answers[i] = " ".join(said)
    return answers


def bleu(answers: list[str], references: list[str]) -> float:
    """Return the BLEU of tokenized translations (Papineni et al. 2002)."""
    try:
        import sacrebleu
    except ImportError:
        raise SystemExit("BLEU needs sacrebleu: pip install sacrebleu") from None
    score = sacrebleu.corpus_bleu(
        answers, [references], tokenize="none", force=True, lowercase=False
    )
    return score.score


def main() -> None:
    """Train, translate, score, save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the sentences are")
    parser.add_argument("--source", default="de", help="language to translate")
    parser.add_argument("--target", default="en", help="language to translate to")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="gru")
    parser.add_argument("--hidden", type=int, default=256, help="units a direction")
    parser.add_argument("--embedding", type=int, default=256)
    parser.add_argument("--attention", default="additive", help="or general")
    parser.add_argument("--input-feeding", action="store_true")
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--limit", type=int, help="take so many training pairs only")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("translation.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    bleu(["a b c d"], ["a b c d"])  # a missing package shows now

    languages = args.source, args.target
    train, valid, test = (
        [read(args.folder, split, language, limit) for language in languages]
        for split, limit in (
            ("train", args.limit),
            ("val", None),
            ("test_2016_flickr", None),
        )
    )
    vocabularies = [WordVocabulary(side, 2, None, SPECIALS) for side in train]

    def pairs(sides: list[list[list[str]]], **options: bool) -> SequencePairs:
        sources, targets = (
            [vocabulary.encode(words) for words in side]
            for vocabulary, side in zip(vocabularies, sides, strict=True)
        )
        marked = [np.array([BOS, *ids, EOS]) for ids in targets]
        return SequencePairs(sources, marked, args.batch, **options)

    train_data = pairs(train)
    model = Seq2Seq(
        *map(len, vocabularies),
        args.embedding,
        args.hidden,
        cell=args.cell,
        attention=args.attention,
        input_feeding=args.input_feeding,
        dropout=args.dropout,
        bos=BOS,
        eos=EOS,
        seed=0,
    )
    print(
        f"{len(train[0])} pairs; words: {len(vocabularies[0])}, {len(vocabularies[1])}"
    )
    schedule = cosine(max(1, args.epochs * len(train_data)), 0.05)
    trainer = Trainer(model, Adam(model.params, lr=args.lr), 1.0, schedule)
    trainer.fit(train_data, pairs(valid, shuffle=False), epochs=args.epochs)
    fastcell.save(model, args.save)
    for language, vocabulary in zip(languages, vocabularies, strict=True):
        args.save.with_suffix(f".{language}.json").write_text(vocabulary.to_json())
    print(f"saved: {args.save}, and the vocabularies beside it")

    started = time.perf_counter()
    answers = translate(model, pairs(test, shuffle=False), test[0], vocabularies[1])
    seconds = time.perf_counter() - started
    references = [" ".join(words) for words in test[1]]
    for i in range(0, len(answers), max(1, len(answers) // 5)):
        print(f"\n  {' '.join(test[0][i])}\n> {answers[i]}\n= {references[i]}")
    print(f"\nBLEU: {bleu(answers, references):.2f} of {len(answers)} test sentences")
    print(f"{len(answers) / seconds:.0f} sentences a second, with a beam of 5")


if __name__ == "__main__":
    main()
