"""Clients that a filter let in, looked at again as long as they are here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fws import Client
from fws.base.errors import StorageError

if TYPE_CHECKING:
    from fws import Filter

# Seconds between two looks. What is taken away ends within 5 s, the sweeper's half second and a slow Redis included.
EVERY = 1.5
# And after one that failed: a Redis that has stopped takes 4 s to fail, and of the 5 one is left.
AGAIN = 0.25
# Clients looked at in one go, and closed, if it must be: 2 ms, or 7.
SLICE = 250


class Watch:
    """Asks every 1.5 seconds, while anybody is here, who must go.

    Args:
        owner: the filter.
        gone: gets the clients and what is kept of each, and says who must go; it may wait. While the storage cannot
            be asked all stay, until the next time.
        code: with which they go.
    """

    def __init__(
        self, owner: Filter, gone: Callable[[dict[Client, Any]], Iterable[Client]], *, code: int = 4401
    ) -> None:
        self._owner = owner
        self._gone = gone
        self._code = code
        self._here: dict[Client, Any] = {}
        self._set = False

    def add(self, client: Client, known: Any) -> None:
        """Look after a client from now on, until it is gone."""
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
        """Close the connections of those who must go."""
        here, after = list(self._here.items()), EVERY
        try:
            for start in range(0, len(here), SLICE):
                for client in self._gone(dict(here[start : start + SLICE])):
                    if not client.closing:
                        self._owner.services.metrics.count("logins_revoked")
                        client.close(self._code, "access was revoked")
                time.sleep(0.001)  # others have their turn
        except StorageError:
            self._owner.services.metrics.count("storage_faults")  # the storage has told why
            after = AGAIN
        finally:
            self._set = False
            self._again(after)
