"""What a generation shares with the one before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.compiler.compile import generation_of
from fws.compiler.generation import Generation
from fws.config import parse
from fws.pipeline.pipeline import Step

CONF = """
[pipelines]
message = ["rate_limit 1/s", "by_type", "echo"]
[endpoints."/a/{room}"]
connect = ["join {room}"]
message = ["count {room}", "drop"]
[filters.by_type]
use = "switch"
key = "type"
case = { x = ["log"], y = ["drop"] }
"""


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generation = self.compile(CONF, None)

    def compile(self, toml: str, previous: Generation | None) -> Generation:
        services = previous.services if previous is not None else None
        return generation_of(parse(toml, str(self.folder / "app.toml")), {}, services, previous=previous)

    def next(self, old: str, new: str) -> Generation:
        assert old in CONF
        return self.compile(CONF.replace(old, new), self.generation)


def steps_of(generation: Generation) -> tuple[Step, ...]:
    """The stages for messages on every other path."""
    assert generation.default is not None
    return generation.default.message.steps


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_nothing_changed_means_the_same_endpoints(project: Project) -> None:
    again = project.next("[pipelines]", "# a comment\n\n[pipelines]")
    assert again.all_endpoints() == project.generation.all_endpoints()


def test_an_edit_of_one_endpoint_leaves_the_other_alone(project: Project) -> None:
    new = project.next("rate_limit 1/s", "rate_limit 2/s")
    assert new.endpoints[0] is project.generation.endpoints[0]
    assert new.default is not project.generation.default
    before, after = steps_of(project.generation), steps_of(new)
    assert [one.instance is other.instance for one, other in zip(before, after, strict=True)] == [False, True, True]


def test_a_stage_that_moves_stays_the_same_filter(project: Project) -> None:
    new = project.next('"rate_limit 1/s", "by_type"', '"by_type", "log", "rate_limit 1/s"')
    assert steps_of(new)[2].instance is steps_of(project.generation)[0].instance


def test_a_changed_branch_makes_a_new_switch_and_keeps_the_filters_of_other_branches(project: Project) -> None:
    new = project.next('y = ["drop"]', 'y = ["echo"]')
    old_switch, new_switch = (steps_of(one)[1] for one in (project.generation, new))
    assert new_switch.instance is not old_switch.instance
    assert (
        dict(new_switch.branches)["case.x"].steps[0].instance is dict(old_switch.branches)["case.x"].steps[0].instance
    )


def test_stages_with_placeholders_are_shared(project: Project) -> None:
    new = project.next('"drop"]', '"echo"]')
    old_step, new_step = (one.endpoints[0].connect.steps[0] for one in (project.generation, new))
    assert new_step.templated is old_step.templated
    assert new_step.hook is old_step.hook


def test_a_setting_makes_a_new_endpoint_with_the_same_filters(project: Project) -> None:
    new = project.next('connect = ["join {room}"]', 'max_message = "1KiB"\nconnect = ["join {room}"]')
    assert new.endpoints[0] is not project.generation.endpoints[0]
    assert new.endpoints[0].message == project.generation.endpoints[0].message


def test_a_changed_variable_is_a_changed_option(project: Project) -> None:
    toml = '[pipelines]\nmessage = ["reply ${WORD}"]'
    document = parse(toml, str(project.folder / "app.toml"))
    first = generation_of(document, {"WORD": "a"})
    same = generation_of(document, {"WORD": "a"}, first.services, previous=first)
    other = generation_of(document, {"WORD": "b"}, first.services, previous=first)
    assert same.default is first.default
    assert other.default is not first.default


def test_a_file_with_problems_leaves_the_generation_in_force_as_it_is(project: Project) -> None:
    steps = steps_of(project.generation)
    with pytest.raises(ConfigError):
        project.next('"echo"]', '"ecko"]')
    assert steps_of(project.generation) == steps
