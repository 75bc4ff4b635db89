"""What a program reads and writes, as messages: lines of text, JSON values line by line, or bytes with their length.

These classes are pure. What a program writes is checked: its size, its characters, and its JSON.
"""

from __future__ import annotations

import struct
from typing import Any, Literal, Protocol

from fws.base.decoding import decode
from fws.base.errors import ProgramError
from fws.wire.encoding import json_bytes

Frame = Literal["line", "json", "length"]

_LENGTH = struct.Struct(">I")


class Unsuitable(Exception):
    """A message cannot be written to a program in this framing. The text is one sentence for the client."""


class Framing(Protocol):
    """How messages are written to a program, and read from it."""

    def encode(self, message: Any) -> bytes:
        """The bytes that the program reads. Raises Unsuitable."""

    def cut(self, buffer: bytearray) -> bytes | None:
        """Take one whole message from the front of what a program has written. None if there is none yet."""

    def held(self, buffer: bytearray) -> int:
        """The size that the message at the front of the buffer has at least."""

    def decode(self, data: bytes, question: Any) -> Any:
        """The value of a message that the program wrote.

        Args:
            question: the message that it answers; None if it answers none.

        Raises:
            ProgramError: it is not in this framing.
        """


class Lines:
    """Lines of text in UTF-8.

    A text with a carriage return is refused as well, because many languages take one for the end of a line. The second
    answer would then go to another client.
    """

    def encode(self, message: Any) -> bytes:
        data = _text_of(message)
        if b"\n" in data or b"\r" in data:
            raise Unsuitable("This message has more than one line.")
        return data + b"\n"

    def cut(self, buffer: bytearray) -> bytes | None:
        return _line(buffer)

    def held(self, buffer: bytearray) -> int:
        return len(buffer)

    def decode(self, data: bytes, question: Any) -> Any:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise ProgramError("it wrote a line that is not UTF-8") from None


class Json:
    """One JSON value on each line."""

    def encode(self, message: Any) -> bytes:
        if isinstance(message, bytes | bytearray | memoryview):
            raise Unsuitable("This message is binary, and JSON cannot carry it.")
        try:
            return json_bytes(message) + b"\n"
        except TypeError:
            raise Unsuitable("JSON cannot carry this message.") from None

    def cut(self, buffer: bytearray) -> bytes | None:
        return _line(buffer)

    def held(self, buffer: bytearray) -> int:
        return len(buffer)

    def decode(self, data: bytes, question: Any) -> Any:
        try:
            return decode(data)
        except ValueError:
            raise ProgramError("it wrote a line that is not JSON, or that is too large or too deep") from None


class Lengths:
    """Four bytes with the length, the most significant first, and then as many bytes. They carry anything."""

    def encode(self, message: Any) -> bytes:
        data = bytes(message) if isinstance(message, bytes | bytearray | memoryview) else _text_of(message)
        return _LENGTH.pack(len(data)) + data

    def cut(self, buffer: bytearray) -> bytes | None:
        if len(buffer) < _LENGTH.size or len(buffer) < (end := _LENGTH.size + self.held(buffer)):
            return None
        data = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        return data

    def held(self, buffer: bytearray) -> int:
        return int(_LENGTH.unpack_from(buffer)[0]) if len(buffer) >= _LENGTH.size else 0

    def decode(self, data: bytes, question: Any) -> Any:
        # An answer is of the kind of its question. What a program says by itself is binary.
        return data if question is None or not isinstance(question, str) else _utf8(data)


class Whole:
    """The whole of what a program reads until the end of its input, and writes until the end of its output."""

    def encode(self, message: Any) -> bytes:
        if isinstance(message, bytes | bytearray | memoryview):
            return bytes(message)
        data = _text_of(message)
        return data if data.endswith(b"\n") else data + b"\n"

    def cut(self, buffer: bytearray) -> bytes | None:
        return None

    def held(self, buffer: bytearray) -> int:
        return len(buffer)

    def decode(self, data: bytes, question: Any) -> Any:
        return data if isinstance(question, bytes) else _utf8(data.removesuffix(b"\n"))


FRAMINGS: dict[Frame, type[Framing]] = {"line": Lines, "json": Json, "length": Lengths}


class Splitter:
    """Cuts what a program writes into its messages.

    Args:
        most: bytes of the largest message.
    """

    __slots__ = ("_buffer", "_framing", "_most")

    def __init__(self, framing: Framing, most: int) -> None:
        self._framing = framing
        self._most = most
        self._buffer = bytearray()

    def add(self, data: bytes) -> None:
        """Add what the program has written."""
        self._buffer += data

    def take(self) -> bytes | None:
        """The next message; None if none is complete.

        Raises:
            ProgramError: a message is larger than `most`.
        """
        message = self._framing.cut(self._buffer)
        if (self._framing.held(self._buffer) if message is None else len(message)) > self._most:
            raise ProgramError(f"it wrote a message of more than {self._most} bytes")
        return message

    def rest(self) -> bytes:
        """What is left at the end: a part of a message, or in `Whole` the message."""
        return bytes(self._buffer)


def _line(buffer: bytearray) -> bytes | None:
    end = buffer.find(b"\n")
    if end < 0:
        return None
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line


def _text_of(message: Any) -> bytes:
    """A text as UTF-8, and any other value as JSON."""
    if isinstance(message, bytes | bytearray | memoryview):
        raise Unsuitable("This message is binary.")
    try:
        return message.encode() if isinstance(message, str) else json_bytes(message)
    except UnicodeEncodeError:
        raise Unsuitable("This message has half of a character.") from None
    except TypeError:
        raise Unsuitable("JSON cannot carry this message.") from None


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProgramError("it answered a text with bytes that are not UTF-8") from None
