"""Assertions that a call is refused by an error that names the argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def refuses(
    error: type[Exception],
    words: Iterable[str],
    call: Callable[..., Any],
    *arguments: Any,
    **named: Any,
) -> None:
    """Assert that the call raises `error`, with all the words in its message."""
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    message = str(caught.value)
    for word in words:
        assert word in message, (word, message)
