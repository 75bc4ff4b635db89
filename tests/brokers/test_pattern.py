from __future__ import annotations

import pytest

from fws.brokers.pattern import matcher


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"orders.*", [b"orders.", b"orders.new\n"], [b"orders", b"my.orders.new"]),
        (b"h?llo", [b"hello", b"h.llo"], [b"hllo", b"heello"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"h[a-c]llo", [b"hbllo"], [b"hdllo"]),
        (b"a\\*b", [b"a*b"], [b"axb"]),
        (b"a[\\]x]", [b"a]", b"ax"], [b"a\\"]),
        (b"a[\\d]", [b"ad"], [b"a1"]),
        (b"a[z-x]", [b"ay"], [b"aa"]),
        (b"a.b+", [b"a.b+"], [b"axbb"]),
        (b"*", [b"", b"\xff"], []),
    ],
)
def test_patterns_match_as_in_redis(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    matches = matcher(pattern)
    assert all(matches(name) for name in yes)
    assert not any(matches(name) for name in no)


@pytest.mark.parametrize("pattern", [b"[", b"[]", b"[^]", b"a\\", b"[z-a", b"[a&&b]", b"(", b"[--z]"])
def test_no_pattern_is_an_error(pattern: bytes) -> None:
    matcher(pattern)(b"a")
