"""Where a client brings its token, and what it is refused for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fws.base.errors import FwsError

if TYPE_CHECKING:
    from fws.wire.request import Request

Place = Literal["header", "cookie", "subprotocol", "message", "query"]
# A line of the request head has no room for more.
MAX_TOKEN = 8 * 1024

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)  # RFC 6750 2.1
_SCHEME = re.compile(r"bearer( |$)", re.IGNORECASE)
_VISIBLE = re.compile(r"[!-~]+")


class Denied(FwsError):
    """A client that is not let in.

    Args:
        cause: one word for it, as the counters have it: `missing`, `expired`.
        text: one sentence for the client; nothing of the token.
        status: the HTTP status; 503 when nobody can say who the client is.
    """

    def __init__(self, cause: str, text: str, status: int = 401) -> None:
        super().__init__(f"{cause}: {text}")
        self.cause = cause
        self.text = text
        self.status = status


def unavailable(cause: str = "unavailable") -> Denied:
    """Nobody can tell who the client is: access fails closed."""
    return Denied(cause, "The server cannot tell who you are.", 503)


def find(request: Request, places: Sequence[Place], cookie: str, parameter: str) -> str | None:
    """The token of an upgrade request, from the first of the places that has one; None when none has.

    Args:
        cookie, parameter: names of the cookie and of the field of the query.

    Raises:
        Denied: what stands there is no token.
    """
    for place in places:
        if place == "header":
            token = _bearer(request.headers.get("authorization", ""))
        elif place == "cookie":
            token = request.cookies.get(cookie)
        elif place == "subprotocol":
            token = request.offered_token
        elif place == "query":
            token = request.query.get(parameter)
        else:
            continue
        if token is not None:
            return checked(token)
    return None


def _bearer(header: str) -> str | None:
    if not _SCHEME.match(header):
        return None  # another scheme is somebody else's
    match = _BEARER.fullmatch(header)
    return match[1] if match else ""


def checked(token: str) -> str:
    """The token itself. Raises Denied for what cannot be one: it is empty, too long, or has blanks or no ASCII."""
    if len(token) > MAX_TOKEN:
        raise Denied("too_long", "The token is too long.")
    if not _VISIBLE.fullmatch(token):
        raise Denied("malformed", "This is not a token.")
    return token


def of_message(message: Any) -> str:
    """The token that a first message is, or brings: its text, or `{"token": TOKEN}`. Raises Denied."""
    if isinstance(message, str):
        return checked(message if message[:1] != "{" else fresh(message) or "")
    raise Denied("malformed", "This is not a token.")


def fresh(message: Any) -> str | None:
    """The token of a message that is `{"token": TOKEN}` and nothing else; None for any other message."""
    if not isinstance(message, str) or message[:1] != "{" or len(message) > MAX_TOKEN + 100:
        return None
    try:
        return _decode(message).token
    except (ValueError, RecursionError):
        return None


class _Fresh(msgspec.Struct, forbid_unknown_fields=True):
    token: str


_decode = msgspec.json.Decoder(_Fresh).decode


def fingerprint(token: str) -> str:
    """What names a token and is no secret: 32 hexadecimal digits of its SHA-256."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()[:32]
