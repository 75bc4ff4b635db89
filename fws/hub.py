"""The hub: this process's clients, the members of its channels, and the fan-out.

It knows no socket: a frame is encoded once per kind of receiver and the same bytes go into each member's outbox.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import GreenletExit, getcurrent
from gevent.lock import Semaphore

from fws.brokers.memory import MemoryBroker
from fws.client import DELIVER, Client
from fws.errors import Close
from fws.faults import Faults
from fws.filter import DROP, Services
from fws.loop import Budget, Deadline, overdue, pause
from fws.message import frame_of
from fws.metrics import Metrics
from fws.publication import Publication

if TYPE_CHECKING:
    from fws.brokers.base import Broker
    from fws.generation import Generation

# What is delivered at once, without letting others run: bytes, where a send costs as much as `SEND` bytes more. That
# is 256 small frames, or two of 1 MiB: two or three milliseconds.
AT_ONCE = 2 * 1024 * 1024
SEND = 8 * 1024
# A publication made by a `publication` filter makes another, and so on: longer chains than this are loops.
MAX_HOPS = 8
# Publications that wait because they were made while another was being delivered. More come from a loop as well.
MAX_NESTED = 1000
# Channel names come from clients. 200 bytes and no control characters keep them printable and cheap.
MAX_CHANNEL = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Turn:
    """Whose turn it is to deliver to a channel: publications reach all its members in one order."""

    __slots__ = ("lock", "nested", "users")

    def __init__(self) -> None:
        self.lock = Semaphore(1)
        self.users = 0
        self.nested: deque[Publication] = deque()


class Hub:
    """Clients and channels of one process.

    Attributes:
        generation: the pipelines in force.
        broker: where publications go; it hands them to `deliver`.
        clients: all that are connected, by id.
    """

    def __init__(self, generation: Generation, metrics: Metrics | None = None) -> None:
        self.generation = generation
        self.metrics = metrics or Metrics()
        self.faults = Faults(self.metrics)
        self.broker: Broker = MemoryBroker(self.deliver)
        self.clients: dict[str, Client] = {}
        # Clients whose `disconnect` is under way: they are in no list any more, but not done.
        self.leaving = 0
        # Those whose `connect` is under way: they may join channels, but are not among the clients yet.
        self._arriving: dict[str, Client] = {}
        self._channels: dict[str, dict[Client, None]] = {}
        self._turns: dict[str | None, Turn] = {}
        # What each delivering greenlet is delivering, to know a publication that one made while delivering another.
        self._delivering: dict[Any, Publication] = {}
        generation.services.hub = self

    @property
    def services(self) -> Services:
        return self.generation.services

    @property
    def busy(self) -> int:
        """Clients that are here, on their way in, or on their way out: those a drain waits for."""
        return len(self.clients) + len(self._arriving) + self.leaving

    # Membership.

    def expect(self, client: Client) -> None:
        """A client's `connect` begins: it may join channels."""
        self._arriving[client.id] = client

    def admit(self, client: Client) -> None:
        """A client's `connect` has passed."""
        self._arriving.pop(client.id, None)
        self.clients[client.id] = client

    def remove(self, client: Client) -> None:
        """Forget a client and its memberships."""
        self._arriving.pop(client.id, None)
        self.clients.pop(client.id, None)
        for channel in tuple(client.channels):
            self.leave(client, channel)

    def join(self, client: Client, channel: str) -> None:
        """Make a client a member. Raises ValueError for a name that no channel can have."""
        check_channel(channel)
        if client.id in self.clients or client.id in self._arriving:
            self._channels.setdefault(channel, {})[client] = None
            client.channels.add(channel)

    def leave(self, client: Client, channel: str) -> None:
        members = self._channels.get(channel)
        if members is not None and client in members:
            del members[client]
            client.channels.discard(channel)
            if not members:
                del self._channels[channel]

    def members(self, channel: str) -> list[Client]:
        """The local members of a channel, the oldest first."""
        return list(self._channels.get(channel, ()))

    def channels(self) -> list[str]:
        """Names of the channels that have local members."""
        return list(self._channels)

    # Publishing.

    def publish(self, channel: str, message: Any, *, sender: str | None = None, exclude: str | None = None) -> None:
        """Send a message to all members of a channel, on every node. At most once to each, in order per channel.

        Args:
            sender: id of the client it comes from.
            exclude: id of one client that must not get it.

        Raises:
            ValueError: a name that no channel can have.
            TypeError: a message that JSON cannot carry.
        """
        check_channel(channel)
        self._publish(Publication(channel, message, sender, exclude))

    def broadcast(self, message: Any, *, sender: str | None = None, exclude: str | None = None) -> None:
        """Send a message to every client on every node. Guarantees and errors as for `publish`."""
        self._publish(Publication(None, message, sender, exclude))

    def _publish(self, publication: Publication) -> None:
        if self._delivering:
            parent = self._delivering.get(getcurrent())
            if parent is not None:
                if parent.hops >= MAX_HOPS:
                    raise RecursionError(f"publications make one another: {MAX_HOPS} in a row, the last was dropped")
                publication = publication.replace(hops=parent.hops + 1)
        self.metrics.count("publications")
        self.broker.publish(publication)
        if not self._delivering and overdue():
            pause()

    # Delivery.

    def deliver(self, publication: Publication) -> None:
        """Hand one publication to every local member of its channel. Called by the broker.

        All members of a channel see the same order. A receiver that is too slow is closed, it is never waited for.
        """
        channel = publication.channel
        turn = self._turns.get(channel)
        if turn is None and not self.generation.waits:
            receivers = self._receivers(channel)
            plain = frame_of(publication.message)
            if len(receivers) * (len(plain) + SEND) <= AT_ONCE:
                self._fan_out(publication, receivers, plain, None)
                return
        me = getcurrent()
        if turn is None:
            turn = self._turns[channel] = Turn()
        elif me in self._delivering:
            # Made while delivering: it follows what is being delivered on its channel. Waiting here for a turn,
            # with another one in hand, two channels that publish to each other would wait for ever.
            if len(turn.nested) >= MAX_NESTED:
                raise RecursionError(f"publications make one another: {MAX_NESTED} wait, this one was dropped")
            turn.nested.append(publication)
            return
        turn.users += 1
        try:
            with turn.lock:
                turn.nested.append(publication)
                while turn.nested:
                    self._deliver_in_turn(turn.nested.popleft(), me)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[channel]

    def _deliver_in_turn(self, publication: Publication, me: Any) -> None:
        outer = self._delivering.get(me)
        self._delivering[me] = publication
        try:
            flowed = self._guarded("publication", self.generation.publication.publish, publication)
            if isinstance(flowed, Publication):
                self._guarded("publication", self._fan_out_in_turn, flowed)
        finally:
            if outer is None:
                del self._delivering[me]
            else:
                self._delivering[me] = outer

    def _fan_out_in_turn(self, publication: Publication) -> None:
        budget = Budget()
        budget.start()
        receivers = self._receivers(publication.channel)
        self._fan_out(publication, receivers, frame_of(publication.message), budget)

    def _receivers(self, channel: str | None) -> list[Client]:
        return list(self.clients.values()) if channel is None else self.members(channel)

    def _fan_out(self, publication: Publication, receivers: list[Client], plain: bytes, budget: Budget | None) -> None:
        """Write the publication's frame into each receiver's outbox, pausing by the budget if there is one."""
        exclude = publication.exclude
        excluded = None if exclude is None else self.clients.get(exclude) or self._arriving.get(exclude)
        frames = {0: plain}
        for client in receivers:
            kind = client.kind
            if client is excluded:
                pass
            elif kind == DELIVER:
                if not client.closing:
                    self._deliver_to(client, publication)
            else:
                frame = frames.get(kind)
                if frame is None:
                    frame = frames[kind] = frame_of(publication.message, kind)
                client.outbox.write(frame)
            if budget is not None:
                budget.spend()

    def _deliver_to(self, client: Client, publication: Publication) -> None:
        """Run one receiver's `deliver` pipeline and send what is left."""
        flowed = self._guarded("deliver", client.endpoint.deliver.run, client, publication)
        if isinstance(flowed, Publication):
            self._guarded("deliver", client.send, flowed.message)

    def _guarded(self, event: str, function: Callable[..., Any], *args: Any) -> Any:
        """A filter's fault ends the event for this receiver and reaches nobody else."""
        client = args[0] if event == "deliver" and len(args) == 2 else None
        try:
            return function(*args)
        except Close as end:
            if client is not None:
                client.close(end.code, end.reason)
        except (GreenletExit, Deadline):
            raise
        except BaseException as error:  # a filter may raise anything
            self.faults.report(event, error, client.id if client is not None else "")
        return DROP


def check_channel(name: str) -> None:
    """Raise ValueError unless a channel can have this name: 1 to 200 bytes, no control characters."""
    if not isinstance(name, str) or not name:
        raise ValueError("a channel's name is a text that is not empty")
    if _CONTROL.search(name) or len(name.encode("utf-8", "replace")) > MAX_CHANNEL:
        raise ValueError(f"a channel's name has at most {MAX_CHANNEL} bytes and no control characters")
