"""`stream`: publish what other applications add to a Redis Stream."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import gevent
from gevent.event import Event
from msgspec import Meta

from fws import Duration, Help, Source, StorageError, Verbatim
from fws.base.novelty import Novelty
from fws.redis.backoff import Backoff
from fws.redis.client import client_of
from fws.redis.connector import RedisError, ResponseError, reason
from fws.sources._entries import EntryError, channel_of, message_of

logger = logging.getLogger("fws")

# Seconds for which Redis keeps a question for new entries open.
BLOCK = 0.5
# Seconds for which `stop` waits until nothing is read any more.
STOP = 0.8
# Seconds between two looks, at most, at entries that other nodes have left behind.
LOOK = 10.0
# Seconds after which a consumer without entries is taken for one of a node that is gone.
GONE = 3600.0

Entry = tuple[bytes, Mapping[bytes, bytes] | None]


class Stream(Source):
    """Publish what other applications add to a Redis Stream, so that a back end needs no code for fws.

    A back end adds an entry, such as `XADD orders * channel shop:7 message '{"total":5}'`, and the members of the
    channel get the message. All nodes read the stream as one consumer group, which the source creates, so that each
    entry is published by one node.

    The guarantee is at least once, for entries that the stream still has: an entry is acknowledged after it was
    published, which means that a channel with history has kept it. If a node dies, another one publishes its entries
    after `idle`, and those that it had published without acknowledging them a second time. Entries stay in their order
    as long as one node reads the stream; several nodes read different entries at the same time.

    Redis 6.2 or later is needed. An entry that cannot be published, because it lacks a field, is not text, or names no
    valid channel, is logged, counted and acknowledged. While Redis is away or does not accept publications, the source
    waits.

    Example:
        [sources.orders]
        use = "stream"
        key = "orders"
        channel = "shop:{shop}"

        [redis]
        url = "redis://localhost"
    """

    needs_redis = True

    key: Annotated[str, Meta(min_length=1), Help("Key of the stream, as other applications name it.")]
    channel: Annotated[
        str,
        Meta(min_length=1),
        Help("Channel to publish to; {shop} is the field shop of the entry."),
        Verbatim(),
    ] = "{channel}"
    field: Annotated[
        str, Help("Field of the entry with the message. If empty, the message is an object of all fields.")
    ] = "message"
    read: Annotated[
        Literal["json", "text"],
        Help("json: a value that is JSON is decoded, and any other stays text. text: nothing is decoded."),
    ] = "json"
    group: Annotated[str, Meta(min_length=1), Help("Name of the consumer group.")] = "fws"
    begin: Annotated[
        Literal["new", "first"],
        Help("Where a group begins that the source creates: at new entries, or at the first one that the stream has."),
    ] = "new"
    batch: Annotated[int, Meta(ge=1, le=1000), Help("The most entries that are read at once.")] = 100
    idle: Annotated[
        Duration, Meta(ge=1), Help("Time after which another node takes over an entry that was not acknowledged.")
    ] = 30.0

    def start(self) -> None:
        self._ended = False
        self._over = Event()
        self._novelty = Novelty(self.clock)
        self._consumer = secrets.token_urlsafe(9)
        self.spawn(self._run)

    def stop(self) -> None:
        self._ended = True
        self._over.wait(STOP)

    def _run(self) -> None:
        try:
            self._read_on()
        finally:
            self._over.set()

    def _read_on(self) -> None:
        """Read until the source is stopped. Connects again whenever Redis was away."""
        backoff, away = Backoff(), False
        while not self._ended:
            gevent.sleep(backoff.next())
            client: Any = None
            try:
                client = client_of(self.services.connector())
                self._join_group(client)
                if away:
                    logger.warning("the stream %s can be read again", self.key)
                away = False
                self._read(client, backoff.reset)
            except (RedisError, OSError) as error:
                if not away and not self._ended:
                    logger.warning("the stream %s cannot be read: %s", self.key, reason(error))
                    self.services.metrics.count("stream_outages")
                away = True
            finally:
                if client is not None:
                    client.close()

    def _join_group(self, client: Any) -> None:
        try:
            client.xgroup_create(self.key, self.group, "0" if self.begin == "first" else "$", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # it exists
                raise
        client.xgroup_createconsumer(self.key, self.group, self._consumer)

    def _read(self, client: Any, reached: Callable[[], None]) -> None:
        """Publish entries until the source is stopped. Raises RedisError."""
        look_at = self.clock()
        while not self._ended:
            if self.clock() >= look_at:
                look_at = self.clock() + min(LOOK, self.idle)
                self._take_over(client)
            found = client.xreadgroup(
                self.group, self._consumer, {self.key: ">"}, count=self.batch, block=int(BLOCK * 1000)
            )
            reached()
            for _, entries in found.items() if isinstance(found, dict) else found or ():
                self._publish_all(client, entries)
        self._leave(client)

    def _publish_all(self, client: Any, entries: Sequence[Entry]) -> None:
        """Publish entries in their order, and acknowledge those that are published."""
        done: list[bytes] = []
        try:
            for id, entry in entries:
                # An entry that the stream has not kept is gone, and nobody can publish it any more.
                if entry is not None and not self._publish_one(id, entry):
                    return
                done.append(id)
        finally:
            if done:
                client.xack(self.key, self.group, *done)

    def _publish_one(self, id: bytes, entry: Mapping[bytes, bytes]) -> bool:
        """Publish one entry, as soon as that is possible. Returns False if the source was stopped before."""
        backoff = Backoff()
        while not self._ended:
            try:
                channel = channel_of(self.channel, entry)
                self.publish(channel, message_of(entry, self.field, as_json=self.read == "json"))
                self.services.metrics.count("stream_entries")
                return True
            except (EntryError, ValueError, TypeError) as error:
                self.services.metrics.count("stream_refused")
                if self._novelty.is_new(str(error)):
                    logger.warning("an entry of %s, %s, is not published: %s", self.key, id.decode(), error)
                return True
            except StorageError as error:
                if self._novelty.is_new(str(error)):
                    logger.warning("entries of %s wait: %s", self.key, error)
                gevent.sleep(max(backoff.next(), 0.1))
        return False

    def _take_over(self, client: Any) -> None:
        """Publish what other nodes have read and not acknowledged for a while, and forget consumers that are gone."""
        start: Any = "0-0"
        while not self._ended:
            start, entries, *_ = client.xautoclaim(
                self.key, self.group, self._consumer, int(self.idle * 1000), start, count=self.batch
            )
            self._publish_all(client, entries)
            if start in (b"0-0", "0-0"):
                break
        for consumer in client.xinfo_consumers(self.key, self.group):
            if not consumer["pending"] and consumer["idle"] > GONE * 1000 and consumer["name"] != self._name:
                client.xgroup_delconsumer(self.key, self.group, consumer["name"])

    @property
    def _name(self) -> bytes:
        return self._consumer.encode()

    def _leave(self, client: Any) -> None:
        """Remove the consumer, unless entries wait that another node takes over."""
        for consumer in client.xinfo_consumers(self.key, self.group):
            if consumer["name"] == self._name and not consumer["pending"]:
                client.xgroup_delconsumer(self.key, self.group, self._consumer)
