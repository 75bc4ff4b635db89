"""How one client receives publications: in the format of its endpoint, or each through its `deliver` pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fws.channels.channel import ENTRY, Slow
from fws.channels.formats import Format, format_of
from fws.channels.offer import Offer
from fws.clients.handed import Handed, Missed
from fws.clients.lifetime import Lifetime
from fws.clients.outbox import Outbox
from fws.pipeline.publication import Gap, Notice, Position, Publication
from fws.wire.encoding import weight_of

if TYPE_CHECKING:
    from fws.clients.host import Host
    from fws.compiler.endpoint import Endpoint


class Receiver(Lifetime):
    """A client as a member of channels.

    Attributes:
        format: how it receives publications; one object for all members that receive the same bytes.
        deflate_bits: the window of permessage-deflate that was agreed on; 0 for no compression.
    """

    __slots__ = ("_endpoint", "_handed", "deflate_bits", "format")

    def __init__(self, endpoint: Endpoint, host: Host, outbox: Outbox) -> None:
        super().__init__(host, outbox, filters_data=bool(endpoint.data), waits=endpoint.waits)
        self._endpoint = endpoint
        self.deflate_bits = 0
        # Bytes of publications that wait for the client's own greenlet.
        self._handed = 0
        self.format: Format = self._wanted

    @property
    def _wanted(self) -> Format:
        """The format that the endpoint asks for."""
        endpoint = self._endpoint
        if self.session is not None:
            return self.session.format(each=bool(endpoint.deliver))
        return format_of(self.deflate_bits, positions=endpoint.settings.positions, each=bool(endpoint.deliver))

    def _set_format(self) -> None:
        """Receive publications as the endpoint says, unless earlier ones still wait for the client's greenlet."""
        wanted = self._wanted
        if wanted is not self.format:
            self._settle()
            if not self._handed:
                self.format = wanted
                self.outbox.direct = not wanted.each

    def deliver(self, publication: Publication, weight: int) -> None:
        """Run the `deliver` pipeline for a publication and send the result. Called by the channel. Never blocks.

        A pipeline that may block runs in the client's own greenlet, so that nobody else waits for it. Publications that
        wait for the greenlet count like bytes in the outbox.

        Args:
            weight: bytes that the publication takes while it waits.
        """
        if self.closing:
            return
        if not self._waits:
            self._deliver(publication)
        elif self._handed + weight > self._endpoint.bounds.max_outbox and self._handed:
            if self._slow_of(publication) == "close":
                self.overflow()
            else:
                self.skipped(1)
        else:
            self._handed += weight
            self.enqueue(Handed(publication, weight))

    def _deliver(self, publication: Publication, write: Callable[[Publication], object] | None = None) -> None:
        """Run the `deliver` pipeline, and write what it lets through."""
        if self.closing:
            return
        # Publications of these filters are then known to be caused by this one.
        lineage = self._hub.lineage
        outer = lineage.enter("deliver", publication)
        try:
            flowed = publication
            if not isinstance(publication, Notice):
                flowed = self._endpoint.deliver.run(self, publication)
            if isinstance(flowed, Publication):
                (write or self._write)(flowed)
        except BaseException as error:
            # Exceptions that end a greenlet do so here too: a `deliver` hook may have set a time-out.
            self._context.faults.settle("deliver", error, self)
        finally:
            lineage.leave(outer)

    def _write(self, publication: Publication) -> None:
        frame, slow = self.format.frame(publication), self._slow_of(publication)
        if not frame:
            return  # the format has nothing for this notice
        if slow == "close":
            self.outbox.write(frame)
        else:
            self.outbox.offer(frame, Offer(publication.channel, slow == "latest", 1, publication, None))

    # What a new member has missed, where its protocol tells that in a way of its own.

    def caught_up(self, channel: str, missed: Sequence[Publication], position: Position | None) -> bool:
        """As `Member.caught_up`."""
        session = self.session
        if session is None or not session.tells:
            return False
        # They may be more than the outbox may hold, as for any member that returns.
        self.outbox.allow(sum(ENTRY + weight_of(one.message) for one in missed))
        if not self.format.each or not missed:
            session.joined(channel, missed, position)
        elif self._waits:
            self.enqueue(Missed(channel, missed, position))
        else:
            self._tell_missed(Missed(channel, missed, position))
        return True

    def _tell_missed(self, missed: Missed) -> None:
        left: list[Publication] = []
        for publication in missed.publications:
            self._deliver(publication, left.append)
        if self.session is not None and not self.closing:
            self.session.joined(missed.channel, left, missed.position)

    def missed(self, channel: str) -> None:
        """As `Member.missed`."""
        if self.session is not None:
            self.session.missed(channel)

    def gap(self, channel: str, last: Publication) -> bytes:
        """As `Member.gap`."""
        if self.session is not None:
            return self.session.gap(channel, last)
        return self.format.frame(Gap.at(channel, Position(last.epoch, last.offset)))

    def _slow_of(self, publication: Publication) -> Slow:
        channel = self._hub.named.get(publication.channel or "")
        return "close" if channel is None else channel.slow

    def _serve_handed(self, handed: Handed) -> None:
        """In the client's greenlet: the turn of a publication has come."""
        self._handed -= handed.weight
        self._deliver(handed.publication)
        if not self._handed:
            self._set_format()  # a reload may have been waiting for this
