"""Motion: how does a dance, or a walk, go on?

    python examples/motion.py FOLDER --name dance
    python examples/motion.py FOLDER --name cmu

An LSTM reads some frames, then its own outputs, frame after frame, also in training:
the residual decoder and sampling-based loss of Martinez et al. (2017,
arXiv:1705.02445). It learns the difference of a frame to the one before. Its errors are
printed with those of zero velocity, which repeats the last frame. Settings were chosen
on parts of the training data.

dance: salsa_xyz_30fps.npz, places of 21 joints of two dancers, 30 frames a second, from
https://github.com/papagina/Auto_Conditioned_RNN_motion (train_data_bvh/salsa). From 1 s
follows 1 s; of takes 13 to 15, the test, there is a window each second. Joints are
taken relative to the hip, the hip relative to its place in the last frame given, and
the dancer of that frame is turned ahead. Windows are learned mirrored, too. The error
is the mean distance of the joints, as seen from the hip. No published figure is known.
With --plot some windows are drawn in an animation.

cmu: cmu_expmap_5actions.npz, angles of 39 joints as exponential maps, made of CMU's
motion capture in https://github.com/chaneyddtt/
Convolutional-Sequence-to-Sequence-Model-for-Human-Dynamics (data/cmu_mocap). From 2 s
follows 1 s, at 25 frames a second; the error is the distance of all Euler angles, the
mean over 8 windows of an action. At 80, 160, 320, 400 and 1000 ms a GRU of 1024 units
has (Martinez et al., quoted by Mao et al. 2019): walking .35 .47 .60 .65 .88, running
.33 .50 .66 .75 1.00, jumping .56 .88 1.77 2.02 2.40, soccer .29 .51 .88 .99 1.72,
basketball .50 .80 1.27 1.45 1.78. With --plot errors are drawn over time.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Windows, mean_and_spread, read_npz
from fastcell.models import Forecaster
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = {
    "dance": "https://github.com/papagina/Auto_Conditioned_RNN_motion",
    "cmu": "https://github.com/chaneyddtt/"
    "Convolutional-Sequence-to-Sequence-Model-for-Human-Dynamics (data/cmu_mocap)",
}
GIVEN, AHEAD = {"dance": 30, "cmu": 50}, {"dance": 30, "cmu": 25}  # frames
TOLD = {  # the frames whose errors are told, by milliseconds
    "dance": {100: 2, 333: 9, 667: 19, 1000: 29},
    "cmu": {80: 1, 160: 3, 320: 7, 400: 9, 1000: 24},
}

# Windows (N, T, I) to learn, those of each test, by how much the values (I,) of a frame
# spread, and a function that returns the error of each frame.
Errors = Callable[[np.ndarray, np.ndarray], np.ndarray]
Data = tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, Errors]


def windows(frames: np.ndarray, length: int, stride: int = 1) -> np.ndarray:
    """Return the parts (N, length, ...) of a recording, so many frames apart."""
    parts = np.lib.stride_tricks.sliding_window_view(frames, length, axis=0)
    return np.moveaxis(parts[::stride], -1, 1)


def read_dance(folder: Path) -> Data:
    """Read places in mm."""
    path = folder / "salsa_xyz_30fps.npz"
    names, frames, length, take = read_npz(
        path, "joint_names", "xyz_mm", "length", "take"
    )
    if frames.ndim != 3 or len(frames) != length.sum() or frames.shape[2] != 3:
        raise ValueError(
            f"{path}: xyz_mm must be the joints (frames, J, 3) of all takes"
        )
    takes = np.split(frames.astype(np.float32), length.cumsum()[:-1])
    names, tested = names.tolist(), take >= 13
    right, left = names.index("rThigh"), names.index("lThigh")
    other = {"r": "l", "l": "r"}
    mirror = [names.index(other.get(n[0], n[0]) + n[1:]) for n in names]

    def posed(test: bool, stride: int) -> np.ndarray:
        x = [
            windows(t, 60, stride)
            for t, k in zip(takes, tested, strict=True)
            if k == test
        ]
        x = np.concatenate(x)
        hip = x[:, :, :1]
        x = np.concatenate([hip - hip[:, 29:30], x[:, :, 1:] - hip], axis=2)
        ground = x[..., 0] + 1j * x[..., 2]
        across = ground[:, 29, right] - ground[:, 29, left]
        ground *= (across.conj() / np.abs(across))[:, np.newaxis, np.newaxis]
        x[..., 0], x[..., 2] = ground.real, ground.imag
        return x

    def errors(made: np.ndarray, true: np.ndarray) -> np.ndarray:
        apart = (made - true).reshape(*made.shape[:2], -1, 3)[:, :, 1:]
        return np.linalg.norm(apart, axis=3).mean(axis=(0, 2))

    x, test = posed(False, 6), posed(True, 30)
    x = np.concatenate([x, x[:, :, mirror] * np.float32([-1, 1, 1])])
    x, test = (part.reshape(len(part), 60, -1) for part in (x, test))
    return x, {"dance": test}, np.full(x.shape[2], 100, np.float32), errors


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


def read_cmu(folder: Path) -> Data:
    """Read angles as exponential maps."""
    path = folder / "cmu_expmap_5actions.npz"
    frames, length, *told = read_npz(path, "frames", "length", "action", "is_test")
    if len(frames) != length.sum():
        raise ValueError(f"{path}: frames must be those of all recordings")
    frames[:, :6] = 0  # where the body is and how it is turned: not scored
    recordings = np.split(frames, length.cumsum()[:-1])
    rows = list(zip(recordings, *told, strict=True))
    learned, tests = [], {}
    for frames, action, test in rows:
        if test:
            if len(frames) < 152:
                raise ValueError(f"{action} must have 152 frames; got {len(frames)}")
            random = np.random.RandomState(1234567890)
            starts = random.randint(0, len(frames[::2]) - 75, 8)
            tests[str(action)] = windows(frames[::2], 75)[starts]
            continue
        for k in (0, 1):  # as many windows of each recording, however long it is
            parts = windows(frames[k::2], 75)
            learned.append(parts[np.linspace(0, len(parts) - 1, 60).astype(int)])
    learned = np.concatenate(learned)
    _, spread = mean_and_spread(learned)

    def errors(made: np.ndarray, true: np.ndarray) -> np.ndarray:
        made, true = euler(made), euler(true)
        moved = true.std(axis=1, keepdims=True) > 1e-4
        return np.linalg.norm((made - true) * moved, axis=2).mean(axis=0)

    return learned, tests, np.where(spread > 1e-4, spread, 1), errors


def draw_dance(path: Path, danced: np.ndarray, made: np.ndarray, folder: Path) -> None:
    """Draw dancers (N, T, I) in an animation, and in grey how they danced."""
    from matplotlib import animation, collections, pyplot

    [parent] = read_npz(folder / "salsa_xyz_30fps.npz", "parent")
    parent = parent[1:]
    figure, axes = pyplot.subplots(1, len(made), figsize=(3 * len(made), 3.5))
    drawn = []
    for frames, color in ((danced, "lightgrey"), (made, "C0")):
        joints = frames.reshape(*frames.shape[:2], -1, 3).copy()
        joints[:, :, 1:] += joints[:, :, :1]
        seen = joints[..., :2] + joints[..., 2:] * np.float32([0.4, 0.2])  # from aside
        bones = np.stack([seen[:, :, 1:], seen[:, :, parent]], axis=3)
        for axis, window in zip(axes, bones, strict=True):
            lines = collections.LineCollection([], colors=color)
            drawn.append((axis.add_collection(lines), window))
    for axis in axes:
        axis.set(xlim=(-1000, 1000), ylim=(-1200, 1200), aspect="equal")
        axis.set_axis_off()

    def show(t: int) -> None:
        figure.suptitle("given" if t < 30 else "forecast")
        for lines, window in drawn:
            lines.set_segments(window[t])

    moving = animation.FuncAnimation(figure, show, range(0, made.shape[1], 2))
    moving.save(path, animation.PillowWriter(fps=15), dpi=70)


def draw_errors(path: Path, found: dict[str, list[np.ndarray]]) -> None:
    """Draw the errors of each test over time, dotted those of zero velocity."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(layout="constrained")
    for k, (action, (ours, still)) in enumerate(found.items()):
        times = 40 * (1 + np.arange(len(ours)))
        axis.plot(times, ours, f"C{k}", label=action)
        axis.plot(times, still, f"C{k}:")
    axis.set(xlabel="ms", ylabel="error")
    axis.legend()
    figure.savefig(path)


