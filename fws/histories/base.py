"""The interface of a history, which numbers, keeps and returns the publications of channels.

All back ends pass the tests in `tests/histories/contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from fws.config import Channel
from fws.pipeline.publication import Position, Publication


class Page(NamedTuple):
    """What a history has after some position.

    Attributes:
        publications: in the order of their offsets, without holes.
        top: the position of the channel's newest publication when the page was read.
        complete: whether nothing is missing between the position that was asked about and the first publication.
    """

    publications: Sequence[Publication]
    top: Position
    complete: bool


class Span(NamedTuple):
    """Which publications of a channel are asked for, to look at them and not to recover them.

    Attributes:
        since: the ones after this position, or before it with `reverse`; None for all. An empty epoch stands for the
            present one.
        limit: the most publications; 0 for none, which asks for the position alone; below 0 for all.
        reverse: whether the newest comes first.
    """

    since: Position | None = None
    limit: int = -1
    reverse: bool = False


class Follower(Protocol):
    """Gets what happens in the channels that a node follows. Its methods must not block."""

    def arrived(self, publication: Publication) -> None:
        """A publication, which has its offset. Those of a followed channel may be missing, late, or come twice. Those
        of other channels may come too: clients may have subscribed to a pattern.
        """

    def told(self, channel: str, top: Position) -> None:
        """The position of a followed channel's newest publication at a moment since the last call for the channel."""

    def missed(self, channel: str) -> None:
        """Publications are missing before the present position of a followed channel, and cannot be recovered."""

    def weigh(self, change: int) -> None:
        """So many bytes more, or less, wait until they are published. Publishers wait while there are too many."""


class History(Protocol):
    """Numbers and keeps publications, and carries them to every node that follows their channel.

    None of its methods blocks. What it is asked is answered by a call, at once where that is possible.
    """

    def start(self, follower: Follower) -> None:
        """Begin. Nothing else may be called before."""

    def publish(
        self,
        publication: Publication,
        settings: Channel,
        done: Callable[[Position | None], None] | None = None,
    ) -> None:
        """Number a publication, keep it, and carry it to every node that follows its channel.

        The numbers of a channel are 1, 2, 3 and so on, without holes. Publications of one node on one channel are
        numbered in the order of the calls. None is numbered twice. What was not numbered at all, because the buffer was
        full or the process ended, is counted.

        Args:
            done: called once with the position of the publication, as soon as it has one, or with None if the
                publication is lost. The offset is 0 if Redis had it already and has forgotten where: its answer was
                lost, and a thousand others were published since.

        Raises:
            TypeError: the message cannot be written as JSON. `done` is not called.
        """

    def follow(self, channel: str, settings: Channel) -> None:
        """The channel has a first member on this node: `told` its position soon, and hand over what is published.

        The position is that of a moment after all earlier calls of `publish` on this node.
        """

    def unfollow(self, channel: str) -> None:
        """The last member has left."""

    def read(
        self,
        channel: str,
        settings: Channel,
        after: Position | None,
        last: int,
        done: Callable[[Page | None], None],
    ) -> None:
        """Call `done` with what a channel keeps, or with None if the history cannot be reached.

        Args:
            after: the publications after this position; None for the newest ones.
            last: without `after`, how many of the newest.
        """

    def page(self, channel: str, settings: Channel, span: Span, done: Callable[[Page | None], None]) -> None:
        """Call `done` with a part of what a channel keeps, or with None if the history cannot be reached.

        Forwards, the page is complete if nothing is missing between `span.since` and its first publication. Backwards,
        it is complete if the channel has had the position `span.since`: older publications may have been forgotten.
        Without `span.since` it is complete.
        """

    def remove(self, channel: str, settings: Channel, done: Callable[[bool], None]) -> None:
        """Forget the publications of a channel. The numbering goes on, and the epoch stays.

        A member that returns with an older position is told about a gap. One that has read everything is not.

        Args:
            done: called with whether the publications are forgotten. If not, the history could not be reached, or it is
                not known whether it has forgotten them.
        """
