"""What the API can have done: the commands of a server, as its callers see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fws.base.command_error import CommandError
from fws.histories.base import Page
from fws.pipeline.publication import Position
from fws.presence.base import Present


class Commands(Protocol):
    """The commands, each for all nodes. Any of them may block its greenlet, and raises CommandError."""

    def publish(self, channel: str, message: Any, *, key: str = "", keep: bool = True) -> Position | None:
        """Publish to a channel. Returns the position if the channel has history.

        Args:
            key: a second publication with the same key is none, and has the position of the first.
            keep: whether the channel's history keeps it.
        """

    def broadcast(
        self, channels: Sequence[str], message: Any, *, key: str = "", keep: bool = True
    ) -> Sequence[Position | CommandError | None]:
        """Publish to several channels. Returns for each what `publish` returns, or why it failed."""

    def subscribe(
        self, user: str, channel: str, *, client: str = "", session: str = "", since: Position | None = None
    ) -> object:
        """Make a user's clients members of a channel, or the one with this id or session."""

    def unsubscribe(self, user: str, channel: str, *, client: str = "", session: str = "") -> object:
        """End the memberships of a user's clients in a channel."""

    def disconnect(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        keep: Sequence[str] = (),
        code: int = 3503,
        reason: str = "force disconnect",
    ) -> object:
        """Close the connections of a user, except for the clients in `keep`."""

    def refresh(
        self, user: str, *, client: str = "", session: str = "", expired: bool = False, expire_at: int = 0
    ) -> object:
        """Set when a user's connections expire, in Unix time, or let them expire now."""

    def presence(self, channel: str) -> Sequence[Present]:
        """Everybody who is present in a channel."""

    def presence_stats(self, channel: str) -> tuple[int, int]:
        """The number of clients that are present in a channel, and of their users."""

    def history(self, channel: str, *, since: Position | None = None, limit: int = 0, reverse: bool = False) -> Page:
        """What a channel keeps: `limit` publications, none for 0, all for a negative number."""

    def history_remove(self, channel: str) -> object:
        """Forget what a channel keeps."""

    def channels(self, pattern: str = "") -> Mapping[str, int]:
        """The channels with members, and the number of these."""

    def info(self) -> Sequence[Mapping[str, Any]]:
        """Each node."""
