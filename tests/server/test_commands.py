"""The commands of the server API on two nodes, and on one."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from fws import __version__
from fws.base.command_error import (
    BAD_REQUEST,
    INTERNAL,
    NOT_AVAILABLE,
    UNRECOVERABLE_POSITION,
    CommandError,
)
from fws.base.errors import StorageError
from fws.clients.client import Client
from fws.pipeline.publication import Position
from fws.server.commands import Commands, matching
from tests.channels.test_nodes import Nodes
from tests.support import Harness, build

CONF = """
[channels."kept"]
history = 5
presence = true
[channels."seen:*"]
presence = true
[pipelines]
message = ["echo"]
"""


class Both(Nodes):
    """Two nodes, and the clients of each: on the first ann and bob, on the second ann again and two of nobody."""

    def __init__(self, folder: Path, conf: str = CONF) -> None:
        super().__init__(conf, folder)
        self.ann, self.bob = (self.first.connect(identity={"user": user}) for user in ("ann", "bob"))
        self.other = self.second.connect(identity={"user": "ann"})
        self.nobody, self.nobody2 = self.second.connect(), self.second.connect()
        self.commands: Commands = self.first.node.commands

    def node_of(self, client: Client) -> Harness:
        return self.first if client in (self.ann, self.bob) else self.second

    def members(self, channel: str) -> set[Client]:
        return {*self.first.channels.members(channel), *self.second.channels.members(channel)}

    def closed(self, client: Client) -> tuple[int, str] | None:
        self.settle()
        return self.node_of(client).closed(client)

    def sent(self, client: Client) -> list[Any]:
        self.settle()
        return self.node_of(client).sent(client)


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


def refused(expected: int, call: Any, /, *arguments: Any, **options: Any) -> str:
    """The message of the error that a command raises."""
    with pytest.raises(CommandError) as raised:
        call(*arguments, **options)
    assert raised.value.code == expected
    return raised.value.message


# Publishing.


def test_a_publication_reaches_members_on_all_nodes_and_has_a_position(both: Both) -> None:
    for client in (both.ann, both.other):
        client.join("kept")
        client.join("plain")
    both.settle()
    position = both.commands.publish("kept", {"text": "hi"})
    assert position is not None
    assert position.offset == 1
    assert both.commands.publish("plain", "hello") is None
    for client in (both.ann, both.other):
        assert sorted(both.sent(client)) == ["hello", '{"text":"hi"}']


def test_publishing_asks_no_rule_of_the_channel_and_runs_publication_filters(tmp_path: Path) -> None:
    conf = '[channels."kept"]\nhistory = 5\npublish = "identity.user == \'root\'"\n'
    pipelines = {
        "loud": """
from fws import Filter

class Loud(Filter):
    def publication(self, publication):
        return publication.replace(message=publication.message.upper())
