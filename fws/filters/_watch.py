"""Clients that a filter let in, looked at again as long as they are here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fws.errors import StorageError

if TYPE_CHECKING:
    from fws import Filter
    from fws.client import Client

# Seconds between two looks. What is taken away ends within 5 s, the sweeper's half second and a slow Redis included.
EVERY = 1.5
# Connections closed in one go: 2 ms.
SLICE = 100


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

    def _again(self) -> None:
        if not self._set and self._here:
            self._set = True
            self._owner.hub.alarms.at(self._owner.clock() + EVERY, self._look)

    def _look(self) -> None:
        self._owner.hub.scheduler.spawn(self.look)

    def look(self) -> None:
        """Close the connections of those who must go."""
        try:
            for number, client in enumerate(list(self._gone(dict(self._here))), 1):
                self._owner.hub.metrics.count("logins_revoked")
                client.close(self._code, "no longer let in")
                if number % SLICE == 0:
                    time.sleep(0.001)  # others have their turn
        except StorageError:
            self._owner.hub.metrics.count("storage_faults")  # the storage has told why
        finally:
            self._set = False
            self._again()
