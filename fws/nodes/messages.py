"""What nodes say to each other, as JSON. docs/redis.md describes it.

Another application could send anything to their channels, so that a message is checked before it is heeded.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

# The most bytes of a request or an answer, and those that a message has besides.
LARGEST = 4 * 1024 * 1024
ENVELOPE = 256

Id = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. Unknown fields are ignored, so that later versions can add some.

    Attributes:
        id: identifies the request; an answer has that of its request.
        node: the id of the node that sends it.
        request: what is asked or told; None in an answer.
        answer: None if there is none, or if the node only says that it has received the request.
        copies: how often the sender gets what is published to the channel of all nodes.
    """

    id: Id
    node: Id
    request: dict[str, Any] | None = None
    answer: Any = None
    copies: Annotated[int, Meta(ge=1, le=10_000)] = 1


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


def encode(message: Message) -> bytes:
    """The message as JSON. Its request or answer is `packed`."""
    return _encode(message)


def decode(data: bytes) -> Message:
    """The message in some JSON. Raises ValueError if it is not one."""
    try:
        return _decode(data)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a message of a node: {error}") from None


def packed(content: Any, most: int) -> Any:
    """A request or an answer for a message, as JSON already.

    Raises:
        ValueError: it has more than `most` bytes, or JSON cannot represent it.
    """
    try:
        data = _encode(content)
    except (TypeError, UnicodeEncodeError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(f"JSON cannot represent this: {error}") from None
    if len(data) > most:
        raise ValueError(f"a request or an answer can have at most {most} bytes, and this has {len(data)}")
    return msgspec.Raw(data)


def is_id(text: str) -> bool:
    """Whether a text can be the id of a node."""
    try:
        msgspec.convert(text, Id)
    except msgspec.ValidationError:
        return False
    return True
