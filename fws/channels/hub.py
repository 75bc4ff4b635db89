"""The hub: the clients and channels of this process, and the turns of their fan-out.

It has no sockets. Publications wait at their channel until `_fan_out`, which the scheduler calls when the event loop
has read from all sockets.
"""

from __future__ import annotations

from collections.abc import Callable, KeysView, Mapping
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

from fws.channels.channel import Channel, Entry, Slow
from fws.channels.lineage import Lineage
from fws.channels.member import Member
from fws.channels.trie import Trie
from fws.pipeline.publication import Here, Position, Publication
from fws.runtime.context import Context
from fws.runtime.scheduler import end_of_turn
from fws.wire.encoding import payload_of

# Bytes that are pending for members. Above the first limit, publishers are not read, or wait in their greenlets. Above
# the second limit, publications are dropped and counted. This can only be caused by one message that publishes very
# many.
CROWDED = 1024 * 1024
FULL = 16 * 1024 * 1024
# A fan-out of this many messages is always measured, and one in so many of the smaller ones: measuring takes 0.4 µs.
MANY = 256
FEW_STRIDE = 16
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


class Deliveries(Protocol):
    """Is told how publications with a trace reach the members of channels. It must not block or raise."""

    def __bool__(self) -> bool:
        """Whether any is on its way."""

    def begin(self, channel: Channel, entry: Entry) -> None:
        """A publication is given to a channel."""

    def written(self, channel: Channel) -> None:
        """All members have got what is not waiting there any more."""


def _close(channel: str) -> Slow:
    return "close"


def _none(channel: str) -> str | None:
    return None


def _doubles(channel: Channel, served: list[KeysView[Member]]) -> tuple[Member, ...]:
    """The members of a channel that get the publication already."""
    return tuple({member for members in served for member in channel.members.keys() & members})


