"""The channels of one client: those that pipelines have joined it to, and its own subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fws.base.errors import Refusal, Reject
from fws.channels.member import Member
from fws.clients.outbox import Outbox
from fws.clients.receiver import Receiver
from fws.clients.state import State
from fws.pipeline.call import MESSAGE, Call
from fws.pipeline.publication import check_channel

if TYPE_CHECKING:
    from fws.clients.host import Host
    from fws.compiler.endpoint import Endpoint


class Subscriber(Receiver):
    """A client that joins, subscribes and leaves.

    Attributes:
        channels: the names of the channels of which it is a member.
        call: what it wants at the moment.
    """

    __slots__ = ("_requested", "call", "channels")

    def __init__(self, endpoint: Endpoint, host: Host, outbox: Outbox) -> None:
        super().__init__(endpoint, host, outbox)
        self.channels: set[str] = set()
        self.call = MESSAGE
        # What it has requested itself: channels whose `subscribe` has passed, and `unsubscribe` has not run. None,
        # because most clients request nothing.
        self._requested: set[str] | None = None

    @property
    def _member(self) -> Member:
        """The client as its channels see it."""
        raise NotImplementedError

    def join(self, channel: str, *, since: str = "", replay: int = 0) -> None:
        """Become a member of a channel, until `leave` or the end of the connection. `ChannelService.join` says more.

        Args:
            since: in a channel with history, the position up to which the client has read it; it gets what came after.
            replay: without a position, how many of the newest publications it gets first.

        Raises:
            ValueError: the name of the channel is invalid.
        """
        if self.session is not None:
            check_channel(channel)
            if channel in self.channels:
                return
            since = since or self.session.since(channel)
        self._host.channels.join(self._member, channel, since, replay)

    def leave(self, channel: str) -> None:
        """Stop being a member of a channel. Does nothing if the client is not a member."""
        self._leave(channel)

    def _leave(self, channel: str, reason: str = "", *, expired: bool = False) -> None:
        was_member = channel in self.channels
        self._host.channels.leave(self._member, channel)
        if was_member and self.session is not None:
            self.session.left(channel, reason, expired=expired)
        self._unsubscribed(channel)

    def subscribe(
        self,
        channel: str,
        *,
        since: str = "",
        replay: int = 0,
        call: Call | None = None,
        accepted: Callable[[], object] | None = None,
    ) -> None:
        """Request a channel, as the client itself does it through a protocol. A member already has what it requests.

        The condition `subscribe` in [channels] must hold, and the `subscribe` pipeline must pass. `unsubscribe` runs
        exactly once for each subscription, however it ends. `channel` may be a pattern such as `device:*`, if a rule
        has `subscribe_patterns`.

        Args:
            since, replay: as for `join`.
            call: what the client gives with its request, such as a token.
            accepted: called when the subscription is decided, before anything of the channel is sent.

        Raises:
            Reject: 400 for an invalid name, 403 if the client may not have the channel, 429 if it has too many, or
                what a filter has raised; 500 if a filter has failed.
        """
        call = call or Call("subscribe", channel)
        if "*" in channel:
            self._subscribe_pattern(channel, call, accepted)
            return
        try:
            check_channel(channel)
        except ValueError as error:
            raise Reject(400, f"This channel cannot be requested: {error}.") from None
        if channel in self.channels:
            if accepted is not None:
                accepted()
            return
        self._host.channels.check_subscription(self, channel)
        self._decide(channel, call)
        if accepted is not None:
            accepted()
        self.join(channel, since=since, replay=replay)

    def _subscribe_pattern(self, pattern: str, call: Call, accepted: Callable[[], object] | None) -> None:
        """Request what is published to all channels that match a pattern. A pattern has no history."""
        rules = self._host.channels.patterns.permitting(self, pattern)
        if pattern not in self.channels:
            self._decide(pattern, call)
        if accepted is not None:
            accepted()
        self._host.channels.patterns.join(self._member, pattern, rules)

    def _decide(self, channel: str, call: Call) -> None:
        """Decide about a new subscription. Raises Reject."""
        requested = self._requested
        if requested is None:
            requested = self._requested = set()
        if len(requested) >= self._host.limits.subscriptions:
            raise Reject(429, "Too many subscriptions.")
        self._run_subscribe(channel, call)
        requested.add(channel)
        if self._life is State.CLOSED:
            # It has gone while the pipeline was waiting, and nothing else would end the subscription.
            self._unsubscribed(channel)
            raise Reject(403, "The client is gone.")

    def _run_subscribe(self, channel: str, call: Call) -> None:
        """Run the `subscribe` pipeline. Raises Reject."""
        outer, self.call = self.call, call
        try:
            self._endpoint.subscribe.happen(self, 0, channel)
        except BaseException as error:
            refusal = self._context.faults.refusal(error, self, "subscribe")
            if isinstance(refusal, Reject) or not isinstance(refusal, Refusal):
                raise refusal from None
            raise Reject(refusal.status, refusal.reason) from None
        finally:
            self.call = outer

    def unsubscribe(self, channel: str) -> bool:
        """End a subscription. Returns whether there was one. What a pipeline has joined is no subscription."""
        if not self.requested(channel):
            return False
        self.leave(channel)
        return True

    def withdraw(self, channel: str, reason: str, *, expired: bool = False) -> None:
        """End a subscription that the client may not keep, and tell it why. Does nothing if there is none.

        Args:
            expired: whether it may request the channel again with a new token.
        """
        if self.requested(channel):
            self._leave(channel, reason, expired=expired)
            if self.session is None:
                self.send({"type": "unsubscribed", "channel": channel, "reason": reason})

    def requested(self, channel: str) -> bool:
        """Whether the client has requested a channel itself, and has it."""
        return self._requested is not None and channel in self._requested

    def _check_subscriptions(self) -> None:
        """The client has another identity: what it may not request any more ends."""
        for channel in tuple(self._requested or ()):
            try:
                if "*" in channel:
                    self._host.channels.patterns.permitting(self, channel)
                else:
                    self._host.channels.check_subscription(self, channel)
            except Reject as refusal:
                self.withdraw(channel, refusal.reason)

    def send(self, message: Any) -> bool:
        """Send one message. Never blocks."""
        raise NotImplementedError

    def _unsubscribed(self, channel: str) -> None:
        if self._requested is not None and channel in self._requested:
            self._requested.discard(channel)
            try:
                self._endpoint.unsubscribe.happen(self, 0, channel)
            except BaseException as error:  # the subscription has ended all the same
                self._context.faults.settle("unsubscribe", error, self)

    def _end_subscriptions(self) -> None:
        """The client is gone."""
        for channel in tuple(self._requested or ()):
            self.leave(channel)
