from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.filters._key import Key
from fws.filters.debounce import Debounce
from tests.filters.timing import Ticks, got, say, simulation, taken, written


def conf(*stages: str) -> str:
    listed = ", ".join(f"'{stage}'" for stage in stages)
    return f'[pipelines]\nconnect = ["join lobby"]\nmessage = [{listed}]\n'


def test_a_message_flows_on_when_nothing_has_followed_it_for_the_time(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("debounce 300ms", "echo")) as run:
        ann = run.connect("ann")
        for number in "123":
            say(run, ann, number)
            run.advance(0.2)
        assert got(ann) == []
        run.advance(0.09)
        assert got(ann) == []
        run.advance(0.02)
        assert got(ann) == ["3"]
        say(run, ann, "4")
        run.advance(0.31)
        assert got(ann) == ["3", "4"]


def test_a_busy_sender_cannot_hold_it_back_longer_than_most(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("debounce 300ms most=1s", "echo")) as run:
        ann = run.connect("ann")
        for number in range(12):
            say(run, ann, str(number))
            run.advance(0.1)
        assert got(ann) == ["9"]
        run.advance(0.3)
        assert got(ann) == ["9", "11"]


def test_each_client_or_each_key_has_a_message_of_its_own(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("debounce 300ms", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "a")
        say(run, bob, "b")
        run.advance(0.31)
        assert (got(ann), got(bob)) == (["a"], ["b"])
    with simulation(tmp_path, conf("json", "debounce 300ms by=message.doc", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, {"doc": 1, "n": 1}, {"doc": 2, "n": 2}, {"n": 3})
        assert taken(ann) == ['{"n":3}']
        say(run, bob, {"doc": 1, "n": 4})
        run.advance(0.31)
        assert (got(ann), got(bob)) == (['{"doc":2,"n":2}'], ['{"doc":1,"n":4}'])


def test_on_tick_it_is_for_everything_together() -> None:
    ticks = Ticks(Debounce(0.3, Key.parse("all")))
    for message in "123":
        ticks.tick(message)
        ticks.advance(0.1)
    ticks.advance(0.19)
    assert ticks.flowed == []
    ticks.advance(0.02)
    assert ticks.flowed == ["3"]


def test_what_is_held_back_is_gone_with_its_client(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("debounce 1h", "broadcast lobby")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "1")
        ann.peer.close_with(1000, "")
        run.settle()
        assert run._loop.next_timer is None
        run.advance(3600)
        assert got(bob) == []


def test_the_message_of_the_oldest_of_too_many_keys_flows_on(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("json", "debounce 1h by=client,message.k", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, *({"k": k} for k in range(101)))
        assert got(ann) == ['{"k":0}']


def test_what_is_held_back_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Fault: 100 messages of 1 MB, each for a key of its own, took 97 MB for one client."""
    with simulation(tmp_path, conf("debounce 1h by=client,message", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, *(f"{number:0400000}" for number in range(4)))
        assert [int(text[-1]) for text in taken(ann)] == [0, 1]
        say(run, ann, "9" * 1_000_000)
        assert [int(text[-1]) for text in taken(ann)] == [2, 3], "the newest is held back, however large it is"
        run.advance(3601)
        assert got(ann) == ["9" * 1_000_000]


def test_an_object_counts_with_what_is_in_it(tmp_path: Path) -> None:
    """Fault: an object that is not encoded yet would count as 4 KiB, and its JSON is much smaller than it is itself."""
    with simulation(tmp_path, conf("json", "debounce 1h by=message.k memory=100KiB", "pick k", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, {"k": 1, "list": [{}] * 500})
        say(run, bob, {"k": 2, "list": [{}] * 500})
        assert (taken(ann), taken(bob)) == (['{"k":1}'], []), "others share the keys, and so the room"
        say(run, ann, *({"k": k} for k in range(3, 103)))
        assert (got(ann), got(bob)) == ([], [])


def test_what_has_flowed_on_or_was_replaced_takes_no_room(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("json", "debounce 1s by=client,message.k memory=2000B", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, *[{"k": 1, "text": "a" * 600}] * 5)
        run.advance(1.01)
        assert len(taken(ann)) == 1
        say(run, ann, *({"k": k, "text": "b" * length} for k, length in ((2, 400), (3, 400), (3, 300), (4, 100))))
        assert got(ann) == []


def test_a_reload_changes_the_room(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("debounce 1h by=client,message", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "a" * 600, "b" * 600)
        run.reload(written(tmp_path, conf("debounce 1h by=client,message memory=1000B", "echo")))
        say(run, ann, "c" * 300)
        assert got(ann) == ["a" * 600]


@pytest.mark.parametrize("edited", ["debounce 500ms", "debounce 1s by=all", "reply never"])
def test_a_reload_loses_nothing_that_is_held_back(tmp_path: Path, edited: str) -> None:
    with simulation(tmp_path, conf("debounce 300ms", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1")
        run.reload(written(tmp_path, conf(edited, "echo")))
        run.advance(0.31)
        assert got(ann) == ["1"]


def test_a_message_after_a_reload_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("debounce 300ms", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1")
        run.reload(written(tmp_path, conf("debounce 400ms", "echo")))
        say(run, ann, "2")
        run.advance(0.39)
        assert got(ann) == []
        run.advance(0.02)
        assert got(ann) == ["2"]


def test_a_call_fails_because_it_cannot_wait(tmp_path: Path) -> None:
    table = '[endpoints."/c"]\nprotocol = "centrifuge"\nmessage = ["debounce 1s"]\n'
    with simulation(tmp_path, table) as run:
        ann = run.connect("ann", "/c")
        say(run, ann, {"id": 1, "connect": {}})
        taken(ann)
        say(run, ann, {"id": 2, "rpc": {"method": "m", "data": 7}})
        (answer,) = got(ann)
        assert "a call cannot wait" in str(answer)


@pytest.mark.parametrize(
    ("stage", "problem"),
    [("debounce 300ms most=200ms", "most: it is shorter"), ("debounce 0s", "time"), ("debounce 1s by=romo", "romo")],
)
def test_a_mistake_is_a_problem_of_the_file(tmp_path: Path, stage: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        simulation(tmp_path, conf(stage))
