"""What a service is asked about an event, and what its response says."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import msgspec

from fws import Client
from fws.http.error import HttpError
from fws.pipeline.answer import Answer, AnswerError, Refusing, read_answer
from fws.pipeline.call import MESSAGE

# The keys of an answer that make sense for each event.
_ALLOWED: Final = {
    "connect": ("identity", "reject", "join", "publish", "reply"),
    "subscribe": ("identity", "reject", "join", "leave", "publish", "reply"),
    "message": ("message", "drop", "reject", "close", "join", "leave", "publish", "reply"),
    "tick": ("message", "drop", "publish"),
}


def question(event: str, client: Client | None, message: Any, channel: str | None) -> dict[str, Any]:
    """An event as a JSON object. The service that reads it must not trust what comes from the client.

    Args:
        client, channel: None on events that have none.
        message: a binary one becomes Base64 in `b64data`.
    """
    asked: dict[str, Any] = {"event": event, "client": None, "identity": None, "channel": channel}
    if client is not None:
        asked |= {"client": client.id, "address": client.address, "path": client.path, "identity": client.identity}
        call = client.call
        if call is not MESSAGE:
            asked["call"] = {"kind": call.kind, "channel": call.channel or None, "method": call.method or None}
    if isinstance(message, bytes | bytearray | memoryview):
        return asked | {"message": None, "b64data": b64encode(message).decode()}
    return asked | {"message": message}


def read_response(event: str, status: int, body: bytes) -> Answer:
    """What a response to a question says.

    Raises:
        HttpError: nothing that can be done. Its cause is `invalid` if the body is the reason.
    """
    if status in (401, 403) and event != "tick":
        return Answer(reject=Refusing(status))
    if status == 204 or (status == 200 and not body.strip()):
        return Answer()
    if status != 200:
        raise HttpError(f"status {status}")
    try:
        return read_answer(msgspec.json.decode(body), _ALLOWED[event])
    except (ValueError, RecursionError):
        raise HttpError("the answer is not JSON", "invalid") from None
    except AnswerError as error:
        raise HttpError(str(error), "invalid") from None
