"""Where a client sends its token, and the reasons for which it is refused."""

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
# A header line of a request cannot be longer.
MAX_TOKEN = 8 * 1024

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)  # RFC 6750 2.1
_SCHEME = re.compile(r"bearer( |$)", re.IGNORECASE)
_VISIBLE = re.compile(r"[!-~]+")


class Denied(FwsError):
    """A client is refused.

    Args:
        cause: one word for the counters, such as `missing` or `expired`.
        text: one sentence for the client. It does not quote the token.
        status: the HTTP status; 503 if the client's identity cannot be determined now.
    """

    def __init__(self, cause: str, text: str, status: int = 401) -> None:
        super().__init__(f"{cause}: {text}")
        self.cause = cause
        self.text = text
        self.status = status


def unavailable(cause: str = "unavailable") -> Denied:
    """The client's identity cannot be determined now. Access fails closed."""
    return Denied(cause, "The server cannot tell who you are.", 503)


def find(request: Request, places: Sequence[Place], cookie: str, parameter: str) -> str | None:
    """The token of an upgrade request, from the first of the places that has one; None if none has.

    Args:
        cookie, parameter: the names of the cookie and of the field in the query.

    Raises:
        Denied: the first place that is not empty does not hold a token.
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
        return None  # another scheme is not meant for this filter
    match = _BEARER.fullmatch(header)
    return match[1] if match else ""


def checked(token: str) -> str:
    """The token itself. Raises Denied if it is empty, is too long, or contains spaces or other than ASCII."""
    if len(token) > MAX_TOKEN:
        raise Denied("too_long", "The token is too long.")
    if not _VISIBLE.fullmatch(token):
        raise Denied("malformed", "This is not a token.")
    return token


def of_message(message: Any) -> str:
    """The token in a first message, which is TOKEN or `{"token": TOKEN}`. Raises Denied."""
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
    """Identifies a token without revealing it: 32 hexadecimal digits of its SHA-256."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()[:32]
