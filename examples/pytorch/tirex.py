"""A forecast of TiRex-2 before and after one line, and a picture of both.

    python examples/pytorch/tirex.py --threads 1
    python examples/pytorch/tirex.py --plot forecasts.png

Needs `pip install tirex-2`, and matplotlib for the picture. The model is TiRex-2 with
its 12 blocks of 512 units, sLSTM and mLSTM in turns, 82 million weights. They are
random, so that nothing is downloaded, and the forecasts mean nothing: `--model` takes a
checkpoint, a directory or a name on Hugging Face such as NX-AI/TiRex-2. The series is
the carbon dioxide of Mauna Loa by week if statsmodels is installed, and made up if not;
`--csv` reads another, the last column of a file with a header. A forecast is the whole
of `model.forecast`: nine quantiles of the steps to come.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import before_after
import numpy as np
import torch
from tirex2 import TimeseriesType, load_model
from tirex2.api_adapter import ForecastModel
from tirex2.model import TiRex2

import fastcell.torch

PATCH = 32
QUANTILES = [number / 10 for number in range(1, 10)]


def random_model(blocks: int = 12, width: int = 512, heads: int = 4) -> ForecastModel:
    """Return a TiRex-2 with random weights, in the sizes of the published one."""
    sizes = {"embedding_dim": width, "num_heads": heads}
    templates = {
        kind: {
            "time_mixer": {"model_type": f"bi-{kind}", **sizes},
            "variate_mixer": sizes,
            "dropout": 0.0,
            "eps": 1e-6,
        }
        for kind in ("slstm", "mlstm")
    }
    model = TiRex2(
        {"templates": templates, "recipe": (["slstm", "mlstm"] * blocks)[:blocks]},
        num_blocks=blocks,
        embedding_dim=width,
        input_patch_size=PATCH,
        output_patch_size=PATCH,
        quantiles=QUANTILES,
        tokenizer_cfg={
            "input_patch_size": PATCH,
            "output_patch_size": PATCH,
            "input_patch_stride": PATCH,
        },
        scaler_cfg={},
        h_expand=4,
        context_len=64 * PATCH,
        future_len=10 * PATCH,
        input_ff_dim=4 * width,
        act_func="ReLU",
        dropout=0.0,
        stack_out_norm_config={"use_rmsnorm": True},
        device="cpu",
    )
    for name, weight in model.named_parameters():
        if name.endswith("_recurrent_kernel_"):  # zeros, before training
            torch.nn.init.uniform_(weight, -(width**-0.5), width**-0.5)
    return ForecastModel(model.eval())


def series(csv: Path | None) -> tuple[str, np.ndarray]:
    """Return the name of a series, and its numbers."""
    if csv is not None:
        rows = np.genfromtxt(csv, delimiter=",", skip_header=1)
        return csv.stem, rows.reshape(len(rows), -1)[:, -1]
    try:
        from statsmodels.datasets import co2
    except ImportError:
        hour = np.arange(1000)
        noise = np.random.default_rng(0).standard_normal(len(hour))
        day, week = (np.sin(2 * np.pi * hour / period) for period in (24, 168))
        return "made-up hours", 10 + 3 * day + 2 * week + 0.3 * noise + hour / 200
    return "CO2 of Mauna Loa, weeks", co2.load_pandas().data["co2"].to_numpy()


def forecast(model: ForecastModel, context: np.ndarray, steps: int) -> torch.Tensor:
    """Return the quantiles (9, steps) of what follows."""
    target = torch.from_numpy(context.astype(np.float32))[None]
    given = TimeseriesType(target, past_covariates=None, future_covariates=None)
    [found] = model.forecast([given], prediction_length=steps)
    return found[0]


def plot(file: Path, name: str, known: np.ndarray, steps: int, found: Any) -> None:
    """Draw the series and the forecasts side by side."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), sharey=True)
    shown = min(len(known), 6 * steps)
    ahead = np.arange(len(known) - steps, len(known))
    for axis, (title, quantiles) in zip(axes, found.items(), strict=True):
        axis.plot(np.arange(len(known))[-shown:], known[-shown:], "k", lw=0.8)
        axis.fill_between(ahead, quantiles[0], quantiles[-1], alpha=0.3)
        axis.plot(ahead, quantiles[len(quantiles) // 2])
        axis.set_title(f"{name}: {title}")
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def main() -> None:
    """Compare the numbers, then the times, and draw both forecasts."""
    parser = before_after.options(__doc__)
    parser.add_argument("--model", help="a checkpoint (default: random weights)")
    parser.add_argument("--csv", type=Path, help="a file with the series")
    parser.add_argument("--steps", type=int, default=64, help="to forecast, up to 320")
    parser.add_argument(
        "--model-blocks", type=int, default=12, help="of random weights"
    )
    parser.add_argument("--plot", type=Path, help="where to save the picture")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    torch.manual_seed(0)
    if args.model is None:
        before = random_model(args.model_blocks)
    else:
        before = load_model(args.model, device="cpu")
    name, known = series(args.csv)
    context = known[: -args.steps]
    after = ForecastModel(copy.deepcopy(before.model))
    fastcell.torch.accelerate(after.model)

    found = [forecast(model, context, args.steps) for model in (before, after)]
    difference = before_after.error([found[1]], [found[0]])
    before_after.tell(2, difference, args.threads)
    print(f"greatest difference: {(found[0] - found[1]).abs().max():.1e} in {name}")
    calls = [
        lambda model=model: forecast(model, context, args.steps)
        for model in (before, after)
    ]
    times = before_after.seconds(calls, args.blocks)
    before_after.tell_speed(f"a forecast of {args.steps} steps", *times)
    if args.plot is not None:
        titles = [
            f"{what}, {seconds * 1e3:.0f} ms"
            for what, seconds in zip(("before", "after"), times, strict=True)
        ]
        plot(args.plot, name, known, args.steps, dict(zip(titles, found, strict=True)))
        print(f"saved {args.plot}")


if __name__ == "__main__":
    main()
