"""`Later`: a filter keeps messages back, and lets them flow on through the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fws.config import load
from fws.pipeline.outcomes import DROP, Later, Several
from fws.pipeline.pipeline import Pipeline, Step
from fws.testing.simulation import Simulation

HOLD = """
from fws import Filter, Later


class Hold(Filter):
    '''Keep each message back for a while.'''

    def message(self, client, message):
        return Later(lambda flow: self.after(0.3, lambda: flow(message.upper())))
"""


def simulation(folder: Path, stages: str, more: str = "", source: str = HOLD) -> Simulation:
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "hold.py").write_text(source)
    conf = folder / "app.toml"
    conf.write_text(f"[pipelines]\nmessage = [{stages}]\n{more}")
    return Simulation(load(str(conf)), {})


def texts(speaker: Any) -> list[Any]:
    return [one.message for one in speaker.received]


def test_the_message_flows_through_the_rest_of_the_pipeline_when_its_time_has_come(tmp_path: Path) -> None:
    with simulation(tmp_path, '"hold", "reply then", "echo"') as run:
        ann = run.connect("ann")
        ann.peer.say("hello")
        run.settle()
        run.advance(0.25)
        assert texts(ann) == []
        run.advance(0.1)
        assert texts(ann) == ["then", "HELLO"]


def test_messages_that_come_meanwhile_are_served(tmp_path: Path) -> None:
    with simulation(tmp_path, '"echo", "hold", "echo"') as run:
        ann = run.connect("ann")
        ann.peer.say("one")
        run.settle()
        run.advance(0.1)
        ann.peer.say("two")
        run.settle()
        assert texts(ann) == ["one", "two"]
        run.advance(1)
        assert texts(ann) == ["one", "two", "ONE", "TWO"]


def test_nothing_happens_if_the_client_has_left(tmp_path: Path) -> None:
    with simulation(tmp_path, '"hold", "broadcast"') as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        ann.peer.say("hello")
        run.settle()
        ann.peer.close_with(1000, "")
        run.settle()
        run.advance(1)
        assert texts(bob) == []


def test_a_fault_in_the_rest_is_reported_and_the_client_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bad").mkdir()
    with simulation(tmp_path, '"hold", "json", "echo"') as run:
        ann = run.connect("ann")
        ann.peer.say("[1")
        run.settle()
        run.advance(1)
        ann.peer.say("[2]")
        run.settle()
        run.advance(1)
        assert ann.connected


class Flow:
    """What runs a pipeline of `tick`."""

    def __init__(self) -> None:
        self.parts = 0
        self.kept: list[tuple[Pipeline, Any]] = []

    def take_part(self) -> None:
        self.parts += 1

    def resume(self, rest: Pipeline) -> Callable[[Any], None]:
        return lambda message: self.kept.append((rest, message))


def tick(*hooks: Callable[[Any], Any]) -> Pipeline:
    return Pipeline("tick", [Step(hook, "", "") for hook in hooks])


def test_a_tick_flows_like_a_message_without_a_client() -> None:
    flow = Flow()
    assert tick(lambda value: None, lambda value: value + 1, lambda value: value * 10).tick(flow, 1) == 20
    assert tick(lambda value: DROP, lambda value: 1 / 0).tick(flow, 1) is DROP
    several = tick(lambda value: Several([1, 2, 3]), lambda value: DROP if value == 2 else value * 10).tick(flow, 1)
    assert several.items == [10, 30]
    assert flow.parts == 3


def test_a_tick_may_flow_on_later() -> None:
    flow = Flow()
    functions: list[Callable[[Any], None]] = []
    pipeline = tick(lambda value: Later(functions.append), lambda value: value * 10)
    assert pipeline.tick(flow, 1) is DROP
    functions[0](7)
    ((rest, message),) = flow.kept
    assert rest.tick(flow, message) == 70


SWITCH = """
[filters.by_length]
use = "switch"
key = "kind"
[filters.by_length.case]
slow = ["hold", "set inner=true"]
list = ["split items", "by_kind"]

[filters.by_kind]
use = "switch"
key = "kind"
case = { slow = ["hold"] }
"""
HOLD_OBJECTS = HOLD.replace("message.upper()", "message")


def test_what_a_branch_keeps_back_flows_through_the_rest_of_the_branch_and_of_the_whole(tmp_path: Path) -> None:
    """Fault: it flowed to the end of the branch only."""
    with simulation(tmp_path, '"json", "by_length", "set outer=true", "echo"', SWITCH, HOLD_OBJECTS) as run:
        ann = run.connect("ann")
        ann.peer.say('{"kind":"slow"}')
        run.settle()
        assert texts(ann) == []
        run.advance(1)
        assert texts(ann) == ['{"kind":"slow","inner":true,"outer":true}']


def test_a_list_may_have_messages_for_now_and_for_later(tmp_path: Path) -> None:
    with simulation(tmp_path, '"json", "by_length", "set outer=true", "echo"', SWITCH, HOLD_OBJECTS) as run:
        ann = run.connect("ann")
        ann.peer.say('{"kind":"list","items":[{"kind":"slow"},{"kind":"quick"}]}')
        run.settle()
        assert texts(ann) == ['{"kind":"quick","outer":true}']
        run.advance(1)
        assert texts(ann)[1:] == ['{"kind":"slow","outer":true}']
