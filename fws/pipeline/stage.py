"""A stage: one string of a pipeline, split into a filter's name and its arguments.

The grammar is a shell's with one difference that JSON needs: quotes group only where a value begins, at the start of
an argument or right after `key=`. Elsewhere they are ordinary characters, so `reply {"error":"busy"}` keeps its quotes.
Variables (`${NAME}`) and placeholders (`{name}`) are filled in after the split, so neither can change the structure
(`fws.pipeline.placeholder`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from fws.base.problem import known_names, nearest, suggestion
from fws.base.variables import VARIABLE
from fws.pipeline.options import Option, by_name

_NAME = re.compile(r"(?:[a-z]+:)?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\Z")
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_BLANKS = " \t\r\n"

# The arguments of a stage by option name: one argument, or a list for an option that takes several.
Bound = dict[str, "Argument | list[Argument]"]


class StageError(ValueError):
    """A stage that cannot be used.

    Args:
        message: what is wrong.
        offset: the character of the stage at which the mistake begins.
        hint: what would be right; may be empty.
    """

    def __init__(self, message: str, offset: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


class Argument(msgspec.Struct, frozen=True):
    """One argument of a stage.

    Attributes:
        key: None for a positional argument.
        start: the character of the stage at which the argument begins.
        at: the character at which its value begins.
        error: the mistake in its quotes; such an argument is the last one. An option that takes the rest of the line as
            it is ignores the error: in `when type in ("a", "b")` the quotes belong to the condition.
    """

    key: str | None
    value: str
    start: int
    at: int
    error: StageError | None = None


class Stage(msgspec.Struct, frozen=True):
    """A stage as it is written. Which options its filter has is not known yet."""

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
        hint = "a filter's name cannot come from a variable" if "$" in name else "write letters, digits, _ and . only"
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
                raise StageError("there is text right after a closing quote", position, "put a space after the quote")
        except StageError as error:
            return Argument(key, text[at:], start, at, error), len(text)
        return Argument(key, value, start, at), position
    position = at
    while position < len(text) and text[position] not in _BLANKS:
        # A variable is one unit: blanks in its default do not split the stage.
        variable = VARIABLE.match(text, position)
        position = variable.end() if variable else position + 1
    return Argument(key, text[at:position], start, at), position


def _quoted(text: str, start: int) -> tuple[str, int]:
    """The text between the quotes, and the position after them. In double quotes `\\"` and `\\\\` are one character."""
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


def bind(stage: Stage, options: Sequence[Option]) -> Bound:
    """Assign each argument to its option: positional ones in the order of the options, the others by key.

    Returns:
        By option name: one `Argument`, or a list for an option that takes many or named arguments.

    Raises:
        StageError: too many arguments, or an unknown or repeated key. The message of a filter with secret options
            never quotes an argument, which may be a part of the secret.
    """
    known = by_name(options)
    named_taker = next((option for option in options if option.takes == "named"), None)
    queue = [option for option in options if option.takes != "named"]
    bound: Bound = {}
    several: dict[str, list[Argument]] = {}
    for argument in stage.arguments:
        key = argument.key
        # An option that takes the rest takes the line as it is: `when a=="b"` has no key `a`.
        if queue and queue[0].takes == "rest" and (key is None or key not in known):
            bound[queue.pop(0).name] = _rest(stage.text, argument.start)
            break
        if argument.error is not None:
            raise argument.error
        if key is not None:
            if key in known and known[key].takes != "named":
                name = known[key].name
                if name in bound:
                    before = bound[name]
                    by_place = isinstance(before, Argument) and before.key is None
                    hint = "put a value that contains spaces in quotes" if by_place else ""
                    raise StageError(f"{name!r} is given twice", argument.start, hint)
                bound[name] = argument
                queue = [option for option in queue if option.name != name]
            elif named_taker is not None:
                fields = several.setdefault(named_taker.name, [])
                if any(field.key == key for field in fields):
                    raise StageError(f"{key!r} is given twice", argument.start)
                fields.append(argument)
            else:
                raise _unknown_key(stage.name, argument, options)
        elif not queue:
            hint = "put a value that contains spaces in quotes" if options else f"{stage.name} takes no arguments"
            shown = "" if _has_secrets(options) else f": {argument.value!r}"
            raise StageError(f"one argument too many{shown}", argument.start, hint)
        elif queue[0].takes == "many":
            several.setdefault(queue[0].name, []).append(argument)
        else:
            bound[queue.pop(0).name] = argument
    return bound | several


def _has_secrets(options: Sequence[Option]) -> bool:
    return any(option.secret for option in options)


def _unknown_key(name: str, argument: Argument, options: Sequence[Option]) -> StageError:
    names = [option.name for option in options]
    near = nearest(argument.key or "", names)
    if _has_secrets(options) and not near:
        # The key may be the first half of a secret, as in `token c2VjcmV0==`.
        hint = "put a value that contains '=' in quotes"
        return StageError(f"{name} has no option of this name", argument.start, hint)
    hint = (suggestion(near) or known_names(names)) if names else f"{name} has no options"
    return StageError(f"{name} has no option {argument.key!r}", argument.start, hint)


def _rest(text: str, start: int) -> Argument:
    """The line from `start` on. Quotes around the whole of it are removed; other quotes belong to the value."""
    text = text.rstrip(_BLANKS)
    if text[start] in ('"', "'"):
        value, end = _quoted(text, start)
        if end == len(text):
            return Argument(None, value, start, start)
    return Argument(None, text[start:], start, start)
