"""One question to Redis over a stream on which nothing else is under way."""

from __future__ import annotations

from time import monotonic
from typing import Any

from fws.redis.connector import REPLY, LinkError, Stream, told
from fws.redis.resp import Failure, Replies, command

# The longest answer has the nodes of a Cluster.
LONGEST = 1024 * 1024


def ask(stream: Stream, *words: bytes, timeout: float = REPLY) -> Any:
    """The reply to one command. Raises LinkError when there is none in time, or it is an error."""
    stream.send(command(*words), timeout)
    replies = Replies(LONGEST)
    until = monotonic() + timeout
    while (left := until - monotonic()) > 0:
        if found := replies.feed(stream.receive(left)):
            if isinstance(found[0], Failure):
                raise LinkError(told(found[0]))
            return found[0]
    raise LinkError("it does not answer")