"""
    }
    harness = build(conf + '[pipelines]\npublication = ["loud"]\n', tmp_path, pipelines=pipelines)
    client = harness.connect()
    client.join("kept")
    harness.node.commands.publish("kept", "hi")
    assert harness.sent(client) == ["HI"]


def test_a_key_and_keep_are_heeded(both: Both) -> None:
    first = both.commands.publish("kept", "x", key="1")
    assert both.commands.publish("kept", "again", key="1") == first
    assert both.commands.publish("kept", "typing", keep=False) is None
    assert [one.message for one in both.commands.history("kept", limit=-1).publications] == ["x"]


def test_what_cannot_be_published_is_a_bad_request(both: Both) -> None:
    for channel in ("", "a*", "a\x00", "x" * 300):
        assert "channel" in refused(BAD_REQUEST, both.commands.publish, channel, "x")
    refused(BAD_REQUEST, both.commands.publish, "kept", object())
    refused(BAD_REQUEST, both.commands.publish, "plain", {"a": object()})


def test_a_broadcast_has_one_result_for_each_channel(both: Both) -> None:
    results = both.commands.broadcast(["kept", "plain", "a*", "kept"], "x")
    assert isinstance(results[2], CommandError)
    assert results[2].code == BAD_REQUEST
    assert results[1] is None
    assert sorted(one.offset for one in (results[0], results[3]) if isinstance(one, Position)) == [1, 2]
    assert both.commands.broadcast(["plain"], "x") == [None]
    refused(BAD_REQUEST, both.commands.broadcast, [], "x")


def test_a_storage_that_fails_is_an_internal_error(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise StorageError("Redis does not answer")

    for name in ("publish_and_wait", "presence", "remove_history"):
        monkeypatch.setattr(both.first.channels, name, fail)
    monkeypatch.setattr(both.first.node.history, "page", lambda *arguments: arguments[-1](None))
    refused(INTERNAL, both.commands.publish, "kept", "x")
    refused(INTERNAL, both.commands.presence, "kept")
    refused(INTERNAL, both.commands.history, "kept")
    refused(INTERNAL, both.commands.history_remove, "kept")


# Clients.


def test_all_clients_of_a_user_join_and_leave_a_channel(both: Both) -> None:
    both.commands.subscribe("ann", "news")
    assert both.members("news") == {both.ann, both.other}
    both.commands.publish("news", "hi")
    assert both.sent(both.other) == ["hi"]
    both.commands.unsubscribe("ann", "news")
    assert both.members("news") == set()


def test_one_client_of_a_user_can_be_meant(both: Both) -> None:
    both.commands.subscribe("ann", "news", client=both.other.id)
    assert both.members("news") == {both.other}
    both.commands.subscribe("bob", "news", client=both.ann.id)
    both.commands.subscribe("ann", "news", client="another")
    assert both.members("news") == {both.other}


def test_a_session_can_be_meant(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only clients over plain HTTP have one."""
    monkeypatch.setattr(Client, "secret", property(lambda client: "s" if client is both.other else ""))
    both.commands.subscribe("ann", "news", session="s")
    both.commands.subscribe("bob", "news", session="s")
    assert both.members("news") == {both.other}


def test_an_empty_user_is_a_client_without_one_and_needs_more(both: Both) -> None:
    both.commands.subscribe("", "news", client=both.nobody.id)
    both.commands.subscribe("", "news", client=both.ann.id)
    assert both.members("news") == {both.nobody}
    for name, arguments in (("subscribe", ["news"]), ("unsubscribe", ["news"]), ("disconnect", []), ("refresh", [])):
        assert "needs" in refused(BAD_REQUEST, getattr(both.commands, name), "", *arguments)
    assert both.closed(both.nobody2) is None


def test_a_position_is_where_new_members_begin(both: Both) -> None:
    positions = [both.commands.publish("kept", message) for message in "xyz"]
    both.commands.subscribe("ann", "kept", since=positions[0])
    assert both.sent(both.ann) == both.sent(both.other) == ["y", "z"]
    for since in (Position("", 1), Position("a b", 1), Position("e", -1), Position("e", 10**20)):
        refused(BAD_REQUEST, both.commands.subscribe, "bob", "kept", since=since)


def test_names_and_texts_are_checked(both: Both) -> None:
    for channel in ("", "a*", "\x01nodes"):
        refused(BAD_REQUEST, both.commands.subscribe, "ann", channel)
        refused(BAD_REQUEST, both.commands.unsubscribe, "ann", channel)
    for text in ("x" * 501, "a\x00", "\ud800"):
        refused(BAD_REQUEST, both.commands.subscribe, text, "news")
        refused(BAD_REQUEST, both.commands.disconnect, "ann", client=text)
        refused(BAD_REQUEST, both.commands.disconnect, "ann", keep=[text])
        refused(BAD_REQUEST, both.commands.channels, text)


def test_a_client_whose_connect_runs_joins_nothing_and_can_be_closed(both: Both) -> None:
    """What a challenged client is sent would reach somebody who has not shown who he is."""
    client = both.ann
    both.first.hub.clients.pop(client.id)
    both.first.hub.expect(client)
    both.commands.subscribe("ann", "news")
    assert both.members("news") == {both.other}
    both.commands.disconnect("ann")
    assert client.closing


def test_a_user_is_disconnected_on_all_nodes(both: Both) -> None:
    both.commands.disconnect("ann")
    assert both.closed(both.ann) == both.closed(both.other) == (3503, "force disconnect")
    assert both.closed(both.bob) is None
    both.commands.disconnect("nobody of this name")


