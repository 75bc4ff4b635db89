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


HOSTILE = """
[endpoints.'/a"b<script>alert(1)</script>&lt;|`y`']
message = ["json", "by_type"]
[filters.by_type]
use = "switch"
key = "type"
default = ["reply </text><script>\\\\n</script>"]
[filters.by_type.case]
"chat.v1" = ["broadcast lobby"]
'"]<script>|`x`' = []
else = ["drop"]
"""


def hostile(folder: Path) -> list[Group]:
    (folder / "app.toml").write_text(HOSTILE)
    return groups_of(load_generation(folder / "app.toml"))


def test_a_case_keeps_its_dots_and_is_not_mistaken_for_the_default(tmp_path: Path) -> None:
    (row,) = hostile(tmp_path)[0].rows
    assert [label for label, _ in row.stages[1].branches] == ["chat.v1", '"]<script>|`x`', '"else"', "else"]


def test_hostile_names_are_text_in_every_format(tmp_path: Path) -> None:
    found = hostile(tmp_path)
    root = ElementTree.fromstring(svg(found))
    shown = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert found[0].title in shown
    assert '"]<script>|`x`' in shown
    assert "<script" not in svg(found)
    assert not set("<`[") & set("".join(re.findall('"([^"]*)"', mermaid(found))))
    assert 'label="/a\\"b<script>alert(1)</script>&amp;lt;|`y`"' in dot(found)


def test_long_stages_and_labels_are_shortened(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(
        f'[pipelines]\nmessage = ["json", "a"]\n[filters.a]\nuse = "switch"\nkey = "t"\n'
        f'[filters.a.case]\n{"k" * 90} = ["reply {"x" * 90}"]\n'
    )
    (row,) = groups_of(load_generation(tmp_path / "app.toml"))[0].rows
    ((label, (stage,)),) = row.stages[1].branches
    assert (label, stage.text) == ("k" * 47 + "…", "reply " + "x" * 41 + "…")


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_branch_keeps_its_label(form: str) -> None:
    switch = Node("switch", (("quiet", ()),))
    drawn = FORMATS[form]([Group("/", (Row("message", (switch,)),))])
    assert "quiet" in drawn
    assert "nothing" in drawn
