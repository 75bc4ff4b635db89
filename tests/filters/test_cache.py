from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fws.base.errors import ConfigError
from fws.testing.simulation import Simulation
from tests.filters.timing import got, say, simulation, taken, written

# Filters of a project: one that lets others come while it waits, and some that give no result.
SLOW = '''
import gevent
from fws import Close, Filter


class Slow(Filter):
    """Wait."""

    def message(self, client, message):
        gevent.sleep(0.02)


class Fails(Filter):
    """Wait, and fail."""

    def message(self, client, message):
        gevent.sleep(0.02)
        raise RuntimeError("the service is down")


class Closes(Filter):
    """Wait, and close."""

    def message(self, client, message):
        gevent.sleep(0.02)
        raise Close(4000, "enough")


class Marks(Filter):
    """Change the message in place, as no filter should."""

    def message(self, client, message):
        message["seen_by"] = client.id


class Thing(Filter):
    """Make an object of the message."""

    def message(self, client, message):
        return Thing()
'''


def conf(*run: str, by: str = "message.q", then: str = '"echo"', more: str = "") -> str:
    return f"""
[pipelines]
message = ["json", "cached", {then}]
[filters.cached]
use = "cache"
expire = "10s"
by = {msgspec.json.encode(by).decode()}
run = {msgspec.json.encode(run).decode()}
{more}
"""


def start(folder: Path, text: str) -> Simulation:
    (folder / "pipelines").mkdir(exist_ok=True)
    (folder / "pipelines" / "slow.py").write_text(SLOW)
    return simulation(folder, text)


def runs(run: Simulation) -> int:
    """How often the branch has run, which `count` counts."""
    return int(run.nodes[""].generation.services.storage.get("runs") or 0)


def test_the_branch_runs_once_for_each_key_and_time(tmp_path: Path) -> None:
    with start(tmp_path, conf("pick q", "count runs into=n")) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, {"q": "x", "id": 1}, {"q": "x", "id": 2}, {"q": "y"})
        say(run, bob, {"q": "x"})
        assert got(ann) == ['{"q":"x","n":1}', '{"q":"x","n":1}', '{"q":"y","n":2}']
        assert got(bob) == ['{"q":"x","n":1}']
        run.advance(9.9)
        say(run, bob, {"q": "x"})
        run.advance(0.2)
        say(run, bob, {"q": "x"})
        assert got(bob)[1:] == ['{"q":"x","n":1}', '{"q":"x","n":3}']
        metrics = run.nodes[""].generation.services.metrics
        assert (metrics["cache_hits"], metrics["cache_misses"]) == (3, 3)


def test_a_message_without_a_key_runs_the_branch(tmp_path: Path) -> None:
    with start(tmp_path, conf("count runs into=n")) as run:
        ann = run.connect("ann")
        say(run, ann, {}, {})
        assert got(ann) == ['{"n":1}', '{"n":2}']


def test_of_several_at_once_one_runs_the_branch_and_the_others_wait(tmp_path: Path) -> None:
    with start(tmp_path, conf("slow.slow", "count runs into=n")) as run:
        speakers = [run.connect(name) for name in ("ann", "bob", "eve")]
        for speaker in speakers:
            speaker.peer.say('{"q":1}')
        run.settle()
        assert [got(speaker) for speaker in speakers] == [['{"q":1,"n":1}']] * 3
        assert runs(run) == 1


@pytest.mark.parametrize("stage", ["slow.fails", "slow.closes", "drop"])
def test_without_a_result_each_runs_the_branch_itself(tmp_path: Path, stage: str) -> None:
    with start(tmp_path, conf("count runs", "slow.slow", stage)) as run:
        speakers = [run.connect(name) for name in ("ann", "bob", "eve")]
        for speaker in speakers:
            speaker.peer.say('{"q":1}')
        run.settle()
        assert runs(run) == 3
        assert [speaker.connected for speaker in speakers] == [stage != "slow.closes"] * 3
        late = run.connect("late")
        say(run, late, {"q": 1})
        assert runs(run) == 4


def test_a_filter_that_changes_a_message_in_place_changes_nobody_elses(tmp_path: Path) -> None:
    with start(tmp_path, conf("pick q", then='"slow.marks", "echo"')) as run:
        ann, bob = run.connect("ann"), run.connect("bob")
        say(run, ann, {"q": 1})
        say(run, bob, {"q": 1}, {"q": 1})
        assert got(ann) == ['{"q":1,"seen_by":"ann"}']
        assert got(bob) == ['{"q":1,"seen_by":"bob"}'] * 2


