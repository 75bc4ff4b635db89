"""A single Redis: the server of the address, or the master that Sentinels name."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from fws.brokers.carrier import Confirmed, Settings, Take
from fws.brokers.items import Item
from fws.brokers.relay import Relay
from fws.brokers.sender import Sender
from fws.brokers.subscriptions import Subscriptions
from fws.redis.connector import Connector, ConnectorError
from fws.redis.sentinel import WATCH, Master


class Standalone:
    """A relay and a sender."""

    def __init__(self, connector: Connector, settings: Settings) -> None:
        self._settings = settings
        self._master = Master(connector) if connector.address.kind == "sentinel" else None
        self._connect = self._master.connect if self._master is not None else connector.stream
        self._subscriptions = Subscriptions(settings.clock, [settings.everyone])
        self._globs = Subscriptions(settings.clock)
        self._sender = Sender(self._connect, b"PUBLISH", settings)
        self._relay: Relay | None = None
        self._watcher: gevent.Greenlet | None = None

    @property
    def waiting(self) -> int:
        return self._sender.waiting

    def start(self, take: Take, crowded: Callable[[], bool], confirmed: Confirmed) -> None:
        settings = self._settings
        self._relay = Relay(
            self._connect,
            self._subscriptions,
            settings,
            take,
            crowded,
            confirmed,
            settings.names,
            settings.patterns,
            globs=self._globs,
        )
        self._relay.start()
        self._sender.start()
        if self._master is not None:
            self._watcher = gevent.spawn(self._watch, self._master, self._relay)

    def stop(self, timeout: float) -> list[Item]:
        if self._watcher is not None:
            self._watcher.kill(block=False)
        if self._relay is not None:
            self._relay.stop()
            self._sender.flush(timeout)
        return self._sender.stop()

    def send(self, item: Item) -> None:
        self._sender.send(item)

    def add(self, name: bytes) -> None:
        self._subscriptions.add(name)
        if self._relay is not None:
            self._relay.changed()

    def discard(self, name: bytes) -> None:
        self._subscriptions.discard(name)
        if self._relay is not None:
            self._relay.changed()

    def add_pattern(self, pattern: bytes) -> None:
        self._globs.add(pattern)
        if self._relay is not None:
            self._relay.changed()

    def discard_pattern(self, pattern: bytes) -> None:
        self._globs.discard(pattern)
        if self._relay is not None:
            self._relay.changed()

    def _watch(self, master: Master, relay: Relay) -> None:
        """After a failover, leave the old master, even if it does not know of the failover."""
        while True:
            gevent.sleep(WATCH)
            try:
                place = master.find()
            except ConnectorError:
                continue
            relay.leave(place)
            self._sender.leave(place)
