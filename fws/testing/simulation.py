"""Servers without a network: real generations, hubs, clients and filters, in-memory parts, and a clock that is moved.

with Simulation(load("conf/chat.toml")) as simulation:
    ann = simulation.connect("ann", "/chat")
    ann.say("hello")
    simulation.settle()
    print(ann.received)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import gevent

from fws.auth.login import Login, TokenRequest
from fws.base.close_codes import GOING_AWAY
from fws.base.errors import Refusal
from fws.base.timers import Timers
from fws.clients.client import Client
from fws.clients.sweeper import TICK, Sweeper
from fws.compiler.compile import generation_of, project_of
from fws.compiler.generation import Generation
from fws.compiler.registry import Registry
from fws.config import Document
from fws.pipeline.component import Component
from fws.pipeline.publication import Publication
from fws.pipeline.services import Services
from fws.runtime.scheduler import Scheduler
from fws.server.node import Node
from fws.server.upgrade import route
from fws.storages.memory import MemoryStorage
from fws.testing.bus import Bus, BusBroker, BusHistory, BusNodes, BusPresence
from fws.testing.loop import Clock, Loop
from fws.testing.peer import Peer, Received
from fws.testing.trace import Trace
from fws.wire.handshake import check
from fws.wire.head import HeadReader

# The clocks of a simulation begin at these times: 2026-01-01 00:00:00 UTC.
WALL = 1767225600.0
MONOTONIC = 1000.0
# Seconds of real time that a filter may block. A filter that calls a database does.
PATIENCE = 5.0
# The most turns of the loop after one action. More than this is an endless exchange.
MAX_TURNS = 100_000
# The most steps in which a long time passes.
MAX_STEPS = 1000
# Any valid key will do (RFC 6455 1.3).
_UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)


class SimulationError(Exception):
    """The simulation cannot go on: what the transcript wants is impossible, or a filter does not come to an end."""


def _raise(error: BaseException) -> None:
    """What the simulation itself does must not fail."""
    raise error


class SimulatedClient(Client):
    """A client that tells the trace which stage sends to it. Its id is its name in the transcript."""

    __slots__ = ()

    def send(self, message: Any) -> bool:
        host: Any = self._host
        host.trace.wrote(message)
        return super().send(message)


class SimulatedBroker(BusBroker):
    """A broker that tells the trace which stage publishes."""

    def __init__(self, bus: Bus, subscribe: Iterable[str], trace: Trace) -> None:
        super().__init__(bus, list(subscribe))
        self._trace = trace

    def publish(self, publication: Publication) -> None:
        self._trace.wrote(publication.message)
        super().publish(publication)


class SimulatedNode(Node):
    """A node that has a trace."""

    trace: Trace


class Speaker:
    """A client of the simulation, as its user sees it.

    Attributes:
        name: in the transcript.
        client: the server's side; None if the connection was refused.
        peer: the other end.
    """

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self.client: Client | None = None
        self.peer = peer

    @property
    def received(self) -> list[Received]:
        return self.peer.received

    @property
    def connected(self) -> bool:
        return self.client is not None and not self.peer.ended and not self.client.closing


class Simulation:
    """Some nodes with the same configuration, connected as by Redis, and their clients.

    Args:
        document: the configuration.
        environ: the values of `${NAME}`.
        nodes: the names of the nodes.
        explain: as for `Trace`.
        registry: the filters of the project; read from its folder if None.
        wall: the Unix time at which it begins.

    Raises:
        ConfigError: the configuration has problems.

    Attributes:
        clock, wall: the clocks of all nodes.
        speakers: the clients by name.
        trace: what the stages did.
    """

    def __init__(
        self,
        document: Document,
        environ: Mapping[str, str],
        nodes: Iterable[str] = ("",),
        *,
        explain: bool = False,
        registry: Registry | None = None,
        wall: float = WALL,
    ) -> None:
        self.clock = Clock(MONOTONIC)
        self.wall = Clock(wall)
        self._next_sweep = MONOTONIC + TICK
        self.trace = Trace(explain=explain)
        self.speakers: dict[str, Speaker] = {}
        self.nodes: dict[str, SimulatedNode] = {}
        self._document = document
        self._environ = environ
        self._registry = registry
        self._loop = Loop(self.clock)
        # What no node owns.
        self._timers = Timers()
        self._bus = Bus(self.clock, self._timers)
        self._storage = MemoryStorage(self.clock)
        for name in sorted(set(nodes)):
            self.add_node(name)
        self.settle()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def add_node(self, name: str) -> None:
        """Start a further node. Raises ConfigError, and SimulationError if a filter fails to start."""
        services = Services(self.clock, self.wall)
        services.simulated = True
        generation = generation_of(self._document, self._environ, services, registry=self._registry)
        scheduler: Scheduler = self._loop  # type: ignore[assignment]
        broker = SimulatedBroker(self._bus, generation.config.redis.subscribe, self.trace)
        kept: dict[str, Any] = {
            "history": BusHistory(self._bus),
            "presence": BusPresence(self._bus),
            "nodes": BusNodes(self._bus),
        }
        node = SimulatedNode(
            generation,
            scheduler=scheduler,
            broker=broker,
            storage=self._storage,
            **kept,
        )
        node.trace = self.trace
        self.nodes[name] = node
        node.start()
        for pipeline in generation.pipelines():
            pipeline.observe(self.trace)
        self._start(generation)
        node.serve()

    @staticmethod
    def _start(generation: Generation, without: Collection[Component] = ()) -> None:
        """Start the filters. What sources would bring comes from the outside world, which a simulation has none of."""
        try:
            generation.start([*without, *generation.sources])
        except Exception as error:  # a user's filter may raise anything
            raise SimulationError(f"a filter failed to start: {type(error).__name__}: {error}") from error

    def reload(self, document: Document) -> None:
        """Put an edited configuration in force on all nodes. Clients stay connected.

        Raises:
            ConfigError: it has problems.
            SimulationError: a filter fails to start.
        """
        old = next(iter(self.nodes.values())).generation.registry
        registry = Registry(project_of(Path(document.source.file).parent), old)
        generations = [
            generation_of(
                document, self._environ, node.generation.services, registry=registry, previous=node.generation
            )
            for node in self.nodes.values()
        ]
        self._document, self._registry = document, registry
        for node, generation in zip(self.nodes.values(), generations, strict=True):
            self._start(generation, without=node.generation.components)
            for client in node.swap(generation):
                client.close(GOING_AWAY, "the endpoint was removed")
            for pipeline in generation.pipelines():
                pipeline.observe(self.trace)
        self.settle()

    def close(self) -> None:
        """Stop the filters."""
        for node in self.nodes.values():
            node.schedules.stop()
            node.generation.stop(node.generation.sources)

    # What the outside world does.

    def connect(
        self,
        name: str,
        target: str = "/",
        *,
        node: str = "",
        headers: Iterable[tuple[str, str]] = (),
        address: str = "192.0.2.1",
        user: str | None = None,
        claims: Mapping[str, Any] | None = None,
        identity: dict[str, Any] | None = None,
    ) -> Speaker:
        """Ask for a connection. If it is refused, that is what the speaker receives.

        Args:
            user: a token is made for this user, by the login of the endpoint.
            claims: further claims of that token.
            identity: who the client is already, as with a client certificate.

        Raises:
            SimulationError: no token can be made, or the request is not HTTP.
        """
        at = self.nodes[node]
        fields = list(headers)
        if user is not None or claims:
            target, further = self._with_token(at, target, user or "", claims or {})
            fields += further
        lines = [f"GET {target} HTTP/1.1", "Host: localhost", _UPGRADE, *(f"{key}: {value}" for key, value in fields)]
        peer = Peer()
        speaker = self.speakers[name] = Speaker(name, peer)
        limits = at.limits
        try:
            reader = HeadReader(limits.max_head, limits.max_head_line, limits.max_headers)
            head = reader.feed("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
            assert head is not None
            check(head)
            client = route(at, head, address, lambda: None, secure=False, host=None, make=SimulatedClient)
            client.id = name
            client.identity = identity
            client.connect()
        except Refusal as refusal:
            peer.received.append(Received(None, refusal.status, refusal.reason, refused=True))
            peer.ended = True
            return speaker
        speaker.client = client
        if client.protocol == "centrifuge":
            peer.answers = "{}"
        client.open(peer, b"", None, b"")  # type: ignore[arg-type]  # it is what `Client` needs of a transport
        return speaker

    def asks_for_a_token(self, target: str, node: str = "") -> bool:
        """Whether a filter asks clients for a token at this path."""
        return self._login(self.nodes[node], target) is not None

    @staticmethod
    def _login(node: Node, target: str) -> Login | None:
        found = node.generation.route(target.partition("?")[0])
        return found[0].login() if found is not None else None

    def _with_token(
        self, node: Node, target: str, user: str, claims: Mapping[str, Any]
    ) -> tuple[str, list[tuple[str, str]]]:
        """The target and the headers that carry a new token, in a place where the login looks for one."""
        login = self._login(node, target)
        if login is None:
            raise SimulationError(f"nothing asks for a token at {target}: leave out user= and claims=")
        try:
            token = login.make(TokenRequest(user=user, lifetime=3600.0, claims=dict(claims), key=b"", kid="")).token
        except (ValueError, NotImplementedError) as error:
            raise SimulationError(f"no token can be made: {error}") from None
        if "header" in login.from_:
            return target, [("Authorization", f"Bearer {token}")]
        if "cookie" in login.from_:
            return target, [("Cookie", f"{login.cookie}={token}")]
        if "query" in login.from_:
            path, _, query = target.partition("?")
            fields = [field for field in query.split("&") if field and field.split("=")[0] != login.parameter]
            return f"{path}?{'&'.join([*fields, f'{login.parameter}={token}'])}", []
        raise SimulationError(f"{target} takes a token in its first message: write the message")

    def publish(self, channel: str, message: str | bytes) -> None:
        """Another application publishes to a channel, as with `redis-cli PUBLISH`."""
        self._bus.waiting.append((channel, message.encode() if isinstance(message, str) else message))

    def settle(self) -> None:
        """Let everything happen that can happen now.

        Raises:
            SimulationError: a filter blocks for too long, or the clients and filters never come to rest.
        """
        waited = 0.0
        for _ in range(MAX_TURNS):
            if self._loop.turn(self._poll) or self._bus.turn():
                waited = 0.0
            elif not self._loop.due and not self._blocked():
                return
            elif waited >= PATIENCE:
                raise SimulationError(f"a filter has blocked for more than {PATIENCE:g} s of real time")
            else:
                gevent.sleep(0.001)
                waited += 0.001
        raise SimulationError("clients and filters do not come to rest: they answer one another endlessly")

    def _poll(self) -> bool:
        polled = [speaker.peer.poll() for speaker in self.speakers.values()]
        return any(polled)

    def _blocked(self) -> bool:
        """Whether a filter is still handling an event."""
        clients = (speaker.client for speaker in self.speakers.values())
        return any(client is not None and client.busy for client in clients) or any(
            node.channels.filtering or node.hub.leaving or node.schedules.running for node in self.nodes.values()
        )

    def advance(self, seconds: float) -> None:
        """Let time pass, with a sweep every half second as in a server. Raises SimulationError as `settle`.

        Calls of `after` are made when they are due, in at most `MAX_STEPS` steps.
        """
        step = max(TICK, seconds / MAX_STEPS)
        least = seconds / MAX_STEPS
        end, wall = self.clock.now + seconds, self.wall.now + seconds
        while True:
            timer = self._loop.next_timer
            due = self._next_sweep if timer is None else min(self._next_sweep, max(timer, self.clock.now + least))
            if due > end:
                break
            self.wall.advance(due - self.clock.now)
            self.clock.now = due
            if due == self._next_sweep:
                self._next_sweep += step
                for node in self.nodes.values():
                    Sweeper(node.hub, node.context).sweep(self.clock.now)
                self._timers.run(self.clock.now, _raise)
            self.settle()
        self.clock.now, self.wall.now = end, wall
        self.settle()
