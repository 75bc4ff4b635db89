"""What tokens give to a client beyond its identity, as Centrifugo's tokens say it. docs/clients.md lists the claims.

A token of a connection:   info, channels, subs, expire_at (and not channel)
A token of a channel:      channel, client, info, data, expire_at
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import msgspec

from fws.auth.credential import Denied
from fws.protocols.base import Renew
from fws.wire.encoding import json_bytes

# The most bytes of what a token shows to others. It travels with each publication of the client.
MAX_INFO = 1024


class Grant(msgspec.Struct, frozen=True):
    """What one token gives.

    Attributes:
        end: when it ends, in Unix time; None for never.
        warn: seconds before the end at which the client should have a new token.
        info: what it shows to others; None for nothing.
        data: what the client itself is told when it is subscribed.
        channels: the channels that it subscribes to.
    """

    end: float | None = None
    warn: float = 0.0
    info: Any = None
    data: Any = None
    channels: dict[str, Grant] = {}

    @classmethod
    def of(cls, claims: Mapping[str, Any], warn: float) -> Grant:
        """Read the claims of a token whose signature and times are valid.

        Raises:
            Denied: a claim has another type than it must have.
        """
        subs, names = claims.get("subs"), claims.get("channels")
        channels: dict[str, Grant] = {}
        if isinstance(subs, dict) and subs:
            for channel, options in subs.items():
                if not isinstance(options, dict):
                    raise _wrong("subs")
                channels[channel] = cls(None, 0.0, _value(options, "info"), _value(options, "data"))
        elif isinstance(names, list):
            if not all(isinstance(name, str) for name in names):
                raise _wrong("channels")
            channels = {name: cls() for name in names}
        elif subs is not None or names is not None:
            raise _wrong("subs" if subs is not None else "channels")
        return cls(_end(claims), warn, _value(claims, "info"), _value(claims, "data"), channels)

    def ttl(self, now: float) -> int:
        """Whole seconds after which the client should renew it: `warn` before the end, but not before the middle."""
        left = (self.end or now) - now
        return max(1, int(max(left - self.warn, left / 2)))


class Grants:
    """What the tokens of one client give.

    Attributes:
        connection: by the token of the connection.
        channels: by those of channels, and by what the token of the connection says about them.
        renew: verifies a new token of the connection; None without one.
    """

    __slots__ = ("channels", "connection", "renew")

    def __init__(self) -> None:
        self.connection = Grant()
        self.channels: dict[str, Grant] = {}
        self.renew: Renew | None = None

    def of(self, channel: str) -> Grant | None:
        """What applies to a channel, or to the connection if `channel` is empty."""
        return self.channels.get(channel) if channel else self.connection

    def info(self, channel: str) -> dict[str, Any]:
        grant = self.channels.get(channel)
        return grant.info if grant is not None and isinstance(grant.info, dict) else {}

    def data(self, channel: str) -> Any:
        grant = self.channels.get(channel)
        return None if grant is None else grant.data

    def forget(self, channel: str) -> None:
        self.channels.pop(channel, None)


def _end(claims: Mapping[str, Any]) -> float | None:
    """`expire_at` decides about the connection if it is there; 0 stands for never. Otherwise `exp` does."""
    end = claims.get("expire_at")
    if end is None:
        end = claims.get("exp")
    if end is None:
        return None
    if type(end) not in (int, float) or not 0 <= end < 2**53:
        raise _wrong("expire_at")
    return float(end) or None


def _value(claims: Mapping[str, Any], name: str) -> Any:
    """A value, or the JSON in its base64 form `b64NAME`. One that is too large to be shown counts as none."""
    value, encoded = claims.get(name), claims.get(f"b64{name}")
    if value is None and isinstance(encoded, str):
        name = f"b64{name}"
        try:
            value = msgspec.json.decode(b64decode(encoded, validate=True))
        except (ValueError, RecursionError):
            raise _wrong(name) from None
    try:
        return value if value is None or len(json_bytes(value)) <= MAX_INFO else None
    except TypeError:
        raise _wrong(name) from None


def _wrong(claim: str) -> Denied:
    return Denied("claims", f"The claim {claim} of the token is not what it should be.")
