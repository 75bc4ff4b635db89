"""Quantities with a unit, as people write them: durations `"30s"`, sizes `"64KiB"`, rates `"20/s"`."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

import msgspec

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\Z")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*([A-Za-z]+)\Z")

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3}


class Unit(msgspec.Struct, frozen=True):
    """Marks an option as a quantity: how to read it, how to write it, what it is called."""

    name: str
    example: str
    parse: Callable[[str], float | int]
    format: Callable[[float | int], str]


def parse_duration(text: str) -> float:
    """The seconds in `"250ms"`, `"30s"`, `"5m"`, `"2h"` or `"1d"`. Raises ValueError that says what is right."""
    number, unit = _split(text, _SECONDS, "a duration", "30s")
    return number * _SECONDS[unit]


def parse_size(text: str) -> int:
    """The bytes in `"512B"`, `"64KiB"`, `"1MiB"`, `"1MB"`. Raises ValueError that says what is right."""
    number, unit = _split(text, _BYTES, "a size", "64KiB")
    size = number * _BYTES[unit]
    if size != int(size):
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def parse_rate(text: str) -> float:
    """The events per second in `"20/s"`, `"100/min"`, `"5/h"`. Raises ValueError that says what is right."""
    match = _RATE.match(text.strip())
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f'{text!r} is not a rate: write a number and a time, such as "20/s" or "100/min"')
    rate = float(match[1]) / _SECONDS[match[2]]
    if not 0 < rate < 1e9:
        raise ValueError(f"a rate of {text!r} is out of range")
    return rate


def _split(text: str, units: dict[str, float] | dict[str, int], what: str, example: str) -> tuple[float, str]:
    match = _NUMBER.match(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not {what}: write a number and a unit, such as "{example}"')
    if match[2] not in units:
        missing = "has no unit" if not match[2] else f"has an unknown unit {match[2]!r}"
        raise ValueError(f'{text!r} {missing}: use one of {", ".join(units)}, such as "{example}"')
    number = float(match[1])
    if number > 1e15:
        raise ValueError(f"{text!r} is out of range")
    return number, match[2]


def format_duration(seconds: float) -> str:
    """The shortest exact spelling: 90 is `"90s"`, 0.25 is `"250ms"`, 3600 is `"1h"`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    if seconds % 1 and seconds * 1000 % 1 == 0:
        return f"{int(seconds * 1000)}ms"
    return f"{_plain(seconds)}s"


def format_size(size: float) -> str:
    """The shortest exact spelling: 1048576 is `"1MiB"`, 1000 is `"1000B"`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{int(size // _BYTES[unit])}{unit}"
    return f"{int(size)}B"


def format_rate(rate: float) -> str:
    """The rate per second, minute, hour or day, whichever is first a whole number; else per second."""
    for unit in ("s", "min", "h", "d"):
        number = rate * _SECONDS[unit]
        if abs(number - round(number)) < 1e-9 and round(number):
            return f"{round(number)}/{unit}"
    return f"{_plain(rate)}/s"


def _plain(number: float) -> str:
    """All digits of a number without an exponent, so that it can be read again."""
    return f"{Decimal(repr(number)):f}".removesuffix(".0")


Duration = Annotated[float, Unit("duration", "30s", parse_duration, format_duration)]
Size = Annotated[int, Unit("size", "64KiB", parse_size, format_size)]
Rate = Annotated[float, Unit("rate", "20/s", parse_rate, format_rate)]
