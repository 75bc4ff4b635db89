"""Finds what must not be shown in texts: addresses, card numbers, and what a pattern of the file's author matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import accumulate
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

# The digits of a card number (ISO/IEC 7812).
CARD_DIGITS: Final = range(13, 20)
LEAST_CARD: Final = 10**12
# The most groups that people write them in, such as 4 4 4 4 3.
CARD_GROUPS: Final = 6
# The most groups of digits that are examined in one message, which takes about 15 ms.
MAX_GROUPS: Final = 10_000

# These take linear time: a search begins at the start of a word only, and possessive repeats are never tried again.
# The lookbehind comes second, because Python searches faster for a pattern that begins with a set.
_EMAIL = re.compile(r"[\w.%+-](?<![\w.%+-]{2})[\w.%+-]*+@[\w-]++(?:\.[\w-]++)++")
# Groups of three digits or more, with 13 digits together at least.
_DIGITS = re.compile(r"[0-9](?<![0-9]{2})(?=[0-9]{2})(?=(?:[ -]?+[0-9]){12}+)[0-9]{2,}+(?:[ -][0-9]{3,}+)*+")
# Maps a digit to what it counts in the sum of Luhn if it is doubled.
_DOUBLED = bytes.maketrans(bytes(range(10)), bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))
_PLAIN = bytes.maketrans(b"0123456789", bytes(range(10)))


class Left:
    """What may still be searched in a message.

    Attributes:
        characters: that a pattern may search.
        groups: of digits that may be part of a card number.
    """

    __slots__ = ("characters", "groups")

    def __init__(self, characters: int, groups: int = MAX_GROUPS) -> None:
        self.characters = characters
        self.groups = groups


Mask = Callable[[str, str, Left], str]


def mask_emails(text: str, mask: str, left: Left) -> str:
    """A text with the mask for each e-mail address."""
    return _EMAIL.sub(mask.replace("\\", r"\\"), text) if "@" in text else text


def mask_cards(text: str, mask: str, left: Left) -> str:
    """A text with the mask for each card number, with or without blanks or hyphens between groups of digits.

    If the message has more groups of digits than may be searched, the mask takes the place of the whole text.
    """
    if len(text) < CARD_DIGITS.start:
        return text
    parts, begin = [], 0
    for match in _DIGITS.finditer(text):
        groups = match[0].replace("-", " ").split(" ")
        left.groups -= len(groups)
        if left.groups < 0:
            return mask
        for first, last in _cards(groups):
            parts += [text[begin : match.start() + first], mask]
            begin = match.start() + last
    return "".join([*parts, text[begin:]]) if parts else text


def is_card(digits: str) -> bool:
    """Whether these digits are a card number: their number, and the sum of Luhn."""
    return len(digits) in CARD_DIGITS and _is_sum_right(digits.encode().translate(_PLAIN))


def is_card_number(number: float, left: Left) -> bool:
    """The same for the whole part of a number, without its sign. True if nothing more may be searched."""
    if not LEAST_CARD <= abs(number) < 10**19:
        return False
    left.groups -= 1
    # The digits of a large float are those that JSON has, and zeros.
    return left.groups < 0 or is_card(str(abs(int(number if isinstance(number, int) else Decimal(repr(number))))))


def _is_sum_right(digits: bytes) -> bool:
    return (sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED))) % 10 == 0


def _cards(groups: list[str]) -> Iterator[tuple[int, int]]:
    """Where card numbers are among groups of digits with one character between them: `12 4111 1111 1111 1111`."""
    digits = "".join(groups).encode().translate(_PLAIN)
    ends = [0, *accumulate(map(len, groups))]
    first = 0
    while first < len(groups):
        begin = ends[first]
        for last in range(first + 1, min(first + CARD_GROUPS, len(groups)) + 1):
            size = ends[last] - begin
            if size >= CARD_DIGITS.stop:
                break
            if size >= CARD_DIGITS.start and _is_sum_right(digits[begin : ends[last]]):
                yield begin + first, ends[last] + last - 1
                first = last - 1
                break
        first += 1


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile the pattern of the file's author.

    Its repeats must be possessive, so that a search never goes back into them. From each character on, it then takes a
    time that grows with the length of the text, and not with a power of it, or exponentially. Python's own parser reads
    the pattern, so that no way of writing leads past this check.

    Raises:
        ValueError: it is no such pattern, or matches an empty text.
    """
    try:
        tree = _parser.parse(text)
        pattern = re.compile(text)
        if tree.getwidth()[0] == 0:
            raise ValueError("this pattern matches an empty text, so it would match everywhere")
        if tree.state.flags & re.VERBOSE:
            raise ValueError(_NOT_VERBOSE)
        effort = _effort(tree)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"this is not a regular expression: {error}") from None
    if effort.ways > MAX_WAYS or effort.scans > MAX_SCANS:
        raise ValueError(
            "this pattern has too many ways to match one text: put alternatives and what is optional into (?>…)"
        )
    return pattern


