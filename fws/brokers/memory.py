"""The broker of one process: what is published is delivered at once, by the caller's own greenlet."""

from __future__ import annotations

from collections.abc import Callable

from fws.publication import Publication


class MemoryBroker:
    """Exactly once to this process's hub, before `publish` returns."""

    def __init__(self, deliver: Callable[[Publication], None]) -> None:
        self.publish = deliver
