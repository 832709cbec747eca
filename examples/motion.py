"""Motion: how does a dance, or a walk, go on?

    python examples/motion.py FOLDER --name dance
    python examples/motion.py FOLDER --name cmu

An LSTM reads some frames, then what it says itself, frame after frame, in training as
well: the residual decoder and sampling-based loss of Martinez et al. (2017,
arXiv:1705.02445). It learns how a frame differs from the one before. Its errors stand
beside those of zero velocity, which repeats the last frame. Settings were chosen on
parts of the training data.

dance: salsa_xyz_30fps.npz, places of 21 joints of two dancers, 30 frames a second, from
https://github.com/papagina/Auto_Conditioned_RNN_motion (train_data_bvh/salsa). From 1 s
follows 1 s; of takes 13 to 15, the test, there is a window each second. Joints are
taken relative to the hip, and the hip to its place in the last frame given, in which
the dancer is turned ahead. Windows are learned mirrored, too. The error is the mean
distance of the joints from where they are seen from the hip. No published figure is
known. With --plot a dance goes on for 5 s, in an animation.

cmu: cmu_expmap_5actions.npz, angles of 39 joints as exponential maps, made of CMU's
motion capture in https://github.com/chaneyddtt/
Convolutional-Sequence-to-Sequence-Model-for-Human-Dynamics (data/cmu_mocap). From 2 s
follows 1 s, at 25 frames a second; the error is the distance of all Euler angles, the
mean over 8 windows of an action. At 80, 160, 320, 400 and 1000 ms a GRU of 1024 units
has (Martinez et al., quoted by Mao et al. 2019): walking .35 .47 .60 .65 .88, running
.33 .50 .66 .75 1.00, jumping .56 .88 1.77 2.02 2.40, soccer .29 .51 .88 .99 1.72,
basketball .50 .80 1.27 1.45 1.78. With --plot errors are drawn over time.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences
from fastcell.models import Forecaster
from fastcell.optim import Adam, cosine
from fastcell.train import Trainer

RATE = {"dance": 30, "cmu": 25}  # frames a second, as many as are forecast
GIVEN = {"dance": 30, "cmu": 50}
TOLD = {  # milliseconds, and the frames
    "dance": {100: 2, 333: 9, 667: 19, 1000: 29},
    "cmu": {80: 1, 160: 3, 320: 7, 400: 9, 1000: 24},
}

# Windows (N, T, I) to learn, those of each test, and the error of each frame of a test.
Errors = Callable[[np.ndarray, np.ndarray], np.ndarray]
Recordings = tuple[np.ndarray, dict[str, np.ndarray], Errors]


def windows(frames: np.ndarray, length: int, stride: int) -> np.ndarray:
    """Return the parts (N, length, ...) of a recording, so many frames apart."""
    parts = np.lib.stride_tricks.sliding_window_view(frames, length, axis=0)
    return np.moveaxis(parts[::stride], -1, 1)


def read_dance(path: Path) -> Recordings:
    """Return places of joints, in dm; errors are in mm."""
    with np.load(path / "salsa_xyz_30fps.npz") as file:
        names = file["joint_names"].tolist()
        frames = file["xyz_mm"].astype(np.float32) / 100
        takes = np.split(frames, file["length"].cumsum()[:-1])
        is_test = file["take"] >= 13
    right, left = names.index("rThigh"), names.index("lThigh")
    other = {"r": "l", "l": "r"}
    mirrored = [names.index(other.get(n[0], n[0]) + n[1:]) for n in names]

    def posed(take: np.ndarray, stride: int) -> np.ndarray:
        x = windows(take, 60, stride)
        hip = x[:, :, :1]
        x = np.concatenate([hip - hip[:, 29:30], x[:, :, 1:] - hip], axis=2)
        ground = x[..., 0] + 1j * x[..., 2]
        across = ground[:, 29, right] - ground[:, 29, left]
        ground *= (across.conj() / np.abs(across))[:, np.newaxis, np.newaxis]
        x[..., 0], x[..., 2] = ground.real, ground.imag
        return x

    pairs = list(zip(takes, is_test, strict=True))
    learned = np.concatenate([posed(take, 6) for take, test in pairs if not test])
    test = np.concatenate([posed(take, 30) for take, test in pairs if test])
    learned = np.concatenate(
        [learned, learned[:, :, mirrored] * np.float32([-1, 1, 1])]
    )

    def errors(made: np.ndarray, true: np.ndarray) -> np.ndarray:
        apart = 100 * (made - true).reshape(*made.shape[:2], -1, 3)
        return np.linalg.norm(apart[:, :, 1:], axis=3).mean(axis=(0, 2))

    flat = [part.reshape(*part.shape[:2], -1) for part in (learned, test)]
    return flat[0], {"dance": flat[1]}, errors


def euler(maps: np.ndarray) -> np.ndarray:
    """Return the Euler angles of exponential maps, both (..., 3 joints)."""
    axes = maps.reshape(*maps.shape[:-1], -1, 3).astype(np.float64)
    angle = np.linalg.norm(axes, axis=-1)[..., np.newaxis, np.newaxis]
    x, y, z = np.moveaxis(axes / (angle[..., 0] + 1e-16), -1, 0)
    cross = np.stack([0 * x, -z, y, z, 0 * x, -x, -y, x, 0 * x], axis=-1)
    cross = cross.reshape(*x.shape, 3, 3)
    r = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    first = np.arctan2(r[..., 1, 2], r[..., 2, 2])
    second = -np.arcsin(np.clip(r[..., 0, 2], -1, 1))
    third = np.arctan2(r[..., 0, 1], r[..., 0, 0])
    return np.stack([first, second, third], axis=-1).reshape(maps.shape)


def read_cmu(path: Path) -> Recordings:
    """Return exponential maps, in quarters of a radian; errors are of Euler angles."""
    with np.load(path / "cmu_expmap_5actions.npz") as file:
        frames = 4 * file["frames"]
        frames[:, :6] = 0  # where the body is and how it is turned: not scored
        recordings = np.split(frames, file["length"].cumsum()[:-1])
        rows = list(zip(recordings, file["action"], file["is_test"], strict=True))
    learned, tests = [], {}
    for frames, action, test in rows:
        if test:
            random = np.random.RandomState(1234567890)
            starts = random.randint(0, len(frames[::2]) - 75, 8)
            tests[str(action)] = windows(frames[::2], 75, 1)[starts]
        else:
            learned += [windows(frames[k::2], 75, 3) for k in (0, 1)]

    def errors(made: np.ndarray, true: np.ndarray) -> np.ndarray:
        made, true = euler(made / 4), euler(true / 4)
        moved = true.std(axis=1, keepdims=True) > 1e-4
        return np.linalg.norm((made - true) * moved, axis=2).mean(axis=0)

    return np.concatenate(learned), tests, errors


def draw_dance(path: Path, folder: Path, window: np.ndarray, model: Forecaster) -> None:
    """Let a dancer go on for 5 s, beside what was danced."""
    from matplotlib import animation, collections, pyplot

    with np.load(folder / "salsa_xyz_30fps.npz") as file:
        parent = file["parent"][1:]
    made = model.predict(window[:30, np.newaxis], 150)[:, 0]
    bones = []
    for frames in (window, np.concatenate([window[:30], made])):
        joints = frames.reshape(len(frames), -1, 3).copy()
        joints[:, 1:] += joints[:, :1]
        seen = joints[..., :2] + joints[..., 2:] * np.float32([0.4, 0.2])  # from aside
        bones.append(np.stack([seen[:, 1:], seen[:, parent]], axis=2))
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 4), sharex=True, sharey=True)
    axes[0].set(xlim=(-20, 20), ylim=(-12, 12), title="danced")
    lines = [axis.add_collection(collections.LineCollection([])) for axis in axes]

    def show(t: int) -> None:
        axes[1].set_title("given" if t < 30 else "forecast")
        for line, frames in zip(lines, bones, strict=True):
            line.set_segments(frames[min(t, len(frames) - 1)])

    moving = animation.FuncAnimation(figure, show, range(0, len(bones[1]), 2))
    moving.save(path, animation.PillowWriter(fps=15))


def draw_errors(path: Path, found: dict[str, list[np.ndarray]]) -> None:
    """Draw the errors of each test over time, dotted those of zero velocity."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(layout="constrained")
    for k, (action, (ours, zero)) in enumerate(found.items()):
        times = 40 * (1 + np.arange(len(ours)))
        axis.plot(times, ours, f"C{k}", label=action)
        axis.plot(times, zero, f"C{k}:")
    axis.set(xlabel="ms", ylabel="error")
    axis.legend()
    figure.savefig(path)


