"""Options: the declared fields of a filter or a section, and the conversion of text and TOML to their values.

A field of the class declares name, type, default and help. Validation, the command line, the reference, the JSON Schema
and the error messages all read the `Option` that `options_of` makes from the field.
"""

from __future__ import annotations

import re
import reprlib
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Literal, Union, get_args, get_origin
from weakref import WeakKeyDictionary

import msgspec
from msgspec import NODEFAULT

from fws.base.units import Unit

# What is shown in place of a secret.
HIDDEN = "…"


class Help(msgspec.Struct, frozen=True):
    """`Annotated[str, Help("What the option does.")]`: the help text of the option."""

    text: str


class Secret(msgspec.Struct, frozen=True):
    """`Annotated[str, Help("…"), Secret()]`: no list of pipelines and no error shows the option's value."""


class Verbatim(msgspec.Struct, frozen=True):
    """`Annotated[str, Help("…"), Takes("rest"), Verbatim()]`: the value is the file's own text, such as a program.

    Placeholders are not filled in: `{name}` has the meaning that the option gives it, and no client has a part in the
    value. Variables (`${NAME}`) are filled in, because they are the operator's.
    """


class Stages(msgspec.Struct, frozen=True):
    """`Annotated[list[str], Help("…"), Stages()]`: the value is a list of stages.

    The compiler fills in their variables, so that a variable cannot change the structure of a stage.
    """


class Formerly(msgspec.Struct, frozen=True):
    """`Annotated[bool, Help("…"), Formerly("one_time")]`: an option of a filter had another name in earlier versions.

    A file may still use that name, and a warning says what to write.
    """

    name: str


class Check(msgspec.Struct, frozen=True):
    """`Annotated[str, Help("…"), Check(parse_listen)]`: what the type of an option cannot express.

    Args:
        function: called with the converted value. It raises ValueError with a sentence that says what would be right.
    """

    function: Callable[[Any], object]


class Takes(msgspec.Struct, frozen=True):
    """Which arguments of a stage an option takes, if it takes more than one.

    `rest`: everything up to the end of the stage, including quotes and blanks (a condition).
    `named`: every `key=value` whose key is not another option (fields to set).
    A list takes all remaining positional arguments and needs no mark.
    """

    what: Literal["rest", "named"]


class Option(msgspec.Struct, frozen=True):
    """A documented, typed setting of a filter or section."""

    name: str
    type: Any
    help: str
    default: Any
    unit: Unit | None
    takes: Literal["one", "many", "rest", "named"]
    secret: bool = False
    # Whether `{name}` is text of its own here, and no placeholder.
    verbatim: bool = False
    stages: bool = False
    # The name of the class's field. It ends with `_` where Python or `Filter` uses the option's name for itself.
    field_name: str = ""
    check: Callable[[Any], object] | None = None
    former: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        return self.field_name or self.name

    @property
    def required(self) -> bool:
        return self.default is NODEFAULT

    @property
    def has_grammar(self) -> bool:
        """Whether the text has a grammar (a condition), so that values chosen by clients must not become part of it."""
        kinds = (self.type, *get_args(_bare(self.type)))
        return any(hasattr(_bare(kind), "parse") for kind in kinds)

    @property
    def kind(self) -> str:
        """The type in words: `duration`, `text`, `one of: drop, reply`, `list of text`."""
        if self.unit is not None:
            optional = type(None) in get_args(_bare(self.type))
            return f"{self.unit.name} or nothing" if optional else self.unit.name
        return _words(self.type)

    @property
    def default_text(self) -> str:
        """The default as it is written in TOML; empty without one."""
        if self.default is NODEFAULT or self.default is None or callable(self.default):
            return ""
        return self.text_of(self.default)

    def text_of(self, value: Any) -> str:
        """A value of this option as it is written in TOML."""
        if self.secret and value:
            return HIDDEN
        if self.unit is not None and isinstance(value, int | float):
            return f'"{self.unit.format(value)}"'
        if isinstance(value, list | tuple):
            return "[" + ", ".join(_text_of(item) for item in value) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {_text_of(item)}" for key, item in value.items()) + "}"
        return _text_of(value)

    def convert(self, value: Any, make: Callable[[Any, Any], Any] | None = None) -> Any:
        """Convert a value of TOML or of a stage to the option's type.

        Args:
            value: a string, number, list or table, as in the file.
            make: makes types of fws, such as conditions, from plain values; see `dec_hook` of `msgspec.convert`.

        Raises:
            ValueError: the option does not accept the value. The message says what would be right.
        """
        given = value
        if self.unit is not None and not (value is None and type(None) in get_args(_bare(self.type))):
            if not isinstance(value, str):
                raise ValueError(f'expected a {self.unit.name} in quotes, such as "{self.unit.example}"')
            value = self.unit.parse(value)
        if value == "null" and type(None) not in get_args(_bare(self.type)) and _bare(self.type) is not str:
            raise ValueError(f"expected {self.kind}, not 'null'")
        try:
            # In a stage and in a variable, text stands for other types. A number in TOML does not stand for a boolean.
            strict = isinstance(value, bool | int | float)
            converted = msgspec.convert(value, self.type, strict=strict, dec_hook=make)
        except msgspec.ValidationError as error:
            raise ValueError(self._explain(given, str(error))) from None
        if self.check is not None:
            self.check(converted)
        return converted

    def _explain(self, value: Any, error: str) -> str:
        if self.secret:
            return f"expected {self.kind}"
        cause = error.split(" - at `")[0]
        # An error of `make` arrives here unchanged. The errors of msgspec itself name Python's types.
        if not cause.startswith(("Expected", "Invalid", "Object", "Integer")):
            return cause
        limit = ""
        if (match := _LIMIT.match(cause)) is not None:
            number = float(match[2])
            limit = f" {_LIMITS[match[1]]} {self.unit.format(number) if self.unit else f'{number:g}'}"
        return f"expected {self.kind}{limit}, not {reprlib.repr(value)}"


