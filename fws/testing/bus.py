"""Nodes in one process: a broker that carries envelopes from hub to hub, as Redis would.

What passes from node to node is encoded and decoded, so that a test sees what another node would see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fws.brokers.base import Deliver
from fws.brokers.envelope import decode, encode
from fws.brokers.pattern import matcher
from fws.pipeline.publication import Publication


class Bus:
    """Carries payloads by channel to all nodes when `turn` is called."""

    def __init__(self) -> None:
        self.nodes: list[BusBroker] = []
        self.waiting: list[tuple[str | None, bytes]] = []

    def turn(self) -> int:
        """Carry all waiting payloads. Returns their number."""
        waiting, self.waiting = self.waiting, []
        for channel, payload in waiting:
            for node in self.nodes:
                node.take(channel, payload)
        return len(waiting)


class BusBroker:
    """One node's broker.

    Args:
        subscribe: channels of other applications, and patterns for their names.
    """

    def __init__(self, bus: Bus, subscribe: Sequence[str] = ()) -> None:
        self._bus = bus
        self._name = f"node{len(bus.nodes)}"
        self._further = [matcher(name.encode()) for name in subscribe]
        self.channels: set[str | None] = {None}
        bus.nodes.append(self)

    def start(self, deliver: Deliver, crowded: Callable[[], bool]) -> None:
        self._deliver = deliver

    def stop(self, timeout: float) -> None:
        pass

    def publish(self, publication: Publication) -> None:
        payload = encode(publication, self._name)
        self._deliver(publication)
        self._bus.waiting.append((publication.channel, payload))

    def take(self, channel: str | None, payload: bytes) -> None:
        wanted = channel in self.channels or any(match((channel or "").encode()) for match in self._further)
        if wanted and (publication := decode(channel, payload, self._name)) is not None:
            self._deliver(publication)

    def subscribe(self, channel: str) -> None:
        self.channels.add(channel)

    def unsubscribe(self, channel: str) -> None:
        self.channels.discard(channel)

    def health(self) -> str | None:
        return None
