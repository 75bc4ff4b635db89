"""`redact`: mask what must not be shown."""

from __future__ import annotations

from functools import partial
from operator import is_not
from typing import Annotated, Any, Literal

from msgspec import Meta

from fws import DROP, Help, Verbatim
from fws.filters._change import Change
from fws.filters._masking import LEAST_CARD, Left, Mask, compile_pattern, is_card_number, mask_cards, mask_emails
from fws.pipeline.component import Setting

_FINDERS: dict[str, Mask] = {"email": mask_emails, "card": mask_cards}
# The characters of the shortest text in which each finds something.
_SHORTEST = {"email": len("a@b.c"), "card": 13}


class Redact(Change):
    """Mask fields, and what looks like an e-mail address or a card number, or matches a pattern.

    On `message`, `publication`, `deliver` and `tick`. A `publication` is redacted before it is kept, so the history of
    the channel has no original either. On `deliver`, only what the receiver gets is redacted.

    In `fields`, a.b is the field b of the object in a. In a list, it is that field of every item. If there is a text or
    a number where an object should be, it is masked. `find` and `pattern` search all texts in the message, but no names
    of fields. `card` finds numbers of 13 to 19 digits with a right checksum, also with blanks or hyphens between
    groups of three digits or more, and as a JSON number or its whole part.

    A binary message is dropped, and with `fields` also a text: put `json` before this filter.

    Clients choose the texts that are searched. So the repeats of a `pattern` must be possessive, as in `key-[a-z]++`:
    what such a repeat has taken, it does not give back, and the search cannot take for ever. `fws check` refuses other
    patterns, and those whose alternatives would have the same effect, and the flag `(?x)`. `pattern` searches the
    first `max_text` characters of all texts together. A text beyond them is masked as a whole. `card` examines the
    first 10,000 groups of digits in a message that may belong to a card number, and masks texts and numbers with more.

    Example:
        message = ["json", "redact password card.number find=email,card", "broadcast"]
    """

    fields: Annotated[list[str], Help("Fields to mask.")] = []
    find: Annotated[list[Literal["email", "card"]], Help("What to look for in all texts.")] = []
    pattern: Annotated[str, Help("Regular expression of Python; what it matches in a text is masked."), Verbatim()] = ""
    mask: Annotated[str, Help("What is shown instead.")] = "***"
    max_text: Annotated[int, Meta(ge=1), Help("The most characters of a message that `pattern` searches.")] = 4096

    def prepare(self, setting: Setting) -> None:
        if not (self.fields or self.find or self.pattern):
            raise ValueError("give fields, find or pattern, or nothing is masked")
        self._paths = [name.split(".") for name in self.fields]
        self._finders = [_FINDERS[name] for name in self.find]
        self._shortest = 1 if self.pattern else min((_SHORTEST[name] for name in self.find), default=1)
        try:
            self._pattern = compile_pattern(self.pattern) if self.pattern else None
        except ValueError as error:
            raise ValueError(f"pattern: {error}") from None

    def change(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview) or (self._paths and isinstance(value, str)):
            return DROP
        try:
            changed = value
            for path in self._paths:
                changed = self._without(changed, path, 0)
            if self._finders or self._pattern is not None:
                changed = self._searched(changed, Left(self.max_text))
        except RecursionError:
            return DROP
        return None if changed is value else changed

    def _without(self, value: Any, path: list[str], done: int) -> Any:
        """The value with the mask in place of the field at the rest of a path."""
        if isinstance(value, list | tuple):
            return _mapped(value, lambda item: self._without(item, path, done))
        if not isinstance(value, dict):
            return value if value is None or done == 0 else self.mask
        name = path[done]
        if name not in value:
            return value
        inner = self.mask if done + 1 == len(path) else self._without(value[name], path, done + 1)
        return value if inner is value[name] else {**value, name: inner}

    def _searched(self, value: Any, left: Left) -> Any:
        """The value with the mask in place of what is found."""
        if isinstance(value, str):
            return self._found(value, left)
        if isinstance(value, dict):
            return _mapped_values(value, partial(self._searched, left=left))
        if isinstance(value, list | tuple):
            return self._searched_list(value, left)
        if type(value) in (int, float) and mask_cards in self._finders and is_card_number(value, left):
            return self.mask
        return value

    def _searched_list(self, items: Any, left: Left) -> Any:
        """The same for a list. Of a list with 500,000 short items, only a comparison may be done for each."""
        shortest, least = self._shortest, LEAST_CARD
        changed = [
            item
            if ((kind := type(item)) is str and len(item) < shortest)
            or ((kind is int or kind is float) and -least < item < least)
            else self._searched(item, left)
            for item in items
        ]
        return changed if any(map(is_not, changed, items)) else items

    def _found(self, text: str, left: Left) -> str:
        masked = text
        if self._pattern is not None:
            left.characters -= len(text)
            masked = self._pattern.sub(lambda _: self.mask, text) if left.characters >= 0 else self.mask
        for finder in self._finders:
            masked = finder(masked, self.mask, left)
        return text if masked == text else masked


def _mapped(items: Any, change: Any) -> Any:
    """The list with each item changed; the same list if no item has changed."""
    changed = [change(item) for item in items]
    return changed if any(map(is_not, changed, items)) else items


def _mapped_values(items: dict[str, Any], change: Any) -> dict[str, Any]:
    """The same for an object."""
    changed = {name: change(item) for name, item in items.items()}
    return items if all(changed[name] is item for name, item in items.items()) else changed
