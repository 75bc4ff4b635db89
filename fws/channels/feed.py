"""The publications of one channel with history, as one node hands them to its members: in order, and each once.

It is pure bookkeeping. Publications arrive in any order, with holes and twice; the feed says what is next, and after
which position the history must be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from fws.histories.base import Page
from fws.pipeline.publication import Gap, Position, Publication

# Publications that are held back until earlier ones have been read. Above this they are dropped and read again.
MOST_HELD = 1000


class Feed:
    """How far this node has read a channel, and what it holds back.

    Attributes:
        channel: the name.
        position: of the last publication that was handed out; None before the channel's position is known.
    """

    __slots__ = ("_held", "_newest", "channel", "position")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.position: Position | None = None
        self._held: dict[tuple[str, int], Publication] = {}
        # A position that is known to exist and has not been reached.
        self._newest: Position | None = None

    @property
    def behind(self) -> bool:
        """Whether publications are missing that must be read from the history, after `position`."""
        return self._newest is not None and self.position is not None

    def take(self, publication: Publication) -> Sequence[Publication]:
        """A publication has arrived. Returns those that are next, in order: none if it is early, or not new."""
        here = self.position
        if here is not None and publication.epoch == here.epoch:
            if publication.offset <= here.offset:
                return ()
            if publication.offset == here.offset + 1 and self._newest is None:
                self.position = Position(here.epoch, publication.offset)
                return (publication,)
        self._hold(publication)
        return self.released()

    def told(self, top: Position) -> None:
        """The channel's newest publication has, or had, this position. `released` returns what follows from it."""
        if self.position is None:
            # Members begin here.
            self.position = top
        elif top.epoch != self.position.epoch or top.offset > self.position.offset:
            self._expect(top)

    def filled(self, page: Page) -> Sequence[Publication]:
        """The history after `position` has been read. Returns what is next, with a `Gap` where something is missing."""
        here = self.position
        assert here is not None
        strange = [key for key in self._held if key[0] != page.top.epoch]
        for key in strange:
            del self._held[key]
        found: list[Publication] = []
        if here.epoch != page.top.epoch or page.top.offset > here.offset:
            new = [one for one in page.publications if one.epoch != here.epoch or one.offset > here.offset]
            found += new
            if not page.complete:
                for index, gap in gaps_in(self.channel, new, here, page.top):
                    found.insert(index, gap)
            self.position = page.top
        self._newest = None
        found += self.released()
        if strange:
            # They belong to an earlier epoch, or to one that has begun since the page was read: look once more.
            self._newest = Position(*strange[-1])
        return found

    def _hold(self, publication: Publication) -> None:
        if len(self._held) >= MOST_HELD:
            # All of them are in the history.
            self._held.clear()
        self._held[publication.epoch, publication.offset] = publication
        if self.position is not None:
            self._expect(Position(publication.epoch, publication.offset))

    def _expect(self, position: Position) -> None:
        newest = self._newest
        if newest is None or position.epoch != newest.epoch or position.offset > newest.offset:
            self._newest = position

    def released(self) -> list[Publication]:
        """The held publications that are next. The older ones are dropped."""
        here = self.position
        if here is None:
            return []
        found: list[Publication] = []
        epoch, offset = here.epoch, here.offset
        while (publication := self._held.pop((epoch, offset + 1), None)) is not None:
            found.append(publication)
            offset += 1
        if found:
            self.position = Position(epoch, offset)
        if self._held:
            self._held = {key: one for key, one in self._held.items() if key[0] != epoch or key[1] > offset}
        newest = self._newest
        if newest is not None and newest.epoch == epoch and newest.offset <= offset:
            self._newest = None
        for at in self._held:
            self._expect(Position(*at))
        return found


def gaps_in(channel: str, publications: Sequence[Publication], here: Position, top: Position) -> list[tuple[int, Gap]]:
    """The gaps among the publications that a member gets after a position, when some are missing.

    There is one wherever an offset is missing, and wherever the numbering begins anew: what is missing may have been
    there.

    Args:
        here: what the member has read.
        top: the position of the newest publication, in case there is no such place.

    Returns:
        Each gap with the number of publications before it, the last one first.
    """
    gaps = []
    for index, one in enumerate(publications):
        if one.epoch != here.epoch or one.offset != here.offset + 1:
            gaps.append((index, Gap.at(channel, Position(one.epoch, one.offset - 1))))
        here = Position(one.epoch, one.offset)
    return gaps[::-1] or [(len(publications), Gap.at(channel, top))]
