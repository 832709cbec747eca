"""Images: draw handwritten digits, line by line or strip by strip.

    python examples/images.py FOLDER
    python examples/images.py FOLDER --by strip

FOLDER holds mnist.npz: the digits of LeCun et al. (1998) as the arrays x_train
(60000, 28, 28) and x_test (10000, 28, 28), of uint8, in their usual order; for instance
made from https://github.com/rasbt/mnist-pngs. Pixels are made black or white once, by a
fixed seed: white with the brightness as probability (Salakhutdinov and Murray 2008), as
for the figures of papers. The last 5,000 pictures of the training part are for
validation.

A picture is a sequence, and its likelihood is the product of those of its steps:

- by row, a step is a row of 28 pixels: from the rows above, a FrameModel gives the
  probability of white for each pixel. Pixels of a row are independent.
- by strip, a step is 4 neighbours of a row, one of 16 tokens: from all strips before, a
  LanguageModel predicts the next one, without any assumption of independence.

The figure is the negative log-likelihood of a picture in nats, the mean over the test
pictures. Published, pixel by pixel: NADE 88.33 (Larochelle and Murray 2011), PixelRNN
with 7 layers 79.20 (van den Oord et al. 2016, arXiv:1601.06759); here, 93.31 by row and
86.85 by strip. At the end the model draws pictures: one as text, and a sheet of 64 with
--plot.
"""

from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences, read_npz
from fastcell.models import FrameModel, LanguageModel
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/rasbt/mnist-pngs"
STRIP = 4  # pixels
BITS = 1 << np.arange(STRIP)[::-1]
HIDDEN, EPOCHS, VALID = {"row": 256, "strip": 192}, {"row": 5, "strip": 3}, 5000


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test pictures, (N, 28, 28) of 0 and 1."""
    random = np.random.default_rng(0)
    grey = read_npz(path, "x_train", "x_test")
    if any(g.dtype != np.uint8 or g.ndim != 3 or g.shape[2] % STRIP for g in grey):
        raise ValueError(f"{path}: pictures must be uint8 (N, 28, 28)")
    return tuple(
        (255 * random.random(g.shape, np.float32) < g).astype(np.uint8) for g in grey
    )


def strips(pictures: np.ndarray) -> np.ndarray:
    """Return the strips of pictures as tokens, (N, steps)."""
    return pictures.reshape(len(pictures), -1, STRIP) @ BITS


def of_strips(tokens: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pictures (N, height, width) that tokens (N, steps) stand for."""
    return ((tokens[..., np.newaxis] & BITS) > 0).reshape(len(tokens), *shape)


def batches(steps: np.ndarray, size: int, seed: int) -> Sequences:
    """Return the steps of pictures as targets; zeros and all but the last are read."""
    before = np.concatenate([np.zeros_like(steps[:, :1]), steps[:, :-1]], axis=1)
    return Sequences(before, steps, size, seed=seed)


def plot(pictures: np.ndarray, path: Path) -> None:
    """Save a square sheet of pictures, if matplotlib is there."""
    try:
        from matplotlib import image
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None
    side = int(len(pictures) ** 0.5)
    framed = np.pad(pictures.astype(float), ((0, 0), (1, 1), (1, 1)), constant_values=1)
    height, width = framed.shape[1:]
    sheet = framed[: side**2].reshape(side, side, height, width).swapaxes(1, 2)
    sheet = sheet.reshape(side * height, side * width).repeat(3, 0).repeat(3, 1)
    image.imsave(path, 1 - sheet, cmap="gray", vmin=0, vmax=1)
    print(f"plotted: {path}")


def main() -> None:
    """Train, test, draw, save."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where mnist.npz is")
    parser.add_argument("--by", choices=list(HIDDEN), default="row", help="a step")
    parser.add_argument("--epochs", type=int, help="default: 5; by strip, 3")
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, help="default: 256; by strip, 192")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--plot", type=Path, help="where to save a sheet of drawings")
    parser.add_argument("--save", type=Path, default=Path("images.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    path = args.folder / "mnist.npz"
    with reading_data(path, SOURCE):
        pictures, test = read(path)
    shape = pictures.shape[1:]
    hidden = args.hidden or HIDDEN[args.by]
    options = {"cell": args.cell, "seed": args.seed}
    if args.by == "row":
        model = FrameModel(shape[1], hidden, head="bernoulli", **options)
        # Each pixel begins as likely as it is in all.
        often = (pictures.sum(axis=(0, 1)) + 1.0) / (pictures[..., 0].size + 2)
        model.params["decoder.bias"][...] = np.log(often / (1 - often))
    else:
        model = LanguageModel(2**STRIP, 32, hidden, **options)
        pictures, test = strips(pictures), strips(test)
    kept = min(VALID, len(pictures) // 10)
    train_data = batches(pictures[:-kept], 64, args.seed)
    valid_data, test_data = (batches(p, 500, 0) for p in (pictures[-kept:], test))
    epochs = EPOCHS[args.by] if args.epochs is None else args.epochs
    trainer = Trainer(
        model,
        Adam(model.params, lr=5e-3),
        clip_norm=1.0,
        schedule=cosine(epochs * len(train_data)),
    )
    trainer.fit(train_data, valid_data, epochs=epochs)
    for name, data in (("validation", valid_data), ("test", test_data)):
        # The mean loss of a step, in nats: a row, or a strip.
        nats = trainer.assess(data)["loss"] * pictures.shape[1]
        print(f"nats: {nats:.2f} a picture of {len(data.lengths)} {name} pictures")
    if args.by == "row":
        drawn = model.generate(None, shape[0], seed=args.seed, count=64) > 0
        drawn = drawn.swapaxes(0, 1)
    else:
        tokens = model.generate(
            np.zeros((1, 64), int), pictures.shape[1], seed=args.seed
        )
        drawn = of_strips(tokens.T, shape)
    print(*("".join(np.where(row, "#", ".")) for row in drawn[0]), sep="\n")
    if args.plot:
        plot(drawn, args.plot)
    fastcell.save(model, args.save)
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
