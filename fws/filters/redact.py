"""`redact`: mask what must not be shown."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta

from fws import DROP, Help, Verbatim
from fws.filters._change import Change
from fws.filters._masking import Mask, compile_pattern, is_card, mask_cards, mask_emails
from fws.pipeline.component import Setting

_FINDERS: dict[str, Mask] = {"email": mask_emails, "card": mask_cards}


class Redact(Change):
    """Mask fields, and what looks like an e-mail address or a card number, or matches a pattern.

    On `message`, `publication`, `deliver` and `tick`. A `publication` is redacted before it is kept, so the history of
    the channel has no original either. On `deliver`, only what the receiver gets is redacted.

    In `fields`, a.b is the field b of the object in a. In a list, it is that field of every item. If there is a text or
    a number where an object should be, it is masked. `find` and `pattern` search all texts in the message, but no names
    of fields. `card` finds numbers of 13 to 19 digits with a right checksum, also with blanks or hyphens between
    groups of three digits or more, and as a JSON number.

    A binary message is dropped, and with `fields` also a text: put `json` before this filter.

    Clients choose the texts that are searched. So the repeats of a `pattern` must be possessive, as in `key-[a-z]++`:
    what such a repeat has taken, it does not give back, and the search cannot take for ever. `pattern` searches the
    first `max_text` characters of all texts together. A text beyond them is masked as a whole.

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
                changed = self._searched(changed, [self.max_text])
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

    def _searched(self, value: Any, left: list[int]) -> Any:
        """The value with the mask in place of what is found.

        Args:
            left: the number of characters that may still be searched with the pattern.
        """
        if isinstance(value, str):
            return self._found(value, left)
        if isinstance(value, dict):
            return _mapped_values(value, partial(self._searched, left=left))
        if isinstance(value, list | tuple):
            return _mapped(value, partial(self._searched, left=left))
        if type(value) is int and "card" in self.find and value.bit_length() < 64 and is_card(str(abs(value))):
            return self.mask
        return value

    def _found(self, text: str, left: list[int]) -> str:
        masked = text
        if self._pattern is not None:
            left[0] -= len(text)
            masked = self._pattern.sub(lambda _: self.mask, text) if left[0] >= 0 else self.mask
        for finder in self._finders:
            masked = finder(masked, self.mask)
        return text if masked == text else masked


def _mapped(items: Any, change: Any) -> Any:
    """The list with each item changed; the same list if no item has changed."""
    changed = [change(item) for item in items]
    return items if all(new is old for new, old in zip(changed, items, strict=True)) else changed


def _mapped_values(items: dict[str, Any], change: Any) -> dict[str, Any]:
    """The same for an object."""
    changed = {name: change(item) for name, item in items.items()}
    return items if all(changed[name] is item for name, item in items.items()) else changed
