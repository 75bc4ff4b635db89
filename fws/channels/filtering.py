"""The `publication` pipeline: it runs once for each publication, in order per channel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from fws.channels.channel import ENTRY
from fws.channels.hub import Hub
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.publication import Position, Publication
from fws.runtime.context import Context
from fws.wire.encoding import weight_of

# Called once when it is decided what becomes of a publication: with its position, or None if it has none, and with the
# reason if it is lost, else an empty text. It must not block.
Told = Callable[[Position | None, str], object]


class Outgoing(NamedTuple):
    """A publication on its way through the pipeline.

    Attributes:
        kept: whether the history of its channel keeps it, if the channel has one.
        told: for a publisher who wants to know what becomes of it.
    """

    publication: Publication
    kept: bool = True
    told: Told | None = None

    def passed(self) -> None:
        """It has passed without a position, or a filter has dropped it."""
        if self.told is not None:
            self.told(None, "")

    def numbered(self, position: Position | None) -> None:
        """The history has kept it, or has lost it."""
        if self.told is not None:
            self.told(position, "" if position is not None else "Redis has not accepted the publication")


class PublicationFilters:
    """Runs the `publication` pipeline.

    Args:
        pass_on: called with what has passed, in the order of the calls of `run` for each channel.

    Attributes:
        pipeline: the one in force.
    """

    def __init__(self, context: Context, hub: Hub, pipeline: Pipeline, pass_on: Callable[[Outgoing], None]) -> None:
        self.pipeline = pipeline
        self._pass_on = pass_on
        self._hub = hub
        self._scheduler = context.scheduler
        self._faults = context.faults
        # Publications that wait because the filters are still handling earlier ones of their channel.
        self._waiting: dict[str | None, deque[Outgoing]] = {}

    @property
    def busy(self) -> bool:
        """Whether filters are handling publications."""
        return bool(self._waiting)

    def run(self, outgoing: Outgoing) -> None:
        """Run the pipeline on a publication, at once or when earlier ones of its channel have passed."""
        channel = outgoing.publication.channel
        queue = self._waiting.get(channel)
        self._hub.weigh(_weight(outgoing.publication))
        if queue is not None:
            # A filter that handles an earlier publication has made it, or it arrived while that filter blocks. It is
            # handled next.
            queue.append(outgoing)
            return
        queue = self._waiting[channel] = deque((outgoing,))
        if self.pipeline.waits:
            self._scheduler.spawn(self._run_all, channel, queue)
        else:
            self._run_all(channel, queue)

    def _run_all(self, channel: str | None, queue: deque[Outgoing]) -> None:
        lineage = self._hub.lineage
        try:
            while queue:
                outgoing = queue.popleft()
                publication = outgoing.publication
                self._hub.weigh(-_weight(publication))
                outer = lineage.enter("publication", publication)
                try:
                    flowed = self.pipeline.publish(publication)
                    if isinstance(flowed, Publication):
                        if publication.origin == "outside" and flowed.epoch != publication.epoch:
                            # A filter has made a new one. It takes the place of the old one in history.
                            flowed = flowed.replace(origin="outside", epoch=publication.epoch)
                        self._pass_on(outgoing._replace(publication=flowed))
                    else:
                        outgoing.passed()
                except (
                    BaseException
                ) as error:  # a filter may raise anything; the event ends, and the next publication follows
                    outgoing.passed()
                    self._faults.settle("publication", error)
                finally:
                    lineage.leave(outer)
        finally:
            del self._waiting[channel]


def _weight(publication: Publication) -> int:
    """The approximate size of a publication that is not encoded yet, in bytes."""
    return ENTRY + weight_of(publication.message)
