"""What a broker promises: it carries publications to the hub of every node, the publisher's own included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fws.pipeline.publication import Publication

Deliver = Callable[[Publication], None]


class Broker(Protocol):
    """Carries publications between nodes. None of its methods waits but `stop`: they are called from the loop."""

    def start(self, deliver: Deliver, crowded: Callable[[], bool]) -> None:
        """Begin to carry.

        Args:
            deliver: the hub's; given each publication once, in the order in which it comes.
            crowded: whether the hub has so much on its way that nothing more should be fetched from elsewhere.
        """

    def stop(self, timeout: float) -> None:
        """End. What was published and can still be sent is sent, within `timeout` seconds."""

    def publish(self, publication: Publication) -> None:
        """Carry one publication to every node.

        The publisher's own node has it before this returns: exactly once, and its members depend on no other process.
        Other nodes get it at most once, in order for one publisher on one channel; what was or may have been lost on
        the way is counted.

        Raises:
            TypeError: a message that JSON cannot carry.
        """

    def subscribe(self, channel: str) -> None:
        """The channel has a first member on this node: what other nodes publish on it is wanted.

        It is delivered from a moment on that comes soon after, not from this call on.
        """

    def unsubscribe(self, channel: str) -> None:
        """The last member has left. What still comes for a while is delivered, to nobody."""

    def health(self) -> str | None:
        """None when all is well, else why publications are not carried: one sentence without any password."""
