"""A challenge: a `connect` filter asks the client a question, and its first message decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import Harness, build

SOURCE = """
from fws import Ask, Close, Filter, Reject


class Riddle(Filter):
    def connect(self, client):
        return Ask(self.answer, 5.0)

    def answer(self, client, message):
        if message == "close":
            raise Close(4000, "as you wish")
        if message == "bug":
            raise RuntimeError("a bug")
        if message != "sesame":
            raise Reject(403, "Wrong word.")
        client.identity = {"user": "ali"}


class Picky(Filter):
    def connect(self, client):
        if client.request.query.get("picky"):
            raise Reject(409, "Not today.")
"""
TOML = """
[pipelines]
connect    = ["join lobby", "reply before", "m.riddle", "m.picky", "reply 'hello {identity.user}'", "join vip"]
message    = ["broadcast lobby"]
disconnect = ["publish lobby 'somebody has left'"]
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(TOML, tmp_path, pipelines={"m": SOURCE})


def test_a_good_answer_admits_the_client(harness: Harness) -> None:
    client = harness.connect()
    assert harness.sent(client) == ["before"]
    assert harness.hub.members("lobby") == [], "memberships rest until the client is admitted"
    harness.client_says(client, "sesame")
    assert harness.sent(client) == ["hello ali"]
    assert (harness.hub.members("lobby"), harness.hub.members("vip")) == ([client], [client])
    harness.client_says(client, "hi")
    assert harness.sent(client) == ["hi"]
    harness.pass_time(6)
    assert harness.closed(client) is None
    assert len(harness.node.context.timers) == 0


def test_publications_before_the_answer_do_not_reach_the_client(harness: Harness) -> None:
    client = harness.connect()
    harness.channels.publish("lobby", "secret")
    harness.settle()
    assert harness.sent(client) == ["before"]
    harness.client_says(client, "sesame")
    assert harness.sent(client) == ["hello ali"]


@pytest.mark.parametrize(
    ("answer", "closed", "counted"),
    [
        ("wrong", (4403, "Wrong word."), {"refused_403": 1}),
        ("bug", (4500, "A filter failed."), {"refused_500": 1, "filter_faults": 1}),
        ("close", (4000, "as you wish"), {}),
    ],
)
def test_another_answer_ends_the_connection(
    harness: Harness, answer: str, closed: tuple[int, str], counted: dict[str, int]
) -> None:
    """Nothing after the answer is served, and the `disconnect` pipeline does not run."""
    member = harness.connect()
    harness.client_says(member, "sesame")
    harness.sent(member)
    client = harness.connect()
    peer = harness.peers[client]
    harness.arrive(client, peer.frame(answer) + peer.frame("sesame") + peer.frame("hi"))
    assert harness.closed(client) == closed
    harness.leave(client)
    assert harness.sent(member) == []
    metrics = harness.metrics.all()
    assert {name: metrics.get(name) for name in counted} == counted
    assert harness.hub.busy == 1


def test_a_later_filter_may_still_refuse_the_client(harness: Harness) -> None:
    client = harness.connect("/?picky=1")
    harness.client_says(client, "sesame")
    assert harness.sent(client) == ["before"]
    assert harness.closed(client) == (4409, "Not today.")
    harness.leave(client)
    assert harness.hub.members("lobby") == []


def test_a_client_that_does_not_answer_is_refused_after_the_time(harness: Harness) -> None:
    client = harness.connect()
    harness.pass_time(4.9)
    assert harness.closed(client) is None
    harness.pass_time(0.2)
    assert harness.closed(client) == (4401, "No token in time.")
    assert harness.hub.members("lobby") == []


def test_a_client_that_leaves_without_an_answer_leaves_nothing_behind(harness: Harness) -> None:
    client = harness.connect()
    harness.leave(client)
    assert harness.hub.busy == 0
    harness.pass_time(6)
    assert len(harness.node.context.timers) == 0
    assert harness.metrics["refused_401"] == 0
    assert harness.faults == 0


def test_a_client_that_is_closed_meanwhile_is_not_admitted(harness: Harness) -> None:
    """Such as by a server that is shutting down."""
    client = harness.connect()
    answer = harness.peers[client].frame("sesame")
    client.close(1001, "going away")
    harness.arrive(client, answer)
    assert harness.closed(client) == (1001, "going away")
    assert harness.hub.members("lobby") == []
