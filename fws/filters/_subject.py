"""Whose events a filter counts together: the option `by`."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from fws import Client
from fws.base.addresses import site
from fws.base.problem import did_you_mean
from fws.filters._shown import shown
from fws.pipeline.condition import Term
from fws.pipeline.events import BY_NAME

# A longer value is replaced by its hash.
LONGEST = 100

Value = Callable[[Client, Any, str | None], Any]

_FIXED: dict[str, Value] = {
    "client": lambda client, message, channel: client.id,
    "address": lambda client, message, channel: None,
    "user": lambda client, message, channel: (client.identity or {}).get("user"),
    "channel": lambda client, message, channel: channel or client.call.channel,
}


class Subject:
    """`client`, `address`, `user` or `channel`, or a value as conditions name it: `message.room`, `identity.team`."""

    __slots__ = ("_name", "_term", "_value")

    def __init__(self, name: str, value: Value, term: Term | None = None) -> None:
        self._name = name
        self._value = value
        self._term = term

    @classmethod
    def parse(cls, text: str) -> Subject:
        """Read a subject. Raises ValueError that says what would be right."""
        if isinstance(text, str) and text in _FIXED:
            return cls(text, _FIXED[text])
        if not isinstance(text, str) or not ("." in text or "[" in text):
            # The name of a field alone is not accepted, because `by=adress` would be one.
            near = did_you_mean(str(text), _FIXED)
            raise ValueError(f"{near}; or name a value as in conditions, such as message.room or identity.team")
        term = Term.parse(text)
        return cls(str(term), term.value, term)

    def check_event(self, event: str) -> None:
        """Check that this can be known on an event. Raises ValueError if it never is."""
        names = BY_NAME[event].names
        if self._term is not None:
            self._term.check_names(names, f"on {event}")
        elif self._name == "channel" and event not in ("subscribe", "message"):
            raise ValueError(f"there is no channel on {event}: use by=address, user or client")

    def key(self, client: Client, message: Any, channel: str | None) -> str:
        """What identifies the subject of an event: its value after `=`, or the client's address if it has none."""
        value = self._value(client, message, channel)
        if value == "" or not isinstance(value, str | int | float):
            return site(client.address)
        text = shown(value)
        return f"={text if len(text) <= LONGEST else sha256(text.encode('utf-8', 'replace')).hexdigest()}"

    def __str__(self) -> str:
        return self._name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subject) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)
