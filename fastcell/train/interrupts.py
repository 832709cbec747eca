"""Ctrl-C and SIGTERM during a training run: deferred to the end of a step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcell.train.history import History


class Interrupted(Exception):
    """A signal was received; the trainer turns it into `TrainingInterrupted`."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Interrupts:
    """Defer Ctrl-C and SIGTERM until `check`, while the context is entered.

    Only signals with Python's default handlers are deferred: handlers of the program
    stay in place, and ignored signals stay ignored. Outside of the main thread, where
    Python delivers no signals, nothing is deferred. A second signal raises
    KeyboardInterrupt at once, also during a long call of the core: the work of the step
    is then lost, and the last checkpoint remains.
    """

    def __init__(self) -> None:
        self._signum: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for signum, usual in (
                (signal.SIGINT, signal.default_int_handler),
                (signal.SIGTERM, signal.SIG_DFL),
            ):
                if signal.getsignal(signum) == usual:
                    self._previous[signum] = signal.signal(signum, self._hold)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous.clear()

    def _hold(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:
            raise KeyboardInterrupt
        self._signum = signum

    def check(self) -> None:
        """Raise `Interrupted` if a signal was received."""
        if self._signum is not None:
            raise Interrupted(self._signum)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended a training run between two steps.

    Attributes
    ----------
    signum : int
        The signal that was received.
    step : int
        Optimizer steps done.
    checkpoint : str or None
        The file to resume the run from.
    history : History
        The records so far.
    """

    def __init__(
        self, signum: int, step: int, checkpoint: str | None, history: History
    ) -> None:
        self.signum = signum
        self.step = step
        self.checkpoint = checkpoint
        self.history = history
        if checkpoint is None:
            after = "no checkpoint was asked for"
        else:
            after = (
                f"saved to {checkpoint}: Trainer.resume({checkpoint!r}) and the same "
                "fit(...) continue it"
            )
        super().__init__(f"training interrupted after step {step}; {after}")
