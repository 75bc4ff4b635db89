"""Presence in a single process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from fws.base.timers import Timer, Timers
from fws.config import Channel
from fws.presence.base import Change, Present, Watcher


class _Here:
    """One channel.

    Attributes:
        present: by client.
        lingering: by user, the client that has left and its timer.
    """

    __slots__ = ("lingering", "present")

    def __init__(self) -> None:
        self.present: dict[str, Present] = {}
        self.lingering: dict[str, tuple[str, Timer]] = {}


class MemoryPresence:
    """Keeps who is present in this process.

    Args:
        clock: monotonic seconds.
        timers: end the lingering of clients, within half a second.
    """

    def __init__(self, clock: Callable[[], float], timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._channels: dict[str, _Here] = {}
        self._watched: set[str] = set()

    def start(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def join(self, channel: str, present: Present, settings: Channel) -> None:
        here = self._channels.setdefault(channel, _Here())
        known = here.present.get(present.client)
        lingering = here.lingering.get(present.user) if present.user else None
        former = None
        if lingering is not None and (known is None or lingering[0] == present.client):
            former = here.lingering.pop(present.user)
        left = []
        if former is not None:
            client, timer = former
            timer.cancel()
            if client != present.client:
                del here.present[client]
                left.append(client)
        here.present[present.client] = present
        if known != present:
            self._tell(channel, Change((present,), left, quiet=former is not None))

    def leave(self, channel: str, client: str, settings: Channel) -> None:
        here = self._channels.get(channel)
        present = here.present.get(client) if here is not None else None
        if here is None or present is None:
            return
        if present.user and settings.linger:
            earlier = here.lingering.pop(present.user, None)
            timer = self._timers.at(self._clock() + settings.linger, partial(self._end, channel, client))
            here.lingering[present.user] = client, timer
            if earlier is not None:
                # Only one client of a user lingers: the one that has left last.
                earlier[1].cancel()
                self._remove(channel, here, earlier[0])
        else:
            self._remove(channel, here, client)

    def here(self) -> list[int]:
        return [len(here.present) for here in self._channels.values()]

    def _end(self, channel: str, client: str) -> None:
        """A client has lingered for long enough."""
        here = self._channels[channel]
        del here.lingering[here.present[client].user]
        self._remove(channel, here, client)

    def _remove(self, channel: str, here: _Here, client: str) -> None:
        del here.present[client]
        if not here.present:
            del self._channels[channel]
        self._tell(channel, Change(left=(client,)))

    def _tell(self, channel: str, change: Change) -> None:
        if channel in self._watched:
            self._watcher.changed(channel, change)

    def watch(self, channel: str, settings: Channel) -> None:
        self._watched.add(channel)
        self.who(channel, lambda present: self._watcher.renewed(channel, present or ()))

    def unwatch(self, channel: str) -> None:
        self._watched.discard(channel)

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> None:
        here = self._channels.get(channel)
        done([] if here is None else list(here.present.values()))
