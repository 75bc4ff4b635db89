"""Tokens of a client: what they give, when they end, and how they are renewed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from fws import __version__
from fws.auth.credential import Denied
from fws.base.errors import Refusal, Reject
from fws.pipeline.call import Call
from fws.protocols.base import Peer, Renew
from fws.protocols.centrifuge import codes, commands, replies
from fws.protocols.centrifuge.grants import Grant, Grants
from fws.protocols.centrifuge.voice import Voice

VERSION = f"fws {__version__}"


class Tokens(Voice):
    """A client whose connection and subscriptions may end with their tokens."""

    __slots__ = ("_cancel_end", "_connecting", "_grants")

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        # Whether the `connect` pipeline is running.
        self._connecting = False
        # Most clients have no token.
        self._grants: Grants | None = None
        self._cancel_end: Callable[[], None] | None = None

    def grant(self, claims: dict[str, Any], warn: float, leeway: float, renew: Renew) -> float | None:
        """As `Session.grant`. The session ends the connection itself, because `set_end` may change the time."""
        if claims.get("channel"):
            raise Denied("other_channel", "The token is for a channel, and not for a connection.")
        grant = Grant.of(claims, warn)
        if self._grants is None:
            self._grants = Grants()
        self._grants.connection, self._grants.renew = grant, renew
        if self._connecting:
            for channel, subscription in grant.channels.items():
                self._grants.channels[channel] = subscription
                try:
                    self._peer.join(channel)
                except ValueError:
                    raise Denied("claims", "The token names a channel that cannot exist.") from None
        self._end_at(None if grant.end is None else grant.end + leeway)
        return None

    def set_end(self, wall: float) -> bool:
        """As `Session.set_end`."""
        if self._grants is None:
            self._grants = Grants()
        connection = self._grants.connection
        self._grants.connection = msgspec.structs.replace(connection, end=wall or None)
        self._end_at(wall or None)
        expires, ttl = self._left("")
        self._write(replies.refresh_push(expires=expires, ttl=ttl))
        return True

    def _end_at(self, wall: float | None) -> None:
        """Let the connection end at a Unix time, and at no other; None for no time."""
        if self._cancel_end is not None:
            self._cancel_end()
            self._cancel_end = None
        if wall is not None and not self._peer.closing:
            self._cancel_end = self._peer.after(max(wall - self._peer.wall(), 0.0), partial(self._due, wall))

    def _due(self, wall: float) -> None:
        if self._peer.wall() < wall:
            self._end_at(wall)  # the system's clock was set back
        else:
            self._peer.expire(codes.EXPIRED.reason)

    def grant_channel(self, channel: str, claims: dict[str, Any], warn: float) -> float | None:
        client = claims.get("client")
        if client and client != self._peer.id:
            raise Denied("other_client", "The token is for another client.", 403)
        if self._grants is None:
            self._grants = Grants()
        grant = self._grants.channels[channel] = Grant.of(claims, warn)
        return grant.end

    @property
    def profile(self) -> Any:
        return None if self._grants is None else self._grants.connection.info

    def info(self, channel: str) -> dict[str, Any]:
        return {} if self._grants is None else self._grants.info(channel)

    def _left(self, channel: str) -> tuple[bool, int]:
        """Whether the connection, or a subscription, expires, and in how many seconds the client should renew it."""
        grant = None if self._grants is None else self._grants.of(channel)
        if grant is None or grant.end is None:
            return False, 0
        return True, grant.ttl(self._peer.wall())

    def _refresh(self, id: int, request: commands.Refresh) -> None:
        if not request.token:
            self._end(codes.MALFORMED, "refresh needs a token")
        elif self._grants is None or self._grants.renew is None:
            self._fail(id, codes.NOT_AVAILABLE)
        else:
            self._grants.renew(request.token, partial(self._refreshed, id))

    def _refreshed(self, id: int, refusal: Refusal | None) -> None:
        if refusal is None:
            expires, ttl = self._left("")
            self._reply(id, "refresh", replies.Refreshed(self._peer.id, VERSION, expires, ttl))
            return
        error = codes.error_of(refusal)
        if error.temporary:
            self._fail(id, error, "refresh")
        else:
            self._peer.refuse(refusal)

    def _sub_refresh(self, id: int, request: commands.SubRefresh) -> None:
        channel = request.channel
        if not channel or not request.token:
            self._end(codes.MALFORMED, "sub_refresh needs a channel and a token")
            return
        if request.type:
            self._fail(id, codes.NOT_AVAILABLE)
            return
        if not self._peer.requested(channel):
            raise Reject(403, codes.PERMISSION_DENIED.message)
        former = None if self._grants is None else self._grants.of(channel)
        try:
            self._peer.confirm(channel, Call("subscribe", channel, token=request.token))
        except Refusal:
            if self._grants is not None and former is not None:
                self._grants.channels[channel] = former
            raise
        if not self._peer.requested(channel):  # it has ended while the pipeline was waiting
            if self._grants is not None:
                self._grants.forget(channel)
            raise Reject(403, codes.PERMISSION_DENIED.message)
        expires, ttl = self._left(channel)
        self._reply(id, "sub_refresh", replies.Subscription(expires=expires, ttl=ttl))
