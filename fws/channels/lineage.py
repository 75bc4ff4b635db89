"""Records which publication each greenlet is handling, so that publications made meanwhile are known to be caused by
it.
"""

from __future__ import annotations

from typing import Any

from gevent import getcurrent

from fws.base.trace import traceparent
from fws.pipeline.publication import Publication

Handling = tuple[str, Publication]


class Lineage:
    """The event (`publication` or `deliver`) and the publication that each greenlet is handling."""

    __slots__ = ("_handling",)

    def __init__(self) -> None:
        self._handling: dict[Any, Handling] = {}

    def __bool__(self) -> bool:
        """Whether any publication is being handled. Mostly none is, and nothing needs to be looked up."""
        return bool(self._handling)

    @property
    def current(self) -> Handling | None:
        """The event and publication that the running greenlet is handling."""
        return self._handling.get(getcurrent())

    def traced(self, publication: Publication) -> Publication:
        """A new publication with the trace of the present event, or of the publication that is being handled."""
        trace = traceparent()
        if not trace and (handling := self.current) is not None:
            trace = handling[1].trace
        return publication.replace(trace=trace) if trace else publication

    def enter(self, event: str, publication: Publication) -> Handling | None:
        """The running greenlet begins to handle a publication. Returns the argument for `leave`."""
        me = getcurrent()
        outer = self._handling.get(me)
        self._handling[me] = event, publication
        return outer

    def leave(self, outer: Handling | None) -> None:
        """The running greenlet has finished it, and continues with the one that it was handling before."""
        if outer is None:
            self._handling.pop(getcurrent(), None)
        else:
            self._handling[getcurrent()] = outer