def test_some_clients_of_a_user_stay(both: Both) -> None:
    both.commands.disconnect("ann", keep=[both.ann.id], code=4001, reason="elsewhere")
    assert both.closed(both.ann) is None
    assert both.closed(both.other) == (4001, "elsewhere")


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (2999, ""), (5000, ""), ("3000", ""), (True, ""), (3000, 1)])
def test_a_code_that_may_not_be_sent_closes_nobody(both: Both, code: Any, reason: Any) -> None:
    refused(BAD_REQUEST, both.commands.disconnect, "ann", code=code, reason=reason)
    assert both.closed(both.ann) is None


def test_a_connection_can_expire_now_or_later(both: Both) -> None:
    both.commands.refresh("bob", expired=True)
    assert both.closed(both.bob) == (4401, "connection expired")
    now = both.first.wall.now
    both.commands.refresh("ann", expire_at=now + 10)
    for node in (both.first, both.second):
        node.pass_time(8)
    assert both.closed(both.ann) is both.closed(both.other) is None
    for node in (both.first, both.second):
        node.pass_time(3)
    assert both.closed(both.ann) == both.closed(both.other) == (4401, "connection expired")


def test_a_later_refresh_takes_the_place_of_an_earlier_one(both: Both) -> None:
    now = both.first.wall.now
    for expire_at in (now + 5, now + 1000, now + 5, 0):
        both.commands.refresh("ann", expire_at=expire_at)
    both.first.pass_time(6)
    assert not both.ann.closing
    both.commands.refresh("ann", expire_at=now + 10)
    both.first.pass_time(6)
    assert both.closed(both.ann) == (4401, "connection expired")
    assert not both.other.closing
    for expire_at in (-1, 1e13, float("nan")):
        refused(BAD_REQUEST, both.commands.refresh, "ann", expire_at=expire_at)


