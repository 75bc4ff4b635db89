"""One Redis at a time: the one server of the address, or the master that Sentinels name."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from fws.brokers.carrier import Setting, Take
from fws.brokers.relay import Relay
from fws.brokers.sender import Sender
from fws.brokers.subscriptions import Interest
from fws.redis.connector import Link, LinkError
from fws.redis.sentinel import WATCH, Master


class Single:
    """A relay and a sender."""

    def __init__(self, link: Link, setting: Setting) -> None:
        self._setting = setting
        self._master = Master(link) if link.address.kind == "sentinel" else None
        self._connect = self._master.connect if self._master is not None else link.stream
        self._interest = Interest(setting.clock, [setting.everyone])
        self._sender = Sender(self._connect, b"PUBLISH", setting)
        self._relay: Relay | None = None
        self._watcher: gevent.Greenlet | None = None

    def start(self, take: Take, crowded: Callable[[], bool]) -> None:
        setting = self._setting
        self._relay = Relay(self._connect, self._interest, setting, take, crowded, setting.names, setting.patterns)
        self._relay.start()
        self._sender.start()
        if self._master is not None:
            self._watcher = gevent.spawn(self._watch, self._master, self._relay)

    def stop(self, timeout: float) -> None:
        if self._watcher is not None:
            self._watcher.kill(block=False)
        if self._relay is not None:
            self._relay.stop()
            self._sender.flush(timeout)
        self._setting.metrics.count("redis_dropped", len(self._sender.stop()))

    def send(self, name: bytes, payload: bytes) -> None:
        self._sender.send(name, payload)

    def add(self, name: bytes) -> None:
        self._interest.add(name)
        if self._relay is not None:
            self._relay.changed()

    def discard(self, name: bytes) -> None:
        self._interest.discard(name)
        if self._relay is not None:
            self._relay.changed()

    def _watch(self, master: Master, relay: Relay) -> None:
        """After a failover leave the old master, also one that nobody has told."""
        while True:
            gevent.sleep(WATCH)
            try:
                place = master.find()
            except LinkError:
                continue
            relay.leave(place)
            self._sender.leave(place)
