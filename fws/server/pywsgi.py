"""What gevent's pywsgi and its WebSocket handler need, for heads that fws has read itself."""

from __future__ import annotations

import logging

from fws.wire.head import Head

# What the library logs for debugging names no client.
library_logger = logging.getLogger("fws.http.library")
library_logger.setLevel(logging.ERROR)


class RequestHeaders:
    """A checked head with the methods of `http.client.HTTPMessage` that pywsgi calls."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self.typeheader = head.get("content-type")

    @property
    def headers(self) -> list[str]:
        return [f"{name}: {value}" for name in self._head.headers for value in self._head.all(name)]

    def get(self, name: str, default: str | None = None) -> str | None:
        value = self._head.get(name.lower())
        return default if value is None else value

    getheader = get


class NoInput:
    """Replaces the request body, the rest of which pywsgi would discard. The handler has read it."""

    @staticmethod
    def _discard() -> None:
        """Do nothing."""
