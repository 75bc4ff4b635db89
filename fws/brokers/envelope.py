"""The wire format of a publication on Redis: docs/redis.md is its specification.

    00 66 77 73 31   the marker, "\\0fws1": a zero byte, "fws", the version
    {"node":"…",…}   the header, one JSON object
    0A               end of the header
    …                the message: the rest, as it is

Payloads without the marker are other applications' messages and are taken as they are. Nothing in an envelope is ever
evaluated: a header has these fields with these types, or the whole is refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fws.pipeline.publication import Publication
from fws.wire.encoding import json_bytes

MARKER = b"\0fws"
VERSION = b"1"
# Of the header; with all its fields at their longest it has some 1,700 bytes.
MAX_HEADER = 4096

_START = MARKER + VERSION
# Control characters, and halves of characters that UTF-8 cannot carry.
_NO_ID = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Characters of a node's and of a client's id; clients' are 12 long.
MAX_ID = 200

_Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class EnvelopeError(ValueError):
    """A payload that begins as an envelope and is none."""


class _Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """Unknown fields are ignored, so that later versions can add what older nodes may do without."""

    node: _Id
    type: Literal["text", "binary", "json"] = "text"
    sender: _Id | None = None
    exclude: _Id | None = None
    hops: Annotated[int, Meta(ge=0, le=1000)] = 0


_encode_header = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(_Header).decode
_decode_json = msgspec.json.Decoder().decode


def encode(publication: Publication, node: str) -> bytes:
    """The payload that carries a publication of this node. A sender or exclude that can be no id is left out.

    Raises:
        TypeError: a message that JSON cannot carry.
    """
    message = publication.message
    kind: Literal["text", "binary", "json"]
    if isinstance(message, str):
        # A lone surrogate becomes "?", as it does for clients.
        kind, body = "text", message.encode("utf-8", "replace")
    elif isinstance(message, bytes | bytearray | memoryview):
        kind, body = "binary", bytes(message)
    else:
        kind, body = "json", json_bytes(message)
    header = _Header(node, kind, _id(publication.sender), _id(publication.exclude), publication.hops)
    return b"%b%b\n%b" % (_START, _encode_header(header), body)


def _id(name: str | None) -> str | None:
    if name is not None and isinstance(name, str) and 0 < len(name) <= MAX_ID and not _NO_ID.search(name):
        return name
    return None


def decode(channel: str | None, payload: bytes, own: str) -> Publication | None:
    """The publication that a payload carries; None for one of this node's own.

    Args:
        channel: where it was published.
        own: this node's id.

    Raises:
        EnvelopeError: it has the marker and is no envelope of a version that this node knows.
    """
    if not payload.startswith(MARKER):
        return Publication(channel, _text_or_bytes(payload), origin="outside")
    if not payload.startswith(_START):
        raise EnvelopeError("of another version")
    end = payload.find(b"\n", len(_START), MAX_HEADER)
    if end < 0:
        raise EnvelopeError("its header has no end")
    try:
        header = _decode_header(payload[len(_START) : end])
        if header.node == own:
            return None
        message: Any = payload[end + 1 :]
        if header.type == "text":
            message = message.decode()
        elif header.type == "json":
            message = _decode_json(message)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(str(error)) from None
    return Publication(channel, message, header.sender, header.exclude, header.hops, "node")


def _text_or_bytes(payload: bytes) -> str | bytes:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload
