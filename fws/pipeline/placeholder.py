"""Placeholders: `{room}` or `{identity.user}` in the value of a stage, filled in for each client."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fws.base.errors import FillError
from fws.base.problem import did_you_mean
from fws.base.variables import VARIABLE, VariableError, lookup
from fws.pipeline.interfaces import Client
from fws.pipeline.stage import StageError

_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)(?:\.([a-z_][a-z0-9_]*))?\}")

# The attributes of a client that placeholders and conditions may read.
CLIENT_ATTRIBUTES = ("id", "address", "path", "subprotocol")


class Placeholder(msgspec.Struct, frozen=True):
    """`{name}` or `{name.attribute}`: filled in from the path's parameters and the client."""

    name: str
    attribute: str | None

    def __str__(self) -> str:
        return f"{{{self.name}.{self.attribute}}}" if self.attribute else f"{{{self.name}}}"

    def value(self, client: Client) -> Any:
        """The value for this client; None if it has none."""
        name, attribute = self.name, self.attribute
        if attribute is None:
            params = client.params
            if name in params:
                return params[name]
            if name == "time":
                return client.time()
            return getattr(client, name) if name in CLIENT_ATTRIBUTES else None
        if name == "client":
            return getattr(client, attribute) if attribute in CLIENT_ATTRIBUTES else None
        if name == "identity":
            identity = client.identity
            return None if identity is None else identity.get(attribute)
        return (client.params if name == "params" else client.state).get(attribute)


class Template(msgspec.Struct, frozen=True):
    """A value with placeholders in it."""

    parts: tuple[str | Placeholder, ...]

    def __str__(self) -> str:
        return "".join(str(part) for part in self.parts)

    def fill(self, client: Client) -> str:
        """The value for one client. Raises FillError when a placeholder has none."""
        filled = []
        for part in self.parts:
            if isinstance(part, str):
                filled.append(part)
                continue
            value = part.value(client)
            if value is None:
                raise FillError(f"{part} has no value for this client")
            filled.append(value if isinstance(value, str) else str(value))
        return "".join(filled)


def parse_value(text: str, environ: Mapping[str, str], params: Sequence[str], at: int = 0) -> str | Template:
    """Fill in the variables of a value, and find its placeholders. A variable's value is text, never a placeholder.

    Args:
        params: the parameters of the endpoint's path.
        at: the character of the stage at which the value begins, for the place of an error.

    Returns:
        The text, or a template if it has placeholders.

    Raises:
        StageError: a variable is not set, or a placeholder can never have a value.
    """
    parts: list[str | Placeholder] = []
    position = 0
    for match in VARIABLE.finditer(text):
        parts += _placeholders(text[position : match.start()], params, at + position)
        try:
            parts.append(lookup(match, environ))
        except VariableError as error:
            raise StageError(str(error), at + error.offset, error.hint) from None
        position = match.end()
    parts += _placeholders(text[position:], params, at + position)
    if any(isinstance(part, Placeholder) for part in parts):
        return Template(tuple(parts))
    return "".join(str(part) for part in parts)


def _placeholders(text: str, params: Sequence[str], at: int) -> list[str | Placeholder]:
    parts: list[str | Placeholder] = []
    position = 0
    for match in _PLACEHOLDER.finditer(text):
        name, attribute = match[1], match[2]
        _check_placeholder(match[0], name, attribute, params, at + match.start())
        parts += [text[position : match.start()], Placeholder(name, attribute)]
        position = match.end()
    parts.append(text[position:])
    return [part for part in parts if part != ""]


def _check_placeholder(text: str, name: str, attribute: str | None, params: Sequence[str], at: int) -> None:
    if attribute is None:
        known = [*params, "time", *CLIENT_ATTRIBUTES]
        if name not in known:
            raise StageError(f"nothing fills {text}", at, did_you_mean(name, known))
        return
    roots = ("client", "identity", "params", "state")
    if name not in roots:
        raise StageError(f"nothing fills {text}", at, did_you_mean(name, roots))
    if name == "client" and attribute not in CLIENT_ATTRIBUTES:
        raise StageError(f"a client has no {attribute!r} to fill in", at, did_you_mean(attribute, CLIENT_ATTRIBUTES))
    if name == "params" and attribute not in params:
        raise StageError(f"the path has no parameter {attribute!r}", at, did_you_mean(attribute, params))
