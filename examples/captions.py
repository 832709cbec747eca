"""Captions: what a picture shows, in a sentence, from a vector of the picture.

    python examples/captions.py FOLDER

FOLDER holds features.npz and captions.tsv. In features.npz "pooled" are the vectors
(N, F) that a convolutional network gives for N pictures, "image" their names, and
"split" is 0, 1 or 2 for training, validation and test; captions.tsv has a line of
titles, and then lines of picture, split and caption, apart by tabs. Such vectors are
what any image classifier gives before its last layer; the example was made with the
first 1,000 pictures of Flickr8k (Hodosh et al. 2013, doi:10.1613/jair.3994), five
captions each, and an EfficientNet.

The vector sets the initial state of an LSTM, which then writes the caption word by word
(Vinyals et al. 2015, arXiv:1411.4555). The weights kept are those of the epoch with the
lowest loss on the validation pictures. The score is BLEU-1 to BLEU-4 against all
captions of a picture, by sacrebleu (pip install sacrebleu).
"""

import math
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import (
    Sequences,
    WordVocabulary,
    mean_and_spread,
    read_npz,
    read_text,
)
from fastcell.models import Captioner
from fastcell.optim import Adam
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "Flickr8k (doi:10.1613/jair.3994), its vectors from any image classifier"
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
BOS, EOS = 2, 3


def read(folder: Path) -> tuple[np.ndarray, list[list[list[str]]], np.ndarray]:
    """Return the vectors, the captions of each picture as words, and the splits."""
    file = folder / "features.npz"
    features, names, split = read_npz(file, "pooled", "image", "split")
    if len(features) != len(names) or split.shape != names.shape:
        raise ValueError(
            f"{file}: pooled, image and split must be of the same pictures"
        )
    if not {0, 1, 2} <= set(split.tolist()):
        raise ValueError(f"{file}: split must have 0, 1 and 2; got {np.unique(split)}")
    said, file = defaultdict(list), folder / "captions.tsv"
    for number, line in enumerate(read_text(file).splitlines(), 1):
        name, _, caption = line.split("\t") if line.count("\t") == 2 else [""] * 3
        if not caption:
            raise ValueError(
                f"{file}, line {number}: must be picture, split and caption"
            )
        if number > 1:
            said[name].append(re.findall(r"[a-z0-9']+", caption.lower()))
    none = [name for name in names.tolist() if name not in said]
    if none:
        raise ValueError(f"{file}: must have a caption of {none[0]!r}")
    return features, [said[name] for name in names.tolist()], split


def bleu(answers: list[str], references: list[list[str]]) -> list[float]:
    """Return BLEU-1 to BLEU-4 of answers with several references each."""
    try:
        import sacrebleu
    except ImportError:
        raise SystemExit("BLEU needs sacrebleu: pip install sacrebleu") from None
    most = max(map(len, references))
    columns = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    score = sacrebleu.corpus_bleu(answers, columns, tokenize="none", force=True)
    logs = [math.log(max(p, 1e-9)) for p in score.precisions]
    return [score.bp * math.exp(sum(logs[:n]) / n) for n in range(1, 5)]


def main() -> None:
    """Train, choose, describe, save."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where vectors and captions are")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--embedding", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--beam", type=int, default=3)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--save", type=Path, default=Path("captions.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)
    bleu(["a b c d"], [["a b c d"]])  # a missing package shows now

    with reading_data(args.folder, SOURCE):
        features, said, split = read(args.folder)
        centre, spread = mean_and_spread(features[split == 0])
    spread = np.sqrt(np.mean(spread**2)) or 1  # one of all, which are alike
    features = ((features - centre) / spread).astype(np.float32)
    words = WordVocabulary(
        [c for i in np.flatnonzero(split == 0) for c in said[i]], 3, None, SPECIALS
    )

    def captions(part: int, **options: bool) -> Sequences:
        pairs = [(c, i) for i in np.flatnonzero(split == part) for c in said[i]]
        ids = [np.array([BOS, *words.encode(c), EOS]) for c, _ in pairs]
        images = features[[i for _, i in pairs]]
        return Sequences(ids, images, 64, seed=args.seed, **options)

    model = Captioner(
        features.shape[1],
        len(words),
        args.embedding,
        args.hidden,
        cell=args.cell,
        dropout=args.dropout,
        bos=BOS,
        eos=EOS,
        seed=args.seed,
    )
    trainer = Trainer(model, Adam(model.params, lr=args.lr), 5.0)
    valid = captions(1, shuffle=False)
    trainer.fit(captions(0), valid, epochs=args.epochs, best=args.save)
    model.load_state_dict(fastcell.load(args.save).state_dict())
    args.save.with_suffix(".words.json").write_text(words.to_json())
    print(f"saved: {args.save}, and the vocabulary beside it")

    test = np.flatnonzero(split == 2)
    found = model.predict(features[test], args.beam, 30, length_penalty=0.7)
    answers = [" ".join(words.decode(ids)) for ids in found]
    references = [[" ".join(caption) for caption in said[i]] for i in test]
    for answer, reference in list(zip(answers, references, strict=True))[:5]:
        print(f"\n> {answer}\n= {reference[0]}")
    scores = " / ".join(f"{score:.1f}" for score in bleu(answers, references))
    print(f"\nBLEU-1..4: {scores} of {len(test)} test pictures")


if __name__ == "__main__":
    main()
