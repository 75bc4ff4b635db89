"""What a filter sees of the server: a client, and the hub. The engine's own classes have these names and more.

A filter's author uses them in annotations: `from fws import Client`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fws.base.errors import Refusal
from fws.pipeline.call import Call
from fws.pipeline.publication import Position
from fws.wire.request import Request


class Client(Protocol):
    """One accepted connection, as a filter sees it.

    Attributes:
        id: unique among all nodes.
        request: path, params, headers, query, cookies and address of the upgrade request.
        identity: who the client is, as authentication established; None for nobody in particular.
        credential: identifies the token that it authenticated with, and is not a secret; empty without one.
        state: what filters keep about this client.
        channels: names of the channels that it has joined.
        subprotocol: the subprotocol that was agreed on; empty without one.
        close_code, close_reason: how the connection ended; 1006 when TCP ended without a Close frame.
        closing: whether the connection is ending: nothing more can be sent.
        call: what it wants at the moment, in a protocol with calls; see `fws.pipeline.call`.
    """

    id: str
    request: Request
    identity: dict[str, Any] | None
    credential: str
    state: dict[str, Any]
    channels: set[str]
    subprotocol: str
    close_code: int
    close_reason: str
    closing: bool
    call: Call
    templated: dict[Any, Any]

    @property
    def protocol(self) -> str:
        """What it speaks: `raw`, or another protocol, in which it makes calls."""

    @property
    def path(self) -> str:
        """The path of the upgrade request, without the query."""

    @property
    def address(self) -> str:
        """The client's IP address; empty on a UNIX socket."""

    @property
    def params(self) -> Mapping[str, str]:
        """What the endpoint's path captured."""

    def time(self) -> str:
        """Return the present time as RFC 3339 in UTC, with milliseconds."""

    def send(self, message: Any) -> bool:
        """Send one message: text for `str`, binary for `bytes`, JSON text for anything else. Never blocks."""

    def deliver(self, publication: Any, weight: int) -> None:
        """Run the `deliver` pipeline for a publication, and send the result. Never blocks."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake. Never blocks."""

    def refuse(self, refusal: Refusal) -> None:
        """End the connection as `Reject` does in `connect`, with the close code 4000 plus the status. Never blocks."""

    def expire(self, reason: str) -> None:
        """End the connection because its token has expired. Never blocks."""

    def join(self, channel: str, *, since: str = "", replay: int = 0) -> None:
        """Become a member of a channel. With history, receive what `since` or `replay` asks for first."""

    def leave(self, channel: str) -> None:
        """Stop being a member of a channel."""

    def subscribe(
        self,
        channel: str,
        *,
        since: str = "",
        replay: int = 0,
        call: Call | None = None,
        accepted: Callable[[], object] | None = None,
    ) -> None:
        """Request a channel as the client itself: [channels] and the `subscribe` pipeline decide. Raises Reject."""

    def unsubscribe(self, channel: str) -> bool:
        """End a subscription that the client has requested. Returns whether there was one."""

    def withdraw(self, channel: str, reason: str, *, expired: bool = False) -> None:
        """End a subscription that the client may not keep, and tell it why."""

    def grant(self, claims: dict[str, Any], warn: float, leeway: float, renew: Callable[..., None]) -> float | None:
        """Say that a token of the connection is valid. Returns when the filter has to end it, in Unix time."""

    def grant_channel(self, channel: str, claims: dict[str, Any], warn: float) -> float | None:
        """Say that a token of a channel is valid. Returns when it ends, in Unix time."""

    def defer(self, function: Callable[[], object]) -> None:
        """Call `function` when the client is gone, the last registered first."""

    def divert(self, function: Callable[[Any, Any], bool]) -> None:
        """Show each message to `function` before the `message` pipeline."""

    def undivert(self, function: Callable[[Any, Any], bool]) -> None:
        """Show it no more messages."""

    def when_renewed(self, function: Callable[[Any], object]) -> None:
        """Call `function` whenever the client's identity has changed."""

    def renewed(self) -> None:
        """Say that the client's identity has changed."""

    def take_part(self) -> None:
        """Count one of the messages that the present one becomes."""


class Hub(Protocol):
    """This process's clients and channels, as a filter sees them."""

    @property
    def clients(self) -> Mapping[str, Any]:
        """All connected clients of this process, by id."""

    def publish(
        self, channel: str, message: Any, *, sender: str | None = None, exclude: str | None = None, key: str = ""
    ) -> bool:
        """Send a message to all members of a channel, on every node. At most once to each, in order per channel.

        With a key, a second message with this key within 5 minutes is not published, on whichever node.
        """

    def publish_and_wait(
        self, channel: str, message: Any, *, sender: str | None = None, key: str = "", keep: bool = True
    ) -> Position | None:
        """Publish a message, and return its position. Blocks while Redis is asked; raises StorageError."""

    def publish_matching(self, pattern: str, message: Any, *, sender: str | None = None) -> None:
        """Send a message to the members of all channels that match a pattern such as `device:*`, once to each."""

    def broadcast(self, message: Any, *, sender: str | None = None, exclude: str | None = None) -> None:
        """Send a message to every client on every node."""

    def history(self, channel: str, last: int = 0) -> list[Any]:
        """Return the newest publications that a channel keeps. Blocks while Redis is asked; raises StorageError."""

    def presence(self, channel: str) -> list[Any]:
        """Return who is present in a channel, on all nodes. Blocks while Redis is asked; raises StorageError."""

    def check_publication(self, client: Any, channel: str, message: Any) -> None:
        """Check that a client may publish to a channel itself, according to [channels]. Raises Reject."""

    def refresh(self, client: Any) -> None:
        """Show again what `presence_info` selects about a client, because it has changed."""

    def members(self, channel: str) -> list[Any]:
        """Return this process's members of a channel, the oldest first."""

    def channels(self) -> list[str]:
        """Return the names of the channels that have members in this process."""