def main() -> None:
    """Train, test beside zero velocity, save, draw."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where the recordings are")
    parser.add_argument("--name", choices=["dance", "cmu"], default="dance")
    parser.add_argument("--epochs", type=int, default=10)
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

    given, ahead, told = GIVEN[args.name], AHEAD[args.name], TOLD[args.name]
    read = {"dance": read_dance, "cmu": read_cmu}[args.name]
    with reading_data(args.folder, SOURCE[args.name]):
        learned, tests, spread, errors = read(args.folder)
        centre, _ = mean_and_spread(learned)
        data = Windows((learned - centre) / spread, given, ahead, 64, seed=args.seed)
    model = Forecaster(
        data.input_size,
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

    def forecast(x: np.ndarray) -> np.ndarray:
        scaled = ((x[:, :given] - centre) / spread).astype(np.float32).swapaxes(0, 1)
        return model.predict(scaled, ahead).swapaxes(0, 1) * spread + centre

    unit, digits = ("mm", 0) if args.name == "dance" else ("Euler angles", 2)
    print(f"errors at {', '.join(map(str, told))} ms, {unit}")
    found = {}
    for test, x in tests.items():
        true = x[:, given:]
        still = np.broadcast_to(x[:, given - 1 : given], true.shape)
        found[test] = [errors(frames, true) for frames in (forecast(x), still)]
        rows = [[f"{e[k]:.{digits}f}" for k in told.values()] for e in found[test]]
        print(f"{test}: {' '.join(rows[0])} (zero velocity {' '.join(rows[1])})")
    fastcell.save(model, args.save)
    scale = args.save.with_suffix(".scale.npz")
    np.savez(scale, centre=centre, spread=spread)
    print(f"saved: {args.save}, {scale}")
    if args.plot and args.name == "dance":
        x = tests["dance"]
        order = x.std(axis=1).sum(axis=1).argsort()  # from still to lively
        x = x[order[:: max(len(x) // 4, 1)][:4]]
        made = np.concatenate([x[:, :given], forecast(x)], axis=1)
        draw_dance(args.plot, x, made, args.folder)
    elif args.plot:
        draw_errors(args.plot, found)


if __name__ == "__main__":
    main()
