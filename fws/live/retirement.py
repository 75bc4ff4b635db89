"""The end of filters and sources: of those that a reload has replaced, when the last event that uses them is over."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gevent
from gevent import Greenlet, GreenletExit

from fws.compiler.generation import Generation, with_branches
from fws.pipeline.component import Component

logger = logging.getLogger("fws")

# Seconds that `stop` hooks have for cleaning up when they are interrupted.
CLEAN_UP = 0.1


class Retirement:
    """The filters and sources of one generation that the next one does not use.

    A frame that runs a pipeline holds the pipeline. When a pipeline of the old generation is gone, no event runs in it
    any more, and no filter holds a message back for the rest of it. Nothing has to be counted while messages are
    served.

    Args:
        old: the generation that was replaced. It is not kept.
        new: the generation in force.
        deadline: when the filters are stopped in any case, on the clock of the server.

    Attributes:
        stopping: a greenlet for each filter and source that is being stopped, or has been.
    """

    def __init__(self, old: Generation, new: Generation, deadline: float) -> None:
        kept = set(map(id, new.components))
        self.stopping: list[Greenlet] = []
        # Others are not kept: a filter such as `switch` keeps its branches, which are among the pipelines.
        self._filters: list[Component] = [one for one in old.filters if id(one) not in kept and hasattr(one, "stop")]
        self._sources: list[Component] = [one for one in old.sources if id(one) not in kept]
        current = set(map(id, with_branches(new)))
        self._pipelines = [weakref.ref(pipeline) for pipeline in with_branches(old) if id(pipeline) not in current]
        self._deadline = deadline
        mine, theirs = old.registry.project, new.registry.project
        self._modules = None if mine is None or mine.same_as(theirs) else mine

    def look(self, now: float, failed: Callable[[BaseException], object]) -> bool:
        """Stop the sources, and the filters if nothing runs in the old pipelines any more. Does not wait for that.

        Args:
            failed: called with what a `stop` raises.

        Returns:
            Whether all are stopped.
        """
        sources, self._sources = self._sources, []
        self.stopping += stop(sources, failed)
        if now < self._deadline and any(pipeline() is not None for pipeline in self._pipelines):
            return False
        filters, self._filters = self._filters, []
        self.stopping += stop(filters, failed)
        if not all(one.ready() for one in self.stopping):
            return False
        if self._modules is not None:
            self._modules.forget()
            self._modules = None
        return True


def stop(components: Iterable[Component], failed: Callable[[BaseException], object]) -> list[Greenlet]:
    """Begin to call `stop` of each component that defines it.

    Each is called in a greenlet of its own, so that one that hangs takes no time from the others. The caller may wait
    for the greenlets, and end them when the time is over.

    Args:
        failed: called with what a `stop` raises, but not when its greenlet is ended.
    """
    return [gevent.spawn(_stop, one, failed) for one in components if hasattr(one, "stop")]


def await_stops(stopping: Sequence[Greenlet], seconds: float) -> None:
    """Wait for the greenlets of `stop`, and interrupt those that take longer than so many seconds."""
    done = gevent.joinall(stopping, timeout=seconds)
    if len(done) < len(stopping):
        logger.warning("%d filters did not stop in time and are interrupted", len(stopping) - len(done))
        gevent.killall(stopping, block=False)
        gevent.joinall(stopping, timeout=CLEAN_UP)


def _stop(component: Any, failed: Callable[[BaseException], object]) -> None:
    try:
        component.stop()
    except GreenletExit:
        raise
    except BaseException as error:  # a user's filter may raise anything
        failed(error)
