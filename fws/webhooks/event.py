"""What a service is told: events as JSON, and requests that carry one or several of them.

The form is the one that the Standard Webhooks specification recommends: `type`, `timestamp` and `data`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import UNSET

from fws.base.times import rfc3339
from fws.webhooks.queue import Entry

# The types of events, by hook.
TYPES = {
    "connect": "client.connect",
    "message": "client.message",
    "subscribe": "client.subscribe",
    "unsubscribe": "client.unsubscribe",
    "disconnect": "client.disconnect",
    "publication": "channel.publication",
    "tick": "schedule.tick",
}
# The type of a request that can carry several events.
BATCH = "batch"

# A dot in an id would make two requests with one signature.
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")

_encode = msgspec.json.Encoder().encode


class Data(msgspec.Struct, omit_defaults=True):
    """What is told about an event. What it does not have is left out.

    Attributes:
        client: the id of the client; for a publication, of the client that has sent it.
        address, path, identity: of the client.
        channel: the channel that the event is about.
        message: the message, if it is text or a value.
        b64data: the message as Base64, if it is binary.
        code, reason: how the connection ended.
    """

    client: str | None = None
    address: str = ""
    path: str = ""
    identity: dict[str, Any] | None = None
    channel: str | None = None
    message: Any = UNSET
    b64data: str | None = None
    code: int | None = None
    reason: str = ""

    def say(self, message: Any) -> Data:
        """Add a message. Returns the same object."""
        if isinstance(message, bytes | bytearray | memoryview):
            self.b64data = b64encode(message).decode()
        else:
            self.message = message
        return self


class _Event(msgspec.Struct):
    id: str
    type: str
    timestamp: str
    data: Data


class _Events(msgspec.Struct):
    events: list[msgspec.Raw]


class _Batch(msgspec.Struct):
    type: str
    timestamp: str
    data: _Events


def event_json(id: str, hook: str, at: float, data: Data) -> bytes:
    """An event as JSON. Raises TypeError, ValueError or RecursionError for what JSON cannot express.

    Args:
        id: identifies the event.
        at: Unix time.
    """
    return _encode(_Event(id, TYPES[hook], rfc3339(at), data))


def request_of(entries: Sequence[Entry], *, batches: bool) -> tuple[str, bytes]:
    """The id and the body of a request.

    Both are the same in each attempt. In the form for several events, the id follows from those of the events, so that
    no other request has it, even if a restart puts the events together in another way.

    Args:
        batches: whether the body has the form for several events.
    """
    if not batches:
        [entry] = entries
        return entry.id, entry.body
    id = sha256(" ".join(entry.id for entry in entries).encode()).hexdigest()[:32]
    events = _Events([msgspec.Raw(entry.body) for entry in entries])
    return id, _encode(_Batch(BATCH, rfc3339(max(entry.at for entry in entries)), events))


class _Named(msgspec.Struct):
    id: str
    type: str
    timestamp: str
    data: dict[str, msgspec.Raw]


class _Kept(msgspec.Struct):
    """An entry as it is kept."""

    id: str
    lane: str
    at: float
    event: msgspec.Raw


def kept_json(entry: Entry) -> bytes:
    """An entry in the form in which it is kept."""
    return _encode(_Kept(entry.id, entry.lane, entry.at, msgspec.Raw(entry.body)))


def entry_of(kept: bytes, now: float, wall: float) -> Entry:
    """The entry that was kept, perhaps by another process. Raises ValueError if it is not one.

    Args:
        now: monotonic seconds.
        wall: Unix time.
    """
    found = msgspec.json.decode(kept, type=_Kept)
    event = msgspec.json.decode(found.event, type=_Named)
    if event.id != found.id or not _ID.fullmatch(found.id) or found.at < 0:
        raise ValueError("not an event that fws has kept")
    at = min(found.at, wall)
    return Entry(found.id, found.lane, bytes(found.event), now - (wall - at), at)
