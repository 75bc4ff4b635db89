"""Places: from a path in the tree to line and column in the file."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.config.source import Source

TEXT = """\
top = 1
[server]   # the server
listen = "127.0.0.1:9000"
a."b c".d = true

[endpoints."/chat/{room}"]
message = [
  "json", # it's ]
  'reply "hi"',
  [1, {x = 2, y.z = ["p", "q"]}],
]
[[many]]
name = "one"
[[many]]
name = "two"
[many.sub]
deep = 1
[later.implicit]
multi = \"\"\"
a "quoted" [header]
x = 1\"\"\"
when = 2020-01-02 03:04:05
after = '''#''' # c
"""


def at(path: tuple[str | int, ...], *, offset: int = 0, key: bool = False) -> tuple[int, int]:
    place = Source("f", TEXT).place(path, offset, key=key)
    assert place.text == (TEXT.split("\n")[place.line - 1] if place.line else "")
    return place.line, place.column


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("top",), (1, 7), (1, 1)),
        (("server",), (2, 1), (2, 2)),
        (("server", "listen"), (3, 10), (3, 1)),
        (("server", "a", "b c", "d"), (4, 13), (4, 9)),
        (("endpoints",), (6, 2), (6, 2)),
        (("endpoints", "/chat/{room}"), (6, 1), (6, 12)),
        (("endpoints", "/chat/{room}", "message"), (7, 11), (7, 1)),
        (("endpoints", "/chat/{room}", "message", 1), (9, 3), (9, 3)),
        (("endpoints", "/chat/{room}", "message", 2, 1), (10, 7), (10, 7)),
        (("endpoints", "/chat/{room}", "message", 2, 1, "y", "z", 1), (10, 27), (10, 27)),
        (("many", 1, "name"), (15, 8), (15, 1)),
        (("many", 1, "sub", "deep"), (17, 8), (17, 1)),
        (("later",), (18, 2), (18, 2)),
        (("later", "implicit", "multi"), (20, 1), (19, 1)),
        (("later", "implicit", "when"), (22, 8), (22, 1)),
        (("later", "implicit", "after"), (23, 9), (23, 1)),
    ],
)
def test_values_and_keys_have_places(path: tuple[str | int, ...], value: tuple[int, int], key: tuple[int, int]) -> None:
    assert at(path) == value
    assert at(path, key=True) == key


def test_a_missing_value_has_the_place_of_its_table() -> None:
    assert at(("server", "nothing")) == (2, 2)
    assert at(("many", 1, "nothing", 3, "x")) == (14, 3)
    assert at(("nothing",)) == (0, 0)
    assert at(()) == (0, 0)


@pytest.mark.parametrize(
    ("literal", "offset", "column"),
    [
        ('"abc"', 2, 8),
        ("'abc'", 2, 8),
        (r'"a\"b"', 2, 9),
        (r'"\u00e9\\b"', 2, 14),
        (r'"\U0001f600b"', 1, 16),
        ("'''abc'''", 2, 10),
        ('"ab"', 99, 8),
        ("12", 1, 5),
    ],
)
def test_an_offset_counts_characters_of_the_value(literal: str, offset: int, column: int) -> None:
    place = Source("f", f"k = {literal}\n").place(("k",), offset)
    assert (place.line, place.column) == (1, column)


@pytest.mark.parametrize(
    "text",
    [
        'k = """\nab\ncX"""',
        'k = """ab\ncX"""',
        'k = """ab\\\n   \n  cX"""',
        'k = """\r\nab\r\ncX"""',
        "k = '''\nab\ncX'''",
    ],
)
def test_an_offset_crosses_lines(text: str) -> None:
    value = tomllib.loads(text)["k"]
    place = Source("f", text).place(("k",), value.index("X"))
    assert place.text[place.column - 1] == "X"


def test_crlf_is_not_part_of_a_line() -> None:
    place = Source("f", "a = 1\r\nb = 2\r\n").place(("b",))
    assert (place.line, place.column, place.text) == (2, 5, "b = 2")


def test_statements_are_headers_and_pairs() -> None:
    source = Source("f", TEXT)
    texts = [TEXT[start:end] for start, end, _ in source.statements()]
    assert texts[:3] == ["top = 1", "[server]", 'listen = "127.0.0.1:9000"']
    assert texts[-1] == "after = '''#'''"
    assert [text for text, statement in zip(texts, source.statements(), strict=True) if statement.header] == [
        "[server]",
        '[endpoints."/chat/{room}"]',
        "[[many]]",
        "[[many]]",
        "[many.sub]",
        "[later.implicit]",
    ]


def test_depth_counts_brackets() -> None:
    assert Source("f", "a = 1").depth() == 0
    assert Source("f", TEXT).depth() == 4


@given(st.text("ab=.[]{}'\"#\\\n\r ,1é", max_size=60))
@settings(max_examples=500, deadline=None)
def test_text_that_is_not_toml_does_no_harm(text: str) -> None:
    source = Source("f", text)
    place = source.place(("a", "b", 1), 5)
    assert 0 <= place.line <= text.count("\n") + 1


_keys = st.text("ab.é \"'#]=", min_size=0, max_size=3)
_values = st.recursive(
    st.text("a\"'\\,#]}\n=é", max_size=4) | st.integers(-99, 99) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, list):
        return "[ " + ", # c]\n ".join(map(_literal, value)) + "\n]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)} = {_literal(item)}" for key, item in value.items()) + "}"
    return str(value)


@pytest.mark.slow
@given(st.dictionaries(_keys, st.dictionaries(_keys, _values, max_size=3), max_size=3))
@settings(max_examples=200, deadline=None)
def test_at_the_place_of_every_value_stands_its_literal(tree: dict[str, dict[str, Any]]) -> None:
    lines = []
    for name, table in tree.items():
        lines.append(f"[ {_literal(name)} ]")
        lines += [f"{_literal(key)} = {_literal(value)}" for key, value in table.items()]
    text = "\n".join(lines)
    assert tomllib.loads(text) == tree
    source = Source("f", text)

    def check(value: Any, path: tuple[str | int, ...]) -> None:
        place = source.place(path)
        rest = "\n".join(text.split("\n")[place.line - 1 :])[place.column - 1 :]
        assert rest.startswith(_literal(value))
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            check(item, (*path, key))

    for name, table in tree.items():
        for key, value in table.items():
            check(value, (name, key))
