"""A server without a network: real generations, hubs and clients on recording wires, with clocks that a test moves.

harness = build('[pipelines]\nmessage = ["echo"]', tmp_path)
client = harness.connect("/chat?name=ann")
harness.client_says(client, "hello")
assert harness.sent(client) == ["hello"]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent
from gevent.hub import Waiter
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from fws.base.errors import Reject
from fws.brokers.base import Broker
from fws.brokers.memory import MemoryBroker
from fws.clients.client import Client
from fws.clients.sweeper import Sweeper
from fws.compiler.compile import load_generation
from fws.compiler.generation import Generation
from fws.histories.base import History
from fws.histories.memory import MemoryHistory
from fws.nodes.base import Nodes
from fws.pipeline.services import Services
from fws.presence.base import Presence
from fws.presence.memory import MemoryPresence
from fws.server.node import Node
from fws.storages.memory import MemoryStorage
from fws.wire.deflate import Agreement
from fws.wire.framing import Transport
from fws.wire.head import HeadReader
from fws.wire.request import Request
from tests.wire.events import parse_events


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Wire:
    """A transport that records what is written. It has no descriptor, so that all bytes go through the outbox.

    Attributes:
        written: the bytes so far.
        room: the number of bytes that it still accepts, like a socket whose peer has stopped reading.
        full: whether it accepts nothing.
        under_way: bytes that were accepted and have not reached the peer.
        ended, aborted, closed: whether FIN was sent, the connection reset, the socket closed.
    """

    def __init__(self) -> None:
        self.written = bytearray()
        self.fd = -1
        self.waits = False
        self.room = math.inf
        self.under_way = 0
        self.ended = False
        self.aborted = False
        self.closed = False
        self._callback: Callable[[], None] | None = None
        self._readable: Callable[[], None] | None = None
        self._arrived = bytearray()
        self._hung_up = False

    @property
    def full(self) -> bool:
        return self.room == 0

    @full.setter
    def full(self, full: bool) -> None:
        self.room = 0 if full else math.inf

    def send(self, data: bytes | memoryview, /) -> int:
        if self.full:
            raise BlockingIOError
        sent = int(min(len(data), self.room))
        self.written += data[:sent]
        self.room -= sent
        return sent

    def sendmsg(self, pieces: list[bytes | memoryview], /) -> int:
        return self.send(b"".join(pieces))

    def arrived(self) -> int:
        return len(self.written) - self.under_way if self.under_way else 0

    def when_writable(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def stop_writing(self) -> None:
        self._callback = None

    def drain(self, room: float = math.inf) -> None:
        """The peer reads this many bytes again."""
        self.room = room
        if self._callback is not None:
            self._callback()

    def shutdown(self) -> None:
        self.ended = True

    def arrive(self, data: bytes) -> None:
        """Bytes arrive from the peer."""
        self._arrived += data

    @property
    def unread(self) -> int:
        """The number of bytes that the server has not read yet."""
        return len(self._arrived)

    def hang_up(self) -> None:
        """The peer ends its half of the stream."""
        self._hung_up = True

    def poll(self) -> bool:
        """Call the reader if there is anything to read, as the event loop does."""
        if (self._arrived or self._hung_up) and self._readable is not None:
            self._readable()
            return True
        return False

    def receive(self, most: int) -> bytes | None:
        data = bytes(self._arrived[:most])
        del self._arrived[:most]
        return data if data or self._hung_up else None

    def start_reading(self, callback: Callable[[], None]) -> None:
        self._readable = callback

    def stop_reading(self) -> None:
        self._readable = None

    def claim(self, user: str) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True


class Peer:
    """The other end of a client's connection, with the protocol implementation of an independent library.

    Args:
        compressed: whether permessage-deflate was agreed on.
    """

    def __init__(self, *, compressed: bool = False) -> None:
        self.wire: Any = Wire()
        self.protocol = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
        self.agreement = Agreement("", 15, 15, True) if compressed else None
        if compressed:
            self.protocol.extensions = [PerMessageDeflate(True, True, 15, 15)]

    def frame(self, message: str | bytes) -> bytes:
        """The bytes of a message on the wire."""
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        return b"".join(self.protocol.data_to_send())

    def arrive(self, data: bytes) -> None:
        """Send bytes to the server."""
        self.wire.arrive(data)

    def poll(self) -> bool:
        """In the loop: let the server read. Returns whether there was anything."""
        polled: bool = self.wire.poll()
        return polled

    def take(self) -> bytes:
        """The bytes that arrived since the last call."""
        data = bytes(self.wire.written)
        self.wire.written.clear()
        return data

    def read(self) -> list[str | bytes]:
        """The messages that arrived since the last call."""
        self.protocol.receive_data(self.take())
        frames = [event for event in self.protocol.events_received() if isinstance(event, Frame)]
        texts: dict[Opcode, Callable[[Any], str | bytes]] = {
            Opcode.TEXT: lambda data: bytes(data).decode(),
            Opcode.BINARY: bytes,
        }
        return [texts[frame.opcode](frame.data) for frame in frames if frame.opcode in texts]


class Streamed(Peer):
    """The other end of a response that carries a client: server-sent events or lines.

    Args:
        transport: "sse" or "http_stream".
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._parse = events_of if transport == "sse" else lines_of
        self._rest = b""

    def read(self) -> list[str | bytes]:
        """The data of the events, or the lines, that arrived since the last call."""
        payloads, self._rest = self._parse(self._rest + self.take())
        return [*payloads]


