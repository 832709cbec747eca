"""Progress of a training run on stderr: a bar on a terminal, a line per record."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

# Weight of the past in the exponential averages of loss and speed in the bar.
_SMOOTHING = 0.95


class Progress:
    """The display of one run; does nothing if `shown` is false.

    Parameters
    ----------
    shown : bool
        Whether to show anything. There is no bar if stderr is not a terminal.
    done : int
        Steps done before.
    total : int or None
        Steps of the whole run; None if unknown.
    unit : str
        The plural name of the model's targets, which are counted from here on.
    """

    def __init__(
        self, shown: bool, done: int, total: int | None, unit: str = "targets"
    ) -> None:
        self._unit = unit
        self._shown = shown
        self._done = done
        self._total = total
        self._bar: Any = None
        self._seen = 0
        self._mean: dict[str, float] = {}
        self._weight = 0.0
        self._next_text = 0.0
        self._valid: list[str] = []  # validation figures of the last record

    def __enter__(self) -> Progress:
        if self._shown:
            try:
                # Its stubs are a separate package, which may be missing.
                from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]
            except ModuleNotFoundError:
                tqdm = _Lines
            steps = "step {n_fmt} [{elapsed}]{postfix}"
            if self._total is not None:
                steps = (
                    "{percentage:3.0f}% |{bar}| step {n_fmt}/{total_fmt} "
                    "[{elapsed}<{remaining}]{postfix}"
                )
            self._bar = tqdm(
                initial=self._done,
                total=self._total,
                unit="step",
                file=sys.stderr,
                disable=None,  # not on a terminal
                dynamic_ncols=True,
                leave=False,
                bar_format=steps,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(
        self, loss: float, metrics: dict[str, float], num_targets: int, seconds: float
    ) -> None:
        """Advance the bar by one step of training."""
        if self._bar is None or self._bar.disable:
            return
        self._seen += num_targets
        self._weight = _SMOOTHING * self._weight + (1 - _SMOOTHING)
        values = {"loss": loss, **metrics, "targets": num_targets, "seconds": seconds}
        for name, value in values.items():
            mean = self._mean.get(name, 0.0)
            self._mean[name] = _SMOOTHING * mean + (1 - _SMOOTHING) * value
        now = time.monotonic()
        if now >= self._next_text:  # text costs more than a small model's step
            self._next_text = now + 0.1
            speed = self._mean["targets"] / max(self._mean["seconds"], 1e-9)
            shown = [
                f"{name} {self._mean[name] / self._weight:.3f}"
                for name in ("loss", *metrics)
            ]
            counted = f"{self._seen:,} {self._unit}, {speed:,.0f}/s"
            self._bar.set_postfix_str(
                ", ".join([*shown, *self._valid, counted]), refresh=False
            )
        self._bar.update()

    @contextmanager
    def note(self, text: str) -> Iterator[None]:
        """Show `text` beside the bar for a while."""
        if self._bar is None or self._bar.disable:
            yield
            return
        before = self._bar.postfix
        self._bar.set_postfix_str(text)
        try:
            yield
        finally:
            self._bar.set_postfix_str(before or "")

    def record(self, record: dict[str, Any]) -> None:
        """Print a record of the history on a line of its own."""
        if self._bar is not None:
            self._bar.write(describe(record, self._unit), file=sys.stderr)
            self._valid = [
                f"{key.replace('_', ' ', 1)} {value:.3f}"
                for key, value in record.items()
                if key.startswith("valid_") and value is not None
            ]


class _Lines:
    """The lines of a progress bar without the bar, where tqdm is not installed."""

    disable = True

    def __init__(self, **options: Any) -> None:
        pass

    def write(self, text: str, file: Any) -> None:
        """Print a line."""
        print(text, file=file)

    def close(self) -> None:
        """Do nothing."""


def describe(record: dict[str, Any], unit: str = "targets") -> str:
    """Return a record of the history as one line.

    Examples
    --------
    >>> record = {"step": 50, "epoch": 0.5, "train_loss": 1.5, "valid_loss": None}
    >>> record |= {"learning_rate": 2e-3, "tokens_per_second": 98765.4, "seconds": 12.3}
    >>> describe(record, "frames")
    'step 50 (epoch 0.50): train loss 1.5000; 98,765 frames/s, lr 0.002, 12 s'
    """
    parts = []
    for kind in ("train", "valid"):
        values = {
            key.removeprefix(f"{kind}_"): value
            for key, value in record.items()
            if key.startswith(f"{kind}_") and value is not None
        }
        if values:
            shown = [f"loss {values.pop('loss'):.4f}"]
            shown += [f"{name} {value:.3f}" for name, value in values.items()]
            parts.append(f"{kind} {', '.join(shown)}")
    parts.append(
        f"{record['tokens_per_second']:,.0f} {unit}/s, "
        f"lr {record['learning_rate']:.3g}, {record['seconds']:.0f} s"
    )
    return f"step {record['step']} (epoch {record['epoch']:.2f}): {'; '.join(parts)}"
