"""What an adapter needs of its client, and what a client needs of its adapter.

`raw` over a WebSocket has no adapter: a message is what the client sent, and pipelines alone decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fws.base.errors import Refusal
from fws.channels.formats import Format
from fws.histories.base import Page
from fws.pipeline.call import Call
from fws.pipeline.publication import Position, Publication
from fws.presence.base import Present
from fws.wire.framing import Framing

# Renews what a client has been granted, with a new token. The second argument is called with the refusal, or None.
Renew = Callable[[str, Callable[[Refusal | None], None]], None]


class Peer(Protocol):
    """The client that an adapter speaks for: the operations of the channel service, and its pipelines.

    Attributes:
        id: unique among all nodes.
        channels: the channels that it has joined.
        closing: whether nothing more can be sent.
    """

    id: str
    channels: set[str]
    closing: bool

    @property
    def user(self) -> str:
        """Its user; empty for nobody in particular."""

    def wall(self) -> float:
        """Unix time in seconds."""

    def after(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call `call` after some seconds, within half a second. Returns a function that prevents this."""

    def write(self, frame: bytes, *, asked: bool = False) -> bool:
        """Send what a framing has made, after everything that was published to the client before. Never blocks.

        Args:
            asked: whether the client has asked for it, so that it may be more than the outbox may hold.
        """

    def admit(self, call: Call) -> None:
        """Run the `connect` pipeline. What is sent from now on is kept back until `answer`. Raises Refusal."""

    def answer(self, frame: bytes, *, only: bool = False) -> None:
        """Send what answers `connect`, and then what was kept back, or forget that if `only` is set."""

    def ask(self, call: Call, message: Any) -> Any:
        """Run the `message` pipeline. Returns what remains, or `DROP`. Raises Refusal, also if a filter has failed."""

    def check_publication(self, channel: str, message: Any) -> None:
        """Check that the client may publish to a channel itself. Raises Reject."""

    def publish(self, channel: str, message: Any) -> None:
        """Publish to a channel as this client. Raises ValueError for an invalid name."""

    def ask_for(self, channel: str, since: str, call: Call) -> None:
        """Request a channel: rules and the `subscribe` pipeline decide. Raises Reject. `Session.joined` follows."""

    def confirm(self, channel: str, call: Call) -> None:
        """Let the `subscribe` pipeline decide once more about a subscription, with a new token. Raises Reject."""

    def requested(self, channel: str) -> bool:
        """Whether the client has requested the channel itself."""

    def leave(self, channel: str) -> None:
        """Stop being a member of a channel."""

    def join(self, channel: str) -> None:
        """Become a member of a channel, as a pipeline does it. Raises ValueError for an invalid name."""

    def page(
        self, channel: str, since: Position | None, limit: int, reverse: bool, done: Callable[[Page | None], None]
    ) -> bool:
        """Call `done` with publications that a channel keeps, or None if they cannot be read now.

        Returns:
            Whether the channel has history.
        """

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> bool:
        """Call `done` with everybody who is present in a channel, or None if that cannot be known now.

        Returns:
            Whether the channel has presence.
        """

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection."""

    def refuse(self, refusal: Refusal) -> None:
        """End the connection. The refusal is counted and its reason is logged."""

    def note(self, code: int, reason: str, what: str) -> None:
        """The client is told that a call has failed. The reason is logged.

        Args:
            what: the client wanted; empty if that is not known.
        """

    def fail(self, code: int, reason: str) -> None:
        """End the connection of a client that has broken the protocol. It is counted, and its reason is logged."""

    def heard(self) -> None:
        """The client has answered a ping."""

    def expire(self, reason: str) -> None:
        """End the connection, because its time is over. The client may return with a new token."""

    def again(self, lines: Sequence[str]) -> None:
        """Let `Session.receive` have lines once more, before others that wait."""


class Session(Protocol):
    """What one client has said and been told in its protocol.

    Attributes:
        framing: how what it is told becomes bytes.
        connects: whether the `connect` pipeline runs when the client asks for it. Otherwise it runs at the handshake.
        listens: whether the client can send messages.
        tells: whether `joined` tells the client what it has missed. Otherwise it gets that as any other publications.
    """

    framing: Framing
    connects: bool
    listens: bool
    tells: bool

    def format(self, *, each: bool) -> Format:
        """How the client receives publications.

        Args:
            each: whether it processes each by itself, because its endpoint has a `deliver` pipeline.
        """

    def receive(self, line: str | bytes) -> None:
        """The client has sent a line, or bytes."""

    def message(self, message: Any) -> bytes:
        """The frame of a message that a filter sends. Raises TypeError if it cannot be written as JSON."""

    def ping(self) -> bytes:
        """What asks the client for a sign of life."""

    def ending(self, code: int, reason: str) -> tuple[int, str]:
        """How the client is told that its connection ends with this close code."""

    def refused(self, refusal: Refusal) -> tuple[int, str]:
        """The close code and the reason for a client that may not stay. `ending` translates them."""

    def farewell(self, code: int, reason: str) -> bytes:
        """The last frame over a transport without close codes."""

    def since(self, channel: str) -> str:
        """A channel is about to be joined. Returns the position that the client gave for it; empty for none."""

    def joined(self, channel: str, publications: Sequence[Publication], position: Position | None) -> None:
        """The client is a member from now on. It is called if `tells` is set.

        Args:
            publications: what it has missed, after the `deliver` pipeline; a `Gap` where something is missing.
            position: of the channel when it joined; None for a channel without history.
        """

    def left(self, channel: str, reason: str = "", *, expired: bool = False) -> None:
        """The client is not a member any more."""

    def gap(self, channel: str, last: Publication) -> bytes:
        """What the client is told where publications of a channel were dropped because it does not keep up.

        Args:
            last: the last of them.
        """

    def missed(self, channel: str) -> None:
        """Publications of a channel are missing on this node, and cannot be recovered."""

    def grant(self, claims: dict[str, Any], warn: float, leeway: float, renew: Renew) -> float | None:
        """A filter of `connect` has verified a token, or `renew` has.

        Args:
            claims: what the token says.
            warn: seconds before the end at which the client should have a new token.
            leeway: seconds for which it is accepted after its end.
            renew: verifies a new token.

        Returns:
            When the filter has to end the connection, in Unix time; None for never.

        Raises:
            Denied: the token is for something else.
        """

    def grant_channel(self, channel: str, claims: dict[str, Any], warn: float) -> float | None:
        """The same for a token of a channel, on `subscribe`. Returns when the token ends; None for never."""

    def set_end(self, wall: float) -> bool:
        """Let the connection end at a Unix time; 0 for no time. Returns whether the protocol sees to it."""

    @property
    def profile(self) -> Any:
        """What the client's token shows to others; None for nothing."""

    def info(self, channel: str) -> dict[str, Any]:
        """What the client's token shows to others in a channel."""

    @property
    def secret(self) -> str:
        """The secret that proves that a command over plain HTTP is the client's own; empty without one."""

    def end(self) -> None:
        """The connection is over."""
