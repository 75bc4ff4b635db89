"""The grammar of stages."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws import Filter, Help, Takes
from fws.pipeline.options import options_of
from fws.pipeline.stage import Argument, StageError, bind, parse_stage


def arguments(text: str) -> list[tuple[str | None, str]]:
    return [(argument.key, argument.value) for argument in parse_stage(text).arguments]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo", []),
        ("  echo  ", []),
        ("join lobby", [(None, "lobby")]),
        ("rate_limit 20/s burst=40", [(None, "20/s"), ("burst", "40")]),
        ('reply "unknown type"', [(None, "unknown type")]),
        ("reply 'it is \"late\"'", [(None, 'it is "late"')]),
        (r'reply "a \"quote\" and a \\ and \n"', [(None, r'a "quote" and a \ and \n')]),
        (r"reply 'a \ stays'", [(None, r"a \ stays")]),
        ('reply {"error":"busy"}', [(None, '{"error":"busy"}')]),
        ("reply it's", [(None, "it's")]),
        ('reply text="a b"', [("text", "a b")]),
        ("reply text=", [("text", "")]),
        ('reply ""', [(None, "")]),
        ("reply a=b=c", [("a", "b=c")]),
        ('reply "a=b"', [(None, "a=b")]),
        ("reply 1=2", [(None, "1=2")]),
        ("join ${ROOM:-the lobby}", [(None, "${ROOM:-the lobby}")]),
        ("join\t{room}\n", [(None, "{room}")]),
    ],
)
def test_stages_are_split_as_a_shell_would(text: str, expected: list[tuple[str | None, str]]) -> None:
    assert arguments(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("", "empty", 0),
        ("   ", "empty", 0),
        ("2fast", "not a filter's name", 0),
        ("${F} x", "not a filter's name", 0),
        ('reply "open', "never closed", 6),
        ("reply 'open", "never closed", 6),
        ('reply "a"b', "right after a closing quote", 9),
    ],
)
def test_an_invalid_stage_is_refused(text: str, message: str, offset: int) -> None:
    with pytest.raises(StageError, match=message) as error:
        bind(parse_stage(text), ())
    assert error.value.offset == offset


@given(st.text(max_size=60))
def test_any_text_is_a_stage_or_a_stage_error(text: str) -> None:
    try:
        stage = parse_stage(text)
    except StageError:
        return
    for argument in stage.arguments:
        assert stage.text[argument.start] not in " \t\r\n"


@given(st.lists(st.text(alphabet=st.characters(exclude_characters='"\\', codec="utf-8"), min_size=1), max_size=4))
def test_quoted_arguments_come_back_as_they_were(values: list[str]) -> None:
    text = " ".join(["reply", *(f'"{value}"' for value in values)])
    assert [value for _, value in arguments(text)] == values


class Sample(Filter):
    first: Annotated[str, Help("…")]
    second: Annotated[int, Help("…")] = 0
    rest: Annotated[list[str], Help("…")] = []

    def message(self, client: Any, message: Any) -> None: ...


class Whole(Filter):
    condition: Annotated[str, Help("…"), Takes("rest")]

    def message(self, client: Any, message: Any) -> None: ...


class Fields(Filter):
    fields: Annotated[dict[str, str], Help("…"), Takes("named")] = {}
    keep: Annotated[bool, Help("…")] = True

    def message(self, client: Any, message: Any) -> None: ...


def bound(cls: type[Filter], text: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, given_to in bind(parse_stage(text), options_of(cls)).items():
        if isinstance(given_to, Argument):
            result[name] = given_to.value
        else:
            result[name] = [(one.key, one.value) if one.key else one.value for one in given_to]
    return result


def test_positional_arguments_go_to_options_in_their_order_and_a_list_takes_the_rest() -> None:
    assert bound(Sample, "sample a 2 x y") == {"first": "a", "second": "2", "rest": ["x", "y"]}
    assert bound(Sample, "sample second=2 a x") == {"first": "a", "second": "2", "rest": ["x"]}


@pytest.mark.parametrize(
    ("cls", "text", "message"),
    [
        (Sample, "sample a fist=1", "no option 'fist'"),
        (Sample, "sample first=a first=b", "given twice"),
        (Sample, "sample a first=b", "given twice"),
        (Fields, "fields a=1 a=2", "given twice"),
        (Fields, "fields true extra", "one argument too many"),
    ],
)
def test_arguments_that_fit_no_option(cls: type[Filter], text: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        bound(cls, text)


def test_a_rest_keeps_its_quotes_but_not_those_around_all_of_it() -> None:
    assert bound(Whole, "when 'editor' in identity.roles") == {"condition": "'editor' in identity.roles"}
    assert bound(Whole, 'when type=="chat" or type == "x"') == {"condition": 'type=="chat" or type == "x"'}
    assert bound(Whole, "when \"type == 'chat'\"") == {"condition": "type == 'chat'"}
    assert bound(Whole, "when 'a' == 'b'") == {"condition": "'a' == 'b'"}
    assert bound(Whole, "when condition='a b'") == {"condition": "a b"}
    assert bound(Whole, "when type in ('a', 'b') and c") == {"condition": "type in ('a', 'b') and c"}
    assert bound(Whole, "when 'a'in b") == {"condition": "'a'in b"}
    with pytest.raises(StageError, match="never closed") as error:
        bound(Whole, "when 'a b")
    assert error.value.offset == 5


def test_any_key_can_be_taken() -> None:
    assert bound(Fields, "fields a=1 b='2 3' keep=false") == {"fields": [("a", "1"), ("b", "2 3")], "keep": "false"}
