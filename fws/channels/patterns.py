"""The patterns to which clients have subscribed, and the rules of the file that permit them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fws.base.errors import Reject
from fws.base.metrics import Metrics
from fws.brokers.base import Broker
from fws.channels.channel import Slow
from fws.channels.hub import Hub
from fws.channels.member import Member
from fws.channels.trie import check_pattern
from fws.config import ChannelRules
from fws.config.channels import ChannelPattern
from fws.pipeline.publication import check_channel


class PatternSubscriptions:
    """Subscriptions to patterns on this node.

    Args:
        rules: returns the settings of channels in force.
    """

    def __init__(self, hub: Hub, broker: Broker, rules: Callable[[], ChannelRules], metrics: Metrics) -> None:
        hub.rule_of = self._rule_of
        self._hub = hub
        self._broker = broker
        self._rules = rules
        self._metrics = metrics
        # The rules that permit patterns to which clients have subscribed, with the number of these subscriptions.
        self._feeds: Counter[str] = Counter()

    def permitting(self, client: Any, pattern: str) -> dict[str, Slow]:
        """The rules that permit a client to subscribe to a pattern, with what they say about slow members.

        Raises:
            Reject: 400 for an invalid pattern, 403 if no rule permits it.
        """
        try:
            check_pattern(pattern)
            check_channel(pattern.replace("*", "x"))
        except ValueError as error:
            raise Reject(400, f"This pattern cannot be requested: {error}.") from None
        names = ChannelPattern(pattern, tuple(_parts(pattern)))
        rules = {
            rule.pattern.text: rule.settings.slow
            for rule in self._rules().all
            if rule.settings.subscribe_patterns
            and rule.pattern.overlaps(names)
            and rule.allows_pattern(client, pattern)
        }
        if not rules:
            self._metrics.count("channels_refused")
            raise Reject(403, "This pattern is not for you.")
        return rules

    def join(self, client: Member, pattern: str, rules: Mapping[str, Slow]) -> None:
        """Give a client what is published to the channels that match a pattern, if one of the rules applies to them.

        Each publication reaches it once, even if it is also a member of the channel, live and at most once: a pattern
        has no history.
        """
        if pattern in client.channels or not self._hub.has(client):
            return
        self._hub.join_pattern(client, pattern, rules)
        for text in rules:
            self._feeds[text] += 1
            if self._feeds[text] == 1:
                self._broker.feed(ChannelPattern.parse(text), self._rule_of)

    def leave(self, client: Member, pattern: str) -> None:
        """End a subscription."""
        for text in self._hub.leave_pattern(client, pattern):
            self._feeds[text] -= 1
            if not self._feeds[text]:
                del self._feeds[text]
                self._broker.unfeed(ChannelPattern.parse(text))

    def _rule_of(self, channel: str) -> str | None:
        """The rule that permits patterns for a channel; None if there is none."""
        rule = self._rules().of(channel)
        return rule.pattern.text if rule is not None and rule.settings.subscribe_patterns else None


def _parts(pattern: str) -> Iterator[str]:
    """The parts of a client's pattern as those of a rule: `*` in the middle is a name."""
    for number, part in enumerate(pattern.split(":")):
        if number:
            yield ":"
        last = part == "*" and number == pattern.count(":")
        yield f"{{p{number}}}" if part == "*" and not last else part
