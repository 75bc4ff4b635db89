"""Channels with presence: what members are told about one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fws.channels.announcer import NAMED, View
from fws.clients.client import Client
from fws.config import Channel, ChannelRules
from fws.presence.base import Change, Present
from tests.channels.test_nodes import Nodes
from tests.support import Harness, build

CONF = """
[channels."lobby"]
presence = true
presence_info = ["identity.name", "request.query.color"]
announce = true
linger = "2s"
[pipelines]
connect = ["join lobby"]
message = ["presence lobby"]
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


def told(harness: Harness, client: Client) -> list[Any]:
    return [json.loads(text) for text in harness.sent(client)]


def identity(name: str) -> dict[str, Any]:
    return {"user": name.lower(), "name": name, "secret": "x"}


def test_a_new_member_gets_the_list_and_the_others_an_announcement(harness: Harness) -> None:
    ann = harness.connect("/?color=red", identity=identity("Ann"))
    [first] = told(harness, ann)
    shown = {"client": ann.id, "user": "ann", "info": {"name": "Ann", "color": "red"}}
    assert first == {"type": "presence", "channel": "lobby", "clients": 1, "present": [shown]}
    bob = harness.connect("/", identity=identity("Bob"))
    harness.pass_time(1)
    [second] = told(harness, ann)
    shown = {"client": bob.id, "user": "bob", "info": {"name": "Bob", "color": None}}
    assert second == {"type": "presence", "channel": "lobby", "clients": 2, "joined": [shown]}


def test_announcements_are_coalesced(harness: Harness) -> None:
    ann = harness.connect("/")
    told(harness, ann)
    harness.pass_time(1)
    others = [harness.connect("/", settle=False) for _ in range(20)]
    for other in others[:5]:
        harness.leave(other)
    harness.settle()
    harness.pass_time(1)
    announced = told(harness, ann)
    assert len(announced) <= 2
    assert announced[-1]["clients"] == 16
    assert len(announced[-1]["joined"]) == 15
    assert "left" not in announced[-1]


def test_a_user_who_returns_in_time_is_not_announced(harness: Harness) -> None:
    ann, bob = harness.connect("/"), harness.connect("/", identity=identity("Bob"))
    harness.pass_time(1)
    told(harness, ann)
    harness.leave(bob)
    harness.pass_time(1)
    again = harness.connect("/", identity=identity("Bob"))
    harness.pass_time(1)
    shown = {"client": again.id, "user": "bob", "info": {"name": "Bob", "color": None}, "was": bob.id}
    assert told(harness, ann) == [{"type": "presence", "channel": "lobby", "clients": 2, "changed": [shown]}]
    harness.leave(again)
    harness.pass_time(3)
    harness.pass_time(1)
    assert told(harness, ann) == [{"type": "presence", "channel": "lobby", "clients": 1, "left": [again.id]}]


def test_a_refused_client_was_never_present(tmp_path: Path) -> None:
    harness = build(CONF.replace('"join lobby"', '"join lobby", "require request.query.ok == \'1\'"'), tmp_path)
    ann = harness.connect("/?ok=1")
    with pytest.raises(Exception, match="403"):
        harness.connect("/")
    harness.pass_time(1)
    assert [one["clients"] for one in told(harness, ann)] == [1]


def test_a_client_can_ask_who_is_present(harness: Harness) -> None:
    ann = harness.connect("/", identity=identity("Ann"))
    harness.connect("/", identity=identity("Ann"))
    harness.connect("/")
    told(harness, ann)
    harness.client_says(ann, "who?")
    [answer] = [one for one in told(harness, ann) if "users" in one]
    assert (answer["clients"], answer["users"], len(answer["present"])) == (3, 2, 3)


def test_refresh_shows_new_info(harness: Harness) -> None:
    ann = harness.connect("/", identity=identity("Ann"))
    bob = harness.connect("/", identity=identity("Bob"))
    harness.pass_time(1)
    told(harness, ann)
    bob.identity = identity("Bob") | {"name": "Robert"}
    harness.channels.refresh(bob)
    harness.channels.refresh(bob)
    harness.pass_time(1)
    [announced] = told(harness, ann)
    assert [one["info"]["name"] for one in announced["changed"]] == ["Robert"]


def test_info_is_bounded_and_simple(harness: Harness) -> None:
    ann = harness.connect("/", identity={"user": "ann", "name": "x" * 10_000})
    [announced] = told(harness, ann)
    assert announced["present"][0]["info"]["name"] == "x" * 200
    bob = harness.connect("/", identity={"user": "bob", "name": {"deep": ["list"]}})
    harness.pass_time(1)
    assert "name" not in told(harness, bob)[0]["present"][1]["info"]


def test_all_nodes_know_all_clients(tmp_path: Path) -> None:
    nodes = Nodes(CONF, tmp_path)
    a, b = nodes.first.connect("/"), nodes.second.connect("/")
    for node in (nodes.first, nodes.second):
        node.pass_time(1)
    assert [one["clients"] for one in told(nodes.first, a)] == [1, 2]
    assert [one["clients"] for one in told(nodes.second, b)] == [2]
    nodes.second.leave(b)
    nodes.first.pass_time(1)
    assert told(nodes.first, a)[-1]["left"] == [b.id]


def test_a_reload_begins_and_ends_presence(tmp_path: Path) -> None:
    harness = build('[pipelines]\nconnect = ["join lobby"]\n', tmp_path)
    ann, bob = harness.connect("/"), harness.connect("/")
    service = harness.channels
    assert service.presence("lobby") == []
    service.swap(harness.generation.publication, ChannelRules({"lobby": Channel(presence=True, announce=True)}))
    harness.pass_time(1)
    assert {one.client for one in service.presence("lobby")} == {ann.id, bob.id}
    assert told(harness, bob)[0]["clients"] == 2
    service.swap(harness.generation.publication, ChannelRules({}))
    harness.leave(ann)
    harness.pass_time(1)
    assert told(harness, bob) == []
    service.swap(harness.generation.publication, ChannelRules({"lobby": Channel(presence=True)}))
    assert [one.client for one in service.presence("lobby")] == [bob.id]


def people(*names: str) -> list[Present]:
    return [Present(name) for name in names]


def test_changes_that_cancel_one_another_are_not_announced() -> None:
    view = View(100)
    view.renew(people("a"))
    view.change(Change(people("b")))
    view.change(Change(left=["b"]))
    assert view.take() is None
    view.change(Change(left=["a"]))
    view.change(Change(people("a")))
    assert view.take() == {"clients": 1, "changed": people("a")}


def test_what_comes_twice_is_announced_once() -> None:
    view = View(100)
    view.renew([])
    assert view.change(Change(people("a")))
    assert not view.change(Change(people("a")))
    assert view.take() == {"clients": 1, "joined": people("a")}
    assert not view.renew(people("a"))
    assert view.renew(people("b"))
    assert view.take() == {"clients": 1, "joined": people("b"), "left": people("a")}


def test_many_changes_and_many_members_are_only_counted() -> None:
    view = View(150)
    view.renew([])
    view.change(Change(people(*(f"c{number}" for number in range(NAMED + 1)))))
    assert view.take() == {"clients": NAMED + 1}
    view.change(Change(people(*(f"d{number}" for number in range(60)))))
    assert view.take() == {"clients": NAMED + 61}
    view.change(Change(left=["c0"]))
    assert view.take() == {"clients": NAMED + 60}
    assert view.everybody() == {"clients": NAMED + 60, "present": []}
