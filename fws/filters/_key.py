"""The option `by` of filters that count or keep something for each client, channel or field of the message."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from fws import Client
from fws.base.addresses import site
from fws.base.problem import did_you_mean
from fws.pipeline.condition import Term
from fws.pipeline.events import BY_NAME, CLIENT_NAMES, Event
from fws.wire.encoding import json_bytes

# A longer value of a message is replaced by its hash, so that keys take little memory.
LONGEST = 100

HELP = (
    "What has one of its own: client, address, user, channel, a value such as message.room, or all for everything "
    "together. Several with commas: client,message.room."
)
"""Help of the option, for filters that have nothing to add."""

Part = Callable[[Client | None, Any, str | None], str | None]


class Key:
    """What an option `by` names: `client`, `message.room`, or several of these with commas.

    Attributes:
        per_client: whether clients never share a key, so that what is kept for a key can be kept with its client.
        of_client: whether the key says anything about the client.
    """

    __slots__ = ("_names", "_parts", "_terms", "_text", "of_client", "per_client")

    def __init__(self, text: str) -> None:
        self._text = text
        self._names = [name.strip() for name in text.split(",")]
        self._terms = [Term.parse(name) for name in self._names if name not in _FIXED]
        self._parts = tuple(_FIXED[name][0] if name in _FIXED else _value(Term.parse(name)) for name in self._names)
        self.per_client = "client" in self._names
        self.of_client = bool({"client", "address", "user"} & set(self._names)) or any(
            set(CLIENT_NAMES) & term.names for term in self._terms
        )

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read the option. Raises ValueError that says what would be right."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"expected {', '.join(_FIXED)}, or a value such as message.room")
        for name in (one.strip() for one in text.split(",")):
            if name.isidentifier() and name not in _FIXED and name != "message":
                near = did_you_mean(name, _FIXED)
                raise ValueError(f"{near}{'' if near.endswith('?') else '.'} Or name a value, such as message.{name}")
        return cls(text.strip())

    def check_event(self, event: str) -> None:
        """Check that an event has what the key names. Raises ValueError that says what it has."""
        row = BY_NAME[event]
        there = [name for name, (_, exists) in _FIXED.items() if exists(row)]
        for name in self._names:
            if name in _FIXED and name not in there:
                values = ", or a value such as message.room" if "message" in row.names else ""
                raise ValueError(f"by={name}: there is no {name} on {event}: use by={' or '.join(there)}{values}")
        for term in self._terms:
            term.check_names(row.names, f"on {event}")

    def of(self, client: Client | None, message: Any, channel: str | None = None) -> str | None:
        """The key of an event, a short text; None if a value that it names is missing. Never raises.

        Args:
            channel: the channel of the event; without one, that of the client's call counts.
        """
        if len(self._parts) == 1:
            return self._parts[0](client, message, channel)
        found = [part(client, message, channel) for part in self._parts]
        return None if None in found else repr(found)

    def __str__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def _user(client: Client | None, message: Any, channel: str | None) -> str | None:
    user = (client.identity or {}).get("user") if client is not None else None
    return _text(user) if isinstance(user, str | int | float) else None


def _channel(client: Client | None, message: Any, channel: str | None) -> str | None:
    return _text(channel or (client.call.channel if client is not None else ""))


def _has_client(event: Event) -> bool:
    return "client" in event.arguments


def _has_channel(event: Event) -> bool:
    return "channel" in event.names or event.name == "message"  # the call of a message may have one


# What each name stands for, and whether an event has it.
_FIXED: dict[str, tuple[Part, Callable[[Event], bool]]] = {
    "client": (lambda client, message, channel: None if client is None else client.id, _has_client),
    "address": (lambda client, message, channel: None if client is None else site(client.address), _has_client),
    "user": (_user, _has_client),
    "channel": (_channel, _has_channel),
    "all": (lambda client, message, channel: "all", lambda event: True),
}


def _value(term: Term) -> Part:
    return lambda client, message, channel: _text(term.value(client, message, channel))


def _text(value: Any) -> str | None:
    """A value as a short text. Different values, such as 1, true and "1", have different texts.

    Each begins with a mark, so that none is an address or an id that stands in its place. Whoever chooses a value, such
    as the name of a channel, does not choose whose key it is.

    Returns:
        None for null and an empty text, and for a value that cannot be written as JSON.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return f"={value}" if len(value) <= LONGEST else f"#{_hash(value.encode('utf-8', 'replace'))}"
    if isinstance(value, bytes):
        return f"bytes={_hash(value)}"
    try:
        data = json_bytes(value)
    except TypeError:
        return None
    return f"json={data.decode()}" if len(data) <= LONGEST else f"json#{_hash(data)}"


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
