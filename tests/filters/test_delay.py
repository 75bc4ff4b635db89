from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.filters.delay import Delay
from tests.filters.timing import Ticks, got, say, simulation, taken, written


def conf(*stages: str) -> str:
    listed = ", ".join(f"'{stage}'" for stage in stages)
    return f'[pipelines]\nconnect = ["join lobby"]\nmessage = [{listed}]\n'


def test_each_message_flows_on_after_the_time_in_order(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("delay 2s", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1", "2")
        run.advance(1)
        say(run, ann, "3")
        assert got(ann) == []
        run.advance(1.01)
        assert got(ann) == ["1", "2"]
        run.advance(1)
        assert got(ann) == ["1", "2", "3"]


def test_nobody_waits_meanwhile(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("reply served", "delay 2s", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "1", "2")
        say(run, bob, "3")
        assert (got(ann), got(bob)) == (["served", "served"], ["served"])


@pytest.mark.parametrize(
    ("how", "answer"),
    [("drop", []), ("reply", ['{"error":"too many messages wait"}'])],
)
def test_a_message_beyond_those_that_may_wait_is_refused(tmp_path: Path, how: str, answer: list[str]) -> None:
    with simulation(tmp_path, conf(f"delay 2s most=2 on_excess={how}", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1", "2", "3")
        assert taken(ann) == answer
        assert run.nodes[""].generation.services.metrics["delays_over_limit"] == 1
        run.advance(2.01)
        say(run, ann, "4")
        run.advance(2.01)
        assert got(ann) == ["1", "2", "4"]


def test_what_waits_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Fault: 100 messages of 1 MB took 97 MB for one client."""
    with simulation(tmp_path, conf("delay 2s on_excess=reply", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, *(str(number) * 400_000 for number in range(3)))
        say(run, bob, "b" * 400_000)
        assert taken(ann) == ['{"error":"too many messages wait"}']
        assert taken(bob) == []
        run.advance(2.01)
        assert [text[0] for text in taken(ann)] == ["0", "1"]
        say(run, ann, "9" * 1_000_000)
        run.advance(2.01)
        assert got(ann) == ["9" * 1_000_000]


def test_on_tick_what_waits_is_bounded_in_bytes() -> None:
    ticks = Ticks(Delay(2.0, memory=30_000))
    for number in range(3):
        ticks.tick([number] * 200)
    ticks.advance(2.01)
    assert [message[0] for message in ticks.flowed] == [0, 1]
    ticks.tick("x" * 40_000)
    ticks.tick("y")
    ticks.advance(2.01)
    assert [message[0] for message in ticks.flowed[2:]] == ["x"], "if none waits, one may be larger"


def test_on_tick_messages_wait_for_each_schedule() -> None:
    ticks = Ticks(Delay(2.0, most=2))
    for message in "123":
        ticks.tick(message)
    ticks.advance(1.99)
    assert ticks.flowed == []
    ticks.advance(0.02)
    assert ticks.flowed == ["1", "2"]


def test_what_waits_is_gone_with_its_client(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("delay 1h", "broadcast lobby")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "1", "2")
        ann.peer.close_with(1000, "")
        run.settle()
        assert run._loop.next_timer is None
        run.advance(3601)
        assert got(bob) == []


@pytest.mark.parametrize("edited", ["delay 1s", "delay 3s", "reply never"])
def test_a_reload_loses_nothing_that_waits(tmp_path: Path, edited: str) -> None:
    with simulation(tmp_path, conf("delay 2s", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1", "2")
        run.reload(written(tmp_path, conf(edited, "echo")))
        run.advance(2.01)
        assert got(ann) == ["1", "2"]


def test_a_shorter_time_after_a_reload_lets_nothing_overtake(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("delay 10s", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1")
        run.reload(written(tmp_path, conf("delay 1s", "echo")))
        say(run, ann, "2")
        run.advance(9.9)
        assert got(ann) == []
        run.advance(0.2)
        assert got(ann) == ["1", "2"]
        say(run, ann, "3")
        run.advance(1.01)
        assert got(ann) == ["1", "2", "3"]


def test_a_call_fails_because_it_cannot_wait(tmp_path: Path) -> None:
    table = '[endpoints."/c"]\nprotocol = "centrifuge"\nmessage = ["delay 1s"]\n'
    with simulation(tmp_path, table) as run:
        ann = run.connect("ann", "/c")
        say(run, ann, {"id": 1, "connect": {}})
        taken(ann)
        say(run, ann, {"id": 2, "rpc": {"method": "m", "data": 7}})
        (answer,) = got(ann)
        assert "a call cannot wait" in str(answer)


@pytest.mark.parametrize("stage", ["delay", "delay 0s", "delay 2", "delay 2s most=0"])
def test_a_mistake_is_a_problem_of_the_file(tmp_path: Path, stage: str) -> None:
    with pytest.raises(ConfigError, match=r"time|most"):
        simulation(tmp_path, conf(stage))
