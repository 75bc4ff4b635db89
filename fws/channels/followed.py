"""The channels with history that have members here: hands out publications in order, and recovers what members missed.

A client that joins such a channel is *expected* first. When the channel's position is known, and what the client has
missed up to there has been read, it gets that, then what was published meanwhile, and becomes a member.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from fws.channels.channel import Entry
from fws.channels.feed import Feed, gaps_in
from fws.channels.hub import FULL, Hub
from fws.channels.member import Member
from fws.config import Channel
from fws.histories.base import History, Page
from fws.pipeline.publication import Gap, Position, Publication
from fws.runtime.context import Context
from fws.wire.encoding import payload_of

# Seconds until a history that could not be reached, or did not have what it should have, is read again.
AGAIN = 0.25


class Wish(msgspec.Struct, frozen=True):
    """What a client wants to receive when it joins.

    Attributes:
        since: how far it has read the channel; None if it has not.
        last: how many of the newest publications it gets: without `since`, and at most after a gap; 0 for none, and for
            all that are kept after a gap.
    """

    since: Position | None = None
    last: int = 0

    def __bool__(self) -> bool:
        return self.since is not None or self.last > 0


class _Round:
    """Clients for which the history is being read, and what was published since."""

    __slots__ = ("arrivals", "pending", "start")

    def __init__(self, arrivals: list[tuple[Member, Wish]], start: Position) -> None:
        self.arrivals = arrivals
        self.start = start
        self.pending: list[Entry] = []


class _Followed:
    """One channel."""

    __slots__ = ("expected", "feed", "reading", "rounds", "settings")

    def __init__(self, name: str, settings: Channel) -> None:
        self.feed = Feed(name)
        self.settings = settings
        self.expected: list[tuple[Member, Wish]] = []
        self.rounds: list[_Round] = []
        self.reading = False


class FollowedChannels:
    """Hands the publications of channels with history to their members on this node.

    A member gets them in the order of their offsets and each once. Where some are missing and cannot be read, it gets a
    `Gap` instead.
    """

    def __init__(self, context: Context, hub: Hub, history: History) -> None:
        self._hub = hub
        self._history = history
        self._metrics = context.metrics
        self._scheduler = context.scheduler
        self._channels: dict[str, _Followed] = {}

    def __contains__(self, channel: str) -> bool:
        return channel in self._channels

    def join(self, client: Member, name: str, settings: Channel, wish: Wish) -> None:
        """A client joins. It becomes a member once it has received what it wishes."""
        self._hub.expect_member(client, name)
        followed = self._channels.get(name)
        if followed is None:
            followed = self._channels[name] = _Followed(name, settings)
            followed.expected.append((client, wish))
            self._history.follow(name, settings)
            return
        followed.expected.append((client, wish))
        self._admit(followed)

    def leave(self, client: Member, name: str) -> None:
        """A member, or a client that is expected, leaves."""
        followed = self._channels[name]
        if followed.expected:
            followed.expected = [one for one in followed.expected if one[0] is not client]
        if self._hub.leave(client, name):
            del self._channels[name]
            self._history.unfollow(name)

    def apply(self, name: str, settings: Channel | None) -> None:
        """A reload has changed what applies to a channel with members.

        Args:
            settings: None if the channel has no history any more.
        """
        followed = self._channels.get(name)
        if followed is not None and settings is not None:
            if followed.settings != settings:
                followed.settings = settings
                self._history.follow(name, settings)
        elif followed is not None:
            del self._channels[name]
            self._history.unfollow(name)
            expected = followed.expected + [arrival for round in followed.rounds for arrival in round.arrivals]
            for client, _ in expected:
                self._hub.catch_up(client, name, [], None)
        elif settings is not None:
            self._channels[name] = _Followed(name, settings)
            self._history.follow(name, settings)

    # As the follower of the history.

    def arrived(self, publication: Publication) -> None:
        followed = self._channels.get(publication.channel or "")
        if followed is None:
            if self._hub.patterned or publication.channel in self._hub.named:
                # For patterns; or a reload has just taken the history away, and it was on its way.
                self._hub.enqueue(publication)
            return
        if self._hub.weight > FULL:
            # It is in the history. Members get it when they have received what waits for them.
            if followed.feed.position is None:
                self._hand_out(followed, followed.feed.take(publication))
            else:
                followed.feed.told(Position(publication.epoch, publication.offset))
            self._hub.when_uncrowded(partial(self._catch_up, followed))
            return
        self._hand_out(followed, followed.feed.take(publication))
        if followed.feed.behind:
            self._catch_up(followed)

    def told(self, channel: str, top: Position) -> None:
        followed = self._channels.get(channel)
        if followed is not None:
            followed.feed.told(top)
            # Before what has arrived meanwhile is handed out: it was published after they joined.
            self._admit(followed)
            self._hand_out(followed, followed.feed.released())
            self._catch_up(followed)
            self._admit(followed)

    def missed(self, channel: str) -> None:
        followed = self._channels.get(channel)
        if followed is not None and followed.feed.position is not None:
            self._hand_out(followed, [Gap.at(channel, followed.feed.position)])

    def weigh(self, change: int) -> None:
        self._hub.weigh(change)

    def _hand_out(self, followed: _Followed, publications: Sequence[Publication]) -> None:
        for publication in publications:
            if type(publication) is Gap:
                self._metrics.count("gaps")
                self._hub.missed(followed.feed.channel)
            entry = self._hub.enqueue(publication)
            if entry is not None:
                for round in followed.rounds:
                    round.pending.append(entry)

    # Missing publications of the node.

    def _catch_up(self, followed: _Followed) -> None:
        """Read what this node has missed, if it has missed something."""
        feed = followed.feed
        if not feed.behind or followed.reading or not self._is_current(followed) or self._hub.weight > FULL:
            return
        followed.reading = True
        self._history.read(feed.channel, followed.settings, feed.position, 0, partial(self._filled, followed))

    def _filled(self, followed: _Followed, page: Page | None) -> None:
        followed.reading = False
        if not self._is_current(followed):
            return
        before = followed.feed.position
        if page is not None:
            self._metrics.count("publications_recovered", len(page.publications))
            self._hand_out(followed, followed.feed.filled(page))
            self._admit(followed)
        if followed.feed.behind:
            if followed.feed.position == before:
                self._scheduler.after(AGAIN, partial(self._catch_up, followed))
            else:
                self._catch_up(followed)

    def _is_current(self, followed: _Followed) -> bool:
        return self._channels.get(followed.feed.channel) is followed

    # What clients have missed.

    def _admit(self, followed: _Followed) -> None:
        """Make expected clients members, or begin to read for them.

        A client without a wish becomes a member at once, also if this node has to read the channel first: it gets what
        that brings. One with a wish waits for it.
        """
        position = followed.feed.position
        if position is None or not followed.expected:
            return
        expected, followed.expected = followed.expected, []
        if followed.feed.behind:
            followed.expected = [one for one in expected if one[1]]
            expected = [one for one in expected if not one[1]]
        reads: dict[Position | None, list[tuple[Member, Wish]]] = {}
        for client, wish in expected:
            if not wish:
                self._become(followed, client, [], position)
                continue
            since = wish.since
            # Positions of this epoch share one read, which begins at the lowest.
            key = Position(position.epoch, -1) if since is not None and since.epoch == position.epoch else since
            reads.setdefault(key, []).append((client, wish))
        for key, arrivals in reads.items():
            after, last = key, 0
            if after is None:
                last = max(wish.last for _, wish in arrivals)
            elif after.offset < 0:
                after = min((wish.since for _, wish in arrivals if wish.since), key=lambda since: since.offset)
            round = _Round(arrivals, position)
            followed.rounds.append(round)
            name, settings = followed.feed.channel, followed.settings
            self._history.read(name, settings, after, last, partial(self._recover, followed, round, after))

    def _recover(self, followed: _Followed, round: _Round, after: Position | None, page: Page | None) -> None:
        """The history has been read for some clients."""
        followed.rounds.remove(round)
        if not self._is_current(followed):
            return
        if page is None or page.top.epoch != round.start.epoch or followed.feed.position is None:
            # The history could not be reached, or its numbering began anew meanwhile.
            followed.expected += round.arrivals
            if page is not None:
                self.told(followed.feed.channel, page.top)
            else:
                self._scheduler.after(AGAIN, partial(self._retry, followed))
            return
        read = [one for one in page.publications if one.offset <= round.start.offset]
        first = read[0].offset if read else round.start.offset + 1
        entries = [Entry(one, *payload_of(one.message)) for one in read]
        ahead = []
        for client, wish in round.arrivals:
            missed, complete = entries, True
            if wish.since is not None and after is not None:
                if wish.since.epoch == round.start.epoch:
                    if round.start.offset < wish.since.offset <= page.top.offset:
                        # Another node has given it more than this one has received. This one catches up first.
                        ahead.append((client, wish))
                        continue
                    missed = entries[max(0, wish.since.offset + 1 - first) :]
                    complete = first <= wish.since.offset + 1 <= round.start.offset + 1
                else:
                    complete = page.complete
            if (wish.since is None or not complete) and wish.last:
                missed = missed[-wish.last :]
            if not complete:
                missed = self._with_gaps(followed, wish.since or round.start, missed, round.start)
            self._metrics.count("recoveries")
            self._become(followed, client, [*missed, *round.pending], round.start)
        if ahead:
            followed.expected += ahead
            self.told(followed.feed.channel, page.top)

    def _become(self, followed: _Followed, client: Member, entries: list[Entry], position: Position) -> None:
        """A client becomes a member with what it has missed."""
        self._hub.catch_up(client, followed.feed.channel, entries, position)

    def _with_gaps(self, followed: _Followed, since: Position, missed: list[Entry], top: Position) -> list[Entry]:
        self._metrics.count("gaps")
        publications = [entry.publication for entry in missed]
        missed = missed.copy()
        for index, gap in gaps_in(followed.feed.channel, publications, since, top):
            missed.insert(index, Entry(gap, *payload_of(gap.message)))
        return missed

    def _retry(self, followed: _Followed) -> None:
        if self._is_current(followed):
            self._admit(followed)
