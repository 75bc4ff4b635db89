"""A stage: one string of a pipeline, split into a filter's name and its arguments.

The grammar is a shell's, with one difference that JSON needs: quotes group only where a value begins, at the start
of an argument or right after `key=`; elsewhere they are ordinary characters, so `reply {"error":"busy"}` keeps its own.
Variables (`${NAME}`) and placeholders (`{name}`) are filled after the split, so neither can change the structure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fws.base.errors import FillError
from fws.base.problem import did_you_mean
from fws.base.variables import VARIABLE, VariableError, lookup
from fws.pipeline.options import Option

if TYPE_CHECKING:
    from fws.clients.client import Client

_NAME = re.compile(r"(?:[a-z]+:)?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\Z")
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)(?:\.([a-z_][a-z0-9_]*))?\}")
_BLANKS = " \t\r\n"

# What a placeholder may begin with, beside the path's parameters. The attributes are those of `Client`.
CLIENT_ATTRIBUTES = ("id", "address", "path", "subprotocol")

# What the arguments of a stage are to its options: one argument, or all that a taker of several gets.
Bound = dict[str, "Argument | list[Argument]"]


class StageError(ValueError):
    """A stage that cannot be used: what is wrong, from which character on, what would be right."""

    def __init__(self, message: str, offset: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


class Argument(msgspec.Struct, frozen=True):
    """One argument: `key` is None for a positional one; `start` is where it begins, `at` where its value does.

    `error` is what is wrong with its quotes. It is the last one then, and matters only where the line is not taken as
    it stands: in `when type in ("a", "b")` the quotes are the condition's.
    """

    key: str | None
    value: str
    start: int
    at: int
    error: StageError | None = None


class Stage(msgspec.Struct, frozen=True):
    """A stage as it is written, before anyone knows which options its filter has."""

    text: str
    name: str
    arguments: tuple[Argument, ...]


def parse_stage(text: str) -> Stage:
    """Split a stage. Raises StageError."""
    end = len(text)
    position = _skip_blanks(text, 0)
    start = position
    while position < end and text[position] not in _BLANKS:
        position += 1
    name = text[start:position]
    if not name:
        raise StageError("an empty stage", 0, "write a filter's name, such as 'echo'")
    if not _NAME.match(name):
        hint = "a filter's name cannot come from a variable" if "$" in name else "a name has letters, digits, _ and ."
        raise StageError(f"{name!r} is not a filter's name", start, hint)
    arguments = []
    while (position := _skip_blanks(text, position)) < end:
        argument, position = _argument(text, position)
        arguments.append(argument)
    return Stage(text, name, tuple(arguments))


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANKS:
        position += 1
    return position


def _argument(text: str, start: int) -> tuple[Argument, int]:
    match = _KEY.match(text, start)
    key, at = (match[1], match.end()) if match else (None, start)
    if at < len(text) and text[at] in "\"'":
        try:
            value, position = _quoted(text, at)
            if position < len(text) and text[position] not in _BLANKS:
                raise StageError("something follows a closing quote", position, "put a blank after the quote")
        except StageError as error:
            return Argument(key, text[at:], start, at, error), len(text)
        return Argument(key, value, start, at), position
    position = at
    while position < len(text) and text[position] not in _BLANKS:
        # A variable is one unit: the blanks of its default do not split the stage.
        variable = VARIABLE.match(text, position)
        position = variable.end() if variable else position + 1
    return Argument(key, text[at:position], start, at), position


def _quoted(text: str, start: int) -> tuple[str, int]:
    """The text between the quotes and the position after them. In double quotes `\\"` and `\\\\` are one character."""
    quote = text[start]
    chars: list[str] = []
    position = start + 1
    while position < len(text):
        char = text[position]
        if char == quote:
            return "".join(chars), position + 1
        if char == "\\" and quote == '"' and text[position + 1 : position + 2] in ('"', "\\"):
            position += 1
            char = text[position]
        chars.append(char)
        position += 1
    raise StageError("a quote is never closed", start, f"close it with {quote}, or put the whole value in quotes")


class Placeholder(msgspec.Struct, frozen=True):
    """`{name}` or `{name.attribute}`: filled from the path's parameters and the client."""

    name: str
    attribute: str | None

    def __str__(self) -> str:
        return f"{{{self.name}.{self.attribute}}}" if self.attribute else f"{{{self.name}}}"

    def value(self, client: Client) -> Any:
        """What stands there for this client; None when nothing does."""
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
    """Fill the variables of a value and find its placeholders. What a variable holds is text, never a placeholder.

    Args:
        params: the parameters of the endpoint's path.
        at: where the value begins in its stage, for the place of an error.

    Raises:
        StageError: a variable that is not set, a placeholder that nothing can fill.
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


def bind(stage: Stage, options: Sequence[Option]) -> Bound:
    """Give each argument to its option: positional ones in the order of declaration, the rest by key.

    Returns:
        By option name: one `Argument`, or a list of them for an option that takes many or named ones.

    Raises:
        StageError: too many arguments, an unknown or repeated key.
    """
    by_name = {option.name: option for option in options}
    named_taker = next((option for option in options if option.takes == "named"), None)
    queue = [option for option in options if option.takes != "named"]
    bound: Bound = {}
    several: dict[str, list[Argument]] = {}
    for argument in stage.arguments:
        key = argument.key
        # Where a rest is due the line is taken as it stands: `when a=="b"` has no key `a`.
        if queue and queue[0].takes == "rest" and (key is None or key not in by_name):
            bound[queue.pop(0).name] = _rest(stage.text, argument.start)
            break
        if argument.error is not None:
            raise argument.error
        if key is not None:
            if key in by_name and by_name[key].takes != "named":
                if key in bound:
                    raise StageError(f"{key!r} is given twice", argument.start)
                bound[key] = argument
                queue = [option for option in queue if option.name != key]
            elif named_taker is not None:
                fields = several.setdefault(named_taker.name, [])
                if any(field.key == key for field in fields):
                    raise StageError(f"{key!r} is given twice", argument.start)
                fields.append(argument)
            else:
                names = [option.name for option in options]
                hint = did_you_mean(key, names) if names else f"{stage.name} has no options"
                if any(option.secret for option in options) and not hint.startswith("did"):
                    # Half of a secret, as in `token c2VjcmV0==`.
                    hint = "put a value with '=' in it in quotes"
                    raise StageError(f"{stage.name} has no option of this name", argument.start, hint)
                raise StageError(f"{stage.name} has no option {key!r}", argument.start, hint)
        elif not queue:
            hint = "put a value with blanks in quotes" if options else f"{stage.name} takes no arguments"
            raise StageError(f"one argument too many: {argument.value!r}", argument.start, hint)
        elif queue[0].takes == "many":
            several.setdefault(queue[0].name, []).append(argument)
        else:
            bound[queue.pop(0).name] = argument
    return bound | several


def _rest(text: str, start: int) -> Argument:
    """The line from `start` on. Quotes around all of it are taken off; any other quotes belong to it."""
    text = text.rstrip(_BLANKS)
    if text[start] in ('"', "'"):
        value, end = _quoted(text, start)
        if end == len(text):
            return Argument(None, value, start, start)
    return Argument(None, text[start:], start, start)
