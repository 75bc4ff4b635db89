"""Drawings of pipelines, also of names that a hostile or careless person has chosen."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.compiler.compile import load_generation
from fws.reference.graph import FORMATS, Group, Node, Row, dot, groups_of, mermaid, svg, text

CONF = """
[pipelines]
message = ["json", "a", "log"]
publication = ["log"]
[endpoints."/chat"]
connect = ["token aaaaaaaaaaaaaaaa"]
message = []
[filters.a]
use = "switch"
key = "t"
case = { x = ["b"], y = ["drop"] }
[filters.b]
use = "switch"
key = "u"
case = { p = ["log"] }
default = []
"""


def groups(folder: Path) -> list[Group]:
    (folder / "app.toml").write_text(CONF)
    return groups_of(load_generation(folder / "app.toml"))


def test_text_shows_branches_and_what_follows_them(tmp_path: Path) -> None:
    assert text(groups(tmp_path)) == (
        "/chat\n"
        " └ connect     token …\n"
        "every other path\n"
        " └ message     json → a ┬ x  b ┬ p     log\n"
        "                        │      └ else  (nothing)\n"
        "                        └ y  drop\n"
        "               → log\n"
        "all channels\n"
        " └ publication log"
    )


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_shows_a_secret(form: str, tmp_path: Path) -> None:
    assert "aaaa" not in FORMATS[form](groups(tmp_path))


names = st.text(max_size=20)
nodes = st.recursive(
    st.builds(Node, names),
    lambda inner: st.builds(
        Node,
        names,
        st.lists(st.tuples(names, st.lists(inner, max_size=2).map(tuple)), min_size=1, max_size=2).map(tuple),
    ),
    max_leaves=6,
)
drawn = st.lists(
    st.builds(
        Group,
        names,
        st.lists(st.builds(Row, st.just("message"), st.lists(nodes, max_size=3).map(tuple)), max_size=2).map(tuple),
    ),
    max_size=2,
)


@given(drawn)
def test_an_svg_is_xml_and_holds_no_element_of_a_name(found: list[Group]) -> None:
    root = ElementTree.fromstring(svg(found))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "svg", "title", "style", "defs", "marker", "path", "text", "rect",
    }  # fmt: skip


@given(drawn)
def test_no_name_ends_a_quoted_text(found: list[Group]) -> None:
    for line in dot(found).split("\n"):
        assert re.fullmatch(r'(?:[^"\\]|"(?:[^"\\]|\\.)*")*', line), line
    for line in mermaid(found).split("\n"):
        assert line.count('"') in (0, 2), line