# How often a search may come back to what follows some alternatives, and to a repeat.
MAX_WAYS: Final = 1000
MAX_SCANS: Final = 16
# A repeat of more characters can keep a search busy.
SHORT: Final = 32

_NOT_VERBOSE: Final = "the flag x is not for this option: write the pattern without (?x), blanks and comments"


class _Effort(NamedTuple):
    """What a search does for a part of a pattern at one place in a text.

    Attributes:
        ways: how many ways there are to match it. The search tries each of them if what follows does not match.
        scans: how often it may read on for long.
        fails: whether it can fail.
        late: whether it can fail after it has read on for long.
        wastes: whether it can match after it has read on for long in vain. A repeat would do so again and again.
    """

    ways: int = 1
    scans: int = 0
    fails: bool = True
    late: bool = False
    wastes: bool = False


def _effort(items: Iterable[tuple[Any, Any]]) -> _Effort:
    """The effort for parts that follow one another. Raises ValueError if it could have no bound."""
    whole = _Effort(fails=False)
    returns = False
    for item in items:
        part = _effort_of(*item)
        ways = whole.ways * part.ways
        returns = returns or (part.scans > 0 and ways > 1)
        whole = _Effort(
            ways,
            max(whole.scans, whole.ways * part.scans),
            whole.fails or part.fails,
            whole.late or part.late or (whole.scans > 0 and part.fails),
            whole.wastes or part.wastes,
        )
    return whole._replace(wastes=whole.wastes or (returns and whole.late))


def _effort_of(kind: Any, content: Any) -> _Effort:
    if kind in _REPEATS:
        return _effort_of_repeat(kind, *content)
    if kind is _parser.SUBPATTERN:
        if content[1] & re.VERBOSE:
            raise ValueError(_NOT_VERBOSE)
        return _effort(content[-1])
    if kind is _parser.ATOMIC_GROUP:
        return _effort(content)._replace(ways=1)
    if kind in (_parser.ASSERT, _parser.ASSERT_NOT):
        scans = _effort(content[1]).scans
        return _Effort(scans=scans, late=scans > 0, wastes=scans > 0)
    if kind is _parser.GROUPREF:
        return _Effort(scans=1, late=True)
    if kind in (_parser.BRANCH, _parser.GROUPREF_EXISTS):
        parts = [_effort(part or ()) for part in (content[1] if kind is _parser.BRANCH else content[1:])]
        return _Effort(
            sum(part.ways for part in parts),
            sum(part.scans for part in parts),
            late=any(part.late for part in parts),
            wastes=any(part.wastes for part in parts) or any(part.late for part in parts[:-1]),
        )
    return _Effort()


_REPEATS: Final = {_parser.MAX_REPEAT: "", _parser.MIN_REPEAT: "?", _parser.POSSESSIVE_REPEAT: "+"}


def _effort_of_repeat(kind: Any, least: int, most: int, items: Any) -> _Effort:
    part = _effort(items)
    possessive = kind is _parser.POSSESSIVE_REPEAT
    if not possessive and most > 1 and (least != most or part.ways > 1):
        upper = "" if most == _parser.MAXREPEAT else most
        bounds = f"{{{least}}}" if least == most else f"{{{least},{upper}}}"
        written = {"{0,}": "*", "{1,}": "+"}.get(bounds, bounds)
        raise ValueError(
            f"write {written}+ instead of {written}{_REPEATS[kind]}: a repeat must be possessive, or a text could make "
            "the search take for ever"
        )
    is_long = items.getwidth()[1] * most > SHORT
    if is_long and part.wastes:
        raise ValueError(
            "a repeat contains alternatives, something optional or a condition with a repeat in it: a text could make "
            "the search read the same characters again and again"
        )
    return _Effort(
        1 if possessive else part.ways + (least == 0),
        max(part.scans, int(is_long)),
        least > 0 and part.fails,
        least > 0 and (part.late or (is_long and least > 1)),
        part.wastes or part.late,
    )
