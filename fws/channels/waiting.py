"""Waiting in a greenlet for what is answered by a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.event import AsyncResult

from fws.base.errors import StorageError
from fws.channels.filtering import Told
from fws.pipeline.publication import Position

# Seconds that a caller waits for an answer of Redis.
PATIENCE = 4.0


def answer_of(ask: Callable[[Callable[[Any], None]], None]) -> Any:
    """The answer to a question that is answered by a call. Blocks the greenlet until then.

    Args:
        ask: is given what to call with the answer, and with None if there is none.

    Raises:
        StorageError: there is no answer, or not in time.
    """
    answer: Any = AsyncResult()
    ask(answer.set)
    # Not `get` with a timeout, whose exception could not be told from that of a caller's own time limit.
    found = answer.wait(PATIENCE)
    if found is None:
        raise StorageError("Redis does not answer")
    return found


def position_of(publish: Callable[[Told], None]) -> Position | None:
    """Publish, and wait for the position. Raises StorageError if it is not known whether it was published."""
    answer: Any = AsyncResult()
    publish(lambda *decision: answer.set(decision))
    return position_in(answer)


def position_in(answer: Any) -> Position | None:
    """The position that an AsyncResult gets: it and why the publication is lost, if it is. Raises StorageError."""
    position: Position | None
    decision = answer.wait(PATIENCE)
    if decision is None:
        raise StorageError("Redis does not answer: the message may be published later")
    position, lost = decision
    if lost:
        raise StorageError(lost)
    return position
