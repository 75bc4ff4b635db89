from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.filters._key import Key
from fws.filters.once import Once
from tests.filters.timing import Ticks, got, say, simulation, taken, written


def conf(*stages: str) -> str:
    listed = ", ".join(f"'{stage}'" for stage in stages)
    return f'[pipelines]\nconnect = ["join lobby"]\nmessage = [{listed}]\n'


def test_the_first_message_of_each_client_flows_on(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("once", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "1", "2")
        say(run, bob, "3", "4")
        run.advance(100_000)
        say(run, ann, "5")
        assert (got(ann), got(bob)) == (["1"], ["3"])


def test_the_first_message_of_each_key_flows_on_and_those_without_one(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("json", "once by=message.id", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, {"id": 1}, {"id": 1}, {"id": "1"}, {}, {})
        say(run, bob, {"id": 1}, {"id": 2})
        assert (got(ann), got(bob)) == (['{"id":1}', '{"id":"1"}', "{}", "{}"], ['{"id":2}'])


def test_after_the_time_one_flows_on_again(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("once within=10s", "echo")) as run:
        ann = run.connect("ann")
        for number in range(5):
            say(run, ann, str(number))
            run.advance(4)
        assert got(ann) == ["0", "3"]


def test_on_connect_nobody_is_refused(tmp_path: Path) -> None:
    table = '[pipelines]\nconnect = ["once by=address within=1h", "reply welcome"]\nmessage = ["echo"]\n'
    with simulation(tmp_path, table) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        eve = run.connect("eve", address="192.0.2.2")
        run.settle()
        assert bob.connected
        assert (got(ann), got(bob), got(eve)) == (["welcome"], [], ["welcome"])


def test_a_receiver_gets_each_id_once(tmp_path: Path) -> None:
    table = conf("json", "broadcast lobby") + 'deliver = ["once by=client,message.id"]\n'
    with simulation(tmp_path, table) as run:
        ann = run.connect("ann")
        say(run, ann, {"id": 1})
        bob = run.connect("bob")
        say(run, ann, {"id": 1}, {"id": 2}, {}, {})
        assert got(ann) == got(bob) == ['{"id":1}', '{"id":2}', "{}", "{}"]
    table = conf("json", "broadcast lobby") + 'publication = ["once by=channel,message.id"]\n'
    with simulation(tmp_path, table) as run:
        ann = run.connect("ann")
        say(run, ann, {"id": 1}, {"id": 1})
        assert got(ann) == ['{"id":1}']


def test_stages_of_several_events_do_not_share_what_they_have_seen(tmp_path: Path) -> None:
    """Fault: stages that are written alike are one filter, so that `connect` was the first for `message`."""
    table = '[pipelines]\nconnect = ["once"]\nmessage = ["once", "echo"]\n'
    with simulation(tmp_path, table) as run:
        ann = run.connect("ann")
        say(run, ann, "1", "2")
        assert got(ann) == ["1"]


def test_on_tick() -> None:
    ticks = Ticks(Once(Key.parse("message.n"), within=10.0))
    for number in (1, 1, 2):
        ticks.tick({"n": number})
    ticks.advance(10)
    ticks.tick({"n": 1})
    assert ticks.flowed == [{"n": 1}, {"n": 2}, {"n": 1}]


def test_the_oldest_of_too_many_keys_is_forgotten(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("json", "once by=client,message.k", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, *({"k": k} for k in range(101)))
        taken(ann)
        say(run, ann, {"k": 50}, {"k": 0})
        assert got(ann) == ['{"k":0}']


def test_a_reload_forgets_nothing(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("once within=10s", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1")
        run.reload(written(tmp_path, conf("once within=20s", "echo")))
        say(run, ann, "2")
        assert got(ann) == ["1"]


@pytest.mark.parametrize(
    ("event", "stage", "problem"),
    [("publication", "once", "by=channel or all"), ("message", "once by=id", "message.id"), ("data", "once", "data")],
)
def test_a_mistake_is_a_problem_of_the_file(tmp_path: Path, event: str, stage: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        simulation(tmp_path, f'[pipelines]\n{event} = ["{stage}"]\n')