# How msgspec reports a number outside the limits of its option (`msgspec.Meta`), and how fws does.
_LIMIT = re.compile(r"Expected `(?:int|float)` (>|>=|<|<=) (\S+)")
_LIMITS = {">": "above", ">=": "of at least", "<": "below", "<=": "of at most"}


# A reload replaces classes, which must not be kept alive here.
_known: WeakKeyDictionary[type, tuple[Option, ...]] = WeakKeyDictionary()


def options_of(cls: type) -> tuple[Option, ...]:
    """The options that a `msgspec.Struct` class declares, in order. Private fields (`_name`) are not options."""
    found = _known.get(cls)
    if found is None:
        found = _known[cls] = _options_of(cls)
    return found


def by_name(options: Iterable[Option]) -> dict[str, Option]:
    """Options by their names, the former ones included."""
    return {name: option for option in options for name in (option.name, *option.former)}


def _options_of(cls: type) -> tuple[Option, ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = msgspec.structs.fields(cls)
    options = []
    for field in fields:
        if field.name.startswith("_"):
            continue
        hint = hints[field.name]
        marks = _marks(hint)
        default = field.default
        if field.default_factory is not NODEFAULT:
            default = field.default_factory()
        takes: Literal["one", "many", "rest", "named"] = "one"
        mark = next((mark.what for mark in marks if isinstance(mark, Takes)), None)
        if mark is not None:
            takes = mark
        elif get_origin(_bare(hint)) in (list, tuple):
            takes = "many"
        options.append(
            Option(
                name=field.name.removesuffix("_"),
                type=hint,
                help=next((mark.text for mark in marks if isinstance(mark, Help)), ""),
                default=default,
                unit=next((mark for mark in marks if isinstance(mark, Unit)), None),
                takes=takes,
                field_name=field.name,
                secret=any(isinstance(mark, Secret) for mark in marks),
                verbatim=any(isinstance(mark, Verbatim) for mark in marks),
                stages=any(isinstance(mark, Stages) for mark in marks),
                check=next((mark.function for mark in marks if isinstance(mark, Check)), None),
                former=tuple(mark.name for mark in marks if isinstance(mark, Formerly)),
            )
        )
    return tuple(options)


def _marks(hint: Any) -> list[Any]:
    """The marks of an `Annotated` type, also inside a union: `Duration | None` keeps its unit."""
    if get_origin(hint) is typing.Annotated:
        inner, *marks = get_args(hint)
        return marks + _marks(inner)
    if get_origin(hint) in (Union, types.UnionType):
        return [mark for member in get_args(hint) for mark in _marks(member)]
    return []


def _bare(hint: Any) -> Any:
    while get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    return hint


def _text_of(value: Any) -> str:
    """Text in quotes, and numbers as they are. Conditions and pipelines are shown as their text."""
    if isinstance(value, bool | int | float):
        return msgspec.json.encode(value).decode()
    return msgspec.json.encode(str(value)).decode()


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", bytes: "bytes", Any: "anything"}


def _words(hint: Any) -> str:
    hint = _bare(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of: " + ", ".join(str(arg) for arg in args)
    if origin in (list, tuple):
        return f"list of {_words(args[0])}" if args else "list"
    if origin is dict:
        return f"table of {_words(args[1])}"
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if arg is type(None) else _words(arg) for arg in args)
    return _WORDS.get(hint) or getattr(hint, "__name__", str(hint)).lower()
