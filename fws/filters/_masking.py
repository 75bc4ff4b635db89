"""Finds what must not be shown in texts: addresses, card numbers, and what a pattern of the file's author matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import accumulate
from typing import Final

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


# What a pattern consists of, as far as repeats are concerned: what contains none, the ends of groups, and repeats.
_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?\#[^)]*\)|(\))|([*+]|\{[0-9]*,[0-9]*\}|\{[0-9]+\})(\+?)", re.DOTALL
)


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile the pattern of the file's author.

    Its repeats must be possessive, so that a search never goes back into them. From each character on, it then takes a
    time that grows with the length of the text, and not with a power of it, or exponentially.

    Raises:
        ValueError: it is no such pattern, or matches an empty text.
    """
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"this is not a regular expression: {error}") from None
    if pattern.match(""):
        raise ValueError("this pattern matches an empty text, so it would match everywhere")
    end_of_group = -1
    for token in _TOKEN.finditer(text):
        end, repeat, possessive = token.groups()
        if end:
            end_of_group = token.end()
        elif repeat and not possessive and ("}" not in repeat or "," in repeat or token.start() == end_of_group):
            raise ValueError(
                f"write {repeat}+ instead of {repeat} at character {token.start() + 1}: a repeat must be possessive, "
                "or a text could make the search take for ever"
            )
    return pattern
