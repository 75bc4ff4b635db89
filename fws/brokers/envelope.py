"""The wire format of a publication in Redis. docs/redis.md is its specification.

    00 66 77 73 31   the marker, "\\0fws1": a zero byte, "fws", the version
    {"node":"…",…}   the header, one JSON object
    0A               end of the header
    …                the message: the rest, unchanged

A header with `epoch` and `offset` belongs to a publication of a channel with history. They come first, because the
script that numbers it puts them in front of the rest (fws.histories.scripts).

A *signal* begins with "\0fws!" instead. It is a JSON object from node to node, and no message for anybody.

Payloads without the marker are messages of other applications and are delivered unchanged. Nothing in an envelope is
evaluated. A header must have these fields with these types; otherwise the envelope is refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fws.base.trace import parse_traceparent
from fws.pipeline.publication import Origin, Publication
from fws.wire.encoding import json_bytes

MARKER = b"\0fws"
VERSION = b"1"
# The most bytes of the header. With fields of the greatest length it has about 1,800 and the sender's info.
MAX_HEADER = 4096
# The most bytes of what others may know about the sender. It is left out if it is larger.
MAX_INFO = 2048

# Begins what nodes tell each other.
SIGNAL = MARKER + b"!"

_START = MARKER + VERSION
# Control characters, and lone surrogates, which UTF-8 cannot encode.
_NO_ID = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# The characters of the ids of nodes and clients. Ids of clients have 12.
MAX_ID = 200

_Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class EnvelopeError(ValueError):
    """A payload begins like an envelope and is malformed."""


class _Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """Unknown fields are ignored, so that later versions can add fields that older nodes do not need."""

    node: _Id
    type: Literal["text", "binary", "json"] = "text"
    sender: _Id | None = None
    exclude: _Id | None = None
    hops: Annotated[int, Meta(ge=0, le=1000)] = 0
    epoch: Annotated[str, Meta(max_length=32, pattern=r"^[A-Za-z0-9_-]*$")] = ""
    offset: Annotated[int, Meta(ge=0, lt=10**15)] = 0
    pattern: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = ""
    info: dict[str, Any] | None = None
    # Anything else than a `traceparent` is ignored: a message is not lost because of its trace.
    trace: Any = ""


_encode_header = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(_Header).decode
_decode_json = msgspec.json.Decoder().decode


def encode(publication: Publication, node: str) -> bytes:
    """The payload for a publication of this node. A `sender` or `exclude` that cannot be an id is omitted.

    Raises:
        TypeError: the message cannot be written as JSON.
    """
    return b"%b{%b" % (_START, encode_rest(publication, node))


def encode_rest(publication: Publication, node: str) -> bytes:
    """The same without the marker and the first brace, so that a script can put further fields in front."""
    message = publication.message
    kind: Literal["text", "binary", "json"]
    if isinstance(message, str):
        # A lone surrogate becomes "?", as in frames for clients.
        kind, body = "text", message.encode("utf-8", "replace")
    elif isinstance(message, bytes | bytearray | memoryview):
        kind, body = "binary", bytes(message)
    else:
        kind, body = "json", json_bytes(message)
    channel = publication.channel
    pattern = channel if channel is not None and "*" in channel else ""
    sender, exclude, info = _id(publication.sender), _id(publication.exclude), _info(publication.info)
    header = _Header(node, kind, sender, exclude, publication.hops, pattern=pattern, info=info, trace=publication.trace)
    return b"%b\n%b" % (_encode_header(header)[1:], body)


def _info(info: dict[str, Any] | None) -> dict[str, Any] | None:
    return info if info is not None and len(_encode_header(info)) <= MAX_INFO else None


def _id(name: str | None) -> str | None:
    if name is not None and isinstance(name, str) and 0 < len(name) <= MAX_ID and not _NO_ID.search(name):
        return name
    return None


def decode(channel: str | None, payload: bytes, own: str) -> Publication | None:
    """The publication in a payload; None if this node has published it, unless it has an offset.

    Args:
        channel: the channel of the payload.
        own: this node's id.

    Raises:
        EnvelopeError: the payload has the marker, and is malformed or of an unknown version.
    """
    if not payload.startswith(MARKER):
        return Publication(channel, text_or_bytes(payload), origin="outside")
    if not payload.startswith(_START):
        raise EnvelopeError("of another version")
    end = payload.find(b"\n", len(_START), MAX_HEADER)
    if end < 0:
        raise EnvelopeError("its header has no end")
    try:
        header = _decode_header(payload[len(_START) : end])
        if header.node == own and not header.offset:
            return None
        message: Any = payload[end + 1 :]
        if header.type == "text":
            message = message.decode()
        elif header.type == "json":
            message = _decode_json(message)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(str(error)) from None
    origin: Origin = "here" if header.node == own else "node"
    sender, exclude = header.sender, header.exclude
    if header.pattern and channel is None:
        channel = header.pattern
    position = (header.offset, header.epoch)
    trace = header.trace if header.trace and parse_traceparent(header.trace) is not None else ""
    return Publication(channel, message, sender, exclude, header.hops, origin, *position, header.info, trace)


def text_or_bytes(payload: bytes) -> str | bytes:
    """The message in a payload without an envelope: text if it is UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload
