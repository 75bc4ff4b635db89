"""The hub: membership, one order for all members, and nothing in the way of anybody."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from fws.hub import AT_ONCE, MAX_CHANNEL, SEND, Hub
from fws.publication import Publication
from tests.support import Harness, build

# Members that are too many to be served at once.
LARGE = AT_ONCE // SEND + 1
PLAIN = '[pipelines]\nconnect = ["join all"]\nmessage = ["broadcast all"]\n'


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(PLAIN, tmp_path)


def test_members_come_and_go(harness: Harness) -> None:
    first, second = harness.connect(), harness.connect()
    hub = harness.hub
    assert hub.members("all") == [first, second]
    first.join("other")
    first.join("other")
    assert (hub.members("other"), sorted(hub.channels()), first.channels) == (
        [first],
        ["all", "other"],
        {"all", "other"},
    )
    first.leave("all")
    first.leave("never joined")
    assert hub.members("all") == [second]
    harness.leave(first)
    assert (hub.channels(), list(hub.clients.values())) == (["all"], [second])


def test_large_frames_are_not_delivered_at_once(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fws.loop.BUDGET", 0.0)
    clients = [harness.connect() for _ in range(10)]
    seen: list[int] = []
    delivery = gevent.spawn(harness.hub.publish, "all", "x" * AT_ONCE)
    gevent.spawn(lambda: seen.append(sum(1 for client in clients if harness.peers[client].wire.written)))
    delivery.get()
    assert 0 < seen[0] < 10


def test_one_who_left_cannot_join(harness: Harness) -> None:
    """A filter that waited while its client went must not leave a member behind for ever."""
    client = harness.connect()
    harness.leave(client)
    client.join("late")
    assert harness.hub.channels() == []


def test_a_publication_goes_to_members_once_and_only_to_them(harness: Harness) -> None:
    member, outsider = harness.connect(), harness.connect()
    outsider.leave("all")
    harness.hub.publish("all", "one")
    harness.hub.publish("empty", "nobody")
    harness.hub.broadcast("everyone", exclude=member.id)
    assert harness.sent(member) == ["one"]
    assert harness.sent(outsider) == ["everyone"]


def test_values_are_encoded_and_what_json_cannot_carry_is_the_publishers_fault(harness: Harness) -> None:
    client = harness.connect()
    harness.hub.publish("all", {"a": [1, None, "ü"]})
    harness.hub.publish("all", b"\x00")
    assert harness.sent(client) == ['{"a":[1,null,"ü"]}', b"\x00"]
    with pytest.raises(TypeError, match="JSON cannot carry"):
        harness.hub.publish("all", {"a": object()})


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00", "\x9b", "x" * (MAX_CHANNEL + 1), "ü" * 101])
def test_names_that_no_channel_can_have(harness: Harness, name: str) -> None:
    client = harness.connect()
    with pytest.raises(ValueError, match="channel"):
        client.join(name)
    with pytest.raises(ValueError, match="channel"):
        harness.hub.publish(name, "x")
    assert client.channels == {"all"}


def test_the_same_bytes_go_to_every_member(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = []
    for _ in range(3):
        client = harness.connect()
        monkeypatch.setattr(type(client.outbox), "write", lambda _, frame: frames.append(frame))
    harness.hub.publish("all", "x" * 100)
    assert len(frames) == 3
    assert all(frame is frames[0] for frame in frames)


def test_a_large_channel_lets_others_run_and_keeps_one_order(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fws.loop.BUDGET", 0.0)
    clients = [harness.connect() for _ in range(LARGE)]
    turns = []

    def publish(name: str) -> None:
        for number in range(3):
            harness.hub.publish("all", f"{name}{number}")
            turns.append(name)

    bystander = []
    greenlets = [
        gevent.spawn(publish, "a"),
        gevent.spawn(publish, "b"),
        gevent.spawn(lambda: bystander.append(len(turns))),
    ]
    gevent.joinall(greenlets, raise_error=True)
    orders = {tuple(harness.sent(client)) for client in clients}
    assert len(orders) == 1
    order = orders.pop()
    assert sorted(order) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert [said for said in order if str(said).startswith("a")] == ["a0", "a1", "a2"]
    assert bystander[0] < 6
    assert not harness.hub._turns


def test_one_who_leaves_during_a_delivery_gets_no_more(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fws.loop.BUDGET", 0.0)
    clients = [harness.connect() for _ in range(LARGE)]
    last = clients[-1]
    delivery = gevent.spawn(harness.hub.publish, "all", "x")
    gevent.spawn(harness.leave, last)
    delivery.get()
    assert harness.peers[last].wire.written == b""
    assert harness.sent(clients[0]) == ["x"]


NESTED = '''
from fws import Filter


class Nested(Filter):
    """Answers on the same channel while the question is being delivered."""

    def deliver(self, client, publication):
        if publication.message == "question" and client.id == publication.sender:
            self.hub.publish("all", "answer")
'''


def test_what_is_published_during_a_delivery_follows_it_at_every_member(tmp_path: Path) -> None:
    harness = build(PLAIN + 'deliver = ["nested"]\n', tmp_path, pipelines={"nested": NESTED})
    first, second, third = (harness.connect() for _ in range(3))
    harness.hub.publish("all", "question", sender=second.id)
    assert [harness.sent(client) for client in (first, second, third)] == [["question", "answer"]] * 3


FORWARDING = '''
import gevent
from fws import Filter


class Forwarding(Filter):
    """Publishes to the other channel what arrives on one, after a wait."""

    def publication(self, publication):
        gevent.sleep(0.001)
        other = {"all": "two", "two": "all"}[publication.channel]
        if not publication.message.startswith("forwarded"):
            self.hub.publish(other, "forwarded " + publication.message)


class Doubling(Filter):
    """Publishes two for one."""

    def publication(self, publication):
        self.hub.publish(publication.channel, "again")
        self.hub.publish(publication.channel, "again")
'''


def test_channels_that_forward_to_each_other_do_not_wait_for_ever(tmp_path: Path) -> None:
    harness = build(PLAIN + 'publication = ["f.forwarding"]\n', tmp_path, pipelines={"f": FORWARDING})
    one, two = harness.connect(), harness.connect()
    two.leave("all")
    two.join("two")
    greenlets = [gevent.spawn(harness.hub.publish, *what) for what in (("all", "a"), ("two", "b"), ("all", "c"))]
    gevent.joinall(greenlets, timeout=5, raise_error=True)
    assert all(greenlet.ready() for greenlet in greenlets)
    assert sorted(harness.sent(one)) == ["a", "c", "forwarded b"]
    assert sorted(harness.sent(two)) == ["b", "forwarded a", "forwarded c"]
    assert not harness.hub._turns


def test_publications_that_multiply_are_cut_off(tmp_path: Path) -> None:
    harness = build(PLAIN + 'publication = ["f.doubling"]\n', tmp_path, pipelines={"f": FORWARDING})
    client = harness.connect()
    harness.hub.publish("all", "one")
    assert len(harness.sent(client)) < 1000
    assert harness.faults > 0
    assert not harness.hub._turns


def test_a_slow_member_is_closed_with_1013_and_the_others_get_everything(tmp_path: Path) -> None:
    harness = build('[server]\nmax_outbox = "10KiB"\n' + PLAIN, tmp_path)
    slow, fast = harness.connect(), harness.connect()
    harness.peers[slow].wire.full = True
    for number in range(30):
        harness.hub.publish("all", f"{number}" * 1000)
    assert len(harness.sent(fast)) == 30
    assert harness.hub.metrics["slow_consumers"] == 1
    harness.peers[slow].wire.drain()
    assert harness.closed(slow) == (1013, "too slow")


def test_publications_are_plain_data(harness: Harness) -> None:
    publication = Publication("all", "x", sender="a")
    assert publication.replace(message="y") == Publication("all", "y", sender="a")
    with pytest.raises(AttributeError):
        publication.message = "z"  # type: ignore[misc]
    assert isinstance(harness.hub, Hub)
