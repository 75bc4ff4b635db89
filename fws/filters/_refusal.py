"""How filters treat a message that they refuse: the options `on_error`, `on_excess`, `on_failure` and `on_refusal`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fws import DROP, Client, Close, Reject
from fws.base.close_codes import INVALID_DATA, POLICY_VIOLATION, TOO_BIG, TRY_AGAIN_LATER
from fws.pipeline.call import MESSAGE
from fws.pipeline.outcomes import Drop

Refusing = Literal["drop", "reply", "close"]
# Where it is not the message's fault, it may also pass.
OnFailure = Literal["drop", "pass", "reply", "close"]

_CLOSE_CODES = {400: INVALID_DATA, 403: POLICY_VIOLATION, 413: TOO_BIG, 429: POLICY_VIOLATION, 503: TRY_AGAIN_LATER}


def refuse(client: Client | None, how: Refusing, status: int, reason: str, at: str = "") -> Drop:
    """Drop the message, drop it and send `{"error": reason}`, or end the connection.

    A call of a protocol such as `centrifuge` has an answer of its own. It fails with the reason, instead of the message
    being dropped with or without `{"error": reason}`.

    Args:
        client: None on `tick`, where the message is dropped.
        status: the HTTP status that says what is wrong: 400, 403, 413, 429 or 503; any error with `drop`.
        at: the JSON pointer of what is wrong. An answer has it by itself, as `at`.
    """
    if client is None:
        return DROP
    if how == "reply" and client.call is MESSAGE:
        client.send({"error": reason, "at": at} if at else {"error": reason})
        return DROP
    if at:
        reason = f"{at}: {reason}"
    if how == "close":
        if client.call is not MESSAGE:
            client.refuse(Reject(status, reason))  # its protocol has codes of its own
            return DROP
        raise Close(_CLOSE_CODES[status], reason)
    if client.call is not MESSAGE:
        raise Reject(status, reason)
    return DROP


def check_refusing(event: str, options: Mapping[str, Any], name: str = "on_error") -> None:
    """Check that a client can be told what the option says.

    Raises:
        ValueError: the client of this event has not sent the message, or there is none.
    """
    if event != "message" and options.get(name, "drop") != "drop":
        raise ValueError(f"{name}: on {event} there is nobody who could be told, so only {name}=drop is possible")