def lines_of(stream: bytes) -> tuple[list[str], bytes]:
    """The complete lines of a stream, and the rest."""
    *lines, rest = stream.split(b"\n")
    return [line.decode() for line in lines], rest


def events_of(stream: bytes) -> tuple[list[str], bytes]:
    """The data of the complete events of a stream, and the rest."""
    end = stream.rfind(b"\n\n")
    if end < 0:
        return [], stream
    return [event.data for event in parse_events(stream[: end + 2].decode())], stream[end + 2 :]


class Loop:
    """A scheduler whose turns a test runs one by one. Its calls run in gevent's hub, as in a server."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self._clock = clock
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._soon: list[Callable[[], None]] = []
        self._later: list[Callable[[], None]] = []
        self._greenlets: list[Any] = []

    def soon(self, call: Callable[..., None], *arguments: Any) -> None:
        self._soon.append(lambda: call(*arguments))

    @property
    def crowded(self) -> bool:
        return bool(self._later)

    def later(self, call: Callable[[], None]) -> None:
        self._later.append(call)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append((self._clock() + seconds, call))

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._greenlets.append(gevent.spawn(function, *arguments))

    def turn(self) -> bool:
        """Make the calls that are due, and let greenlets run. Returns whether there was anything to do."""
        now = self._clock()
        due = [timer for timer in self._timers if timer[0] <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        calls, self._soon = self._soon + [call for _, call in due], []
        for call in calls:
            in_hub(call)
        calls, self._later = self._later, []
        self._soon += calls
        greenlets, self._greenlets = self._greenlets, []
        gevent.joinall(greenlets, timeout=5, raise_error=True)
        return bool(self._soon or greenlets or any(when <= now for when, _ in self._timers))


def in_hub(call: Callable[[], Any]) -> Any:
    """Call a function in gevent's hub, where blocking is an error."""
    outcome: list[Any] = []
    waiter = Waiter()

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))
        waiter.switch(None)

    gevent.get_hub().loop.run_callback(run)
    waiter.get()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


