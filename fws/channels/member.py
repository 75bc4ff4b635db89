"""A member as a channel sees it: how it receives publications, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fws.channels.formats import Format
from fws.channels.offer import Offer
from fws.pipeline.publication import Position, Publication


class Outbox(Protocol):
    """The queue of frames for a member."""

    @property
    def lags(self) -> bool:
        """Whether bytes wait because the member does not keep up, and not because its handshake is not over."""

    def write(self, frame: bytes, several: bool = False, /) -> bool:
        """Send or queue one frame, or `several` joined."""

    def offer(self, frame: bytes, offer: Offer, /) -> None:
        """Send or queue a frame that may be dropped."""

    def allow(self, size: int, /) -> None:
        """Let this many bytes more wait until the queue is empty."""

    def sent(self, frame: bytes, count: int, several: bool = False, /) -> None:
        """Queue the rest of a frame of which `count` bytes have been sent to the member's descriptor."""


class Member(Protocol):
    """A client as its channels see it.

    Attributes:
        identity: who it is, as authentication established; None for nobody in particular.
        id: unique among all nodes.
        format: how it receives publications; one object for all members that receive the same bytes.
        fd: the descriptor to which a frame of its format may be written directly; -1 if it must go through the outbox.
        channels: the names of the channels that it has joined.
    """

    id: str
    identity: dict[str, Any] | None
    format: Format
    fd: int
    channels: set[str]

    @property
    def outbox(self) -> Outbox:
        """Where its frames go."""

    @property
    def is_open(self) -> bool:
        """Whether its handshake is complete."""

    def close(self, code: int, reason: str, /) -> None:
        """Begin the closing handshake."""

    def dismiss(self, code: int, reason: str, /) -> None:
        """Begin the closing handshake when what has been read is served."""

    def kill(self) -> None:
        """End TCP now."""

    def keep_alive(self, now: float, tick: float) -> None:
        """Check pings and time limits."""

    @property
    def profile(self) -> Any:
        """What its token shows to others; None for nothing."""

    def info(self, channel: str) -> dict[str, Any]:
        """What its token shows to others in a channel."""

    def caught_up(self, channel: str, missed: Sequence[Publication], position: Position | None, /) -> bool:
        """It becomes a member of a channel, and gets first what it has missed.

        Args:
            position: of the channel when it joined; None for a channel without history.

        Returns:
            Whether its protocol tells it in a way of its own. Otherwise it gets these publications as any others.
        """

    def missed(self, channel: str, /) -> None:
        """Publications of a channel are missing on this node, and cannot be recovered."""

    def gap(self, channel: str, last: Publication, /) -> bytes:
        """What it is told where publications up to this one were dropped because it does not keep up."""

    def deliver(self, publication: Publication, weight: int) -> None:
        """Process a publication in the `deliver` pipeline."""