def test_a_client_that_knows_when_it_ends_is_told(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(Client, "set_end", lambda client, wall: told.append(wall), raising=False)
    both.commands.refresh("ann", expire_at=2e9)
    assert told == [2e9, 2e9]


def test_while_redis_is_away_a_command_does_its_part_here_and_says_so(both: Both) -> None:
    nodes: Any = both.first.node.nodes
    nodes.away = "Redis redis://localhost: it does not answer"
    assert "does not answer" in refused(INTERNAL, both.commands.disconnect, "ann")
    assert both.closed(both.ann) is not None
    assert both.closed(both.other) is None
    refused(INTERNAL, both.commands.subscribe, "bob", "news")
    refused(INTERNAL, both.commands.channels)
    assert both.members("news") == {both.bob}
    assert len(both.commands.info()) == 1


# Queries.


def test_presence_has_the_members_on_all_nodes(both: Both) -> None:
    for client in (both.ann, both.bob, both.other, both.nobody):
        client.join("seen:tea")
    both.settle()
    assert sorted(one.user for one in both.commands.presence("seen:tea")) == ["", "ann", "ann", "bob"]
    assert both.commands.presence_stats("seen:tea") == (4, 3)
    assert both.commands.presence("seen:nobody") == []
    for call in (both.commands.presence, both.commands.presence_stats):
        refused(NOT_AVAILABLE, call, "plain")
        refused(BAD_REQUEST, call, "")


def test_a_history_is_shown_in_parts(both: Both) -> None:
    for message in "stuvwxyz":
        both.commands.publish("kept", message)
    history = both.commands.history
    top = history("kept").top
    assert (top.offset, list(history("kept").publications)) == (8, [])
    assert [one.message for one in history("kept", limit=2).publications] == ["v", "w"]
    assert [one.message for one in history("kept", limit=2, reverse=True).publications] == ["z", "y"]
    since = Position(top.epoch, 6)
    assert [one.message for one in history("kept", since=since, limit=-1).publications] == ["y", "z"]
    assert [one.message for one in history("kept", since=since, limit=-1, reverse=True).publications] == ["w", "v"]
    assert [one.message for one in history("kept", since=Position("", 7), limit=5).publications] == ["z"]
    for position in (Position(top.epoch, 1), Position("another", 6), Position(top.epoch, 9)):
        refused(UNRECOVERABLE_POSITION, history, "kept", since=position, limit=5)
    refused(BAD_REQUEST, history, "kept", since=Position(top.epoch, 0), reverse=True)
    refused(NOT_AVAILABLE, history, "plain")
    refused(BAD_REQUEST, history, "a*")


def test_a_history_is_removed_and_its_numbering_goes_on(both: Both) -> None:
    first = both.commands.publish("kept", "x")
    both.commands.history_remove("kept")
    page = both.commands.history("kept", limit=-1)
    assert (list(page.publications), page.top) == ([], first)
    refused(NOT_AVAILABLE, both.commands.history_remove, "plain")
    refused(BAD_REQUEST, both.commands.history_remove, "")


def test_channels_have_the_members_of_all_nodes(both: Both) -> None:
    for client in (both.ann, both.bob, both.other):
        client.join("seen:tea")
    both.nobody.join("kept")
    assert both.commands.channels() == {"seen:tea": 3, "kept": 1}
    assert both.commands.channels("seen:*") == {"seen:tea": 3}
    assert both.commands.channels("?ept") == {"kept": 1}
    assert both.commands.channels("[!k]*") == {"seen:tea": 3}
    assert both.commands.channels("*:") == {}
    assert both.commands.channels("seen") == {}


def test_too_many_channels_for_one_answer_are_an_error_that_says_what_to_do(both: Both) -> None:
    served: Any = both.second.node.answers._answers["channels"]
    served.args[1].__self__._largest = 1000
    for number in range(100):
        both.other.join(f"channel:{number}")
    assert "use a pattern" in refused(INTERNAL, both.commands.channels)
    assert both.commands.channels("channel:7") == {"channel:7": 1}


def test_a_pattern_never_takes_long() -> None:
    """As a regular expression with one `.*` for each `*` this took years."""
    began = time.monotonic()
    assert not matching("*a" * 200 + "b")("a" * 200)
    assert not matching("*?[a-z]" * 70 + "!")("a" * 200)
    assert time.monotonic() - began < 1


def test_every_text_is_a_pattern() -> None:
    generator = random.Random(1)
    for _ in range(2000):
        matching("".join(generator.choices("[]!^-&~|*?aZ\\:#", k=generator.randint(0, 12))))("a")


def test_info_tells_about_each_node(both: Both) -> None:
    both.ann.join("a")
    both.bob.join("a")
    both.bob.join("b")
    both.first.clock.advance(7)
    nodes = {one["uid"]: one for one in both.commands.info()}
    assert len(nodes) == 2
    one = nodes[both.first.node.nodes.id]
    numbers = {name: one[name] for name in ("num_clients", "num_users", "num_channels", "num_subs", "uptime")}
    assert numbers == {"num_clients": 2, "num_users": 2, "num_channels": 2, "num_subs": 3, "uptime": 7}
    assert one["name"].endswith(f"-{os.getpid()}")
    assert one["version"] == __version__
    assert one["process"]["rss"] > 1_000_000
    assert one["process"]["cpu"] >= 0
    assert nodes[both.second.node.nodes.id]["num_users"] == 2
    json.dumps(list(nodes.values()))


# What another application could send to the channels of nodes.


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "disconnect"},
        {"do": "disconnect", "user": "", "code": 3000, "reason": ""},
        {"do": "disconnect", "user": "ann", "code": 1005, "reason": ""},
        {"do": "disconnect", "user": 1, "code": 3000, "reason": ""},
        {"do": "subscribe", "user": "ann", "channel": "\x01nodes"},
        {"do": "subscribe", "user": "ann", "channel": ["x"]},
        {"do": "refresh", "user": "ann", "expired": "yes"},
        {"do": "channels", "pattern": 7},
    ],
)
def test_a_malformed_request_does_nothing(both: Both, request_: dict[str, Any]) -> None:
    other: Any = both.second.node.nodes
    told: list[bool] = []
    both.first.node.nodes.tell(other.id, request_, told.append)
    assert both.closed(both.other) is None
    assert both.other.channels == set()


def test_malformed_answers_are_counted_and_left_out(both: Both) -> None:
    both.ann.join("a")
    both.second.node.answers._answers["channels"] = lambda request: {"channels": {"a": "many"}}
    both.second.node.answers._answers["info"] = lambda request: {"uid": 7}
    assert both.commands.channels() == {"a": 1}
    assert len(both.commands.info()) == 1
    assert both.first.metrics["redis_malformed"] == 2
