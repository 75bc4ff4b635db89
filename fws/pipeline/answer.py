"""The answer of a service or a program about an event: a JSON object that says what becomes of it.

    {"message": {"text": "hello"}, "join": "lobby"}

The filters `http` and `exec` share these words. An answer is checked before any of it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fws.base.close_codes import valid_close_code
from fws.base.errors import Close, FwsError, Reject
from fws.base.problem import did_you_mean
from fws.pipeline.interfaces import Client, Hub
from fws.pipeline.outcomes import DROP
from fws.pipeline.publication import check_channel

# The most channels and the most publications that one answer names.
MAX_ITEMS = 100
# RFC 6455 5.5: a control frame has at most 125 bytes, two of which are the code.
MAX_REASON = 123
_UNCHANGED: Final = msgspec.UNSET


class AnswerError(FwsError):
    """An answer that cannot be used. The message says why, and what would be right."""


class Closing(msgspec.Struct, frozen=True):
    """How the connection ends."""

    code: int
    reason: str = ""


class Refusing(msgspec.Struct, frozen=True):
    """How a client or a subscription is refused."""

    status: int
    reason: str = ""


class Publishing(msgspec.Struct, frozen=True):
    """A message for the members of a channel."""

    channel: str
    message: Any


class Answer(msgspec.Struct, frozen=True):
    """What becomes of an event.

    Attributes:
        message: flows on instead of the message; UNSET to leave it unchanged.
        drop: whether the pipeline ends.
        reply: messages that the client gets.
        close: ends the connection.
        join, leave: channels that the client becomes a member of, or ceases to be.
        publish: messages for channels.
        identity: who the client is from now on; None to leave it unchanged.
        reject: refuses a client on `connect`, and a subscription on `subscribe`. On `message` it is an error for a
            client that makes a call in a protocol, and drops the message of others.
    """

    message: Any = _UNCHANGED
    drop: bool = False
    reply: tuple[Any, ...] = ()
    close: Closing | None = None
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    publish: tuple[Publishing, ...] = ()
    identity: dict[str, Any] | None = None
    reject: Refusing | None = None

    def publish_all(self, hub: Hub, sender: str | None = None) -> None:
        """Publish its messages."""
        for one in self.publish:
            hub.publish(one.channel, one.message, sender=sender)

    def act(self, client: Client, hub: Hub) -> None:
        """Do everything that does not decide about the event: join, leave, publish, reply, in this order.

        Raises:
            Reject: a channel cannot be joined, such as by a client with too many.
        """
        if self.identity is not None:
            client.identity = self.identity
        for channel in self.join:
            client.join(channel)
        for channel in self.leave:
            client.leave(channel)
        self.publish_all(hub, client.id)
        for message in self.reply:
            client.send(message)

    def outcome(self) -> Any:
        """What a hook returns for it: the message that flows on, None, or `DROP`.

        Raises:
            Close, Reject: as the answer says.
        """
        if self.reject is not None:
            raise Reject(self.reject.status, self.reject.reason)
        if self.close is not None:
            raise Close(self.close.code, self.close.reason)
        if self.drop:
            return DROP
        return None if self.message is _UNCHANGED else self.message


KEYS: Final = Answer.__struct_fields__


def read_answer(value: Any, allowed: tuple[str, ...] = KEYS) -> Answer:
    """Check an answer.

    Args:
        value: decoded JSON of a stranger.
        allowed: the keys that make sense for the event.

    Raises:
        AnswerError: it is not an object, has another key, or a value that cannot be used.
    """
    if not isinstance(value, dict):
        raise AnswerError("an answer is a JSON object")
    fields: dict[str, Any] = {}
    for key, given in value.items():
        if key not in allowed:
            known = did_you_mean(str(key)[:50], allowed)
            raise AnswerError(f"an answer has no {str(key)[:50]!r} here" + (f": {known}" if known else ""))
        fields[key] = _READERS[key](given)
    return Answer(**fields)


def _drop(value: Any) -> bool:
    if not isinstance(value, bool):
        raise AnswerError("drop is true or false")
    return value


def _message(value: Any) -> Any:
    if value is None:
        raise AnswerError("null cannot flow on as a message: write drop = true, or leave message out")
    return value


def _replies(value: Any) -> tuple[Any, ...]:
    if value is None:
        raise AnswerError("reply is the message that the client gets, and not null")
    return (value,)


def _closing(value: Any) -> Closing:
    given = {"code": value} if type(value) is int else value
    if value is True:
        given = {"code": 1000}
    code, reason = _pair(given, "close", "code")
    if not valid_close_code(code):
        raise AnswerError(f"close: the code {code} may not be sent: use 1000-1003, 1007-1014 or 3000-4999")
    return Closing(code, reason)


def _refusing(value: Any) -> Refusing:
    given = {"status": value} if type(value) is int else value
    status, reason = _pair(given, "reject", "status")
    if not 400 <= status <= 599:
        raise AnswerError("reject: the status is between 400 and 599")
    return Refusing(status, reason)


def _pair(value: Any, key: str, number: str) -> tuple[int, str]:
    """A number and a reason, as in {"code": 1008, "reason": "too fast"}."""
    form = f'{key} is a number, or an object such as {{"{number}": …, "reason": "…"}}'
    if not isinstance(value, Mapping) or not value.keys() <= {number, "reason"}:
        raise AnswerError(form)
    found, reason = value.get(number), value.get("reason", "")
    if type(found) is not int or not isinstance(reason, str):
        raise AnswerError(form)
    if len(reason.encode("utf-8", "replace")) > MAX_REASON or not reason.isprintable():
        raise AnswerError(f"{key}: the reason has at most {MAX_REASON} bytes and no control characters")
    return found, reason


def _channels(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or len(names) > MAX_ITEMS:
        raise AnswerError(f"join and leave are a channel, or a list of at most {MAX_ITEMS}")
    return tuple(_channel(name) for name in names)


def _channel(name: Any) -> str:
    if not isinstance(name, str):
        raise AnswerError("a channel is a text")
    try:
        check_channel(name)
    except ValueError as error:
        raise AnswerError(str(error)) from None
    return name


def _publications(value: Any) -> tuple[Publishing, ...]:
    listed = [value] if isinstance(value, dict) else value
    form = 'publish is {"channel": "…", "message": …}, or a list of them'
    if not isinstance(listed, list) or len(listed) > MAX_ITEMS:
        raise AnswerError(f"{form}, at most {MAX_ITEMS}")
    found = []
    for one in listed:
        if not isinstance(one, dict) or one.keys() != {"channel", "message"} or one["message"] is None:
            raise AnswerError(form)
        found.append(Publishing(_channel(one["channel"]), one["message"]))
    return tuple(found)


def _identity(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError('identity is an object, such as {"user": "ann"}')
    return value


_READERS: Final = {
    "message": _message,
    "drop": _drop,
    "reply": _replies,
    "close": _closing,
    "join": _channels,
    "leave": _channels,
    "publish": _publications,
    "identity": _identity,
    "reject": _refusing,
}
