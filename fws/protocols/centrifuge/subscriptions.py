"""The channels of a client: its own subscriptions, and those that pipelines have joined it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from fws.base.errors import Reject
from fws.pipeline.call import Call
from fws.pipeline.publication import Gap, Here, Position, Publication
from fws.protocols.base import Peer
from fws.protocols.centrifuge import codes, commands, replies
from fws.protocols.centrifuge.tokens import Tokens
from fws.wire.encoding import payload_of

# Seconds that a channel may take to become known, while Redis is asked.
PATIENCE = 4.0


class _Wanted:
    """A channel that is joined and not known yet.

    Attributes:
        id: of the command that the client waits for; 0 for a channel that a pipeline has joined.
        recovers: whether the client gave a position.
        strict: whether it wants an error instead of a subscription with a gap.
        cancel: prevents that it is given up; None for a channel that a pipeline has joined.
    """

    __slots__ = ("cancel", "id", "recovers", "strict")

    def __init__(self, id: int, *, recovers: bool, strict: bool = False) -> None:
        self.id = id
        self.recovers = recovers
        self.strict = strict
        self.cancel: Callable[[], None] | None = None


class Subscriptions(Tokens):
    """A client with channels. A subscription is answered when its channel is known."""

    __slots__ = ("_positions", "_quiet", "_subscriptions", "_wanted")

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        # What `connect` is answered with: the channels that the pipeline has joined. None before and after.
        self._subscriptions: dict[str, replies.Subscription] | None = None
        # Where the client was in the channels that the pipeline joins.
        self._positions: dict[str, str] = {}
        self._wanted: dict[str, _Wanted] = {}
        # The channel that the client leaves itself.
        self._quiet = ""

    def _subscribe(self, id: int, request: commands.Subscribe) -> None:
        channel, peer = request.channel, self._peer
        if not channel:
            self._end(codes.MALFORMED, "subscribe needs a channel")
            return
        if "*" in channel:
            raise Reject(400, "This protocol cannot subscribe to patterns.")
        if request.type or request.tf is not None:
            self._fail(id, codes.NOT_AVAILABLE)
            return
        if channel in peer.channels or channel in self._wanted:
            if not peer.requested(channel):
                self._fail(id, codes.ALREADY_SUBSCRIBED)
                return
            # It asks again, because it was told about a gap or has lost count.
            self._leave(channel)
        since = position_of(request) if request.recover else ""
        strict = bool(request.flag & commands.REJECT_UNRECOVERED)
        wanted = self._wanted[channel] = _Wanted(id, recovers=request.recover, strict=strict)
        try:
            peer.ask_for(channel, since, Call("subscribe", channel, data=request.data, token=request.token))
        except BaseException:
            self._wanted.pop(channel, None)
            if self._grants is not None:
                self._grants.forget(channel)
            raise
        if self._wanted.get(channel) is wanted:
            wanted.cancel = peer.after(PATIENCE, partial(self._give_up, channel, wanted))

    def _give_up(self, channel: str, wanted: _Wanted) -> None:
        """A channel has not become known in time."""
        if self._wanted.get(channel) is wanted:
            self._leave(channel)

    def _leave(self, channel: str) -> None:
        self._quiet = channel
        try:
            self._peer.leave(channel)
        finally:
            self._quiet = ""

    def since(self, channel: str) -> str:
        if channel in self._wanted:
            return ""  # the client has requested it, with a position of its own
        position = self._positions.get(channel, "")
        self._wanted[channel] = _Wanted(0, recovers=bool(position))
        return position

    def joined(self, channel: str, publications: Sequence[Publication], position: Position | None) -> None:
        wanted = self._take(channel)
        if wanted is None:
            return
        if wanted.recovers and wanted.strict and any(isinstance(one, Gap) for one in publications):
            self._fail(wanted.id, codes.UNRECOVERABLE)
            self._leave(channel)  # it reads its state anew, and asks again
            return
        subscription, further = self._subscription(channel, wanted, publications, position)
        if wanted.id:
            self._reply(wanted.id, "subscribe", subscription)
        elif self._subscriptions is not None:
            self._subscriptions[channel] = subscription
        else:
            self._write(replies.subscribe_push(channel, subscription))
        for pub in further:
            self._write(replies.publication_push(channel, pub))
        self._known()

    def _take(self, channel: str) -> _Wanted | None:
        """A channel is not wanted any more; None if it was not."""
        wanted = self._wanted.pop(channel, None)
        if wanted is not None and wanted.cancel is not None:
            wanted.cancel()
        return wanted

    def _known(self) -> None:
        """One channel more is known."""
        raise NotImplementedError

    def _subscription(
        self, channel: str, wanted: _Wanted, publications: Sequence[Publication], position: Position | None
    ) -> tuple[replies.Subscription, list[replies.Pub]]:
        """The state of a new subscription, and the publications that follow it."""
        expires, ttl = self._left(channel)
        data = None if self._grants is None else self._grants.data(channel)
        if position is None:
            plain = replies.Subscription(expires=expires, ttl=ttl, data=data, was_recovering=wanted.recovers)
            return plain, []
        gap = any(isinstance(one, Gap) for one in publications)
        real = [one for one in publications if not isinstance(one, Gap | Here)]
        pubs = [replies.pub_of(one, *payload_of(one.message)) for one in real]
        recovered = wanted.recovers and not gap
        # What a returning client has missed is in the reply. After a gap it reads its state anew, as of the position.
        offset = max(position.offset, real[-1].offset) if real else position.offset
        if real and not wanted.recovers:
            offset = real[0].offset - 1
        subscription = replies.Subscription(
            expires=expires,
            ttl=ttl,
            recoverable=True,
            positioned=True,
            epoch=position.epoch,
            offset=offset,
            publications=pubs if recovered else [],
            recovered=recovered,
            was_recovering=wanted.recovers,
            data=data,
        )
        return subscription, [] if wanted.recovers else pubs

    def left(self, channel: str, reason: str = "", *, expired: bool = False) -> None:
        wanted = self._take(channel)
        if self._grants is not None:
            self._grants.forget(channel)
        if wanted is not None and wanted.id:
            self._fail(wanted.id, codes.INTERNAL)
            return
        if self._subscriptions is not None:
            self._subscriptions.pop(channel, None)
            self._known()
            return
        quiet, self._quiet = self._quiet, ""  # what its `unsubscribe` pipeline does is told
        if channel == quiet or self._peer.closing:
            return
        end = codes.SUBSCRIPTION_EXPIRED if expired else codes.BY_SERVER
        self._write(replies.unsubscribe_push(channel, codes.Unsubscribe(end.code, reason or end.reason)))

    def missed(self, channel: str) -> None:
        if self._peer.requested(channel):
            self._peer.write(self._gap(channel))
        else:
            self._peer.close(codes.INSUFFICIENT_STATE.code, codes.INSUFFICIENT_STATE.reason)

    def gap(self, channel: str, last: Publication) -> bytes:
        return self._gap(channel)

    def _gap(self, channel: str) -> bytes:
        """A subscription of the client's own begins anew with this push. The others do so with the connection."""
        if self._peer.requested(channel):
            return self.framing.text(replies.unsubscribe_push(channel, codes.INSUFFICIENT))
        return self.framing.text(replies.disconnect_push(codes.INSUFFICIENT_STATE))

    def _unsubscribe(self, id: int, request: commands.Unsubscribe) -> None:
        if not request.channel:
            self._end(codes.MALFORMED, "unsubscribe needs a channel")
            return
        if self._peer.requested(request.channel):
            self._leave(request.channel)
        self._reply(id, "unsubscribe", {})


def position_of(request: commands.Subscribe) -> str:
    """The position that a client gives, in the form of `Position`. An epoch that no channel has stands for none."""
    return f"{request.epoch or '_'}:{request.offset}"
