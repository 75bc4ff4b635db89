"""Which publication each greenlet is handling, so that a publication made meanwhile is known to come from it."""

from __future__ import annotations

from typing import Any

from gevent import getcurrent

from fws.pipeline.publication import Publication

Handling = tuple[str, Publication]


class Lineage:
    """What is being handled, by greenlet: the event (`publication` or `deliver`) and the publication."""

    __slots__ = ("_handling",)

    def __init__(self) -> None:
        self._handling: dict[Any, Handling] = {}

    def __bool__(self) -> bool:
        """Whether any publication is being handled: most of the time none is, and nothing needs to be looked up."""
        return bool(self._handling)

    @property
    def current(self) -> Handling | None:
        """What the running greenlet is handling."""
        return self._handling.get(getcurrent())

    def enter(self, event: str, publication: Publication) -> Handling | None:
        """The running greenlet begins to handle a publication. Returns what `leave` needs."""
        me = getcurrent()
        outer = self._handling.get(me)
        self._handling[me] = event, publication
        return outer

    def leave(self, outer: Handling | None) -> None:
        """It has handled it, and goes on with what it was handling before."""
        if outer is None:
            self._handling.pop(getcurrent(), None)
        else:
            self._handling[getcurrent()] = outer
