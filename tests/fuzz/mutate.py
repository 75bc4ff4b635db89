"""Changes that keep most of an input valid: of bits, bytes and pieces, which are removed, repeated or copied from other
inputs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_INTERESTING = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\r\n", b"\n", b"\r", b" ", b"\t", b'"', b"'", b"\\", b"%00", b",")
_REPEATS = (2, 3, 8, 64, 1024)


def mutated(data: bytes, others: Sequence[bytes], chance: random.Random, most: int) -> bytes:
    """One to four changes of an input.

    Args:
        others: inputs from which pieces may be copied.
        most: the largest result, in bytes.
    """
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(found))
        end = min(len(found), start + chance.choice((1, 2, 4, 16, 64)))
        chance.choice(_CHANGES)(found, start, end, others, chance)
    return bytes(found[:most])


_Change = Callable[[bytearray, int, int, Sequence[bytes], random.Random], None]


def _flip(found: bytearray, start: int, end: int, _: Sequence[bytes], chance: random.Random) -> None:
    if start < len(found):
        found[start] ^= 1 << chance.randrange(8)


def _insert(found: bytearray, start: int, end: int, _: Sequence[bytes], chance: random.Random) -> None:
    found[start:start] = chance.choice(_INTERESTING)


def _replace(found: bytearray, start: int, end: int, _: Sequence[bytes], chance: random.Random) -> None:
    found[start:end] = chance.choice(_INTERESTING)


def _drop(found: bytearray, start: int, end: int, _: Sequence[bytes], chance: random.Random) -> None:
    del found[start:end]


def _truncate(found: bytearray, start: int, end: int, _: Sequence[bytes], chance: random.Random) -> None:
    del found[start:]


def _repeat(found: bytearray, start: int, end: int, _: Sequence[bytes], chance: random.Random) -> None:
    found[end:end] = found[start:end] * chance.choice(_REPEATS)


def _move(found: bytearray, start: int, end: int, _: Sequence[bytes], chance: random.Random) -> None:
    piece = found[start:end]
    del found[start:end]
    place = chance.randint(0, len(found))
    found[place:place] = piece


def _splice(found: bytearray, start: int, end: int, others: Sequence[bytes], chance: random.Random) -> None:
    other = chance.choice(others)
    found[start:] = other[chance.randint(0, len(other)) :]


def _lines(found: bytearray, start: int, end: int, others: Sequence[bytes], chance: random.Random) -> None:
    """Replace one of our lines by a line of another input, or insert it."""
    lines, theirs = found.splitlines(keepends=True), chance.choice(others).splitlines(keepends=True)
    if lines and theirs:
        place = chance.randrange(len(lines))
        lines[place : place + chance.randint(0, 1)] = [bytearray(chance.choice(theirs))]
        found[:] = b"".join(lines)


_CHANGES: tuple[_Change, ...] = (_flip, _flip, _insert, _replace, _drop, _truncate, _repeat, _move, _splice, _lines)
