"""Checks again and again whether clients that a filter has admitted may stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fws import Client
from fws.base.close_codes import REFUSED
from fws.base.errors import StorageError

if TYPE_CHECKING:
    from fws import Filter

# Seconds between two checks. Revoked access ends within 5 s, including the sweeper's half second and a slow Redis.
EVERY = 1.5
# Seconds after a check that failed. A call to a hanging Redis takes 4 s to fail, so that one of the 5 s is left.
AGAIN = 0.25
# The clients of one step. To check them takes 2 ms, and to close all of them takes 7 ms.
SLICE = 250


class Watch:
    """Asks every 1.5 seconds which clients must be disconnected, as long as there are clients.

    Args:
        owner: the filter.
        gone: gets the clients and what is known about each, and returns those whose access was revoked. It may block.
            If it raises StorageError, all clients stay until the next check.
        code: the close code of clients that are disconnected.
    """

    def __init__(
        self, owner: Filter, gone: Callable[[dict[Client, Any]], Iterable[Client]], *, code: int = REFUSED + 401
    ) -> None:
        self._owner = owner
        self._gone = gone
        self._code = code
        self._here: dict[Client, Any] = {}
        self._set = False

    def add(self, client: Client, known: Any) -> None:
        """Watch a client from now on until it disconnects."""
        if client not in self._here:
            client.defer(lambda: self._here.pop(client, None))
        self._here[client] = known
        self._again()

    def _again(self, seconds: float = EVERY) -> None:
        if not self._set and self._here:
            self._set = True
            self._owner.timers.at(self._owner.clock() + seconds, self._look)

    def _look(self) -> None:
        self._owner.services.spawn(self.look)

    def look(self) -> None:
        """Close the connections of clients whose access was revoked."""
        here, after = list(self._here.items()), EVERY
        try:
            for start in range(0, len(here), SLICE):
                for client in self._gone(dict(here[start : start + SLICE])):
                    if not client.closing:
                        self._owner.services.metrics.count("logins_revoked")
                        client.close(self._code, "access was revoked")
                time.sleep(0.001)  # so that other clients have their turn
        except StorageError:
            self._owner.services.metrics.count("storage_faults")  # the storage has logged the reason
            after = AGAIN
        finally:
            self._set = False
            self._again(after)
