from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.filters._key import Key
from fws.filters.throttle import Throttle
from tests.filters.timing import Ticks, got, say, simulation, taken, written


def conf(*stages: str) -> str:
    listed = ", ".join(f"'{stage}'" for stage in stages)
    return f'[pipelines]\nconnect = ["join lobby"]\nmessage = [{listed}]\n'


def test_the_first_flows_on_at_once_and_the_last_of_the_others_at_the_end_of_the_time(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("throttle 200ms", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1", "2", "3")
        assert got(ann) == ["1"]
        run.advance(0.19)
        assert got(ann) == ["1"]
        run.advance(0.02)
        assert got(ann) == ["1", "3"]
        say(run, ann, "4")
        run.advance(0.18)
        assert got(ann) == ["1", "3"]
        run.advance(0.02)
        assert got(ann) == ["1", "3", "4"]
        run.advance(0.2)
        say(run, ann, "5")
        assert got(ann) == ["1", "3", "4", "5"]


def test_without_the_last_the_others_are_dropped(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("throttle 200ms last=false", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1", "2")
        run.advance(0.2)
        say(run, ann, "3", "4")
        run.advance(1)
        assert got(ann) == ["1", "3"]


def test_each_client_or_each_key_has_a_time_of_its_own(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("throttle 1s last=false", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "1", "2")
        say(run, bob, "1", "2")
        assert (got(ann), got(bob)) == (["1"], ["1"])
    with simulation(tmp_path, conf("json", "throttle 1s by=message.room", "echo")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, {"room": "tea", "n": 1}, {"room": "bar", "n": 2}, {"n": 3}, {"n": 4})
        assert taken(ann) == ['{"room":"tea","n":1}', '{"room":"bar","n":2}', '{"n":3}', '{"n":4}']
        say(run, ann, {"room": "tea", "n": 5})
        say(run, bob, {"room": "tea", "n": 6})
        run.advance(1)
        assert (got(ann), got(bob)) == ([], ['{"room":"tea","n":6}'])


def test_at_most_one_per_time_is_published_or_delivered(tmp_path: Path) -> None:
    stages = 'publication = ["throttle 1s by=channel last=false"]\n'
    with simulation(tmp_path, conf("broadcast lobby") + stages) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "1", "2")
        run.advance(1)
        say(run, ann, "3")
        assert got(bob) == ["1", "3"]
    stages = 'deliver = ["throttle 1s last=false"]\n'
    with simulation(tmp_path, conf("throttle 1s last=false", "broadcast lobby") + stages) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "1")
        say(run, bob, "2")
        assert (got(ann), got(bob)) == (["1"], ["1"])


def test_on_tick_it_is_for_everything_together() -> None:
    ticks = Ticks(Throttle(0.2, Key.parse("all")))
    for message in "123":
        ticks.tick(message)
    assert ticks.flowed == ["1"]
    ticks.advance(0.2)
    assert ticks.flowed == ["1", "3"]


def test_what_is_held_back_is_gone_with_its_client(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("throttle 1h", "broadcast lobby")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, "1", "2")
        ann.peer.close_with(1000, "")
        run.settle()
        assert run._loop.next_timer is None
        run.advance(3600)
        assert got(bob) == ["1"]


def test_what_is_held_back_for_the_oldest_of_too_many_keys_flows_on(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("json", "throttle 1h by=client,message.k", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, {"k": 0, "n": 1}, {"k": 0, "n": 2}, *({"k": k} for k in range(1, 100)))
        assert '{"k":0,"n":2}' not in taken(ann)
        say(run, ann, {"k": 100})
        assert taken(ann) == ['{"k":100}', '{"k":0,"n":2}']


def test_what_is_held_back_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Fault: messages of 1 MB for 300 keys took 324 MB."""
    with simulation(tmp_path, conf("json", "throttle 1m by=message.k memory=2000B", "pick k n", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, *({"k": k} for k in "abc"))
        taken(ann)
        say(run, ann, *({"k": k, "n": 2, "long": "x" * 400} for k in "abc"))
        assert taken(ann) == ['{"k":"a","n":2}']
        say(run, ann, {"k": "a", "n": 3})
        assert taken(ann) == [], "its time has begun anew"
        say(run, ann, {"k": "d"}, {"k": "d", "n": 2, "long": "x" * 5000})
        assert taken(ann) == ['{"k":"d"}', '{"k":"b","n":2}', '{"k":"c","n":2}', '{"k":"a","n":3}']
        run.advance(60)
        assert taken(ann) == ['{"k":"d","n":2}'], "the newest is held back, however large it is"


def test_large_messages_do_not_evade_it(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("throttle 1m memory=100B", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, *(str(number) * 1000 for number in range(5)))
        assert got(ann) == ["0" * 1000]
        run.advance(60)
        assert got(ann) == ["0" * 1000, "4" * 1000]


@pytest.mark.parametrize("edited", ["throttle 100ms", "throttle 10s", "throttle 200ms by=all", "echo"])
def test_a_reload_loses_nothing_that_is_held_back(tmp_path: Path, edited: str) -> None:
    with simulation(tmp_path, conf("throttle 200ms", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1", "2")
        run.reload(written(tmp_path, conf(edited, "echo")))
        run.advance(0.2)
        assert got(ann) == ["1", "2"]


def test_a_reload_does_not_begin_the_time_anew(tmp_path: Path) -> None:
    with simulation(tmp_path, conf("throttle 1s", "echo")) as run:
        ann = run.connect("ann")
        say(run, ann, "1")
        run.reload(written(tmp_path, conf("throttle 2s", "echo")))
        say(run, ann, "2")
        assert got(ann) == ["1"]
        run.advance(1)
        assert got(ann) == ["1", "2"]


def test_a_call_that_comes_too_early_fails(tmp_path: Path) -> None:
    table = '[endpoints."/c"]\nprotocol = "centrifuge"\nmessage = ["throttle 1s"]\n'
    with simulation(tmp_path, table) as run:
        ann = run.connect("ann", "/c")
        say(run, ann, {"id": 1, "connect": {}})
        taken(ann)
        say(run, ann, {"id": 2, "rpc": {"method": "m", "data": 7}}, {"id": 3, "rpc": {"method": "m", "data": 8}})
        assert got(ann) == [
            '{"id":2,"rpc":{"data":7}}',
            '{"id":3,"error":{"code":111,"message":"too fast","temporary":true}}',
        ]


@pytest.mark.parametrize(
    ("event", "stage", "problem"),
    [
        ("deliver", "throttle 1s", "write last=false"),
        ("publication", "throttle 1s last=true by=channel", "write last=false"),
        ("publication", "throttle 1s last=false", "there is no client on publication: use by=channel or all"),
        ("message", "throttle 0s", "time"),
        ("message", "throttle 1s by=room", "such as message.room"),
        ("message", "throttle", "time"),
    ],
)
def test_a_mistake_is_a_problem_of_the_file(tmp_path: Path, event: str, stage: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        simulation(tmp_path, f'[pipelines]\n{event} = ["{stage}"]\n')
