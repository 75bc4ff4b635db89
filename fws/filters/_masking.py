"""Finds what must not be shown in texts: addresses, card numbers, and what a pattern of the file's author matches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

# The digits of a card number (ISO/IEC 7812).
CARD_DIGITS: Final = range(13, 20)
# The most groups that people write them in, such as 4 4 4 4 3.
CARD_GROUPS: Final = 6

# These take linear time: a search begins at the start of a word only, and possessive repeats are never tried again.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]++@[\w-]++(?:\.[\w-]++)++")
_DIGITS = re.compile(r"(?<![0-9])[0-9]{3,}+(?:[ -][0-9]{3,}+)*+")
_GROUP = re.compile(r"[0-9]+")

Mask = Callable[[str, str], str]


def mask_emails(text: str, mask: str) -> str:
    """A text with the mask for each e-mail address."""
    return _EMAIL.sub(lambda _: mask, text) if "@" in text else text


def mask_cards(text: str, mask: str) -> str:
    """A text with the mask for each card number, with or without blanks or hyphens between groups of digits."""
    if len(text) < CARD_DIGITS.start:
        return text
    return _DIGITS.sub(lambda match: _mask_groups(match[0], mask), text)


def is_card(digits: str) -> bool:
    """Whether these digits are a card number: their number, and the sum of Luhn."""
    if len(digits) not in CARD_DIGITS:
        return False
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


def _mask_groups(text: str, mask: str) -> str:
    """Groups of digits, of which some in a row may be a card number: `no. 12 4111 1111 1111 1111`."""
    groups = list(_GROUP.finditer(text))
    if len(text) < CARD_DIGITS.start:
        return text
    parts, begin, first = [], 0, 0
    while first < len(groups):
        last = _last_of_card(groups, first)
        if last is None:
            first += 1
            continue
        parts += [text[begin : groups[first].start()], mask]
        begin, first = groups[last].end(), last + 1
    return "".join([*parts, text[begin:]])


def _last_of_card(groups: list[re.Match[str]], first: int) -> int | None:
    """The last group of a card number that begins at a group; None if there is none."""
    digits = ""
    for number in range(first, min(first + CARD_GROUPS, len(groups))):
        digits += groups[number][0]
        if len(digits) > CARD_DIGITS[-1]:
            return None
        if is_card(digits):
            return number
    return None


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
