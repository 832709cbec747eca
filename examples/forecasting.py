"""Forecasting: how warm is the oil of a power transformer in the next 24 hours?

    python examples/forecasting.py FOLDER

FOLDER holds ETTh1.csv (https://github.com/zhouhaoyi/ETDataset, ETT-small; Zhou et al.
2021, arXiv:2012.07436): of each hour of two years a date, six loads, and the oil's
temperature, OT. The first twelve months of 30 days are for training, four for
choosing, four for the test; all is scaled by mean and spread of the first twelve.

An LSTM reads 96 hours, and its last state gives the next 24 at once: of OT alone, or
with --variables all of all seven together. It reads and predicts differences to the
last hour, so that it generalises to new levels. The weights kept are those of the best
epoch on the months for choosing.

Published (Zhou et al. 2021, 24 hours, MSE and MAE of scaled values): LSTMa 0.114 and
0.272 for OT, 0.650 and 0.624 for all. Repeating the last hour, or the last day, is
better than that; so both are printed too.
"""

from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import Sequences, mean_and_spread, read_text
from fastcell.models import SequenceRegressor
from fastcell.optim import Adam, cosine
from fastcell.programs import command_line, reading_data
from fastcell.train import Trainer

SOURCE = "https://github.com/zhouhaoyi/ETDataset (ETT-small)"
GIVEN, AHEAD = 96, 24
MONTH = 30 * 24
ENDS = {"train": (0, 12), "valid": (12, 16), "test": (16, 20)}  # in months


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the values (hours, variables) of a file, and the variables' names."""
    title, *rows = read_text(path).splitlines()
    names = title.split(",")[1:]
    hours = ENDS["test"][1] * MONTH
    if len(rows) < hours:
        raise ValueError(f"{path}: must have {hours} hours; got {len(rows)}")
    columns = range(1, len(names) + 1)
    values = np.loadtxt(rows, delimiter=",", usecols=columns, ndmin=2)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"{path}: {names[column]} of hour {row} is not finite")
    return values, names


def windows(values: np.ndarray, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 96, V) hours and the (N, 24, V) after them, all within a part.

    Those of valid and test begin with hours of the part before.
    """
    begin, end = (MONTH * months for months in ENDS[part])
    hours = values[max(begin - GIVEN, 0) : end]
    cut = np.lib.stride_tricks.sliding_window_view(hours, GIVEN + AHEAD, axis=0)
    cut = cut.swapaxes(1, 2)
    return cut[:, :GIVEN], cut[:, GIVEN:]


def differences(given: np.ndarray, after: np.ndarray, seed: int) -> Sequences:
    """Return batches of both as differences to the last hour given."""
    last = given[:, -1:]
    return Sequences(
        given - last, (after - last).reshape(len(after), -1), 64, seed=seed
    )


def draw(
    path: Path, given: np.ndarray, after: np.ndarray, forecasts: np.ndarray
) -> None:
    """Draw the last variable of six windows, and what was forecast."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(12, 5), layout="constrained")
    chosen = np.linspace(0, len(after) - 1, axes.size).astype(int)
    for axis, i in zip(axes.flat, chosen, strict=True):
        hours = np.arange(-GIVEN, AHEAD) + 1
        axis.plot(hours, np.concatenate([given[i], after[i]])[:, -1], label="measured")
        axis.plot(hours[GIVEN:], forecasts[i, :, -1], label="forecast")
        axis.set(xlabel="hours", title=f"test hour {i + 1}")
    axes.flat[0].legend()
    figure.savefig(path)
    print(f"drawn: {path}")


def main() -> None:
    """Train, choose, test, save, plot."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where ETTh1.csv is")
    parser.add_argument("--variables", choices=["one", "all"], default="one")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--cell", choices=["rnn", "lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--save", type=Path, default=Path("forecasting.safetensors"))
    parser.add_argument("--plot", type=Path, help="draw forecasts to this picture")
    args = parser.parse_args()
    if args.threads:
        fastcell.set_num_threads(args.threads)

    path = args.folder / "ETTh1.csv"
    with reading_data(path, SOURCE):
        values, names = read(path)
    if args.variables == "one":
        values, names = values[:, -1:], names[-1:]
    centre, spread = mean_and_spread(values[: ENDS["train"][1] * MONTH])
    values = ((values - centre) / np.where(spread > 0, spread, 1)).astype(np.float32)
    parts = {part: windows(values, part) for part in ENDS}
    train_data, valid_data = (
        differences(*parts[part], args.seed) for part in ("train", "valid")
    )
    count = len(names)
    model = SequenceRegressor(
        count,
        args.hidden,
        AHEAD * count,
        cell=args.cell,
        seed=args.seed,
    )
    Trainer(
        model,
        Adam(model.params, lr=3e-3),
        clip_norm=1.0,
        schedule=cosine(args.epochs * len(train_data)),
    ).fit(train_data, valid_data, epochs=args.epochs, best=args.save)
    model.load_state_dict(fastcell.load(args.save).state_dict())

    given, after = parts["test"]
    last = given[:, -1:]
    changes = model.predict(np.ascontiguousarray((given - last).swapaxes(0, 1)))
    forecasts = last + changes.reshape(after.shape)
    rows = {
        "repeated last hour": np.broadcast_to(last, after.shape),
        "repeated last day": given[:, -AHEAD:],
        args.cell.upper(): forecasts,
    }
    print(f"{len(after)} windows of 24 hours of {', '.join(names)}")
    for name, found in rows.items():
        wrong = (found - after).astype(np.float64)
        print(f"{name}: MSE {(wrong**2).mean():.3f}, MAE {np.abs(wrong).mean():.3f}")
    if args.plot:
        draw(args.plot, given, after, forecasts)
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