def main() -> None:
    """Train, test beside zero velocity, save, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the recordings are")
    parser.add_argument("--name", choices=["dance", "cmu"], default="dance")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("motion.safetensors"))
    parser.add_argument("--plot", type=Path, help="a GIF of dance, a picture of cmu")
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    name = args.name
    read = read_dance if name == "dance" else read_cmu
    learned, tests, errors = read(args.folder)
    data = Sequences(
        learned[:, : GIVEN[name]], learned[:, GIVEN[name] :], 64, seed=args.seed
    )
    model = Forecaster(
        learned.shape[2],
        args.hidden,
        cell=args.cell,
        dropout=args.dropout,
        loss="mae",
        seed=args.seed,
    )
    Trainer(
        model,
        Adam(model.params, lr=2e-3),
        clip_norm=1.0,
        schedule=cosine(args.epochs * len(data)),
    ).fit(data, epochs=args.epochs)

    unit, digits = ("mm", 0) if name == "dance" else ("Euler angles", 2)
    print(f"errors at {', '.join(map(str, TOLD[name]))} ms, {unit}")
    found = {}
    for test, x in tests.items():
        given, true = x[:, : GIVEN[name]], x[:, GIVEN[name] :]
        made = model.predict(given.swapaxes(0, 1), RATE[name]).swapaxes(0, 1)
        zero = np.broadcast_to(given[:, -1:], true.shape)
        found[test] = [errors(frames, true) for frames in (made, zero)]
        ours, still = (
            " ".join(f"{error[k]:.{digits}f}" for k in TOLD[name].values())
            for error in found[test]
        )
        print(f"{test}: {ours} (zero velocity {still})")
    fastcell.save(model, args.save)
    print(f"saved: {args.save}")
    if args.plot and name == "dance":
        draw_dance(args.plot, args.folder, tests["dance"][20], model)
    elif args.plot:
        draw_errors(args.plot, found)


if __name__ == "__main__":
    main()
