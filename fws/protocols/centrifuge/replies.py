"""What a client is told: replies and pushes, as lines of JSON."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from fws.base.decoding import decode
from fws.pipeline.publication import Publication
from fws.presence.base import Present
from fws.protocols.centrifuge.codes import Disconnect, Error, Unsubscribe
from fws.wire.encoding import json_bytes, payload_of
from fws.wire.frames import BINARY

PING = b"{}"


class _Struct(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    pass


class ClientInfo(_Struct, frozen=True, omit_defaults=True, gc=False):
    """A client, for others.

    Attributes:
        conn_info: what its token shows.
        chan_info: what the channel shows about its members.
    """

    user: str = ""
    client: str = ""
    conn_info: Any = None
    chan_info: dict[str, Any] | None = None

    @classmethod
    def of(cls, present: Present) -> ClientInfo:
        return cls(present.user, present.client, present.profile, present.info or None)


class Pub(_Struct, frozen=True, omit_defaults=True, gc=False):
    data: msgspec.Raw
    info: ClientInfo | None = None
    offset: int = 0


class Subscription(_Struct, frozen=True, omit_defaults=True, gc=False):
    """The state of a subscription: the result of `subscribe`, and what `connect` says of each channel."""

    expires: bool = False
    ttl: int = 0
    recoverable: bool = False
    epoch: str = ""
    publications: list[Pub] = []
    recovered: bool = False
    offset: int = 0
    positioned: bool = False
    data: Any = None
    was_recovering: bool = False


class Connected(_Struct, frozen=True, omit_defaults=True, gc=False):
    client: str
    version: str
    expires: bool = False
    ttl: int = 0
    subs: dict[str, Subscription] = {}
    ping: int = 0
    pong: bool = False
    session: str = ""
    node: str = ""


class Refreshed(_Struct, frozen=True, omit_defaults=True, gc=False):
    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: int = 0


class HistoryResult(_Struct, frozen=True, omit_defaults=True, gc=False):
    publications: list[Pub] = []
    epoch: str = ""
    offset: int = 0


class PresenceResult(_Struct, frozen=True, omit_defaults=True, gc=False):
    presence: dict[str, ClientInfo] = {}


class PresenceStats(_Struct, frozen=True, omit_defaults=True, gc=False):
    num_clients: int = 0
    num_users: int = 0


class _Data(_Struct, frozen=True, omit_defaults=True, gc=False):
    data: msgspec.Raw


class _Member(_Struct, frozen=True, omit_defaults=True, gc=False):
    info: ClientInfo


class _Refresh(_Struct, frozen=True, omit_defaults=True, gc=False):
    expires: bool = False
    ttl: int = 0


class _Push(_Struct, frozen=True, omit_defaults=True, gc=False):
    channel: str = ""
    pub: Pub | None = None
    join: _Member | None = None
    leave: _Member | None = None
    unsubscribe: Unsubscribe | None = None
    subscribe: Subscription | None = None
    message: _Data | None = None
    disconnect: Disconnect | None = None
    refresh: _Refresh | None = None


class _Reply(_Struct, frozen=True, omit_defaults=True, gc=False):
    id: int = 0
    error: Error | None = None
    push: _Push | None = None


_encode = msgspec.json.Encoder().encode


def reply(id: int, name: str, result: Any) -> bytes:
    """The answer to a command."""
    return b'{"id":%d,"%b":%b}' % (id, name.encode(), _encode(result))


def failure(id: int, error: Error) -> bytes:
    """The answer to a command that has failed."""
    return _encode(_Reply(id, error=error))


def rpc_result(message: Any) -> dict[str, msgspec.Raw]:
    """The result of an RPC. Raises TypeError for a message that JSON cannot carry."""
    return {"data": data_of(message, *payload_of(message))}


def message_push(message: Any) -> bytes:
    """A message that a filter sends. Raises TypeError for one that JSON cannot carry."""
    return _encode(_Reply(push=_Push(message=_Data(data_of(message, *payload_of(message))))))


def publication_push(channel: str, pub: Pub) -> bytes:
    return _encode(_Reply(push=_Push(channel, pub)))


def broadcast_push(message: Any, opcode: int, payload: bytes) -> bytes:
    """A message for every client, which belongs to no channel."""
    return _encode(_Reply(push=_Push(message=_Data(data_of(message, opcode, payload)))))


def join_push(channel: str, info: ClientInfo) -> bytes:
    return _encode(_Reply(push=_Push(channel, join=_Member(info))))


def leave_push(channel: str, info: ClientInfo) -> bytes:
    return _encode(_Reply(push=_Push(channel, leave=_Member(info))))


def unsubscribe_push(channel: str, end: Unsubscribe) -> bytes:
    return _encode(_Reply(push=_Push(channel, unsubscribe=end)))


def subscribe_push(channel: str, subscription: Subscription) -> bytes:
    return _encode(_Reply(push=_Push(channel, subscribe=subscription)))


def refresh_push(*, expires: bool, ttl: int) -> bytes:
    """The connection ends at another time."""
    return _encode(_Reply(push=_Push(refresh=_Refresh(expires, ttl))))


def disconnect_push(end: Disconnect) -> bytes:
    return _encode(_Reply(push=_Push(disconnect=end)))


def pub_of(publication: Publication, opcode: int, payload: bytes) -> Pub:
    """A publication, whose message is `payload`."""
    info = publication.info
    sender = None
    if info is not None:
        sender = ClientInfo(
            str(info.get("user") or ""), publication.sender or "", info.get("profile"), info.get("info") or None
        )
    return Pub(data_of(publication.message, opcode, payload), sender, publication.offset)


def data_of(message: Any, opcode: int, payload: bytes) -> msgspec.Raw:
    """A message as JSON on one line.

    A text that is a JSON object or array is that, because a text frame in the protocol `raw` looks the same as the
    value. Any other text is a JSON string, and so is JSON beyond the limits of `decode`: some SDKs end their connection
    at values that are nested deep. Bytes become `{"base64": "…"}`.
    """
    if opcode == BINARY:
        return msgspec.Raw(b'{"base64":"%b"}' % b64encode(payload))
    if not isinstance(message, str):
        return msgspec.Raw(payload)
    if payload[:1] in (b"{", b"["):
        try:
            return msgspec.Raw(json_bytes(decode(payload)))
        except (ValueError, TypeError):
            pass
    return msgspec.Raw(json_bytes(payload.decode()))
