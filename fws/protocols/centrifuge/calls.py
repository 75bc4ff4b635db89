"""What a client does with a channel or a method: publish, call, ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fws.base.errors import Reject
from fws.histories.base import Page
from fws.pipeline.call import Call
from fws.pipeline.outcomes import DROP, Several
from fws.pipeline.publication import Position
from fws.presence.base import Present
from fws.protocols.centrifuge import codes, commands, replies
from fws.protocols.centrifuge.subscriptions import Subscriptions
from fws.wire.encoding import payload_of


class Calls(Subscriptions):
    """A client that publishes, calls and asks. Only members of a channel may ask about it."""

    __slots__ = ()

    def _publish(self, id: int, request: commands.Publish) -> None:
        channel, peer = request.channel, self._peer
        if not channel:
            self._end(codes.MALFORMED, "publish needs a channel")
            return
        if request.type:
            self._fail(id, codes.NOT_AVAILABLE)
            return
        peer.check_publication(channel, request.data)
        remains = self._filtered(Call("publish", channel), request.data)
        for message in remains.items if isinstance(remains, Several) else (remains,):
            peer.publish(channel, message)
        self._reply(id, "publish", {})

    def _rpc(self, id: int, request: commands.Rpc) -> None:
        remains = self._filtered(Call("rpc", method=request.method), request.data)
        self._reply(id, "rpc", replies.rpc_result(remains.items if isinstance(remains, Several) else remains))

    def _filtered(self, call: Call, message: Any) -> Any:
        """What the `message` pipeline makes of a message. Raises Reject if it is nothing."""
        remains = self._peer.ask(call, message)
        if remains is DROP:
            raise Reject(403, "A filter has dropped it.")
        return remains

    def _send(self, id: int, request: commands.Send) -> None:
        self._peer.ask(Call("send"), request.data)
        if id:
            self._reply(id, "send", {})

    def _served_ping(self, id: int, request: commands.Ping) -> None:
        self._reply(id, "ping", {})

    # Queries. Members of a channel may ask.

    def _history(self, id: int, request: commands.History) -> None:
        since = None if request.since is None else Position(request.since.epoch, request.since.offset)
        limit = min(request.limit, commands.MAX_HISTORY) if request.limit >= 0 else commands.MAX_HISTORY
        self._check_member(request.channel)
        done = partial(self._answer_history, id, since)
        if not self._peer.page(request.channel, since, limit, request.reverse, done):
            self._fail(id, codes.NOT_AVAILABLE)

    def _answer_history(self, id: int, since: Position | None, page: Page | None) -> None:
        if page is None:
            self._fail(id, codes.INTERNAL)
        elif since is not None and not page.complete:
            self._fail(id, codes.UNRECOVERABLE)
        else:
            pubs = [replies.pub_of(one, *payload_of(one.message)) for one in page.publications]
            self._show(id, "history", replies.HistoryResult(pubs, page.top.epoch, page.top.offset))

    def _presence(self, id: int, request: commands.Presence) -> None:
        self._ask_who(id, request.channel, self._answer_presence)

    def _answer_presence(self, id: int, present: Sequence[Present]) -> None:
        members = {one.client: replies.ClientInfo.of(one) for one in present}
        self._show(id, "presence", replies.PresenceResult(members))

    def _presence_stats(self, id: int, request: commands.Presence) -> None:
        self._ask_who(id, request.channel, self._answer_stats)

    def _answer_stats(self, id: int, present: Sequence[Present]) -> None:
        users = len({one.user for one in present})
        self._reply(id, "presence_stats", replies.PresenceStats(len(present), users))

    def _ask_who(self, id: int, channel: str, answer: Callable[[int, Sequence[Present]], None]) -> None:
        self._check_member(channel)

        def done(present: Sequence[Present] | None) -> None:
            if present is None:
                self._fail(id, codes.INTERNAL)
            else:
                answer(id, present)

        if not self._peer.who(channel, done):
            self._fail(id, codes.NOT_AVAILABLE)

    def _check_member(self, channel: str) -> None:
        if channel not in self._peer.channels:
            raise Reject(403, "Only members of a channel may ask about it.")
