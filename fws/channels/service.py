"""The channel service: what filters and protocols do with channels. It stands between them and the hub.

It knows no frame and no socket: the broker carries publications between nodes, and the hub gives them to members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gevent import get_hub, getcurrent

from fws.base.errors import Reject, StorageError
from fws.brokers.base import Broker
from fws.channels.channel import Slow
from fws.channels.filtering import Outgoing, PublicationFilters, Told
from fws.channels.followed import FollowedChannels, Wish
from fws.channels.hub import FULL, Hub
from fws.channels.member import Member
from fws.channels.once import Once
from fws.channels.patterns import PatternSubscriptions
from fws.channels.present import PresentMembers
from fws.channels.trie import check_pattern
from fws.channels.waiting import answer_of, position_of
from fws.config import Channel, ChannelRules
from fws.histories.base import History, Page, Span
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.publication import Gap, Position, Publication, check_channel
from fws.pipeline.storage import Storage
from fws.presence.base import Presence, Present
from fws.runtime.context import Context
from fws.runtime.scheduler import pause

# A publication of a `publication` filter can cause another one, and so on. A chain that is longer than this is a loop.
MAX_HOPS = 8
# The position of a client that gives none which a channel could have.
NOWHERE = Position("", 0)
NO_SETTINGS = Channel()


class ChannelService:
    """Membership and publications of this process's clients.

    Args:
        context: shared by the parts of the process.
        hub: the members, and the fan-out to them.
        broker: carries publications, and hands them to `deliver`. In a single process this is a plain call.
        presence: knows who is a member on all nodes.
        storage: remembers the keys of messages.
        history: numbers, keeps and carries the publications of channels with history.
        publication: the `publication` pipeline in force.
        rules: the settings of channels in force.

    Attributes:
        patterns: the patterns to which clients have subscribed.
    """

    def __init__(
        self,
        context: Context,
        hub: Hub,
        broker: Broker,
        history: History,
        presence: Presence,
        storage: Storage,
        publication: Pipeline,
        rules: ChannelRules,
    ) -> None:
        self.rules = rules
        self._once = Once(storage, context)
        self._present = PresentMembers(context, hub, presence, self._settings)
        self._history = history
        self._followed = FollowedChannels(context, hub, history)
        self._hub = hub
        hub.slow_of = self._slow_of
        self.patterns = PatternSubscriptions(hub, broker, lambda: self.rules, context.metrics)
        self._named = hub.named
        self._lineage = hub.lineage
        self._broker = broker
        self._metrics = context.metrics
        self._filters = PublicationFilters(context, hub, publication, self._pass_on)

    def start(self) -> None:
        """Begin to carry publications. Nothing may be published before."""
        self._history.start(self._followed)
        self._present.start()
        self._broker.start(self.deliver, self._is_crowded)

    def _is_crowded(self) -> bool:
        return self._hub.crowded

    @property
    def clients(self) -> Mapping[str, Any]:
        """The connected clients of this process, by id."""
        return self._hub.clients

    @property
    def filtering(self) -> bool:
        """Whether `publication` filters are handling publications."""
        return self._filters.busy

    # Membership.

    def members(self, channel: str) -> list[Any]:
        """The local members of a channel, the oldest first."""
        return self._hub.members(channel)

    def channels(self) -> list[str]:
        """The names of the channels with local members."""
        return self._hub.channels()

    def join(self, client: Member, channel: str, since: str = "", replay: int = 0) -> None:
        """Make a client a member. It gets what is published from now on. Joining a second time has no effect.

        If the channel has history, the client gets its publications in order and each once, and before them what it
        wishes. What it has missed and the channel does not keep any more is announced by a `Gap`.

        Args:
            since: the position up to which the client has read the channel, `EPOCH:OFFSET`; empty for none. It gets
                what was published after it.
            replay: how many of the newest publications it gets without a position, and at most after a gap.

        Raises:
            ValueError: the name of the channel is invalid.
        """
        check_channel(channel)
        if channel in client.channels or not self._hub.has(client):
            return
        settings = self._settings(channel)
        if settings is None or not settings.kept:
            if self._hub.join(client, channel):
                self._broker.subscribe(channel)
            self._hub.welcome(client, channel, [Gap.at(channel, NOWHERE)] if since else [])
        else:
            position = (Position.parse(since) or NOWHERE) if since else None
            if channel not in self._followed:
                self._broker.subscribe(channel)
            self._followed.join(client, channel, settings, Wish(position, replay))
        if settings is not None and settings.presence:
            self._present.join(client, channel, settings)

    def leave(self, client: Member, channel: str) -> None:
        """End a membership. Does nothing if the client is not a member."""
        if channel not in client.channels:
            return
        if "*" in channel:
            self.patterns.leave(client, channel)
            return
        if channel in self._followed:
            self._followed.leave(client, channel)
            if channel not in self._followed:
                self._broker.unsubscribe(channel)
        elif self._hub.leave(client, channel):
            self._broker.unsubscribe(channel)
        if self.rules and (settings := self._settings(channel)) is not None and settings.presence:
            self._present.leave(client, channel, settings)

    def check_subscription(self, client: Any, channel: str) -> None:
        """Check that a client may request a channel itself. Raises Reject, 403."""
        rule = self.rules.of(channel)
        if rule is None or not rule.allows_subscription(client, channel):
            self._metrics.count("channels_refused")
            raise Reject(403, "This channel is not for you.")

    def check_publication(self, client: Any, channel: str, message: Any) -> None:
        """Check that a client may publish to a channel itself. Raises Reject, 403."""
        rule = self.rules.of(channel)
        if rule is None or not rule.allows_publication(client, channel, message):
            self._metrics.count("channels_refused")
            raise Reject(403, "You may not publish here.")

    def admitted(self, client: Member) -> None:
        """A client's `connect` has passed. It is present in the channels that it has joined."""
        if self.rules and client.channels:
            self._present.admitted(client)

    def refresh(self, client: Member) -> None:
        """Show again what `presence_info` selects about a client, because it has changed."""
        if self.rules and client.channels:
            self._present.refresh(client)

    def swap(self, publication: Pipeline, rules: ChannelRules) -> None:
        """A reload: another `publication` pipeline and other settings of channels are in force. Nobody leaves."""
        self._filters.pipeline = publication
        if rules.settings == self.rules.settings:
            return
        before, self.rules = self.rules, rules
        for channel in self._hub.channels():
            former, latter = before.of(channel), rules.of(channel)
            old, new = (None if rule is None else rule.settings for rule in (former, latter))
            self._hub.named[channel].slow = self._slow_of(channel)
            self._followed.apply(channel, self.kept(channel))
            self._present.apply(channel, old, new)

    def _settings(self, channel: str) -> Channel | None:
        """What applies to a channel; None for a channel without settings."""
        rule = self.rules.of(channel) if self.rules else None
        return None if rule is None else rule.settings

    def _slow_of(self, channel: str) -> Slow:
        settings = self._settings(channel)
        return "close" if settings is None else settings.slow

    def kept(self, channel: str | None) -> Channel | None:
        """The settings of a channel with history; None for a channel without."""
        if channel is None or not self.rules:
            return None
        rule = self.rules.of(channel)
        return rule.settings if rule is not None and rule.settings.kept else None

    # Queries.

    def history(self, channel: str, last: int = 0) -> list[Publication]:
        """The newest publications that a channel keeps, in order; by default all. Blocks while Redis is asked.

        Raises:
            StorageError: Redis cannot be reached.
        """
        settings = self.kept(channel)
        if settings is None:
            return []
        page: Page = answer_of(lambda done: self._history.read(channel, settings, None, last or settings.history, done))
        return list(page.publications)

    def presence(self, channel: str) -> list[Present]:
        """Everybody who is present in a channel with presence, on all nodes. Blocks while Redis is asked.

        Clients of a node that has died are not among them 15 s later.

        Raises:
            StorageError: Redis cannot be reached.
        """
        settings = self._settings(channel)
        if settings is None or not settings.presence:
            return []
        return list(answer_of(lambda done: self._present.who(channel, done)))

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> bool:
        """Call `done` with everybody who is present, or None if that cannot be known now. Never blocks.

        Returns:
            Whether the channel has presence. If it has not, `done` is not called.
        """
        settings = self._settings(channel)
        if settings is None or not settings.presence:
            return False
        self._present.who(channel, done)
        return True

    def keeps(self, channel: str) -> bool:
        """Whether a channel has history."""
        return self.kept(channel) is not None

    def page(
        self, channel: str, *, since: Position | None, limit: int, reverse: bool, done: Callable[[Page | None], None]
    ) -> None:
        """Call `done` with a part of what a channel keeps, or with None if Redis cannot be reached. Never blocks.

        The page has the position of the channel, and says whether it is complete; `History.page` explains this. A
        channel without history has the position 0 of an empty epoch.

        Args:
            since: the publications after this position, or with `reverse` before it; None for the oldest that is kept,
                or with `reverse` for the newest. An empty epoch stands for the present one.
            limit: the most publications; 0 for the position alone, below 0 for all.
            reverse: whether the newest comes first.
        """
        settings = self.kept(channel)
        if settings is None:
            done(Page([], NOWHERE, complete=since is None))
            return
        if since is not None and Position.parse(f"{since.epoch or 'any'}:{since.offset}") is None:
            # No channel has such a position.
            since, limit = Position("-", 0), 0
        self._history.page(channel, settings, Span(since, limit, reverse), done)

    def remove_history(self, channel: str) -> None:
        """Forget what a channel keeps. Members that return are told about a gap. Blocks while Redis is asked.

        Raises:
            StorageError: Redis cannot be reached. The history may be removed nevertheless.
        """
        settings = self.kept(channel)
        if settings is not None and not answer_of(partial(self._history.remove, channel, settings)):
            raise StorageError("Redis does not answer")

    def remove(self, client: Member) -> None:
        """Remove a client that is gone, and its memberships."""
        for channel in tuple(client.channels):
            self.leave(client, channel)
        self._hub.remove(client)

    # Publishing.

    def publish(
        self, channel: str, message: Any, *, sender: str | None = None, exclude: str | None = None, key: str = ""
    ) -> bool:
        """Send a message to all members of a channel, on every node. At most once to each, in order per channel.

        In a channel with history, the publication is kept and gets an offset. Each member gets it exactly once, in the
        order of offsets, or is told about a gap. While Redis is away, the publication waits for it.

        If a `publication` filter publishes because of a message from another node, nothing is sent to other nodes,
        because that node runs the same filter and sends it. If it publishes because of another application's message,
        which every node gets, each node's publication goes to its own members only.

        Members get it when the loop has read from all sockets, together with other publications until then. A message
        that is sent to a member directly after this call arrives after the publication. In a greenlet, but not in a
        filter with `waits = False`, the call blocks while too much is pending.

        Args:
            sender: id of the client that it comes from.
            exclude: id of one client that must not get it.
            key: identifies the message in its channel. If a message with this key was published within 5 minutes, on
                whichever node, this one is not. With a key the call blocks while the storage is asked.

        Returns:
            Whether it was published.

        Raises:
            ValueError: the name of the channel is invalid.
            TypeError: a message that JSON cannot carry.
            StorageError: it could not be found out whether the key is new.
        """
        if channel not in self._named:
            check_channel(channel)
        if key and not self._once.is_new(channel, key):
            return False
        self._publish(Publication(channel, message, sender, exclude))
        return True

    def publish_and_wait(
        self, channel: str, message: Any, *, sender: str | None = None, key: str = "", keep: bool = True
    ) -> Position | None:
        """Publish a message, and return its position. Blocks while Redis is asked.

        Args:
            key: identifies the message in its channel. If a message with this key was published within 5 minutes, on
                whichever node, this one is not, and the position is that of the first one.
            keep: whether the history of the channel keeps the message. Otherwise it is sent as in a channel without
                history: at most once, and without an offset.

        Returns:
            None if the channel has no history, the message is not to be kept, or a `publication` filter drops it. If
            Redis has the publication and cannot tell where, the offset is 0.

        Raises:
            ValueError: the name of the channel is invalid.
            TypeError: a message that JSON cannot carry.
            StorageError: it is not known whether the message was published. It may still be, when Redis is back. With a
                key it can be published again without harm.
        """
        check_channel(channel)
        publication = Publication(channel, message, sender)

        def publish(told: Told) -> None:
            self._publish(publication, keep=keep, told=told)

        return self._once.publish(channel, key, publish) if key else position_of(publish)

    def publish_matching(self, pattern: str, message: Any, *, sender: str | None = None) -> None:
        """Send a message to the members of all channels that match a pattern, on every node, once to each.

        At most once, in order per pattern. No history keeps it. Each node looks at every channel that has members.

        Args:
            pattern: as clients subscribe to it: `device:*`, `device:*:alarm`. Do not let a client choose it.

        Raises:
            ValueError: the pattern is invalid.
            TypeError: a message that JSON cannot carry.
        """
        check_pattern(pattern)
        check_channel(pattern.replace("*", "x"))
        self._publish(Publication(pattern, message, sender))

    def publish_for(self, client: Any, channel: str, message: Any, trace: str = "") -> None:
        """Publish as a client that says so itself, and show who it is. `trace` is as in `Publication`.

        Guarantees and errors are those of `publish`.
        """
        if channel not in self._named:
            check_channel(channel)
        present = self._present.shown(client, channel, self._settings(channel) or NO_SETTINGS)
        info = {"user": present.user, "info": present.info, "profile": present.profile}
        shown = {name: value for name, value in info.items() if value}
        self._publish(Publication(channel, message, client.id, info=shown or None, trace=trace))

    def broadcast(self, message: Any, *, sender: str | None = None, exclude: str | None = None) -> None:
        """Send a message to every client on every node. Guarantees and errors as for `publish`."""
        self._publish(Publication(None, message, sender, exclude))

    def _publish(self, publication: Publication, *, keep: bool = True, told: Told | None = None) -> None:
        lineage = self._lineage
        if self._hub.deliveries is not None:
            publication = lineage.traced(publication)
        if lineage:
            handling = lineage.current
            if handling is not None:
                event, parent = handling
                if parent.hops >= MAX_HOPS:
                    raise RecursionError(f"publications make one another: {MAX_HOPS} in a row, the last was dropped")
                publication = publication.replace(hops=parent.hops + 1)
                if event == "publication" and parent.origin != "here":
                    # Every node runs the `publication` pipeline on it, so that every node would send this.
                    if parent.origin == "outside":
                        self._metrics.count("publications")
                        self.deliver(publication.replace(origin="outside"))
                    if told is not None:
                        told(None, "")
                    return
        self._metrics.count("publications")
        listener = self._hub.listener
        if listener is not None:
            listener.published(publication)
        if keep and self.rules and self.kept(publication.channel) is not None:
            # Filters decide before the publication is kept, so that what they remove is removed from history too.
            outgoing = Outgoing(publication, kept=True, told=told)
            if self._filters.pipeline:
                self._filters.run(outgoing)
            else:
                self._pass_on(outgoing)
        else:
            self._broker.publish(publication)
            if told is not None:
                told(None, "")
        if self._hub.crowded and not publication.hops:
            self._wait_while_crowded()

    def _wait_while_crowded(self) -> None:
        if getcurrent() is not get_hub():
            while self._hub.crowded:
                pause()

    # Delivery.

    def deliver(self, publication: Publication) -> None:
        """Hand one publication to every local member of its channel. Called by the broker. Never blocks.

        All members of a channel see the same order. A slow consumer is closed, and nobody waits for it.

        Raises:
            TypeError: the message cannot be written as JSON, and there is no `publication` filter that could change it.
        """
        listener = self._hub.listener
        if listener is not None and publication.origin != "here":
            listener.arrived(publication)
        if publication.offset:
            self._followed.arrived(publication)
            return
        if self._hub.weight > FULL:
            self._metrics.count("publications_dropped")
            return
        # What a node has published without an offset is not kept.
        kept = publication.origin == "outside"
        if self._filters.pipeline:
            self._filters.run(Outgoing(publication, kept))
        elif kept and self.rules:
            self._pass_on(Outgoing(publication))
        else:
            self._hub.enqueue(publication)

    def _pass_on(self, outgoing: Outgoing) -> None:
        """A publication has passed the `publication` pipeline."""
        publication = outgoing.publication
        settings = self.kept(publication.channel) if outgoing.kept else None
        if settings is None:
            self._hub.enqueue(publication)
            outgoing.passed()
        else:
            self._history.publish(publication, settings, outgoing.numbered if outgoing.told is not None else None)
