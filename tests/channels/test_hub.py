"""The hub: membership, one order for all members, and fairness."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from fws.channels.channel import CHUNK
from fws.channels.hub import CROWDED, FULL, Hub
from fws.clients.client import Client
from fws.pipeline.publication import MAX_CHANNEL, Publication
from fws.runtime.scheduler import pause
from tests.support import Harness, build, in_hub

# Members that are too many to be served in one turn, where a turn is over at once.
LARGE = CHUNK + 1
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


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn of the loop ends as soon as the clock is checked."""
    monkeypatch.setattr("fws.channels.hub.end_of_turn", lambda: 0.0)


def written(harness: Harness, clients: list[Client]) -> int:
    """The number of clients to which something has been written."""
    return sum(1 for client in clients if harness.peers[client].wire.written)


@pytest.mark.usefixtures("short_turns")
def test_large_frames_are_not_delivered_at_once(harness: Harness) -> None:
    clients = [harness.connect() for _ in range(10)]
    harness.channels.publish("all", "x" * 100_000)
    harness.loop.turn()
    assert written(harness, clients) == 1
    harness.settle()
    assert written(harness, clients) == 10


@pytest.mark.usefixtures("short_turns")
def test_publications_do_not_queue_behind_clients_that_send_much(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [harness.connect() for _ in range(10)]
    # The queue of those who share a turn, and never has an end.
    monkeypatch.setattr(harness.loop, "later", lambda call: None)
    harness.channels.publish("all", "x" * 100_000)
    harness.settle()
    assert written(harness, clients) == 10


def test_publications_of_one_turn_are_written_in_one_call(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    client = harness.connect()
    calls: list[bytes] = []

    def send(data: bytes) -> int:
        calls.append(data)
        return len(data)

    monkeypatch.setattr(harness.peers[client].wire, "send", send)
    for number in range(5):
        harness.channels.publish("all", f"{number}")
    harness.settle()
    assert calls == [b"\x81\x010\x81\x011\x81\x012\x81\x013\x81\x014"]


def test_a_direct_message_follows_earlier_publications(harness: Harness) -> None:
    """Publications wait for the end of the turn: a direct message must not overtake them."""
    client, other = harness.connect(), harness.connect()
    harness.channels.publish("all", "one")
    harness.channels.broadcast("two")
    client.send("three")
    harness.channels.publish("all", "four")
    client.close(4000, "bye")
    harness.channels.publish("all", "five")
    assert harness.sent(client) == ["one", "two", "three", "four"]
    assert sorted(harness.sent(other)) == ["five", "four", "one", "two"]
    assert harness.closed(client) == (4000, "bye")


def test_a_new_member_gets_later_publications_only(harness: Harness) -> None:
    client = harness.connect()
    client.leave("all")
    harness.channels.publish("all", "before")
    client.join("all")
    harness.channels.publish("all", "between")
    client.leave("all")
    harness.channels.publish("all", "after")
    client.join("all")
    assert harness.sent(client) == ["between"]


def test_only_publishers_are_not_read_while_too_much_is_pending(tmp_path: Path) -> None:
    """Fault: a flooded channel delayed all clients by half a second, even those that were not members."""
    harness = build(PLAIN + '[endpoints."/echo"]\nconnect = ["join other"]\nmessage = ["echo"]\n', tmp_path)
    client, other = harness.connect(), harness.connect("/echo")
    harness.client_says(client, "first")
    harness.client_says(other, "first")
    assert harness.sent(client) == harness.sent(other) == ["first"]
    in_hub(lambda: harness.channels.publish("all", "x" * CROWDED))
    assert harness.hub.crowded
    for one in (client, other):
        harness.peers[one].wire.arrive(harness.peers[one].frame("hello"))
        in_hub(harness.peers[one].wire.poll)
    assert client.busy
    assert not other.busy
    assert harness.peers[other].read() == ["hello"]
    assert harness.hub.crowded
    assert harness.sent(client) == ["x" * CROWDED, "hello"]
    assert not harness.hub.crowded
    assert not client.busy


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("excluded", [False, True])
def test_many_publications_to_members_with_a_deliver_pipeline_are_not_delivered_at_once(
    tmp_path: Path, excluded: bool
) -> None:
    """Fault: a batch of a thousand was written to sixty-four members in one turn, which took half a second."""
    harness = build('[pipelines]\nconnect = ["join all"]\ndeliver = ["log level=debug"]\n', tmp_path)
    first, second = harness.connect(), harness.connect()
    exclude = first.id if excluded else None
    for number in range(10):
        harness.channels.publish("all", f"{number}", exclude=exclude)
    harness.loop.turn()
    # A frame of these has three bytes.
    assert sum(len(harness.peers[one].wire.written) for one in (first, second)) <= 3
    heard = [str(number) for number in range(10)]
    assert harness.sent(second) == heard
    assert harness.sent(first) == ([] if excluded else heard)


def test_a_publisher_with_a_greenlet_waits_while_too_much_is_on_its_way(harness: Harness) -> None:
    client = harness.connect()
    done: list[int] = []

    def publish() -> None:
        for number in range(3):
            harness.channels.publish("all", "x" * CROWDED)
            done.append(number)

    publisher = gevent.spawn(publish)
    gevent.sleep(0)
    assert done == []
    while not publisher.ready():
        harness.settle()
        pause()
    assert len(harness.sent(client)) == 3


def test_endless_publications_are_dropped_and_counted(harness: Harness) -> None:
    """Backpressure cannot stop a filter that does not block. This limit is for a message that publishes many."""
    client = harness.connect()

    def publish() -> None:
        for _ in range(2 * FULL // CROWDED):
            harness.channels.publish("all", "x" * CROWDED)

    in_hub(publish)
    dropped = harness.metrics["publications_dropped"]
    assert dropped >= FULL // CROWDED - 1
    assert len(harness.sent(client)) == 2 * FULL // CROWDED - dropped


def test_a_disconnected_client_cannot_join(harness: Harness) -> None:
    """A filter that blocks while its client disconnects must not leave a stale member."""
    client = harness.connect()
    harness.leave(client)
    client.join("late")
    assert harness.hub.channels() == []


def test_a_publication_goes_to_members_once_and_only_to_them(harness: Harness) -> None:
    member, outsider = harness.connect(), harness.connect()
    outsider.leave("all")
    harness.channels.publish("all", "one")
    harness.channels.publish("empty", "nobody")
    harness.channels.broadcast("everyone", exclude=member.id)
    assert harness.sent(member) == ["one"]
    assert harness.sent(outsider) == ["everyone"]


def test_values_are_encoded_and_invalid_values_are_blamed_on_the_publisher(harness: Harness) -> None:
    client = harness.connect()
    harness.channels.publish("all", {"a": [1, None, "ü"]})
    harness.channels.publish("all", b"\x00")
    assert harness.sent(client) == ['{"a":[1,null,"ü"]}', b"\x00"]
    with pytest.raises(TypeError, match="JSON cannot carry"):
        harness.channels.publish("all", {"a": object()})


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00", "\x9b", "x" * (MAX_CHANNEL + 1), "ü" * 101])
def test_names_that_no_channel_can_have(harness: Harness, name: str) -> None:
    client = harness.connect()
    with pytest.raises(ValueError, match="channel"):
        client.join(name)
    with pytest.raises(ValueError, match="channel"):
        harness.channels.publish(name, "x")
    assert client.channels == {"all"}


def test_the_same_bytes_go_to_every_member(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = []
    for _ in range(3):
        client = harness.connect()
        monkeypatch.setattr(type(client.outbox), "write", lambda _, frame, several: frames.append(frame))
    harness.channels.publish("all", "x" * 100)
    harness.settle()
    assert len(frames) == 3
    assert all(frame is frames[0] for frame in frames)


@pytest.mark.usefixtures("short_turns")
def test_a_large_channel_lets_others_run_and_keeps_one_order(harness: Harness) -> None:
    clients = [harness.connect() for _ in range(LARGE)]
    small = harness.connect()
    small.leave("all")
    small.join("small")
    harness.channels.publish("all", "a0")
    harness.channels.publish("small", "quick")
    harness.loop.turn()
    assert 0 < written(harness, clients) < LARGE
    harness.channels.publish("all", "b0")
    clients[-1].send("direct")
    harness.loop.turn()
    assert harness.peers[small].wire.written
    harness.channels.publish("all", "a1")
    assert harness.sent(clients[-1]) == ["a0", "b0", "direct", "a1"]
    assert {tuple(harness.sent(client)) for client in clients[:-1]} == {("a0", "b0", "a1")}
    assert not harness.hub.pending


@pytest.mark.usefixtures("short_turns")
def test_a_client_that_disconnects_during_a_delivery_gets_nothing_more(harness: Harness) -> None:
    clients = [harness.connect() for _ in range(LARGE)]
    last = clients[-1]
    harness.channels.publish("all", "x")
    harness.loop.turn()
    harness.leave(last)
    harness.settle()
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


def test_a_publication_during_a_delivery_follows_it_at_every_member(tmp_path: Path) -> None:
    harness = build(PLAIN + 'deliver = ["nested"]\n', tmp_path, pipelines={"nested": NESTED})
    first, second, third = (harness.connect() for _ in range(3))
    harness.channels.publish("all", "question", sender=second.id)
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
    for channel, message in (("all", "a"), ("two", "b"), ("all", "c")):
        harness.channels.publish(channel, message)
    assert sorted(harness.sent(one)) == ["a", "c", "forwarded b"]
    assert sorted(harness.sent(two)) == ["b", "forwarded a", "forwarded c"]
    assert not harness.hub.pending


def test_publications_that_multiply_are_cut_off(tmp_path: Path) -> None:
    harness = build(PLAIN + 'publication = ["f.doubling"]\n', tmp_path, pipelines={"f": FORWARDING})
    client = harness.connect()
    harness.channels.publish("all", "one")
    assert len(harness.sent(client)) < 1000
    assert harness.faults > 0
    assert not harness.hub.pending


def test_a_slow_member_is_closed_with_1013_and_the_others_get_everything(tmp_path: Path) -> None:
    harness = build('[limits]\nmax_outbox = "10KiB"\n' + PLAIN, tmp_path)
    slow, fast = harness.connect(), harness.connect()
    harness.peers[slow].wire.full = True
    for number in range(30):
        harness.channels.publish("all", f"{number}" * 1000)
    assert len(harness.sent(fast)) == 30
    assert harness.metrics["slow_consumers"] == 1
    harness.peers[slow].wire.drain()
    assert harness.closed(slow) == (1013, "too slow")


def test_publications_are_plain_data(harness: Harness) -> None:
    publication = Publication("all", "x", sender="a")
    assert publication.replace(message="y") == Publication("all", "y", sender="a")
    with pytest.raises(AttributeError):
        publication.message = "z"  # type: ignore[misc]
    assert isinstance(harness.hub, Hub)


LYING = """
import gevent
from fws import Filter


class Lying(Filter):
    waits = False

    def message(self, client, message):
        if message == "wait":
            gevent.sleep(0.001)
        client.send("went on")
"""


def test_a_filter_that_waits_against_its_promise_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    harness = build('[pipelines]\nmessage = ["lying"]\n', tmp_path, pipelines={"lying": LYING})
    client = harness.connect()
    harness.client_says(client, "wait", "go")
    assert harness.sent(client) == ["went on"]
    assert harness.faults == 1
    assert "Lying.message" in caplog.text
    assert "waits = False" in caplog.text


WAITING = """
import gevent
from fws import Filter


class Waiting(Filter):
    def deliver(self, client, publication):
        if client.path == "/slow":
            gevent.sleep(0.05)
        return publication.replace(message=publication.message + "!")
"""


def test_a_deliver_pipeline_that_waits_holds_up_its_own_client_alone(tmp_path: Path) -> None:
    toml = f'[limits]\nmax_outbox = "10KiB"\n{PLAIN}deliver = ["waiting"]\n'
    harness = build(toml, tmp_path, pipelines={"waiting": WAITING})
    slow, fast = harness.connect("/slow"), harness.connect()
    for number in range(5):
        harness.channels.publish("all", f"{number}")
    assert harness.sent(fast) == ["0!", "1!", "2!", "3!", "4!"]
    assert harness.sent(slow) == []
    got: list[str | bytes] = []
    with gevent.Timeout(10):
        while len(got) < 5:
            gevent.sleep(0.05)
            got += harness.sent(slow)
    assert got == ["0!", "1!", "2!", "3!", "4!"]
    for _ in range(30):
        harness.channels.publish("all", "x" * 1000)
        harness.settle()
    assert len(harness.sent(fast)) == 30
    assert harness.metrics["slow_consumers"] == 1
    assert harness.closed(slow) == (1013, "too slow")


ANSWERING = '''
from fws import Filter


class Answering(Filter):
    """Sends the sender of a publication a direct message when the first other client gets it."""

    waits = False

    def deliver(self, client, publication):
        sender = self.hub.clients.get(publication.sender)
        if sender not in (None, client):
            sender.send("delivered " + publication.message)
'''


def test_the_rest_of_a_batch_precedes_a_direct_message(tmp_path: Path) -> None:
    harness = build(PLAIN + 'deliver = ["answering"]\n', tmp_path, pipelines={"answering": ANSWERING})
    first, second = harness.connect(), harness.connect()
    harness.channels.publish("all", "one")
    first.send("direct")
    second.send("direct")
    harness.channels.publish("all", "two", sender=second.id)
    assert harness.sent(second) == ["one", "direct", "two", "delivered two"]
