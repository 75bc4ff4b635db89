"""What a client needs of its server process."""

from __future__ import annotations

from typing import Any, Protocol

from fws.channels.hub import Hub
from fws.channels.service import ChannelService
from fws.config import Limits
from fws.runtime.context import Context


class Lease(Protocol):
    """A connection that counts towards the limits of its address and its user, until `leave`."""

    def claim(self, user: str) -> None:
        """Count the connection as this user's. Raises Refusal when the user has too many."""

    def leave(self) -> None:
        """Stop counting the connection. May be called twice."""


class Logins(Protocol):
    """Counts logins that failed."""

    def login_failed(self, address: str) -> None:
        """Credentials from this address were wrong."""


class Host(Protocol):
    """The node as its clients see it.

    Attributes:
        hub: clients, memberships and the fan-out.
        channels: joins and leaves channels.
        context: clocks, the event loop, counters.
    """

    hub: Hub
    channels: ChannelService
    context: Context

    @property
    def admission(self) -> Logins:
        """Counts logins that failed."""

    def identify(self, client: Any) -> tuple[str, str]:
        """Let a client over plain HTTP be found by a secret. Returns it, and the id of this node."""

    def forget(self, client: Any) -> None:
        """The client is gone."""

    @property
    def limits(self) -> Limits:
        """`[limits]` of the generation in force."""
