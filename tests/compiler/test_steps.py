"""The ids of steps: they are unique, and edits elsewhere do not change them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fws.compiler.generation import Generation
from fws.pipeline.pipeline import Step, StepId
from tests.support import build

TOML = """
[pipelines]
message = ["json", "guard", "json", "by_type", "guard"]
publication = ["log"]

[endpoints."/chat/{room}"]
connect = ["join {room}"]

[chains]
guard = ["rate_limit 20/s", "checked"]
checked = ["max_message 4KiB"]

[filters.by_type]
use = "switch"
key = "type"
default = ["drop"]
[filters.by_type.case]
chat = ["broadcast lobby", "guard"]
"two words" = ["inner"]

[filters.inner]
use = "switch"
key = "kind"
case = { a = ["echo"] }
"""


def steps(generation: Generation) -> Iterator[Step]:
    endpoints = [*generation.endpoints, *([generation.default] if generation.default is not None else [])]
    for pipeline in (*(one for endpoint in endpoints for one in endpoint.pipelines()), generation.publication):
        yield from pipeline.walk()


def ids(toml: str, folder: Path) -> list[str]:
    return [str(step.id) for step in steps(build(toml, folder).generation)]


MESSAGE = [
    "json",
    "guard/rate_limit",
    "guard/checked/max_message",
    "json#2",
    "by_type",
    "by_type/default/drop",
    "by_type/case.chat/broadcast",
    "by_type/case.chat/guard/rate_limit",
    "by_type/case.chat/guard/checked/max_message",
    'by_type/"case.two words"/inner',
    "inner/case.a/echo",
    "guard#2/rate_limit",
    "guard#2/checked/max_message",
]


def test_each_step_is_named_by_endpoint_event_and_way(tmp_path: Path) -> None:
    assert ids(TOML, tmp_path) == [
        "/chat/{room} connect join",
        *(f"/chat/{{room}} message {way}" for way in sorted_as_walked()),
        *(f"* message {way}" for way in sorted_as_walked()),
        "* publication log",
    ]


def sorted_as_walked() -> list[str]:
    """`walk` yields the branches of a switch in order: `case` before `default`."""
    default = MESSAGE.index("by_type/default/drop")
    last = MESSAGE.index("guard#2/rate_limit")
    return [*MESSAGE[:default], *MESSAGE[default + 1 : last], MESSAGE[default], *MESSAGE[last:]]


def test_two_compilations_give_the_same_ids_and_no_id_twice(tmp_path: Path) -> None:
    first, second = ids(TOML, tmp_path), ids(TOML, tmp_path)
    assert first == second
    assert len(set(first)) == len(first)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('publication = ["log"]', 'publication = ["text", "log level=debug"]'),
        ('connect = ["join {room}"]', 'connect = ["join lobby", "join {room}"]'),
        ("rate_limit 20/s", "rate_limit 5/s burst=9"),
        ('default = ["drop"]', 'default = ["reply no", "drop"]'),
        ('message = ["json", ', 'message = ["split", "max_message 9KiB", "json", '),
        ("[chains]", '[chains]\nother = ["echo"]'),
        ('[endpoints."/chat/{room}"]', '[endpoints."/other"]\nmessage = ["json"]\n[endpoints."/chat/{room}"]'),
    ],
)
def test_an_edit_elsewhere_changes_no_id(old: str, new: str, tmp_path: Path) -> None:
    before = ids(TOML, tmp_path)
    after = ids(TOML.replace(old, new), tmp_path)
    assert old in TOML
    assert [one for one in before if one not in after] == []


def test_stages_that_share_a_table_share_its_branches_and_their_ids(tmp_path: Path) -> None:
    toml = TOML.replace('["json", "guard", "json", "by_type", "guard"]', '["by_type", "again", "by_type"]')
    toml = toml.replace("[chains]", '[chains]\nagain = ["by_type"]')
    default = build(toml, tmp_path).generation.default
    assert default is not None
    assert [str(step.id) for step in default.message.steps] == [
        "* message by_type",
        "* message again/by_type",
        "* message by_type#2",
    ]
    assert len({id(branch) for step in default.message.steps for _, branch in step.branches}) == 3


def test_a_filter_with_placeholders_has_branches_too(tmp_path: Path) -> None:
    generation = build(TOML.replace('key = "type"', 'key = "{state.key}"'), tmp_path).generation
    (step,) = [step for step in steps(generation) if str(step.id) == "* message by_type"]
    assert step.instance is None
    assert [label for label, _ in step.branches] == ["case.chat", "case.two words", "default"]


def test_an_id_as_text_is_never_ambiguous() -> None:
    one = StepId("/a message b", "message", ("x",))
    other = StepId("/a", "message", ("b message x",))
    assert (str(one), str(other)) == ('"/a message b" message x', '/a message "b message x"')
