"""Tells members who is present: a list for whoever joins, and then who has joined and left.

Changes are coalesced: a channel has at most one announcement in 250 ms, and an announcement names at most 100 clients.
With more members than `announce_max` it says only how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fws.config import Channel
from fws.presence.base import Change, Present

# Seconds between two announcements of a channel, and the most clients that each names.
EVERY = 0.25
NAMED = 100

Content = dict[str, Any]


class Returned(Present, frozen=True, kw_only=True, omit_defaults=True):
    """A client that is there in the place of another one of the same user, `was`."""

    was: str


class View:
    """What members of one channel on this node have been told about who is present. It is pure bookkeeping.

    Attributes:
        present: by client. Above `most` only their ids are kept, to count them.
        known: whether it has been asked who is present.
        last: when the last announcement was made.
        due: whether an announcement is to be made.
    """

    __slots__ = ("_changed", "_joined", "_left", "_told", "due", "known", "last", "most", "present")

    def __init__(self, most: int) -> None:
        self.most = most
        self.present: dict[str, Present] = {}
        self.known = False
        self.last = float("-inf")
        self.due = False
        self._joined: dict[str, Present] = {}
        self._changed: dict[str, Present] = {}
        self._left: dict[str, Present] = {}
        # The number of clients that members know.
        self._told = 0

    @property
    def crowded(self) -> bool:
        """Whether there are too many clients to name them."""
        return len(self.present) > self.most

    def change(self, change: Change) -> bool:
        """Somebody has joined or left. Returns whether members have to be told."""
        before = len(self._joined) + len(self._changed) + len(self._left)
        if change.quiet:
            for was, one in zip(change.left, change.joined, strict=False):
                self._return(was, one)
            return len(self._joined) + len(self._changed) != before
        for client in change.left:
            if (gone := self.present.pop(client, None)) is not None:
                self._leave(gone)
        for one in change.joined:
            known = self.present.get(one.client)
            self.present[one.client] = one
            if known is None:
                self._join(one)
            elif known != one:
                self._alter(one)
        return len(self._joined) + len(self._changed) + len(self._left) != before

    def renew(self, present: Sequence[Present]) -> bool:
        """Everybody who is present. Returns whether members have to be told."""
        now = {one.client: one for one in present}
        if not self.known:
            # Whoever is here already is in the list that members get first.
            self.known = True
            self.present = now
            self._told = len(now)
            return False
        left = [client for client in self.present if client not in now]
        return self.change(Change(list(now.values()), left))

    def _return(self, was: str, one: Present) -> None:
        """A user is back as another client."""
        if self.present.pop(was, None) is None:
            self.change(Change((one,)))
            return
        self.present[one.client] = one
        if self._joined.pop(was, None) is not None:
            self._joined[one.client] = one
        else:
            before = self._changed.pop(was, None)
            known = before.was if isinstance(before, Returned) else was
            self._changed[one.client] = Returned(one.client, one.user, one.info, one.profile, was=known)

    def _join(self, one: Present) -> None:
        if one.client in self._left:
            del self._left[one.client]
            self._changed[one.client] = one
        else:
            self._joined[one.client] = one

    def _leave(self, gone: Present) -> None:
        self._changed.pop(gone.client, None)
        if self._joined.pop(gone.client, None) is None:
            self._left[gone.client] = gone

    def _alter(self, one: Present) -> None:
        if one.client in self._joined:
            self._joined[one.client] = one
        else:
            self._changed[one.client] = one

    def take(self) -> Content | None:
        """What is announced now; None if nothing has changed."""
        joined, changed, left = self._joined, self._changed, self._left
        self._joined, self._changed, self._left = {}, {}, {}
        count = len(self.present)
        if not (joined or changed or left):
            return None
        content: Content = {"clients": count}
        if not self.crowded and len(joined) + len(changed) + len(left) <= NAMED:
            named = (("joined", [*joined.values()]), ("changed", [*changed.values()]), ("left", [*left.values()]))
            content |= {name: some for name, some in named if some}
        elif count == self._told and not changed:
            return None
        self._told = count
        return content

    def everybody(self) -> Content:
        """The list for a new member. If they are many, it has the first ones and how many there are."""
        some = [] if self.crowded else list(self.present.values())[:NAMED]
        return {"clients": len(self.present), "present": some}


class Announcer:
    """Makes the announcements of this node's channels.

    Args:
        clock: monotonic seconds.
        after: calls after some seconds.
        announce: gives content to all members of a channel; to `client` alone if it is not None.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        after: Callable[[float, Callable[[], None]], object],
        announce: Callable[[str, Content, Any], None],
    ) -> None:
        self._clock = clock
        self._after = after
        self._announce = announce
        self._views: dict[str, View] = {}
        # Members that wait for the list.
        self._waiting: dict[str, list[Any]] = {}

    def __contains__(self, channel: str) -> bool:
        return channel in self._views

    def begin(self, channel: str, settings: Channel) -> None:
        """The channel has members here."""
        self._views[channel] = View(settings.announce_max)

    def end(self, channel: str) -> None:
        """The last member has left."""
        self._views.pop(channel, None)
        self._waiting.pop(channel, None)

    def forget(self, channel: str, client: Any) -> None:
        """A member has left, perhaps before it got the list."""
        if channel in self._waiting:
            self._waiting[channel] = [one for one in self._waiting[channel] if one is not client]

    def welcome(self, channel: str, client: Any) -> None:
        """A new member gets the list as soon as it is known."""
        view = self._views[channel]
        if view.known:
            self._announce(channel, view.everybody(), client)
        else:
            self._waiting.setdefault(channel, []).append(client)

    def changed(self, channel: str, change: Change) -> None:
        view = self._views.get(channel)
        if view is not None and view.change(change):
            self._schedule(channel, view)

    def renewed(self, channel: str, present: Sequence[Present]) -> None:
        view = self._views.get(channel)
        if view is None:
            return
        if view.renew(present):
            self._schedule(channel, view)
        for client in self._waiting.pop(channel, ()):
            self._announce(channel, view.everybody(), client)

    def _schedule(self, channel: str, view: View) -> None:
        if not view.due:
            view.due = True
            wait = max(0.0, view.last + EVERY - self._clock())
            self._after(wait, lambda: self._make(channel, view))

    def _make(self, channel: str, view: View) -> None:
        view.due = False
        if self._views.get(channel) is view:
            view.last = self._clock()
            if (content := view.take()) is not None:
                self._announce(channel, content, None)
