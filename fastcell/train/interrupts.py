"""Signals that ask a training run to end, held until it is ready."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcell.train.history import History


class Interrupted(Exception):
    """A signal has come; for the trainer itself, which makes it known."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Interrupts:
    """Hold Ctrl-C and SIGTERM until `check`, while the context is entered.

    Only where their handlers are the usual ones: a program that handles or ignores one
    of them itself goes on doing so. Outside of the main thread, where Python delivers
    no signals, nothing is held. The second signal is not held, but raised as
    KeyboardInterrupt at once, also in the middle of a long call of the core: what the
    step has done is then lost, and the last checkpoint stands.
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
        """Raise `Interrupted` if a signal has come."""
        if self._signum is not None:
            raise Interrupted(self._signum)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended a training run between two steps.

    Attributes
    ----------
    signum : int
        The signal that came.
    step : int
        Optimizer steps that were done.
    checkpoint : str or None
        The file that the run can be resumed from.
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
