"""The hub: this process's clients, its channels, and the turns in which they are written to.

It knows no socket: what is published waits at its channel until `_fan_out`, which the hub asks its scheduler to call
once the event loop has read what there was to read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

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

# A publication made by a `publication` filter makes another, and so on: longer chains than this are loops.
MAX_HOPS = 8
# Bytes on their way to members. Above the first who publishes is not read, or waits in a greenlet of its own;
# above the second what is published is dropped and counted: it comes from one message that makes very many.
CROWDED = 1024 * 1024
FULL = 16 * 1024 * 1024
# What a value that is no text and no bytes is counted for before it is encoded.
VALUE = 4096
# So few pending channels are asked one by one whether they have something for a client.
FEW = 8


class Hub:
    """Clients and channels of one process.

    Args:
        context: what the process's parts share.
        broker: where publications go; it hands them to `deliver`. In one process it is a plain call.
        publication: the `publication` pipeline in force.

    Attributes:
        clients: all that are connected, by id.
        pending: channels with something on its way, in the order of their turns.
        lineage: which publication each greenlet is handling.
        weight: bytes that are on their way to members.
        crowded: whether these are so many that nothing more should be published.
    """

    def __init__(self, context: Context, broker: Broker, publication: Pipeline) -> None:
        self.publication = publication
        self.clients: dict[str, Member] = {}
        # Clients whose `disconnect` is running: they are in no list any more, but not done.
        self.leaving = 0
        self.pending: dict[Channel, None] = {}
        self.lineage = Lineage()
        self.weight = 0
        self.crowded = False
        self._broker = broker
        self._metrics = context.metrics
        self._scheduler = context.scheduler
        self._faults = context.faults
        # Those whose `connect` is running: they may join channels, but are not among the clients yet.
        self._arriving: dict[str, Member] = {}
        self._channels: dict[str, Channel] = {}
        self._everyone = Channel(None)
        self._uncrowded: list[Callable[[], None]] = []
        # Publications whose channel's `publication` filters are still with earlier ones.
        self._unfiltered: dict[str | None, deque[Publication]] = {}

    def start(self) -> None:
        """Begin to carry publications: before it nobody may publish."""
        self._broker.start(self.deliver, self._is_crowded)

    def _is_crowded(self) -> bool:
        return self.crowded

    def everybody(self) -> list[Member]:
        """All clients, and those that have been asked for a token."""
        return [*self.clients.values(), *(client for client in self._arriving.values() if client.is_open)]

    @property
    def busy(self) -> int:
        """Clients that are here, on their way in, or on their way out: those a drain waits for."""
        return len(self.clients) + len(self._arriving) + self.leaving

    # Membership.

    def expect(self, client: Member) -> None:
        """A client's `connect` begins: it may join channels."""
        self._arriving[client.id] = client

    def admit(self, client: Member) -> None:
        """A client's `connect` has passed."""
        self._arriving.pop(client.id, None)
        self.clients[client.id] = client
        self._everyone.join(client)

    def remove(self, client: Member) -> None:
        """Forget a client and its memberships."""
        self._arriving.pop(client.id, None)
        if self.clients.pop(client.id, None) is not None:
            self._everyone.leave(client)
        for channel in tuple(client.channels):
            self.leave(client, channel)

    def join(self, client: Member, channel: str) -> None:
        """Make a client a member. Raises ValueError for a name that no channel can have."""
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
        """Names of the channels that have local members."""
        return list(self._channels)

    # Publishing.

    def publish(self, channel: str, message: Any, *, sender: str | None = None, exclude: str | None = None) -> None:
        """Send a message to all members of a channel, on every node. At most once to each, in order per channel.

        Of what a `publication` filter publishes about a message that came from another node, nothing is sent: that
        node runs the same filter and sends it. Of what it publishes about another application's message, which every
        node gets, each node's part goes to its own members.

        Members get it once the loop has read what there is to read, together with what else is published until then;
        what is sent to a member directly after this call reaches it after the publication. From a greenlet, not
        from a filter that says it does not wait, the call waits while too much is on its way.

        Args:
            sender: id of the client it comes from.
            exclude: id of one client that must not get it.

        Raises:
            ValueError: a name that no channel can have.
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
                    # Every node runs the `publication` pipeline on it, so that this would come from each of them.
                    if parent.origin == "outside":
                        self._metrics.count("publications")
                        self.deliver(publication.replace(origin="outside"))
                    return
        self._metrics.count("publications")
        self._broker.publish(publication)
        if self.crowded and not publication.hops:
            self._wait_while_crowded()

    def _wait_while_crowded(self) -> None:
        if getcurrent() is not get_hub():
            while self.crowded:
                pause()

    # Delivery.

    def deliver(self, publication: Publication) -> None:
        """Hand one publication to every local member of its channel. Called by the broker. Never waits.

        All members of a channel see the same order. A receiver that is too slow is closed, it is never waited for.

        Raises:
            TypeError: a message that JSON cannot carry, where no `publication` filter may make another of it.
        """
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
        """Call `call` once, from the loop, when reading may go on."""
        self._uncrowded.append(call)

    def _fan_out(self) -> None:
        """From the loop: write what is on its way, channel by channel, for one turn's time."""
        until = end_of_turn()
        try:
            while self.pending:
                channel = next(iter(self.pending))
                weight = channel.fan_out(until)
                if weight is not None:
                    self._weigh(-weight)
                # To the end of the row: a large channel does not hold up small ones.
                del self.pending[channel]
                if not channel.idle:
                    self.pending[channel] = None
                if perf_counter() > until:
                    break
        finally:
            if self.pending:
                # Not `later`: what is published must not queue behind those who send much.
                self._scheduler.after(0.0, self._fan_out)

    def settle(self, client: Member) -> None:
        """Give a client what was published to its channels until now, before something else is sent to it."""
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
            # Made by a filter that is with an earlier one, or come while that waits: it follows.
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
                except BaseException as error:  # a filter may raise anything: the event ends, and the others follow
                    self._faults.settle("publication", error)
                finally:
                    lineage.leave(outer)
        finally:
            del self._unfiltered[name]


def _weight(publication: Publication) -> int:
    """About how many bytes a publication takes that is not encoded yet."""
    message = publication.message
    return ENTRY + (len(message) if isinstance(message, str | bytes) else VALUE)
