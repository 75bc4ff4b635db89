"""The fields of a line of the log as a JSON object. docs/logs.md has the same table, and a test compares the two.

A line gets the fields about its client and event with `extra=`, as the standard library's `logging` takes it:
`logger.warning("no nickname", extra={"client": client.id})`.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec


class Field(msgspec.Struct, frozen=True):
    """One field.

    Attributes:
        name: in JSON, and in `extra=`.
        help: what it holds.
        longest: the most bytes of its value, if the value comes with `extra=`; 0 for a field that each line has.
    """

    name: str
    help: str
    longest: int = 0


ALWAYS: Final = (
    Field("time", "when, in UTC, as RFC 3339 with milliseconds"),
    Field("level", "`debug`, `info`, `warning` or `error`"),
    Field("logger", "the part of fws, such as `fws.filters`, or the module that has written the line"),
    Field("worker", "the number of the worker, if there are several"),
    Field("message", "the line as `--log-format text` has it"),
)
# The most important ones first: where there is not enough room, the last ones are left out.
MORE: Final = (
    Field("client", "the id of the client that the line is about", 24),
    Field("event", "the event in which it happened, such as `message`", 16),
    Field("status", "the HTTP status with which something was refused, as a number"),
    Field("code", "the close code with which a connection has ended, or an error code of a protocol, as a number"),
    Field("error", "the class of the exception", 40),
    Field("trace_id", "the trace of the event, if it is [traced](traces.md)", 32),
    Field("span_id", "the span of the event", 16),
    Field("address", "the IP address of the client", 45),
    Field("user", "the client's user, if authentication established one", 32),
    Field("path", "the path of the client's request", 48),
)
FIELDS: Final = (*ALWAYS, *MORE)
# These are numbers.
NUMBERS: Final = frozenset(("status", "code"))


def about(client: Any, **more: Any) -> dict[str, Any]:
    """What a line about a client has: the value of `extra=`.

    Lines of one client do not suppress those of others, which `cause` says to `fws.base.log`.
    """
    fields = {"client": client.id, "address": client.address, "path": client.path, "user": client.user}
    return {"cause": client.id, **fields, **more}


def found(record: logging.LogRecord) -> dict[str, str | int]:
    """The fields that a line has got, unless they are empty. Values of other types than expected are left out.

    Libraries use the same names for objects of theirs.
    """
    values: dict[str, str | int] = {}
    for field in MORE:
        value = getattr(record, field.name, None)
        if field.name == "error":
            error = record.exc_info[1] if record.exc_info else value
            value = type(error).__name__ if isinstance(error, BaseException) else None
        wanted = int if field.name in NUMBERS else str
        if isinstance(value, wanted) and value != "" and not isinstance(value, bool):
            values[field.name] = value
    return values


LONGEST: Final = {field.name: field.longest for field in MORE}
