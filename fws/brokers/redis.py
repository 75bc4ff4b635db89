"""The broker that connects nodes through Redis pub/sub. docs/redis.md has the wire format and the guarantees.

A publication goes to this node's hub at once, and to Redis through a sender. The relay hands publications of other
nodes to the hub. Members on the publisher's node therefore do not depend on another process, and see one order.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from fws.base.histogram import Histogram
from fws.base.metrics import Metrics
from fws.brokers.base import Deliver
from fws.brokers.buffer import drop
from fws.brokers.carrier import Carrier, Received, Settings
from fws.brokers.cluster import Cluster
from fws.brokers.envelope import SIGNAL, EnvelopeError, decode, encode
from fws.brokers.health import Health
from fws.brokers.items import Item, Message
from fws.brokers.pattern import matcher
from fws.brokers.standalone import Standalone
from fws.config.channels import ChannelPattern
from fws.pipeline.publication import Publication, check_channel
from fws.redis.connector import Connector

# Names of channels between nodes begin with this control character. No client's channel can have such a name.
INTERNAL = "\x01"


class Observer(Protocol):
    """What is kept in Redis, as the broker sees it. Its methods must not block."""

    def confirmed(self, channel: str) -> None:
        """From now on, what is published to the channel arrives here."""

    def signalled(self, channel: str, signal: bytes) -> None:
        """A signal for nodes has arrived: a JSON object. The channel may be one between nodes."""


class RedisBroker:
    """Carries publications through Redis: one server, the master that Sentinels name, or a Cluster.

    Args:
        connector: makes connections to Redis.
        prefix: the prefix of channels in Redis. With `fws:`, the channel `lobby` is `fws:lobby`, and all clients are
            `fws:`.
        subscribe: channels of other applications, by their own names. Names with `*`, `?` or `[` are patterns.
        buffer: bytes of publications that wait while Redis is away.
        largest: the most bytes of an envelope. Larger ones are neither sent nor accepted.
        scripts: the scripts that items use.
        clock: monotonic seconds.

    Attributes:
        heard: called with each publication that arrives. It returns what is delivered, or None for nothing.
        node: this node's id, from `start` on.
        available: whether Redis is available.
        largest: the most bytes of an envelope.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        prefix: str,
        subscribe: Sequence[str],
        buffer: int,
        largest: int,
        scripts: Sequence[bytes] = (),
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._prefix = prefix.encode()
        self._internal = self._prefix + INTERNAL.encode()
        names = list(dict.fromkeys(name.encode() for name in subscribe))
        self._patterns = {name: matcher(name) for name in names if any(c in name for c in b"*?[\\")}
        self._names = [name for name in names if name not in self._patterns]
        self.largest = largest
        self._metrics = metrics
        self._health = Health(str(connector), metrics, clock)
        patterns = list(self._patterns)
        given = Settings(self._prefix, self._names, patterns, buffer, largest, scripts, self._health, metrics, clock)
        self.heard: Callable[[Publication], Publication | None] = _as_it_is
        self._observers: list[Observer] = []
        # The rules whose channels are received, by the pattern in Redis; the last message that came for its name.
        self._feeds: dict[bytes, tuple[str, Callable[[str], str | None]]] = {}
        self._last: Received | None = None
        self._sharded = connector.address.kind == "cluster"
        self._carrier: Carrier = (Cluster if self._sharded else Standalone)(connector, given)
        self.node = ""
        self._deliver: Deliver = _nowhere

    def start(self, deliver: Deliver, crowded: Callable[[], bool]) -> None:
        # Created here and not before, because forked processes are different nodes.
        self.node = secrets.token_urlsafe(12)
        self._deliver = deliver
        self._carrier.start(self._take, crowded, self._confirmed)

    def stop(self, timeout: float) -> None:
        self._health.end()
        left = self._carrier.stop(timeout)
        unsent = drop(left)
        self._metrics.count("redis_dropped", unsent)
        self._health.unsent(unsent, sum(item.size for item in left if item.publications))

    def publish(self, publication: Publication) -> None:
        # Encoded first, because a publication that cannot be sent to other nodes must not be delivered on this one.
        payload = encode(publication, self.node)
        self._deliver(publication)
        if len(payload) > self.largest:
            self._metrics.count("redis_oversized")
        else:
            # A pattern is sent to every node.
            channel = publication.channel if publication.channel is None or "*" not in publication.channel else None
            self._carrier.send(Message(self.name_of(channel), payload))

    @property
    def waiting(self) -> int:
        """The bytes that wait to be sent to Redis."""
        return self._carrier.waiting

    @property
    def round_trips(self) -> Histogram:
        """How long Redis took to answer what was sent to it in one go."""
        return self._health.round_trips

    def send(self, item: Item) -> None:
        """Send an item to Redis, after everything that was published to its channel before."""
        self._carrier.send(item)

    def observe(self, observer: Observer) -> None:
        """Tell an observer about subscriptions and signals."""
        self._observers.append(observer)

    def key_of(self, kind: bytes, channel: str) -> bytes:
        """A key that belongs to a channel."""
        return key_of(self._prefix, kind, channel)

    def name_of(self, channel: str | None) -> bytes:
        """The channel in Redis."""
        return self._prefix + (channel or "").encode()

    def copies_of(self, channel: str) -> int:
        """How often Redis sends this node what is published to a channel that it has subscribed to.

        Once for the name, and once for each pattern that matches. Patterns do not match sharded channels.
        """
        if self._sharded:
            return 1
        name = self.name_of(channel)
        return 1 + sum(matches(name) for matches in (*map(matcher, self._feeds), *self._patterns.values()))

    def subscribe(self, channel: str) -> None:
        # No lock is needed, because nothing blocks between the check for the first member and this change.
        self._carrier.add(self._prefix + channel.encode())

    def unsubscribe(self, channel: str) -> None:
        self._carrier.discard(self._prefix + channel.encode())

    def health(self) -> str | None:
        return self._health.reason

    @property
    def available(self) -> bool:
        return self._health.reason is None

    def _take(self, received: Received) -> None:
        """Deliver one message from Redis, if it is valid and was not published by this node."""
        name, payload, pattern = received
        between_nodes = name.startswith(self._internal)
        if pattern is None:
            self._last = received
        elif between_nodes:
            # A pattern for the channels of clients happens to match.
            return
        elif pattern in self._feeds:
            if not self._is_for_feed(pattern, name, payload):
                return
        elif self._has_otherwise(pattern, name):
            return
        if payload is None:
            self._metrics.count("redis_oversized")
            return
        try:
            if not name.startswith(self._prefix):
                # The envelope of another server counts as from outside, because its node is not one of ours.
                publication = decode(name.decode("utf-8", "replace"), payload, "")
                publication = publication and publication.replace(origin="outside", hops=0)
            else:
                channel = name[len(self._prefix) :].decode() or None
                if channel is not None and not between_nodes:
                    check_channel(channel)
                if payload.startswith(SIGNAL):
                    for observer in self._observers if channel is not None else ():
                        observer.signalled(channel or "", payload[len(SIGNAL) :])
                    return
                if between_nodes:
                    raise EnvelopeError("not a signal")
                publication = decode(channel, payload, self.node)
        except ValueError:  # also EnvelopeError and UnicodeDecodeError
            self._metrics.count("redis_malformed")
            return
        if publication is not None:
            publication = self.heard(publication)
        if publication is not None:
            self._deliver(publication)

    def _confirmed(self, name: bytes) -> None:
        if name.startswith(self._prefix):  # not a channel of another application
            for observer in self._observers:
                observer.confirmed(name[len(self._prefix) :].decode("utf-8", "replace"))

    def _is_for_feed(self, pattern: bytes, name: bytes, payload: bytes | None) -> bool:
        """Whether a message for the pattern of a rule is delivered because of it.

        Redis sends a message to a connection first because of the name, and then because of each pattern. What has
        just been delivered because of its name has reached those who have subscribed to patterns.
        """
        rule, rule_of = self._feeds[pattern]
        try:
            if rule_of(name[len(self._prefix) :].decode()) != rule:
                return False
        except UnicodeDecodeError:
            return False
        last, self._last = self._last, None
        return last is None or last.channel != name or last.payload != payload

    def feed(self, pattern: ChannelPattern, rule_of: Callable[[str], str | None]) -> None:
        glob = self._prefix + pattern.glob.encode()
        self._feeds[glob] = pattern.text, rule_of
        self._carrier.add_pattern(glob)

    def unfeed(self, pattern: ChannelPattern) -> None:
        glob = self._prefix + pattern.glob.encode()
        del self._feeds[glob]
        self._carrier.discard_pattern(glob)

    def _has_otherwise(self, pattern: bytes, name: bytes) -> bool:
        """Whether a message for a pattern also arrives for a name or an earlier pattern."""
        if name.startswith(self._prefix) or name in self._names:
            return True
        for earlier, matches in self._patterns.items():
            if earlier == pattern:
                return False
            if matches(name):
                return True
        return False


def key_of(prefix: bytes, kind: bytes, channel: str) -> bytes:
    """A key that belongs to a channel. In a Cluster it is in the slot of the channel.

    A prefix with a hash tag decides about the slot of the channel as well.
    """
    name = channel.encode()
    return b"%b%b:%b" % (prefix, kind, name if b"{" in prefix else b"{%b%b}" % (prefix, name))


def _as_it_is(publication: Publication) -> Publication:
    return publication


def _nowhere(publication: Publication) -> None:
    """Called before the start, when there is no hub."""
