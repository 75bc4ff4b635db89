"""Placeholders: `{room}`, `{identity.user}` or `{message.room}` in the value of a stage, filled in when it runs.

join room:{room}                    the path's parameter
broadcast user:{identity.user}      an attribute of the client
broadcast room:{message.room}       a field of the message that flows
log {channel}                       the channel of a publication
log {call.method}                   what the client wants in its protocol
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fws.base.errors import FillError, MessageFillError
from fws.base.problem import did_you_mean
from fws.base.times import rfc3339
from fws.base.variables import VARIABLE, VariableError, lookup
from fws.pipeline.call import WORDS
from fws.pipeline.interfaces import Client
from fws.pipeline.stage import StageError

_PLACEHOLDER = re.compile(
    r"\{(?:(message)((?:\.[A-Za-z_][A-Za-z0-9_]*)+)|([a-z_][a-z0-9_]*)(?:\.([a-z_][a-z0-9_]*))?)\}"
)
# Bytes of a value that a message fills in: it goes into channel names and keys.
MAX_VALUE = 200

# The attributes of a client that placeholders and conditions may read.
CLIENT_ATTRIBUTES = ("id", "address", "path", "subprotocol")


class Flow(msgspec.Struct, frozen=True):
    """What placeholders are filled from.

    Attributes:
        client: None on events without a client.
        message: what flows, on events where a message does.
        channel: of the publication; None where there is none.
        wall: Unix time, for events without a client.
    """

    client: Client | None = None
    message: Any = None
    channel: str | None = None
    wall: Callable[[], float] | None = None


class Placeholder(msgspec.Struct, frozen=True):
    """`{name}` or `{name.attribute}`: filled in from the path's parameters, the client, or what flows.

    Attributes:
        attribute: for a message the way to a field, such as `author.id`.
    """

    name: str
    attribute: str | None

    def __str__(self) -> str:
        return f"{{{self.name}.{self.attribute}}}" if self.attribute else f"{{{self.name}}}"

    @property
    def source(self) -> str:
        """What it is filled from: "message", "call", "channel", "client" or "time"."""
        if self.name == "time" and not self.attribute:
            return "time"
        if self.name in ("message", "call") and self.attribute:
            return self.name
        return "channel" if self.name == "channel" and not self.attribute else "client"

    def value(self, flow: Flow) -> Any:
        """The value; None if there is none.

        Raises:
            MessageFillError: what a client gives is not a text or an integer of 1 to 200 bytes.
        """
        name, attribute, client = self.name, self.attribute, flow.client
        if name == "message" and attribute is not None:
            return self._text(_field(flow.message, attribute))
        if client is None:
            if name == "time" and attribute is None and flow.wall is not None:
                return rfc3339(flow.wall())
            return flow.channel if name == "channel" else None
        if attribute is None:
            params = client.params
            if name in params:
                return params[name]
            if name == "time":
                return client.time()
            if name == "channel":
                return flow.channel
            return getattr(client, name) if name in CLIENT_ATTRIBUTES else None
        if name == "call":
            return self._text(getattr(client.call, attribute))
        if name == "client":
            return getattr(client, attribute) if attribute in CLIENT_ATTRIBUTES else None
        if name == "identity":
            identity = client.identity
            return None if identity is None else identity.get(attribute)
        return (client.params if name == "params" else client.state).get(attribute)

    def _text(self, value: Any) -> str:
        """What a client gives, as a text."""
        if type(value) is int:
            value = str(value) if abs(value) < 2**63 else ""
        if not isinstance(value, str) or not value or len(value.encode("utf-8", "replace")) > MAX_VALUE:
            raise MessageFillError(f"{self} is not a text or an integer of 1 to {MAX_VALUE} bytes in this message")
        return value


def _field(message: Any, way: str) -> Any:
    for name in way.split("."):
        message = message.get(name) if isinstance(message, dict) else None
    return message


class Template(msgspec.Struct, frozen=True):
    """A value with placeholders in it."""

    parts: tuple[str | Placeholder, ...]

    def __str__(self) -> str:
        return "".join(str(part) for part in self.parts)

    @property
    def head(self) -> str:
        """The text before its first placeholder."""
        return self.parts[0] if isinstance(self.parts[0], str) else ""

    @property
    def sources(self) -> set[str]:
        """What its placeholders are filled from: "client", "message", "call", "channel" and "time"."""
        return {part.source for part in self.parts if isinstance(part, Placeholder)}

    def fill(self, flow: Flow) -> str:
        """The text for one event. Raises FillError when a placeholder has no value."""
        filled = []
        for part in self.parts:
            if isinstance(part, str):
                filled.append(part)
                continue
            value = part.value(flow)
            if value is None:
                raise FillError(f"{part} has no value here")
            filled.append(value if isinstance(value, str) else str(value))
        return "".join(filled)


def parse_value(
    text: str, environ: Mapping[str, str], params: Sequence[str], at: int = 0, *, verbatim: bool = False
) -> str | Template:
    """Fill in the variables of a value, and find its placeholders. A variable's value is text, never a placeholder.

    Args:
        params: the parameters of the endpoint's path.
        at: the character of the stage at which the value begins, for the place of an error.
        verbatim: whether the value has no placeholders: `{name}` is text.

    Returns:
        The text, or a template if it has placeholders.

    Raises:
        StageError: a variable is not set, or a placeholder can never have a value.
    """
    parts: list[str | Placeholder] = []

    def add(literal: str, position: int) -> None:
        parts.extend([literal] if verbatim else _placeholders(literal, params, at + position))

    position = 0
    for match in VARIABLE.finditer(text):
        add(text[position : match.start()], position)
        try:
            parts.append(lookup(match, environ))
        except VariableError as error:
            raise StageError(str(error), at + error.offset, error.hint) from None
        position = match.end()
    add(text[position:], position)
    if any(isinstance(part, Placeholder) for part in parts):
        return Template(tuple(parts))
    return "".join(str(part) for part in parts)


def _placeholders(text: str, params: Sequence[str], at: int) -> list[str | Placeholder]:
    parts: list[str | Placeholder] = []
    position = 0
    for match in _PLACEHOLDER.finditer(text):
        name = match[1] or match[3]
        attribute = match[2].removeprefix(".") if match[2] else match[4]
        _check_placeholder(match[0], name, attribute, params, at + match.start())
        if name == "channel" and attribute is None and name in params:
            name, attribute = "params", "channel"  # the path's own parameter, and not the channel of an event
        parts += [text[position : match.start()], Placeholder(name, attribute)]
        position = match.end()
    parts.append(text[position:])
    return [part for part in parts if part != ""]


def _check_placeholder(text: str, name: str, attribute: str | None, params: Sequence[str], at: int) -> None:
    if name == "message" and attribute is not None:
        return
    if attribute is None:
        known = [*params, "time", "channel", *CLIENT_ATTRIBUTES]
        if name not in known:
            raise StageError(f"nothing fills {text}", at, did_you_mean(name, known))
        return
    roots = ("call", "client", "identity", "message", "params", "state")
    if name not in roots:
        raise StageError(f"nothing fills {text}", at, did_you_mean(name, roots))
    if name == "client" and attribute not in CLIENT_ATTRIBUTES:
        raise StageError(f"a client has no {attribute!r} to fill in", at, did_you_mean(attribute, CLIENT_ATTRIBUTES))
    if name == "call" and attribute not in WORDS:
        raise StageError(f"a call has no {attribute!r} to fill in", at, did_you_mean(attribute, WORDS))
    if name == "params" and attribute not in params:
        raise StageError(f"the path has no parameter {attribute!r}", at, did_you_mean(attribute, params))