class Harness:
    """A hub with one generation, and the clients that a test connects.

    Attributes:
        clock: monotonic seconds, from 1000.
        wall: Unix time, from 2026-01-02 03:04:05 UTC.
        patience: seconds of real time for which `settle` waits for clients whose filters block. On a slow machine a
            client's greenlet may pause for a moment, as its turn was over. A test of a filter that asks a real service
            or program needs more.
    """

    def __init__(
        self,
        file: Path,
        environ: Mapping[str, str],
        broker: Broker | None = None,
        history: History | None = None,
        presence: Presence | None = None,
        nodes: Nodes | None = None,
    ) -> None:
        self.clock = Clock(1000.0)
        self.wall = Clock(1767323045.0)
        generation = load_generation(file, Services(clock=self.clock, wall=self.wall), environ)
        self.loop = Loop(self.clock)
        self.storage = MemoryStorage(self.clock)
        scheduler: Any = self.loop
        services = generation.services
        self.node = Node(
            generation,
            scheduler=scheduler,
            broker=broker or MemoryBroker(),
            storage=self.storage,
            history=history or MemoryHistory(self.clock, generation.config.limits.history_memory, services.metrics),
            presence=presence or MemoryPresence(self.clock, services.timers),
            nodes=nodes,
        )
        self.hub = self.node.hub
        self.channels = self.node.channels
        self.node.start()
        self.metrics = self.node.context.metrics
        self.peers: dict[Client, Peer] = {}
        self.patience = 0.0015

    @property
    def generation(self) -> Generation:
        """The generation in force."""
        return self.node.generation

    def connect(
        self,
        target: str = "/",
        *,
        headers: Mapping[str, str] | None = None,
        address: str = "192.0.2.1",
        identity: dict[str, Any] | None = None,
        peer: Peer | None = None,
        settle: bool = True,
        transport: Transport = "websocket",
        commands: str = "",
    ) -> Client:
        """A client with a completed handshake. Raises Reject if `connect` refuses it.

        Args:
            peer: the other end; by default one on a recording wire.
            transport: what carries the client.
            commands: its first commands, over plain HTTP.
            settle: whether to run the loop until nothing is left to do.
        """
        lines = [
            f"GET {target} HTTP/1.1",
            "Host: localhost",
            *(f"{k}: {v}" for k, v in (headers or {}).items()),
            "",
            "",
        ]
        head = HeadReader().feed("\r\n".join(lines).encode())
        assert head is not None
        route = self.generation.route(target.partition("?")[0])
        if route is None:
            raise Reject(404)
        endpoint, params = route
        client = Client(endpoint, Request(head, params, address), self.node, "", transport)
        client.identity = identity
        client.connect()
        streams = transport != "websocket"
        peer = self.peers[client] = peer or (Streamed(transport) if streams else Peer())
        client.open(peer.wire, b"", peer.agreement, b"")
        if streams:
            self.loop.soon(client.hear, commands)
        if settle:
            self.settle()
        return client

    def settle(self) -> None:
        """Run the loop until nothing is left to do."""
        rested = 0.0
        for _ in range(100_000):
            if self.turn():
                rested = 0.0
            elif rested >= self.patience or not any(client.busy for client in self.peers):
                return
            else:
                rested += 0.0005
                gevent.sleep(0.0005)
        raise AssertionError("the loop does not come to rest")

    def turn(self) -> bool:
        """One turn of the loop, and then of the sockets. Returns whether there was anything to do."""
        turned = self.loop.turn()
        polled = [in_hub(peer.poll) for peer in self.peers.values()]
        return turned or any(polled)

    def arrive(self, client: Client, data: bytes) -> None:
        """Bytes arrive from the client, and the loop runs until nothing is left to do."""
        self.peers[client].arrive(data)
        self.settle()

    def arrive_now(self, client: Client, message: str) -> None:
        """A message arrives, and the loop takes a few turns. A filter may still wait afterwards."""
        self.peers[client].arrive(self.peers[client].frame(message))
        for _ in range(3):
            self.turn()

    def client_says(self, client: Client, *messages: str | bytes) -> None:
        """Messages arrive from the client, one frame each."""
        for message in messages:
            self.arrive(client, self.peers[client].frame(message))

    def sent(self, client: Client) -> list[str | bytes]:
        """The messages that the client got since the last call."""
        self.settle()
        return self.peers[client].read()

    def closed(self, client: Client) -> tuple[int, str] | None:
        """The code and reason of the client's Close frame; None without one."""
        self.sent(client)
        received = self.peers[client].protocol.close_rcvd
        return None if received is None else (received.code, received.reason)

    def pass_time(self, seconds: float) -> None:
        """Move both clocks, and run the sweeper."""
        self.clock.advance(seconds)
        self.wall.advance(seconds)
        Sweeper(self.hub, self.node.context).sweep(self.clock.now)
        self.settle()

    def counted(self, prefix: str) -> dict[str, int]:
        """The counters with this prefix, by the rest of their names."""
        return {k.removeprefix(prefix): v for k, v in self.metrics.all().items() if k.startswith(prefix)}

    def leave(self, client: Client) -> None:
        """The client's connection ends."""
        client.disconnect()

    @property
    def faults(self) -> int:
        """The number of errors of filters."""
        return self.metrics["filter_faults"]


def build(
    toml: str,
    tmp_path: Path,
    *,
    pipelines: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    broker: Broker | None = None,
    history: History | None = None,
    presence: Presence | None = None,
    nodes: Nodes | None = None,
) -> Harness:
    """A harness for a configuration.

    Args:
        pipelines: source code by module name, as in a project's `pipelines/`.
        environ: the values of `${NAME}`. The environment of the process is not used.
        broker, history, presence, nodes: None for those of a single process.

    Raises:
        ConfigError: as `load_generation`.
    """
    (tmp_path / "pipelines").mkdir(exist_ok=True)
    for name, source in (pipelines or {}).items():
        (tmp_path / "pipelines" / f"{name}.py").write_text(source)
    file = tmp_path / "test.toml"
    file.write_text(toml)
    return Harness(file, environ or {}, broker, history, presence, nodes)
