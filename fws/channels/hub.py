"""The hub: the clients and channels of this process, and the turns of their fan-out.

It has no sockets. Publications wait at their channel until `_fan_out`, which the scheduler calls when the event loop
has read from all sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

from gevent import get_hub, getcurrent

from fws.brokers.base import Broker
from fws.channels.channel import ENTRY, Channel, Entry
from fws.channels.lineage import Lineage
from fws.channels.member import Member
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.publication import Publication, check_channel
from fws.runtime.context import Context
from fws.runtime.scheduler import end_of_turn, pause
from fws.wire.encoding import payload_of

# A publication of a `publication` filter can cause another one, and so on. A chain that is longer than this is a loop.
MAX_HOPS = 8
# Bytes that are pending for members. Above the first limit, publishers are not read, or wait in their greenlets. Above
# the second limit, publications are dropped and counted. This can only be caused by one message that publishes very
# many.
CROWDED = 1024 * 1024
FULL = 16 * 1024 * 1024
# The assumed size of a value other than text and bytes before it is encoded.
VALUE = 4096
# Up to this many pending channels are checked one by one.
FEW = 8


@runtime_checkable
class Listener(Protocol):
    """Is told what filters send and publish. Its methods must not block or raise."""

    def told(self, client: Any, message: Any) -> None:
        """A message is sent to one client."""

    def published(self, publication: Publication) -> None:
        """A message is published by this node."""

    def arrived(self, publication: Publication) -> None:
        """A publication has come from another node or another application."""


class Hub:
    """Clients and channels of one process.

    Args:
        context: shared by the parts of the process.
        broker: carries publications, and hands them to `deliver`. In a single process this is a plain call.
        publication: the `publication` pipeline in force.

    Attributes:
        clients: the connected clients by id.
        pending: channels with pending entries, in the order of their turns.
        lineage: which publication each greenlet is handling.
        weight: the bytes that are pending for members.
        crowded: whether these are too many, so that publishers must wait (backpressure).
        delivered: about how many messages the fan-out has delivered.
        listener: is told about each message that a filter sends or publishes; None for nobody.
    """

    def __init__(self, context: Context, broker: Broker, publication: Pipeline) -> None:
        self.publication = publication
        self.clients: dict[str, Member] = {}
        # The number of clients whose `disconnect` is running. They are not in `clients` any more.
        self.leaving = 0
        self.delivered = 0
        self.listener: Listener | None = None
        self.pending: dict[Channel, None] = {}
        self.lineage = Lineage()
        self.weight = 0
        self.crowded = False
        self._broker = broker
        self._metrics = context.metrics
        self._scheduler = context.scheduler
        self._faults = context.faults
        # Clients whose `connect` is running. They may join channels, and are not in `clients` yet.
        self._arriving: dict[str, Member] = {}
        self._channels: dict[str, Channel] = {}
        self._everyone = Channel(None)
        self._uncrowded: list[Callable[[], None]] = []
        # Publications that wait because the `publication` filters of their channel are still handling earlier ones.
        self._unfiltered: dict[str | None, deque[Publication]] = {}

    def start(self) -> None:
        """Begin to carry publications. Nothing may be published before."""
        self._broker.start(self.deliver, self._is_crowded)

    def _is_crowded(self) -> bool:
        return self.crowded

    def everybody(self) -> list[Member]:
        """All clients, including those that are connecting or challenged."""
        return [*self.clients.values(), *(client for client in self._arriving.values() if client.is_open)]

    def present(self) -> list[Member]:
        """All clients, including those whose `connect` is running."""
        return [*self.clients.values(), *self._arriving.values()]

    @property
    def busy(self) -> int:
        """The number of clients that are connected, connecting or disconnecting, for which a drain waits."""
        return len(self.clients) + len(self._arriving) + self.leaving

    @property
    def filtering(self) -> bool:
        """Whether `publication` filters are handling publications."""
        return bool(self._unfiltered)

    # Membership.

    def expect(self, client: Member) -> None:
        """A client's `connect` begins. It may join channels."""
        self._arriving[client.id] = client

    def admit(self, client: Member) -> None:
        """A client's `connect` has passed."""
        self._arriving.pop(client.id, None)
        self.clients[client.id] = client
        self._everyone.join(client)

    def remove(self, client: Member) -> None:
        """Remove a client and its memberships."""
        self._arriving.pop(client.id, None)
        if self.clients.pop(client.id, None) is not None:
            self._everyone.leave(client)
        for channel in tuple(client.channels):
            self.leave(client, channel)

    def join(self, client: Member, channel: str) -> None:
        """Make a client a member. Raises ValueError for an invalid name."""
        check_channel(channel)
        if client.id in self.clients or client.id in self._arriving:
            found = self._channels.get(channel)
            if found is None:
                found = self._channels[channel] = Channel(channel)
                self._broker.subscribe(channel)
            found.join(client)
            client.channels.add(channel)

    def leave(self, client: Member, channel: str) -> None:
        found = self._channels.get(channel)
        if found is not None and client in found.members:
            found.leave(client)
            client.channels.discard(channel)
            if not found.members:
                del self._channels[channel]
                self._broker.unsubscribe(channel)

    def members(self, channel: str) -> list[Member]:
        """The local members of a channel, the oldest first."""
        found = self._channels.get(channel)
        return [] if found is None else list(found.members)

    def channels(self) -> list[str]:
        """The names of the channels with local members."""
        return list(self._channels)

    # Publishing.

    def publish(self, channel: str, message: Any, *, sender: str | None = None, exclude: str | None = None) -> None:
        """Send a message to all members of a channel, on every node. At most once to each, in order per channel.

        If a `publication` filter publishes because of a message from another node, nothing is sent to other nodes,
        because that node runs the same filter and sends it. If it publishes because of another application's message,
        which every node gets, each node's publication goes to its own members only.

        Members get it when the loop has read from all sockets, together with other publications until then. A message
        that is sent to a member directly after this call arrives after the publication. In a greenlet, but not in a
        filter with `waits = False`, the call blocks while too much is pending.

        Args:
            sender: id of the client that it comes from.
            exclude: id of one client that must not get it.

        Raises:
            ValueError: the name of the channel is invalid.
            TypeError: a message that JSON cannot carry.
        """
        if channel not in self._channels:
            check_channel(channel)
        self._publish(Publication(channel, message, sender, exclude))

    def broadcast(self, message: Any, *, sender: str | None = None, exclude: str | None = None) -> None:
        """Send a message to every client on every node. Guarantees and errors as for `publish`."""
        self._publish(Publication(None, message, sender, exclude))

    def _publish(self, publication: Publication) -> None:
        if self.lineage:
            handling = self.lineage.current
            if handling is not None:
                event, parent = handling
                if parent.hops >= MAX_HOPS:
                    raise RecursionError(f"publications make one another: {MAX_HOPS} in a row, the last was dropped")
                publication = publication.replace(hops=parent.hops + 1)
                if event == "publication" and parent.origin != "here":
                    # Every node runs the `publication` pipeline on it, so that every node would send this.
                    if parent.origin == "outside":
                        self._metrics.count("publications")
                        self.deliver(publication.replace(origin="outside"))
                    return
        self._metrics.count("publications")
        if self.listener is not None:
            self.listener.published(publication)
        self._broker.publish(publication)
        if self.crowded and not publication.hops:
            self._wait_while_crowded()

    def _wait_while_crowded(self) -> None:
        if getcurrent() is not get_hub():
            while self.crowded:
                pause()

    # Delivery.

    def deliver(self, publication: Publication) -> None:
        """Hand one publication to every local member of its channel. Called by the broker. Never blocks.

        All members of a channel see the same order. A slow consumer is closed, and nobody waits for it.

        Raises:
            TypeError: the message cannot be written as JSON, and there is no `publication` filter that could change it.
        """
        if self.listener is not None and publication.origin != "here":
            self.listener.arrived(publication)
        if self.weight > FULL:
            self._metrics.count("publications_dropped")
            return
        if self.publication:
            self._filter(publication)
        else:
            self._enqueue(publication)

    def _enqueue(self, publication: Publication) -> None:
        name = publication.channel
        channel = self._everyone if name is None else self._channels.get(name)
        if channel is None:
            payload_of(publication.message)
            return
        opcode, payload = payload_of(publication.message)
        exclude = publication.exclude
        excluded = None if exclude is None else self.clients.get(exclude) or self._arriving.get(exclude)
        entry = Entry(publication, opcode, payload, excluded)
        channel.waiting.append(entry)
        self._weigh(entry.weight)
        if not self.pending:
            self._scheduler.soon(self._fan_out)
        self.pending[channel] = None

    def _weigh(self, change: int) -> None:
        self.weight += change
        if self.weight > CROWDED:
            self.crowded = True
        elif self.crowded:
            self.crowded = False
            ready, self._uncrowded = self._uncrowded, []
            for call in ready:
                self._scheduler.soon(call)

    def when_uncrowded(self, call: Callable[[], None]) -> None:
        """Call `call` once, from the event loop, when clients may be read again."""
        self._uncrowded.append(call)

    def _fan_out(self) -> None:
        """In the event loop: write pending entries, channel by channel, for one turn."""
        until = end_of_turn()
        try:
            while self.pending:
                channel = next(iter(self.pending))
                weight = channel.fan_out(until)
                if weight is not None:
                    self._weigh(-weight)
                    self.delivered += channel.reached
                # To the end of the queue, so that a large channel does not delay small ones.
                del self.pending[channel]
                if not channel.idle:
                    self.pending[channel] = None
                if perf_counter() > until:
                    break
        finally:
            if self.pending:
                # Not `later`, because publications must not queue behind clients that send much.
                self._scheduler.after(0.0, self._fan_out)

    def settle(self, client: Member) -> None:
        """Write the pending publications of a client's channels, before something else is sent to it."""
        if len(self.pending) <= len(client.channels) + FEW:
            for channel in tuple(self.pending):
                channel.settle(client)
            return
        self._everyone.settle(client)
        for name in tuple(client.channels):
            if (found := self._channels.get(name)) is not None:
                found.settle(client)

    # The `publication` pipeline: once per publication, in order per channel.

    def _filter(self, publication: Publication) -> None:
        queue = self._unfiltered.get(publication.channel)
        if queue is not None:
            # A filter that handles an earlier publication has made it, or it arrived while that filter blocks. It is
            # handled next.
            queue.append(publication)
            self._weigh(_weight(publication))
            return
        queue = self._unfiltered[publication.channel] = deque((publication,))
        self._weigh(_weight(publication))
        if self.publication.waits:
            self._scheduler.spawn(self._filter_all, publication.channel, queue)
        else:
            self._filter_all(publication.channel, queue)

    def _filter_all(self, name: str | None, queue: deque[Publication]) -> None:
        lineage = self.lineage
        try:
            while queue:
                publication = queue.popleft()
                self._weigh(-_weight(publication))
                outer = lineage.enter("publication", publication)
                try:
                    flowed = self.publication.publish(publication)
                    if isinstance(flowed, Publication):
                        self._enqueue(flowed)
                except (
                    BaseException
                ) as error:  # a filter may raise anything; the event ends, and the next publication follows
                    self._faults.settle("publication", error)
                finally:
                    lineage.leave(outer)
        finally:
            del self._unfiltered[name]


def _weight(publication: Publication) -> int:
    """The approximate size of a publication that is not encoded yet, in bytes."""
    message = publication.message
    return ENTRY + (len(message) if isinstance(message, str | bytes) else VALUE)
