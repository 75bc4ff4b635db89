"""Encodes what a `message` pipeline sends: a text frame for `str`, binary for `bytes`, JSON text for anything else."""

from __future__ import annotations

from typing import Any

import msgspec

from fws.wire import native
from fws.wire.deflate import deflate
from fws.wire.frames import BINARY, TEXT, encode

# Below this many bytes a compressed frame is rarely smaller, and never by much.
MIN_DEFLATE = 64
# The assumed size of a value other than text and bytes before it is encoded.
VALUE = 4096

_encode_json = msgspec.json.Encoder().encode


def frame_of(message: Any, bits: int = 0) -> bytes:
    """One whole frame.

    Args:
        bits: the window of permessage-deflate that the receiver agreed to; 0 for no compression.

    Raises:
        TypeError: the value cannot be written as JSON.
    """
    if not bits and native.frame is not None:
        frame = native.frame(message)
        if frame is not None:
            return frame
    opcode, payload = payload_of(message)
    return encode(opcode, payload) if not bits else compressed(opcode, payload, bits)


def payload_of(message: Any) -> tuple[int, bytes]:
    """The opcode and payload of a message. Raises TypeError for a value that cannot be written as JSON."""
    if type(message) is str:
        try:
            return TEXT, message.encode()
        except UnicodeEncodeError:  # a lone surrogate becomes "?"
            return TEXT, message.encode("utf-8", "replace")
    if type(message) is bytes:
        return BINARY, message
    if isinstance(message, bytearray | memoryview):
        return BINARY, bytes(message)
    return TEXT, json_bytes(message)


def weight_of(message: Any) -> int:
    """The approximate size of a message that is not encoded yet, in bytes."""
    return len(message) if isinstance(message, str | bytes) else VALUE


def compressed(opcode: int, payload: bytes, bits: int) -> bytes:
    """One whole frame, compressed with a window of `bits` if that makes it smaller."""
    if len(payload) < MIN_DEFLATE:
        return encode(opcode, payload)
    return encode(opcode, deflate(payload, bits), rsv1=True)


def json_bytes(value: Any) -> bytes:
    """The value as JSON. Raises TypeError if it cannot be written as JSON, for whatever reason."""
    try:
        return _encode_json(value)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise TypeError(f"JSON cannot carry this {type(value).__name__}: {error}") from None
