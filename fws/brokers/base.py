"""The interface of a broker, which carries publications to the hub of every node, including the publisher's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fws.config.channels import ChannelPattern
from fws.pipeline.publication import Publication

Deliver = Callable[[Publication], None]


class Broker(Protocol):
    """Carries publications between nodes. Its methods are called in the event loop and do not block, except `stop`."""

    def start(self, deliver: Deliver, crowded: Callable[[], bool]) -> None:
        """Begin to carry publications.

        Args:
            deliver: the hub's method. It gets each publication once, in the order of arrival.
            crowded: whether the hub has too many pending publications to read more from elsewhere.
        """

    def stop(self, timeout: float) -> None:
        """End. Pending publications are sent, if that is possible within `timeout` seconds."""

    def publish(self, publication: Publication) -> None:
        """Carry one publication to every node.

        The publisher's own node gets it exactly once, before this returns, so that its members do not depend on another
        process. Other nodes get it at most once, in order for one publisher on one channel. Publications that were
        lost, or may have been, are counted.

        Raises:
            TypeError: the message cannot be written as JSON.
        """

    def subscribe(self, channel: str) -> None:
        """The channel has a first member on this node: begin to receive publications of other nodes.

        They are delivered from a moment soon after this call on.
        """

    def unsubscribe(self, channel: str) -> None:
        """The last member has left. Publications may still arrive for a while."""

    def feed(self, pattern: ChannelPattern, rule_of: Callable[[str], str | None]) -> None:
        """Begin to receive what is published to all channels that match a rule's pattern.

        Args:
            rule_of: the rule that applies to a channel, by its pattern. Only what this rule applies to is delivered.
        """

    def unfeed(self, pattern: ChannelPattern) -> None:
        """End what `feed` has begun."""

    def health(self) -> str | None:
        """None if all is well, else the reason why publications are not carried, without a password."""
