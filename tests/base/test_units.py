"""Quantities with a unit: they are read correctly, and what is shown can be read again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("1.5s", 1.5),
        ("5m", 300),
        ("5min", 300),
        ("2h", 7200),
        ("1d", 86400),
        (" 3 s ", 3),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("512B", 512), ("64KiB", 65536), ("1.5KiB", 1536), ("1MB", 10**6), ("2GiB", 2**31)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert isinstance(parse_size(text), int)


@pytest.mark.parametrize(("text", "rate"), [("20/s", 20), ("90/min", 1.5), ("36 / h", 0.01), ("0.5/s", 0.5)])
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("parse", "text", "advice"),
    [
        (parse_duration, "30", "has no unit: use one of ms, s"),
        (parse_duration, "30 sec", "unknown unit 'sec'"),
        (parse_duration, "-1s", "is not a duration"),
        (parse_duration, "1e3s", "unknown unit 'e'|is not a duration"),
        (parse_duration, "", 'such as "30s"'),
        (parse_duration, "1s\n2s", "is not a duration"),
        (parse_duration, "٣s", "is not a duration"),
        (parse_duration, "9" * 400 + "s", "out of range"),
        (parse_size, "64KB/s", "is not a size"),
        (parse_size, "64kib", "unknown unit 'kib': use one of B, KiB"),
        (parse_size, "1.5B", "whole number of bytes"),
        (parse_size, "inf", "is not a size"),
        (parse_rate, "20", "is not a rate"),
        (parse_rate, "20/", "is not a rate"),
        (parse_rate, "20/week", 'such as "20/s"'),
        (parse_rate, "0/s", "out of range"),
        (parse_rate, "9" * 400 + "/s", "out of range"),
    ],
)
def test_an_invalid_quantity_is_refused_with_advice(parse: Callable[[str], object], text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse(text)


def test_the_shortest_exact_spelling_is_shown() -> None:
    assert [format_duration(n) for n in (0, 0.25, 1.5, 90, 120, 3600, 86400)] == [
        "0s",
        "250ms",
        "1500ms",
        "90s",
        "2m",
        "1h",
        "1d",
    ]
    assert [format_size(n) for n in (0, 1000, 1024, 65536, 1024**2, 3 * 1024**3)] == [
        "0B",
        "1000B",
        "1KiB",
        "64KiB",
        "1MiB",
        "3GiB",
    ]
    assert [format_rate(n) for n in (20, 1 / 3, 5 / 3600, 0.5)] == ["20/s", "20/min", "5/h", "30/min"]


@given(st.floats(0, 1e9, allow_subnormal=False).filter(lambda n: n == 0 or n > 1e-12))
def test_a_duration_that_is_shown_can_be_read(seconds: float) -> None:
    """Fault: 1234567.891 was shown as "1.23457e+09ms"."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-12)


@given(st.floats(1e-12, 1e8))
def test_a_rate_that_is_shown_can_be_read(rate: float) -> None:
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=1e-6)


@given(st.integers(0, 2**45))
def test_a_size_that_is_shown_can_be_read(size: int) -> None:
    assert parse_size(format_size(size)) == size
