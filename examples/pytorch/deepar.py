"""DeepAR of gluonts before and after one line: forecasts and training steps.

    python examples/pytorch/deepar.py --threads 1

Needs `pip install 'gluonts[torch]'`. The network is left at its default, two LSTM
layers of 40 units. It is trained by Lightning for an epoch on made-up hourly series,
which follow the day and the week; then it draws 100 futures of each, a day long. A
forecast is the whole of `predictor.predict`; a training step is forward and backward of
a batch of 32.
"""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import before_after
import numpy as np
import pandas as pd
import torch
from gluonts.dataset.common import ListDataset
from gluonts.torch import DeepAREstimator

import fastcell.torch

DAY = 24


def series(count: int, days: int, seed: int) -> Any:
    """Return hourly series that rise and fall with the day and the week."""
    random = np.random.default_rng(seed)
    hour = np.arange(days * DAY)
    parts = []
    for size, shift in random.uniform(0.5, 2, (count, 2)):
        level = 3 + np.sin(2 * np.pi * (hour / DAY + shift))
        level += 0.5 * np.sin(2 * np.pi * hour / (7 * DAY))
        parts.append(size * (level + 0.2 * random.standard_normal(len(hour))))
    start = pd.Period("2024-01-01 00:00", freq="h")
    return ListDataset([{"start": start, "target": part} for part in parts], freq="h")


def estimator(folder: str) -> DeepAREstimator:
    """Return what trains a DeepAR, quietly, with its files in a folder."""
    quiet = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    quiet |= {"enable_model_summary": False, "default_root_dir": folder}
    return DeepAREstimator(
        freq="h",
        prediction_length=DAY,
        context_length=7 * DAY,
        num_batches_per_epoch=5,
        trainer_kwargs={"max_epochs": 1, **quiet},
    )


def training_step(module: Any, batch: Any) -> Callable[[], list[torch.Tensor]]:
    """Return what takes forward and backward of a batch; its loss and gradients."""
    module.log = lambda *_, **__: None  # there is no Trainer to log to

    def step() -> list[torch.Tensor]:
        module.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        return [loss.detach(), *(p.grad for p in module.parameters())]

    return step


def main() -> None:
    """Compare the numbers, then the times."""
    parser = before_after.options(__doc__)
    parser.add_argument("--series", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="gluonts|lightning|pytorch_lightning")

    torch.manual_seed(0)
    np.random.seed(0)
    data = series(args.series, 40, 0)
    with tempfile.TemporaryDirectory() as folder:
        maker = estimator(folder)
        trained = maker.train_model(data)
    before = trained.predictor
    after = copy.deepcopy(before)
    fastcell.torch.accelerate(after.prediction_net)

    modules = [trained.trained_net, copy.deepcopy(trained.trained_net)]
    fastcell.torch.accelerate(modules[1])
    shown = trained.transformation.apply(data, is_train=True)
    batch = next(iter(maker.create_training_data_loader(shown, modules[0])))
    steps = [training_step(module, batch) for module in modules]

    numbers = []
    for step in steps:
        torch.manual_seed(1)  # of the dropout
        numbers.append(step())
    before_after.tell(2, before_after.error(numbers[1], numbers[0]), args.threads)
    forecasts = [lambda p=p: list(p.predict(data)) for p in (before, after)]
    for what, calls in (
        (f"a forecast of {args.series} series", forecasts),
        ("a training step", steps),
    ):
        before_after.tell_speed(what, *before_after.seconds(calls, args.blocks))


if __name__ == "__main__":
    main()
