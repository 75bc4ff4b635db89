"""Keeps the events that wait in the journal, so that another process delivers them if this one ends first.

Each process has a log of its own for each destination. A lease in the storage says who looks after a log. A log whose
lease has expired, or was given back, belongs to whoever gets the lease next.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable

import gevent

from fws.base.errors import StorageError
from fws.pipeline.journal import Item, Journal
from fws.pipeline.services import Services
from fws.webhooks.event import entry_of, kept_json
from fws.webhooks.queue import Entry

logger = logging.getLogger("fws.webhooks")

# Seconds of a lease, and between two looks at the leases. A process that hangs for longer than a lease may find that
# another one delivers its events as well.
LEASE = 15.0
LOOK = 4.0
# The most events that are written, or read, in one step.
STEP = 500
# Seconds after a failure before the next attempt to write.
REST = 1.0
# Seconds that logs outlive the events in them.
MARGIN = 3600.0


class _Log:
    """A log that this process looks after.

    Attributes:
        last: the last number that was written, or read from a log of another process.
        complete: whether a log of another process has been read to its end.
        open: the events that are in it, or may be, and are not settled.
        removals: numbers of events that are settled, and are not removed yet.
    """

    __slots__ = ("complete", "last", "name", "open", "removals")

    def __init__(self, name: str) -> None:
        self.name = name
        self.last = 0
        self.complete = False
        self.open = 0
        self.removals: list[int] = []


class Keeper:
    """Writes and removes events in the background, and takes over logs that nobody looks after.

    An event is kept once it is in the log, which takes a round trip to Redis. While Redis is away, events wait for it
    in memory, for as long as they are not settled, and are lost with the process.

    Args:
        destination: identifies the service; those who deliver to it take over one another's logs.
        age: seconds after which an event is of no use.
        most: the most events of a log.
        room: how many further events can be accepted.
        accept: called with the events of a log that was taken over. It returns whether there was room.
    """

    def __init__(
        self,
        services: Services,
        journal: Journal,
        destination: str,
        *,
        age: float,
        most: int,
        room: Callable[[], int],
        accept: Callable[[Entry], bool],
    ) -> None:
        self._services = services
        self._journal = journal
        self._logs_key = f"webhook:{destination}"
        self._expire = age + MARGIN
        self._most = most
        self._room = room
        self._accept = accept
        self._me = secrets.token_urlsafe(12)
        self._own: _Log | None = None
        self._adopted: dict[str, _Log] = {}
        # Logs that other processes have taken over, while some of the events are still here.
        self._past: dict[str, _Log] = {}
        self._unwritten: dict[str, Entry] = {}
        self._working = False
        self._stopped = False
        # No log is taken over before this time.
        self._patient_until = 0.0

    def start(self) -> None:
        """Begin to look for logs that nobody looks after."""
        self._services.spawn(self._look_regularly)

    def keep(self, entry: Entry) -> None:
        """An event waits from now on. Never blocks."""
        self._unwritten[entry.id] = entry
        if not self._working:
            self._work_soon()

    def settled(self, entries: Iterable[Entry]) -> None:
        """Events were delivered or given up. Never blocks."""
        for entry in entries:
            self._unwritten.pop(entry.id, None)
            self._leave(entry)
        if not self._working and self._has_work:
            self._work_soon()

    def flush(self, seconds: float) -> bool:
        """Block until everything is written, or for so many seconds. Returns whether it is."""
        with gevent.Timeout(seconds, False):
            while self._has_work:
                gevent.sleep(0.005)
            return True
        return False

    def stop(self, seconds: float) -> int:
        """Write what is not written, and give all logs back. Blocks for at most so many seconds.

        Returns:
            The number of events that could not be written.
        """
        self._stopped = True
        with gevent.Timeout(seconds, False):
            while self._working:
                gevent.sleep(0.005)
            try:
                self._write_all()
                for log in self._logs():
                    if not log.open and (log is self._own or log.complete):
                        self._forget(log)
                    self._services.storage.compare_and_set(self._lease(log.name), self._me, None)
            except StorageError as error:
                logger.warning("events of webhooks cannot be kept: %s", error)
        return len(self._unwritten)

    def _leave(self, entry: Entry) -> None:
        """An event has no business in the log that it is in, or may be in."""
        log = None if entry.place is None else self._log(entry.place[0])
        if log is not None and entry.place is not None:
            log.open -= 1
            log.removals.append(entry.place[1])

    def _log(self, name: str) -> _Log | None:
        if self._own is not None and self._own.name == name:
            return self._own
        return self._adopted.get(name) or self._past.get(name)

    def _logs(self) -> list[_Log]:
        own = [] if self._own is None else [self._own]
        return [*own, *self._adopted.values(), *self._past.values()]

    @property
    def _has_work(self) -> bool:
        return bool(self._unwritten) or any(log.removals for log in self._logs())

    # Writing, in a greenlet of its own.

    def _work_soon(self) -> None:
        self._working = True
        self._services.spawn(self._work)

    def _work(self) -> None:
        try:
            self._write_all()
        except StorageError:
            # The storage has logged it.
            self._services.metrics.count("webhooks_unkept")
            if not self._stopped:
                self._services.after(REST, self._work_again)
        finally:
            self._working = False

    def _work_again(self) -> None:
        if self._has_work and not self._working and not self._stopped:
            self._work_soon()

    def _write_all(self) -> None:
        while self._has_work:
            self._write()
            self._remove()

    def _write(self) -> None:
        """Append the next events to this process's log."""
        if not self._unwritten:
            return
        log = self._open()
        entries = [entry for entry, _ in zip(self._unwritten.values(), range(STEP), strict=False)]
        for entry in entries:
            # After a failure it is unknown whether an event was written. It keeps its number, so that it is not
            # written twice.
            if entry.place is None or entry.place[0] != log.name:
                self._leave(entry)
                log.last += 1
                log.open += 1
                entry.place = (log.name, log.last)
        items = [Item(entry.place[1], kept_json(entry)) for entry in entries if entry.place is not None]
        self._journal.append(log.name, items, most=self._most, expire=self._expire)
        for entry in entries:
            self._unwritten.pop(entry.id, None)

    def _open(self) -> _Log:
        """This process's log, which others know of before anything is in it."""
        if self._own is None:
            log = _Log(f"{self._logs_key}:{secrets.token_urlsafe(12)}")
            self._claim(log.name)
            self._services.storage.add(self._logs_key, log.name, expire=self._expire)
            self._own = log
        return self._own

    def _remove(self) -> None:
        for log in self._logs():
            numbers, log.removals = log.removals, []
            try:
                if numbers:
                    self._journal.remove(log.name, numbers)
            except StorageError:
                log.removals += numbers
                raise
            if log.open or log.removals:
                continue
            if log.complete:
                self._forget(log)
            else:
                self._past.pop(log.name, None)

    def _forget(self, log: _Log) -> None:
        """Everything in a log is settled, and nothing more will come."""
        storage = self._services.storage
        storage.delete(log.name)
        storage.remove(self._logs_key, log.name)
        storage.compare_and_set(self._lease(log.name), self._me, None)
        self._adopted.pop(log.name, None)
        if log is self._own:
            self._own = None

    # Leases.

    def _lease(self, log: str) -> str:
        return f"{log}:lease"

    def _claim(self, log: str) -> bool:
        return self._services.storage.compare_and_set(self._lease(log), None, self._me, LEASE)

    def _renew(self, log: str) -> bool:
        storage = self._services.storage
        return storage.compare_and_set(self._lease(log), self._me, self._me, LEASE) or self._claim(log)

    def _look_regularly(self) -> None:
        if self._stopped:
            return
        services = self._services
        try:
            self._look()
        except StorageError:
            # The storage has logged it. When it is back, all processes get the time to renew their leases.
            self._patient_until = services.clock() + 2 * LOOK
        except Exception as error:  # a fault of ours must not end the leases
            services.report("webhook", error, "")
        if not self._stopped:
            services.after(LOOK, lambda: services.spawn(self._look_regularly))

    def _look(self) -> None:
        """Renew the leases, take over logs, and read them as far as there is room."""
        for log in self._logs():
            if log.name in self._past:
                continue
            if self._renew(log.name):
                self._services.storage.add(self._logs_key, log.name, expire=self._expire)
                continue
            # Another process reads the log, and delivers what this one has not delivered, or both do. What happens
            # from now on goes into a new log.
            logger.warning("another process has taken over webhook events of this one, which did not respond")
            self._past[log.name] = log
            self._adopted.pop(log.name, None)
            log.complete = False
            if log is self._own:
                self._own = None
        if self._services.clock() >= self._patient_until:
            self._adopt()
        for log in list(self._adopted.values()):
            self._read(log)

    def _adopt(self) -> None:
        """Take over the logs whose lease this process gets."""
        known = {log.name for log in self._logs()}
        for name in sorted(self._services.storage.members(self._logs_key) - known):
            if name.startswith(f"{self._logs_key}:") and not self._stopped and self._claim(name):
                self._adopted[name] = _Log(name)

    def _read(self, log: _Log) -> None:
        number = 0
        services = self._services
        while not log.complete and not self._stopped and (room := self._room()) > 0:
            items = self._journal.read(log.name, log.last, min(room, STEP))
            for item in items:
                try:
                    entry = entry_of(item.data, services.clock(), services.wall())
                except ValueError:
                    services.metrics.count("redis_malformed")
                    log.removals.append(item.number)
                    log.last = item.number
                    continue
                entry.place = (log.name, item.number)
                if not self._accept(entry):
                    break
                log.last = item.number
                log.open += 1
                number += 1
            else:
                log.complete = not items
                continue
            break
        if number:
            logger.info("took over %d webhook events that another process had not delivered", number)
        self._remove()
