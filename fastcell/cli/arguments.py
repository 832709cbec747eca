"""Values of the command line: converters, whose errors say what they take."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
from collections.abc import Callable, Collection
from typing import Any

from fastcell._checks.schema import shown


def one_of(
    names: Collection[str], unnamed: Collection[str] = ()
) -> Callable[[str], str]:
    """Texts of both are taken; an error lists the first."""

    def convert(text: str) -> str:
        if text not in names and text not in unnamed:
            raise argparse.ArgumentTypeError(
                f"must be one of {', '.join(names)}; got {shown(text)}"
            )
        return text

    return convert


def option_value(text: str) -> tuple[str, Any]:
    """Return the name and the value of NAME=VALUE; a value is of JSON, or a text."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE; got {shown(text)}")
    with contextlib.suppress(ValueError):
        return name, json.loads(value)
    return name, value


def list_value(convert: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Values joined by commas, each once."""
    return lambda text: list(dict.fromkeys(convert(part) for part in text.split(",")))


def shape_value(text: str) -> Any:
    """Return a shape, TxBxH or TxBxIxH."""
    from fastcell.cli.measure import parse_shape

    try:
        return parse_shape(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def integer_value(minimum: int, maximum: int = 2**31 - 1) -> Callable[[str], int]:
    """Integers from `minimum` to `maximum`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(
                f"must be an integer >= {minimum}; got {shown(text)}"
            )
        if value > maximum:
            raise argparse.ArgumentTypeError(
                f"must be an integer <= {maximum}; got {shown(text)}"
            )
        return value

    return convert


def number_value(**limits: float) -> Callable[[str], float]:
    """Numbers within the limits of `fastcell._checks.numbers.real`."""

    def convert(text: str) -> float:
        from fastcell._checks.numbers import real

        try:
            value = float(text)
        except ValueError:
            value = math.nan
        try:
            return real("", value, **limits)
        except ValueError as error:
            expected = str(error).strip().rpartition("; got")[0]
            raise argparse.ArgumentTypeError(f"{expected}; got {shown(text)}") from None

    return convert


def path_value(text: str) -> str:
    """Return the name of a file."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(
            f"must be the name of a file; got {shown(text)}"
        )
    return text


def picture_value(text: str) -> str:
    """Return the name of a picture, of a known kind."""
    from fastcell.cli.results import picture_kind

    try:
        picture_kind(path_value(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
