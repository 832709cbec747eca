"""Fixtures of the tests of training: Ctrl-C, and a model that files may name."""

from __future__ import annotations

import signal

import pytest
from last_step import LastStep

from fastcell.named_classes import CLASSES


@pytest.fixture
def usual_handler():
    """Let SIGINT raise KeyboardInterrupt, whatever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def last_step_may_be_saved(monkeypatch):
    """Let files name the class `LastStep`."""
    monkeypatch.setitem(CLASSES, "LastStep", LastStep)