class Hub:
    """Clients and channels of one process.

    Args:
        context: shared by the parts of the process.

    Attributes:
        clients: the connected clients by id.
        named: the channels with members, by name.
        pending: channels with pending entries, in the order of their turns.
        lineage: which publication each greenlet is handling.
        weight: the bytes that are pending for members.
        crowded: whether these are too many, so that publishers must wait (backpressure).
        traffic: counts what the fan-out delivers, and how long that takes.
        slow_of: what happens to members of a channel that do not keep up.
        patterns: channels of clients that have subscribed to patterns, by pattern and by the rule that permits it.
        patterned: whether there are any.
        rule_of: the rule that permits patterns for a channel, by its pattern; None if there is none.
        listener: is told about each message that a filter sends or publishes; None for nobody.
        deliveries: is told about publications with a trace; None for nobody.
    """

    def __init__(self, context: Context) -> None:
        self.clients: dict[str, Member] = {}
        # The number of clients whose `disconnect` is running. They are not in `clients` any more.
        self.leaving = 0
        self.listener: Listener | None = None
        self.deliveries: Deliveries | None = None
        self.slow_of: Callable[[str], Slow] = _close
        self.patterns: Trie[dict[str, Channel]] = Trie()
        self.patterned = False
        self.rule_of: Callable[[str], str | None] = _none
        self.pending: dict[Channel, None] = {}
        self.lineage = Lineage()
        self.weight = 0
        self.crowded = False
        self.traffic = context.traffic
        self._scheduler = context.scheduler
        # Clients whose `connect` is running. They may join channels, and are not in `clients` yet.
        self._arriving: dict[str, Member] = {}
        self.named: dict[str, Channel] = {}
        self._everyone = Channel(None)
        self._uncrowded: list[Callable[[], None]] = []
        # Small fan-outs since the last one whose time was taken.
        self._unmeasured = 0

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

    # Membership.

    def expect(self, client: Member) -> None:
        """A client's `connect` begins. It may join channels."""
        self._arriving[client.id] = client

    def admit(self, client: Member) -> None:
        """A client's `connect` has passed."""
        self._arriving.pop(client.id, None)
        self.traffic.connects += 1
        self.clients[client.id] = client
        self._everyone.join(client)

    def remove(self, client: Member) -> None:
        """Remove a client that has left its channels."""
        self._arriving.pop(client.id, None)
        if self.clients.pop(client.id, None) is not None:
            self._everyone.leave(client)

    def join(self, client: Member, name: str) -> bool:
        """Make a client a member. Does nothing if the client is gone. Returns whether it is the channel's first."""
        if not self.has(client):
            return False
        channel = self.named.get(name)
        first = channel is None
        if channel is None:
            channel = self.named[name] = Channel(name, self.slow_of(name))
        channel.join(client)
        client.channels.add(name)
        return first

    def join_pattern(self, client: Member, pattern: str, rules: Mapping[str, Slow]) -> None:
        """A client gets the publications of channels that match a pattern, and to which one of the rules applies.

        Args:
            rules: the patterns of the rules, with what happens to members that do not keep up.
        """
        by_rule = self.patterns.get(pattern)
        if by_rule is None:
            self.patterns.add(pattern, by_rule := {})
            self.patterned = True
        for rule, slow in rules.items():
            by_rule.setdefault(rule, Channel(pattern, slow)).join(client)
        client.channels.add(pattern)

    def leave_pattern(self, client: Member, pattern: str) -> list[str]:
        """Undo `join_pattern`. Returns the rules."""
        by_rule = self.patterns.get(pattern) or {}
        rules = [rule for rule, channel in by_rule.items() if client in channel.members]
        for rule in rules:
            by_rule[rule].leave(client)
            if not by_rule[rule].members:
                del by_rule[rule]
        client.channels.discard(pattern)
        if rules and not by_rule:
            self.patterns.remove(pattern)
            self.patterned = len(self.patterns) > 0
        return rules

    def has(self, client: Member) -> bool:
        """Whether a client is connected, or its `connect` is running."""
        return client.id in self.clients or client.id in self._arriving

    def expect_member(self, client: Member, name: str) -> None:
        """A client will be a member once it has received what it missed. It counts as one already."""
        channel = self.named.get(name)
        if channel is None:
            channel = self.named[name] = Channel(name, self.slow_of(name))
        if channel.arriving is None:
            channel.arriving = {}
        channel.arriving[client] = None
        client.channels.add(name)

    def welcome(self, client: Member, name: str, notices: list[Publication]) -> None:
        """A client has become a member of a channel without history."""
        if not client.caught_up(name, notices, None):
            for notice in notices:
                self.serve(client, name, notice)

    def catch_up(self, client: Member, name: str, entries: list[Entry], position: Position | None) -> None:
        """Give an expected member what it missed, and make it a member. Does nothing if it has left.

        Args:
            position: of the channel when the client joined; None if it has no history any more.
        """
        channel = self.named.get(name)
        if channel is None or client not in (channel.arriving or ()):
            return
        mine = [entry.publication for entry in entries if client not in entry.excluded]
        told = client.caught_up(name, mine, position)
        if channel.arriving is None or client not in channel.arriving:
            return  # it does not want to be a member after what it was told
        del channel.arriving[client]
        if not channel.arriving:
            channel.arriving = None
        if not told:
            if not entries and position is not None and client.format.positions:
                here = Here.at(name, position)
                entries = [Entry(here, *payload_of(here.message))]
            if entries:
                channel.serve(client, entries)
        channel.join(client)

    def serve(self, client: Member, name: str, publication: Publication) -> None:
        """Send a publication to one member of a channel, after what it has got before."""
        channel = self.named[name]
        channel.settle(client)
        channel.serve(client, [Entry(publication, *payload_of(publication.message))])

    def missed(self, name: str) -> None:
        """Publications of a channel are missing on this node, and cannot be recovered: its members have got a `Gap`."""
        for client in self.members(name):
            client.missed(name)

    def leave(self, client: Member, name: str) -> bool:
        """Remove a member. Returns whether it was the channel's last."""
        channel = self.named.get(name)
        if channel is None or (client not in channel.members and client not in (channel.arriving or ())):
            return False
        channel.leave(client)
        if channel.arriving is not None:
            channel.arriving.pop(client, None)
        client.channels.discard(name)
        if channel.members or channel.arriving:
            return False
        del self.named[name]
        return True

    def members(self, channel: str) -> list[Member]:
        """The local members of a channel, the oldest first."""
        found = self.named.get(channel)
        return [] if found is None else [*found.members, *(found.arriving or ())]

    def channels(self) -> list[str]:
        """The names of the channels with local members."""
        return list(self.named)

    # Fan-out.

    def enqueue(self, publication: Publication) -> Entry | None:
        """Give a publication to all local members of its channel, in the order of the calls. Never blocks.

        A slow consumer is closed, and nobody waits for it.

        Returns:
            What waits until it is written; None if there are no members.

        Raises:
            TypeError: the message cannot be written as JSON.
        """
        name = publication.channel
        channel = self._everyone if name is None else self.named.get(name)
        if channel is None and (name is None or ("*" not in name and not self.patterned)):
            payload_of(publication.message)
            return None
        opcode, payload = payload_of(publication.message)
        exclude = publication.exclude
        excluded = None if exclude is None else self.clients.get(exclude) or self._arriving.get(exclude)
        entry = Entry(publication, opcode, payload, () if excluded is None else (excluded,))
        if channel is not None:
            self._put(channel, entry)
        if self.patterned and name is not None and "*" not in name:
            self._put_into_patterns(name, channel, entry)
        elif channel is None and name is not None:
            self._put_into_matching(name, entry)
        return None if channel is None else entry

    def _put(self, channel: Channel, entry: Entry) -> None:
        channel.waiting.append(entry)
        if entry.publication.trace and self.deliveries is not None:
            self.deliveries.begin(channel, entry)
        self.weigh(entry.weight)
        if not self.pending:
            self._scheduler.soon(self._fan_out)
        self.pending[channel] = None

    def _put_into_patterns(self, name: str, channel: Channel | None, entry: Entry) -> None:
        """Give a publication to those who have subscribed to patterns, once to each, and not to members of the channel.

        Only patterns that were permitted by the rule which applies to the channel count.
        """
        rule = self.rule_of(name)
        if rule is None:
            return
        served: list[KeysView[Member]] = (
            [] if channel is None else [channel.members.keys(), (channel.arriving or {}).keys()]
        )
        for by_rule in self.patterns.match(name):
            found = by_rule.get(rule)
            if found is not None:
                self._put(found, entry.without(_doubles(found, served)))
                served.append(found.members.keys())

    def _put_into_matching(self, pattern: str, entry: Entry) -> None:
        """Give a publication to the members of all channels that match a pattern, once to each."""
        trie: Trie[bool] = Trie()
        trie.add(pattern, True)
        served: list[KeysView[Member]] = []
        for name, channel in self.named.items():
            if next(trie.match(name), False):
                self._put(channel, entry.without(_doubles(channel, served)))
                served.append(channel.members.keys())

    def weigh(self, change: int) -> None:
        """Count bytes that are pending, or not any more."""
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
                    self.weigh(-weight)
                    traffic = self.traffic
                    traffic.deliveries += channel.reached
                    traffic.bytes_out += channel.written
                    self._unmeasured += 1
                    if self._unmeasured == FEW_STRIDE or channel.reached >= MANY:
                        self._measure(channel)
                    if self.deliveries:
                        self.deliveries.written(channel)
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

    def _measure(self, channel: Channel) -> None:
        """Count how long the batch took that a channel has just completed. A small one stands for those before it."""
        weight, self._unmeasured = (1, self._unmeasured - 1) if channel.reached >= MANY else (FEW_STRIDE, 0)
        self.traffic.fanout.observe(perf_counter() - channel.began, weight)

    def settle(self, client: Member) -> None:
        """Write the pending publications of a client's channels, before something else is sent to it."""
        if len(self.pending) <= len(client.channels) + FEW:
            for channel in tuple(self.pending):
                channel.settle(client)
            return
        self._everyone.settle(client)
        for name in tuple(client.channels):
            if (found := self.named.get(name)) is not None:
                found.settle(client)
            elif "*" in name:
                for found in (self.patterns.get(name) or {}).values():
                    found.settle(client)