def test_several_messages_and_texts_are_remembered_as_they_are(tmp_path: Path) -> None:
    with start(tmp_path, conf("count runs", "split items", by="message")) as run:
        ann = run.connect("ann")
        say(run, ann, {"items": [1, "x", {"a": None}]}, {"items": [1, "x", {"a": None}]})
        assert got(ann) == ["1", "x", '{"a":null}'] * 2
        assert runs(run) == 1


def test_a_result_that_is_no_plain_value_is_not_remembered(tmp_path: Path) -> None:
    with start(tmp_path, conf("count runs", "slow.thing", then='"drop"')) as run:
        ann = run.connect("ann")
        say(run, ann, {"q": 1}, {"q": 1})
        assert runs(run) == 2


def test_the_result_answers_a_call(tmp_path: Path) -> None:
    table = conf("pick q", "count runs into=n").replace("[pipelines]", '[endpoints."/c"]\nprotocol = "centrifuge"')
    with start(tmp_path, table.replace('"json", "cached", "echo"', '"cached"')) as run:
        ann = run.connect("ann", "/c")
        say(run, ann, {"id": 1, "connect": {}})
        taken(ann)
        call = {"method": "find", "data": {"q": "x"}}
        say(run, ann, {"id": 2, "rpc": call}, {"id": 3, "rpc": call})
        assert got(ann) == [f'{{"id":{id},"rpc":{{"data":{{"q":"x","n":1}}}}}}' for id in (2, 3)]


def test_what_depends_on_the_client_needs_a_key_that_does(tmp_path: Path) -> None:
    """Fault: a result with one client's data would be given to all others."""
    for stage in ("set user={identity.user}", "when identity.admin", "when params.room == 'x' or client.id == 'ann'"):
        with pytest.raises(ConfigError, match=r"such as by=user,message.q"):
            start(tmp_path, conf(stage))
        start(tmp_path, conf(stage, by="user,message.q")).close()
    start(tmp_path, conf("when len(q) < 100", "set room={message.q}")).close()
    nested = '[filters.by]\nuse = "switch"\nkey = "q"\ncase.x = ["set user={identity.user}"]\n'
    with pytest.raises(ConfigError, match="depends on the client"):
        start(tmp_path, conf("by", more=nested))


def test_users_do_not_share_results_if_the_key_has_the_user(tmp_path: Path) -> None:
    with start(tmp_path, conf("pick q", "set for={identity.user}", by="user,message.q")) as run:
        ann = run.connect("ann", identity={"user": "ann"})
        bob = run.connect("bob", identity={"user": "bob"})
        say(run, ann, {"q": 1}, {"q": 1})
        say(run, bob, {"q": 1})
        assert (got(ann), got(bob)) == (['{"q":1,"for":"ann"}'] * 2, ['{"q":1,"for":"bob"}'])


def test_a_failure_is_not_remembered_as_a_message_that_passed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write on_failure=drop"):
        start(tmp_path, conf("http http://127.0.0.1:9 on_failure=pass"))


@pytest.mark.parametrize(
    ("edit", "number"),
    [(('expire = "10s"', 'expire = "20s"'), 1), (("runs into", "runs by=2 into"), 3), (("message.q", "message"), 2)],
)
def test_a_reload_keeps_what_the_same_stages_made_for_the_same_keys(
    tmp_path: Path, edit: tuple[str, str], number: int
) -> None:
    text = conf("pick q", "count runs into=n")
    with start(tmp_path, text) as run:
        ann = run.connect("ann")
        say(run, ann, {"q": 1})
        run.reload(written(tmp_path, text.replace(*edit)))
        say(run, ann, {"q": 1})
        assert got(ann) == ['{"q":1,"n":1}', f'{{"q":1,"n":{number}}}']


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (('by = "message.q"', ""), "needs its option 'by'"),
        (('"message.q"', '"q"'), "such as message.q"),
        (('"10s"', '"0s"'), "expire"),
        (('["pick q"]', '"pick q"'), "expected a list of stages"),
        (('["pick q"]', '["pikc q"]'), "pikc"),
    ],
)
def test_a_mistake_is_a_problem_of_the_file(tmp_path: Path, edit: tuple[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        start(tmp_path, conf("pick q").replace(*edit))
