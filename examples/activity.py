"""Activity: what does a person do, seen by the joints of the body in a video?

    python examples/activity.py FOLDER

FOLDER holds jhmdb_pose14.npz: clips of JHMDB (Jhuang et al. 2013,
doi:10.1109/ICCV.2013.396) with 15 joints in the plane, made from the files GT_*.pkl of
https://github.com/fandulu/DD-Net. Arrays: pose_milli (frames of all clips, 15, 2),
thousandths of the size of the body; length (clips,) in frames; label (clips,);
class_names; is_test (splits, clips), the official splits.

A clip is brought to 32 frames. A frame is the distances of all pairs of joints, which
do not change where the body turns, and how the joints have moved since the frame before
and the one before that. Two bidirectional LSTM layers read them, and the scores are
computed from the mean of their outputs. In training each epoch varies each clip: cut to
a part of it, and mirrored half of the times.

The score is the mean accuracy over the splits, a model each; the model saved is that of
the last. Published, mean of the three splits: DD-Net, a convolutional network, 77.2 %
and, with fewer weights, 73.7 % (Yang et al. 2019, arXiv:1907.09658).
"""

from pathlib import Path
from typing import Any

import numpy as np

import fastcell
from fastcell.data import read_npz
from fastcell.models import SequenceClassifier
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/fandulu/DD-Net"
NAMES = ["pose_milli", "length", "label", "class_names", "is_test"]
FRAMES = 32
MIRRORED = [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13]  # left and right
BATCH = 32
LEAST = 0.5  # the least part of a clip that is shown in training
FIRST, SECOND = np.triu_indices(len(MIRRORED), 1)  # the pairs of joints


def read(path: Path) -> tuple[list[np.ndarray], list[str], np.ndarray]:
    """Return the frames, and start, length and class of clips; names; test sets."""
    pose, length, label, names, is_test = read_npz(path, *NAMES)
    length, label = length.astype(int), label.astype(int)
    wanted = (int(length.sum()), len(MIRRORED), 2)
    if pose.shape != wanted or length.min() < 1:
        raise ValueError(f"pose_milli must have the shape {wanted}; got {pose.shape}")
    if label.shape != length.shape or is_test.shape[1:] != length.shape:
        raise ValueError(f"label and is_test must be of all {len(length)} clips")
    found = np.unique(label).tolist()
    if len(found) < 2 or found[-1] >= len(names):
        raise ValueError(
            f"label must be of two or more of the {len(names)} classes; got {found}"
        )
    clips = [pose / 1000, length.cumsum() - length, length, label]
    return clips, names.tolist(), is_test.astype(bool)


class Clips:
    """Clips in batches (x, lengths, y), shown otherwise in each epoch.

    Parameters are the joints of all frames (F, 15, 2), the first frame and the number
    of frames of each clip, their classes, and the seed of order, cuts and mirror.
    """

    def __init__(self, pose: Any, start: Any, length: Any, label: Any, seed: int = 0):
        self.pose, self.start, self.length, self.label = pose, start, length, label
        self.seed = seed
        self._made: tuple[int, list[tuple]] = -1, []

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self.label) // BATCH)

    def epoch(self, n: int) -> list[tuple]:
        """Return the batches of epoch n."""
        if self._made[0] != n:
            random = np.random.default_rng((self.seed, n))
            order = random.permutation(len(self.label))
            share = random.uniform(LEAST, 1, len(order))
            x = self.shown(order, share, random.random(len(order)) * (1 - share))
            mirrored = random.random(len(order)) < 0.5
            x[mirrored] = mirror(x[mirrored])
            parts = [slice(k, k + BATCH) for k in range(0, len(order), BATCH)]
            batches = [(features(x[p]), None, self.label[order[p]]) for p in parts]
            self._made = n, batches
        return self._made[1]

    def shown(self, clips: Any, share: Any = 1.0, skipped: Any = 0.0) -> np.ndarray:
        """Return a share of each clip, from a part of it on, as (N, 32, 15, 2)."""
        span = (self.length[clips] - 1)[:, np.newaxis]
        share, skipped = np.reshape(share, (-1, 1)), np.reshape(skipped, (-1, 1))
        place = span * (skipped + share * np.linspace(0, 1, FRAMES))
        before = np.minimum(place.astype(int), span)
        later = np.minimum(before + 1, span)
        part = (place - before)[..., np.newaxis, np.newaxis]
        first = self.start[clips][:, np.newaxis]
        return (1 - part) * self.pose[first + before] + part * self.pose[first + later]


def mirror(x: np.ndarray) -> np.ndarray:
    """Return poses (..., 15, 2) with left and right exchanged."""
    return x[..., MIRRORED, :] * [-1, 1]


def features(x: np.ndarray) -> np.ndarray:
    """Return what the network sees of clips (N, 32, 15, 2): (32, N, 165)."""
    distance = np.linalg.norm(x[:, :, FIRST] - x[:, :, SECOND], axis=-1)
    moved = [np.zeros_like(x), np.zeros_like(x)]
    for k, motion in enumerate(moved, 1):
        motion[:, k:] = 5 * (x[:, k:] - x[:, :-k])
    parts = [distance, *(motion.reshape(*x.shape[:2], -1) for motion in moved)]
    return np.concatenate(parts, -1).swapaxes(0, 1).astype(np.float32)


def main() -> None:
    """Train and test on each split, save the last model."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where jhmdb_pose14.npz is")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=96, help="units a direction")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("activity.safetensors"))
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    path = args.folder / "jhmdb_pose14.npz"
    with reading_data(path, SOURCE):
        clips, names, is_test = read(path)
    shares = []
    for number, held_out in enumerate(is_test, 1):
        train, test = ([a[which] for a in clips[1:]] for which in (~held_out, held_out))
        data = Clips(clips[0], *train, args.seed)
        model = SequenceClassifier(
            features(data.shown([0])).shape[2],
            args.hidden,
            len(names),
            2,
            args.cell,
            bidirectional=True,
            pooling="mean",
            dropout=args.dropout,
            classes=names,
            seed=args.seed,
        )
        schedule = cosine(max(1, args.epochs * len(data)))
        optimizer = Adam(model.params, lr=3e-3)
        trainer = Trainer(model, optimizer, 1.0, schedule, progress=False)
        trainer.fit(data, epochs=args.epochs)
        p = model.predict_proba(features(Clips(clips[0], *test).shown(slice(None))))
        shares.append((p.argmax(axis=1) == test[2]).mean())
        print(f"split {number}: {shares[-1]:.2%} of {len(p)} clips", flush=True)

    for k in range(0, len(p), len(p) // 8 or 1):
        seen = f"{names[p[k].argmax()]}, with probability {p[k].max():.2f}"
        print(f"  clip of {names[test[2][k]]}: {seen}")
    print(f"accuracy: {np.mean(shares):.2%}, mean of {len(shares)} splits")
    fastcell.save(model, args.save)
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
