"""Guarantees for every receiver, however publications, direct messages, joins, slow sockets and ends interleave.

Random operations drive a real hub and real clients, on recording wires and on real sockets. A simple model defines what
each client must get: each publication to its channels while it was a member, and each direct message, once and in the
order of the model.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.protocol import OPEN

from fws.clients.client import Client
from fws.clients.transport import Transport
from fws.runtime.scheduler import pause
from tests.support import Peer, build, in_hub

LIMIT = 2 * 1024
EVERYONE = "*"
CHANNELS = ("a", "b")
# Both ways to serve a message and a publication, in the loop and in a greenlet; and what others share, or not.
ENDPOINTS = {
    "/plain": 'message = ["model.act"]',
    "/greenlet": 'message = ["model.wait", "model.act"]',
    "/deliver": 'message = ["model.act"]\ndeliver = ["skip_sender"]',
    "/wait": 'message = ["model.act"]\ndeliver = ["skip_sender", "model.wait"]',
    "/small": f'max_outbox = "{LIMIT}B"\nmessage = ["model.act"]',
    "/small-deliver": f'max_outbox = "{LIMIT}B"\nmessage = ["model.act"]\ndeliver = ["skip_sender"]',
}
TOML = "\n".join(f'[endpoints."{path}"]\n{events}' for path, events in ENDPOINTS.items())
FILTERS = '''
import gevent
from fws import Filter


class Act(Filter):
    """Does what the test wrote into the message."""

    waits = False

    def message(self, client, message):
        client.state["act"](message)


class Wait(Filter):
    """Waits now and then."""

    def message(self, client, message):
        if "wait" in message:
            gevent.sleep(0.001)

    def deliver(self, client, publication):
        if publication.message.endswith("7"):
            gevent.sleep(0.001)
'''


class OnWire(Peer):
    """A peer on a recording wire, which may stop reading.

    Attributes:
        stream: all bytes that arrived.
        endless: whether it accepts everything of one turn, as long as it reads.
    """

    endless = True

    def __init__(self, *, compressed: bool = False) -> None:
        super().__init__(compressed=compressed)
        self.stream = b""

    def take(self) -> bytes:
        data = self.received()
        self.stream += data
        return data

    def received(self) -> bytes:
        return super().take()

    def stop(self, room: int) -> None:
        """Read this many more bytes, and then none."""
        self.wire.room = room

    def go_on(self, room: float = math.inf) -> None:
        self.wire.drain(room)

    def end(self) -> None:
        """End the connection from this side."""
        self.wire.hang_up()

    def release(self) -> None:
        pass


class OnSocket(OnWire):
    """The same on a pair of real sockets with small buffers. Bytes that are not read here block the server's side."""

    endless = False

    def __init__(self, *, compressed: bool = False) -> None:
        super().__init__(compressed=compressed)
        ours, self.sock = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel makes it 4,608
        self.sock.setblocking(False)
        self.wire = Transport(ours)
        self._room = math.inf

    def arrive(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:  # the server has ended it
            pass

    def poll(self) -> bool:
        return False  # the loop does

    def received(self) -> bytes:
        data = b""
        try:
            while self._room and (more := self.sock.recv(int(min(65536, self._room)))):
                self._room -= len(more)
                data += more
        except OSError:
            pass
        return data

    def stop(self, room: int) -> None:
        self._room = room

    def go_on(self, room: float = math.inf) -> None:
        self._room = room

    def end(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the server was first
            pass

    def release(self) -> None:
        self.sock.close()


def opcodes(stream: bytes) -> Iterator[int]:
    """The opcode of each complete frame of a server, and -1 for an incomplete one."""
    while stream:
        length, start = stream[1] if len(stream) > 1 else 0, 2
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(stream[2:start])
        yield stream[0] & 0x0F if start + length <= len(stream) else -1
        stream = stream[start + length :]


class Expected:
    """What one client must get.

    Attributes:
        items: the channel, None for a direct message, and the text, in the order of sending.
        got: the items that have arrived.
        certain: this many of the first items must arrive, whatever happens; None for all.
        certain_if_slow: the same if it is closed as a slow consumer.
        closed: whether the server has closed it.
        said: messages from its peer.
        served: those of them that reached its `message` pipeline.
    """

    def __init__(self, path: str, peer: OnWire) -> None:
        self.path = path
        self.peer = peer
        self.items: list[tuple[str | None, str]] = []
        self.got: list[str] = []
        self.certain: int | None = None
        self.certain_if_slow = None if peer.endless else 0
        self.closed = False
        self.said: list[str] = []
        self.served: list[str] = []

    @property
    def small(self) -> bool:
        return self.path.startswith("/small")

    def read(self) -> None:
        """Take what has arrived."""
        self.got += [str(message) for message in self.peer.read()]

    def arrived(self) -> int:
        """Note that this many of the first items have arrived."""
        self.read()
        got = set(self.got)
        return next((place for place, (_, text) in enumerate(self.items) if text not in got), len(self.items))

    def may_lose(self) -> None:
        """From here on, items that have not arrived may be lost."""
        if self.certain is None:
            self.certain = self.arrived()

    def stops(self) -> None:
        """Its peer stops reading, so that a small outbox may exceed its limit."""
        if self.certain_if_slow is None:
            self.certain_if_slow = self.arrived()

    def check(self) -> None:
        """Compare with what has arrived."""
        self.read()
        close = self.peer.protocol.close_rcvd
        certain = len(self.items) if self.certain is None else self.certain
        if close is not None and close.code == 1013:
            assert self.small, "closed as slow below its bound"
            assert self.certain_if_slow is not None, "closed as slow though it always read"
            certain = min(certain, self.certain_if_slow)
        elif self.closed:
            assert close is not None or self.certain is not None, "no Close"
        kinds = list(opcodes(self.peer.stream))
        assert 8 not in kinds[:-1], "something behind its Close"
        assert -1 not in kinds or self.certain is not None, "a frame that is not whole"
        assert self.served == self.said[: len(self.served)], "a message was not served in its turn"
        assert self.served == self.said or close is not None or self.certain is not None, "a message was not served"

        places = {text: place for place, (_, text) in enumerate(self.items)}
        assert set(self.got) <= set(places), "something that was not for it"
        assert len(set(self.got)) == len(self.got), "something twice"
        missing = set(places) - set(self.got)
        assert not any(text in missing for _, text in self.items[:certain]), "something is missing"
        for source in {source for source, _ in self.items}:
            said = [text for origin, text in self.items if origin == source]
            mine = [text for text in self.got if self.items[places[text]][0] == source]
            assert mine == said[: len(mine)], "out of order, or with a gap"
        if self.path == "/wait":
            return  # what its `deliver` pipeline still has comes behind direct messages
        # The channels may come in any order, but a direct message has what was said before it before it.
        part = 0
        parts = {}
        for source, text in self.items:
            part += 1 if source is None or part % 2 else 0
            parts[text] = part
            part += 1 if source is None else 0
        order = [parts[text] for text in self.got]
        assert order == sorted(order), "a direct message and a publication changed places"
        assert not missing or not order or min(parts[text] for text in missing) >= order[-1], "a gap"


class Play:
    """The server, its clients and the model."""

    def __init__(self, folder: Path, peer: type[OnWire]) -> None:
        self.harness = build(TOML, folder, pipelines={"model": FILTERS})
        self.hub = self.harness.hub
        self.expected: dict[Client, Expected] = {}
        self.members: dict[str, set[Client]] = {name: set() for name in (EVERYONE, *CHANNELS)}
        self._count = 0
        self._peer = peer

    # What happens to a server.

    def connect(self, path: str, compressed: bool, channels: Sequence[str]) -> None:
        peer = self._peer(compressed=compressed)
        client = self.harness.connect(path, peer=peer, settle=False)
        client.state["act"] = lambda message: self.act(client, message)
        self.expected[client] = Expected(path, peer)
        self.members[EVERYONE].add(client)
        client.defer(lambda: self.gone(client))
        for channel in channels:
            self.join(client, channel)

    def gone(self, client: Client) -> None:
        self.expected[client].may_lose()
        for members in self.members.values():
            members.discard(client)

    def join(self, client: Client, channel: str) -> None:
        if client in self.members[EVERYONE]:
            self.members[channel].add(client)
        client.join(channel)

    def leave(self, client: Client, channel: str) -> None:
        self.members[channel].discard(client)
        client.leave(channel)

    def text(self, source: str, size: int) -> str:
        """A text that is sent only once."""
        self._count += 1
        return f"{'x' * size}{source}{self._count}"

    def burst(self, channel: str, size: int, count: int) -> None:
        """Publications of one turn, which are joined."""
        for _ in range(count):
            self.publish(channel, size, None, None)

    def publish(self, channel: str, size: int, sender: Client | None, exclude: Client | None) -> None:
        text = self.text(channel, size)
        for client in self.members[channel]:
            expected = self.expected[client]
            skipped = client is sender and "skip_sender" in ENDPOINTS[expected.path]
            if client is not exclude and not skipped and not expected.closed:
                expected.items.append((channel, text))
        by, but = sender.id if sender else None, exclude.id if exclude else None
        if channel == EVERYONE:
            self.harness.channels.broadcast(text, sender=by, exclude=but)
        else:
            self.harness.channels.publish(channel, text, sender=by, exclude=but)

    def send(self, client: Client, size: int) -> None:
        text = self.text("direct", size)
        if client in self.members[EVERYONE] and not self.expected[client].closed:
            self.expected[client].items.append((None, text))
        client.send(text)

    def close(self, client: Client) -> None:
        expected = self.expected[client]
        if expected.path == "/wait":
            expected.may_lose()
        expected.closed = True
        client.close(4000, "closed")

    def act(self, client: Client, message: str) -> None:
        """The client's `message` pipeline."""
        self.expected[client].served.append(message)
        match message.split():
            case ["send", size]:
                self.send(client, int(size))
            case ["publish", channel, size]:
                self.publish(channel, int(size), client, None)
            case ["close"]:
                self.close(client)

    def say(self, client: Client, messages: list[str]) -> None:
        """Messages arrive at the same time."""
        peer = self.expected[client].peer
        if peer.protocol.state is OPEN:
            self.expected[client].said += messages
            peer.arrive(b"".join(peer.frame(message) for message in messages))

    def peer_closes(self, client: Client) -> None:
        """Items before the server has read this must arrive. Later items may arrive."""
        expected = self.expected[client]
        expected.may_lose()
        if expected.peer.protocol.state is OPEN:
            expected.peer.protocol.send_close(1000, "bye")
            expected.peer.arrive(b"".join(expected.peer.protocol.data_to_send()))

    def peer_ends(self, client: Client) -> None:
        self.expected[client].may_lose()
        self.expected[client].peer.end()

    def stop(self, client: Client, room: int) -> None:
        self.expected[client].stops()
        self.expected[client].peer.stop(room)

    def go_on(self, client: Client, room: float) -> None:
        """Its peer reads this many bytes again."""
        if room != math.inf:
            self.expected[client].stops()
        self.expected[client].peer.go_on(room)

    def turn(self) -> None:
        """One shortened turn of the loop, and then the turn of the sockets."""
        self.harness.loop.turn()
        for expected in self.expected.values():
            in_hub(expected.peer.poll)
        pause()
        for client, expected in self.expected.items():
            expected.read()
            assert client.outbox.size <= LIMIT or client.closing or not expected.small, "more than its outbox may hold"

    def finish(self) -> None:
        """All peers read again. When nothing is pending any more, every client has got its items."""
        for expected in self.expected.values():
            in_hub(expected.peer.go_on)
        quiet = 0
        for _ in range(2000):
            self.turn()
            waits = any(client.busy or client.outbox.waits for client in self.members[EVERYONE])
            quiet = 0 if waits or self.hub.pending else quiet + 1
            if quiet == 5:
                break
        else:
            raise AssertionError("the server does not come to rest")
        for client, expected in self.expected.items():
            expected.check()
            if client.close_code == 1013 and expected.certain is None:
                assert expected.peer.protocol.close_rcvd is not None, "a slow consumer got no Close"
        assert self.harness.faults == 0
        assert (self.hub.weight, self.hub.crowded) == (0, False)
        for member in list(self.hub.clients.values()):
            assert isinstance(member, Client)
            self.harness.leave(member)
        assert self.hub.channels() == []

    def release(self) -> None:
        for client, expected in self.expected.items():
            client.release()
            expected.peer.release()


numbers = st.integers(0, 30)
channels = st.sampled_from(CHANNELS)
everywhere = st.sampled_from([EVERYONE, *CHANNELS])
sizes = st.sampled_from([0, 0, 100, 1000])
words = st.one_of(
    st.builds("send {}".format, sizes),
    st.builds("publish {} {}".format, everywhere, sizes),
    st.sampled_from(["wait", "wait", "close"]),
)
connects = st.tuples(
    st.just("connect"),
    st.sampled_from(sorted(ENDPOINTS)),
    st.booleans(),
    st.sampled_from([CHANNELS, CHANNELS, "a", "b", ""]),
)
operations = st.one_of(
    st.tuples(st.just("publish"), everywhere, sizes, st.none() | numbers, st.none() | numbers),
    st.tuples(st.just("burst"), everywhere, sizes, st.integers(1, 5)),
    st.tuples(st.just("burst"), everywhere, sizes, st.integers(1, 5)),
    st.tuples(st.just("send"), numbers, sizes),
    st.tuples(st.just("say"), numbers, st.lists(words, min_size=1, max_size=4)),
    st.tuples(st.just("join"), numbers, channels),
    st.tuples(st.just("leave"), numbers, channels),
    st.tuples(st.just("stop"), numbers, st.sampled_from([0, 1, 50, 1500])),
    st.tuples(st.just("go_on"), numbers, st.sampled_from([1, 2000, math.inf])),
    st.tuples(st.just("turn")),
    st.tuples(st.just("turn")),
    connects,
    st.tuples(st.just("close"), numbers),
    st.tuples(st.sampled_from(["peer_closes", "peer_ends"]), numbers),
)


def perform(play: Play, operation: tuple[Any, ...]) -> None:
    """Do one operation. Clients are identified by number."""
    name, *arguments = operation
    clients = list(play.expected)
    if name in ("connect", "turn"):
        getattr(play, name)(*arguments)
        return
    if name == "publish":
        channel, size, sender, exclude = arguments
        among = [None if number is None else clients[number % len(clients)] for number in (sender, exclude)]
        in_hub(lambda: play.publish(channel, size, *among))
        return
    if name == "burst":
        in_hub(lambda: play.burst(*arguments))
        return
    client, *more = clients[arguments[0] % len(clients)], *arguments[1:]
    in_hub(lambda: getattr(play, name)(client, *more))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties")


@pytest.mark.slow
@pytest.mark.parametrize("peer", [OnWire, OnSocket])
@settings(max_examples=150, deadline=None)
@given(
    first=st.lists(connects, min_size=4, max_size=8),
    then=st.lists(operations, min_size=10, max_size=50),
    cut=st.booleans(),
    by_name=st.booleans(),
)
@example(  # what a corked outbox holds is overtaken by nothing that is written to its socket past it
    first=[("connect", "/plain", False, "b"), ("connect", "/greenlet", False, "a"), ("connect", "/plain", False, "b")],
    then=[
        ("turn",),
        ("say", 0, ["publish b 0"]),
        ("say", 1, ["send 0", "publish a 0", "wait"]),
        ("say", 2, ["publish b 0"]),
        ("turn",),
        ("turn",),
    ],
    cut=False,
    by_name=False,
)
def test_every_member_gets_exactly_its_publications(
    folder: Path,
    peer: type[OnWire],
    first: list[tuple[Any, ...]],
    then: list[tuple[Any, ...]],
    cut: bool,
    by_name: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if cut:
            # Every turn is over as soon as somebody looks at the clock, and after each member somebody does.
            patch.setattr("fws.channels.hub.end_of_turn", lambda: 0.0)
            patch.setattr("fws.clients.connection.end_of_turn", lambda: 0.0)
            patch.setattr("fws.channels.channel.CHUNK", 1)
        if by_name:
            patch.setattr("fws.channels.hub.FEW", -10)
        play = Play(folder, peer)
        try:
            for operation in (*first, *then):
                perform(play, operation)
            play.finish()
        finally:
            play.release()
