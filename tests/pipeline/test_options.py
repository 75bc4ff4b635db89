"""Options: their declaration, and the values that they accept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from fws.base.units import Duration, Rate, Size
from fws.pipeline.options import Help, Option, Takes, options_of


class Sample(msgspec.Struct, kw_only=True):
    """Every kind of option."""

    needed: Annotated[str, Help("Must be given.")]
    text: Annotated[str, Help("A text.")] = "a"
    number: Annotated[int, Meta(ge=1, lt=100), Help("A number.")] = 5
    share: float = 0.5
    flag: bool = False
    action: Literal["drop", "reply", "close"] = "drop"
    wait: Annotated[Duration, Meta(gt=0)] = 90
    pause: Duration | None = None
    size: Annotated[Size, Meta(le=1024)] = 1000
    rate: Rate = 20.0
    names: list[str] = []
    numbers: list[int] = []
    table: Annotated[dict[str, Any], Takes("named")] = {}
    rest: Annotated[str, Takes("rest")] = ""
    anything: Any = None
    either: int | str = 1
    _hidden: int = 1


def option(name: str) -> Option:
    return next(option for option in options_of(Sample) if option.name == name)


def test_fields_become_options_in_order_without_private_ones() -> None:
    names = [option.name for option in options_of(Sample)]
    assert names[:4] == ["needed", "text", "number", "share"]
    assert "_hidden" not in names
    assert option("text").help == "A text."
    assert [name for name in names if option(name).required] == ["needed"]


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("needed", "text", ""),
        ("text", "text", '"a"'),
        ("number", "a whole number", "5"),
        ("share", "a number", "0.5"),
        ("flag", "true or false", "false"),
        ("action", "one of: drop, reply, close", '"drop"'),
        ("wait", "duration", '"90s"'),
        ("pause", "duration or nothing", ""),
        ("size", "size", '"1000B"'),
        ("rate", "rate", '"20/s"'),
        ("names", "list of text", "[]"),
        ("anything", "anything", ""),
        ("either", "a whole number or text", "1"),
    ],
)
def test_an_option_tells_its_kind_and_default(name: str, kind: str, default: str) -> None:
    assert option(name).kind == kind
    assert option(name).default_text == default


def test_which_arguments_of_a_stage_an_option_takes() -> None:
    takes = {name: option(name).takes for name in ("text", "names", "numbers", "table", "rest")}
    assert takes == {"text": "one", "names": "many", "numbers": "many", "table": "named", "rest": "rest"}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("text", "5", "5"),
        ("text", "null", "null"),
        ("number", 7, 7),
        ("number", "7", 7),
        ("share", 1, 1.0),
        ("share", "0.25", 0.25),
        ("flag", True, True),
        ("flag", "true", True),
        ("action", "close", "close"),
        ("wait", "1m", 60.0),
        ("pause", None, None),
        ("pause", "2s", 2.0),
        ("size", "1KiB", 1024),
        ("rate", "60/min", 1.0),
        ("names", ["a", "b"], ["a", "b"]),
        ("numbers", ["1", "2"], [1, 2]),
        ("table", {"a": [1]}, {"a": [1]}),
        ("either", "x", "x"),
    ],
)
def test_text_and_toml_become_values(name: str, given: Any, value: Any) -> None:
    converted = option(name).convert(given)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("text", 5, "expected text, not 5"),
        ("text", None, "expected text, not None"),
        ("number", "x", "expected a whole number, not 'x'"),
        ("number", "null", "expected a whole number, not 'null'"),
        ("number", True, "expected a whole number, not True"),
        ("number", 1.5, "expected a whole number, not 1.5"),
        ("number", 0, "expected a whole number of at least 1, not 0"),
        ("number", 100, "expected a whole number of at most 99, not 100"),
        ("number", "9" * 5000, "expected a whole number, not '99"),
        ("flag", 1, "expected true or false, not 1"),
        ("flag", "yes", "expected true or false, not 'yes'"),
        ("action", "shout", "expected one of: drop, reply, close, not 'shout'"),
        ("wait", 30, 'expected a duration in quotes, such as "30s"'),
        ("wait", "30", "'30' has no unit"),
        ("wait", "0s", "expected duration above 0s, not '0s'"),
        ("size", "1MiB", "expected size of at most 1KiB, not '1MiB'"),
        ("names", "a", "expected list of text, not 'a'"),
        ("numbers", [1, "x"], "expected list of a whole number"),
        ("table", 1, "expected table of anything, not 1"),
    ],
)
def test_an_invalid_value_of_an_option_is_refused_in_words(name: str, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace(".", r"\.").replace("(", r"\(")):
        option(name).convert(given)


def test_a_message_stays_short_whatever_was_given() -> None:
    with pytest.raises(ValueError, match="expected a whole number") as caught:
        option("number").convert("x" * 100_000)
    assert len(str(caught.value)) < 100


def test_types_of_fws_are_converted_by_a_hook() -> None:
    class Made:
        def __init__(self, text: str) -> None:
            self.text = text

    def make(kind: Any, value: Any) -> Any:
        assert kind is Made
        if not isinstance(value, str):
            raise ValueError("expected a sentence of our own")
        return Made(value)

    holder = Option("made", dict[str, Made], "", None, None, "one")
    assert holder.convert({"a": "x"}, make)["a"].text == "x"
    with pytest.raises(ValueError, match="expected a sentence of our own"):
        holder.convert({"a": 1}, make)
