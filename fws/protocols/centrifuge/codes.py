"""The codes of errors, disconnections and ended subscriptions, as Centrifugo documents them.

SDKs decide by a code whether they try again: with an error if it is temporary; with a disconnection unless its code is
3500 to 3999 or 4500 to 4999; with an ended subscription if its code is 2500 or more.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fws.base.close_codes import (
    ABNORMAL,
    GOING_AWAY,
    INTERNAL_ERROR,
    INVALID_DATA,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    REFUSED,
    SERVICE_RESTART,
    TOO_BIG,
    TRY_AGAIN_LATER,
    UNSUPPORTED_DATA,
)
from fws.base.errors import Refusal


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a command has failed."""

    code: int
    message: str
    temporary: bool = False


INTERNAL: Final = Error(100, "internal server error", temporary=True)
UNAUTHORIZED: Final = Error(101, "unauthorized")
PERMISSION_DENIED: Final = Error(103, "permission denied")
METHOD_NOT_FOUND: Final = Error(104, "method not found")
ALREADY_SUBSCRIBED: Final = Error(105, "already subscribed")
BAD_REQUEST: Final = Error(107, "bad request")
NOT_AVAILABLE: Final = Error(108, "not available")
TOKEN_EXPIRED: Final = Error(109, "token expired")
TOO_MANY_REQUESTS: Final = Error(111, "too many requests", temporary=True)
UNRECOVERABLE: Final = Error(112, "unrecoverable position")

_BY_STATUS: Final = {
    400: BAD_REQUEST,
    401: UNAUTHORIZED,
    403: PERMISSION_DENIED,
    404: METHOD_NOT_FOUND,
    408: TOO_MANY_REQUESTS,
    413: BAD_REQUEST,
    422: BAD_REQUEST,
    429: TOO_MANY_REQUESTS,
}


def error_of(refusal: Refusal) -> Error:
    """The error for a refusal, with its reason.

    For a token that is accepted a single time and has been used, SDKs ask for a new one if it counts as expired.
    """
    if refusal.cause in ("expired", "used"):
        return TOKEN_EXPIRED
    kind = _BY_STATUS.get(refusal.status, INTERNAL if refusal.status >= 500 else PERMISSION_DENIED)
    return Error(kind.code, refusal.reason, kind.temporary)


class Disconnect(msgspec.Struct, frozen=True):
    """Why a connection ends."""

    code: int
    reason: str


SHUTDOWN: Final = Disconnect(3001, "shutdown")
SERVER_ERROR: Final = Disconnect(3004, "internal server error")
EXPIRED: Final = Disconnect(3005, "connection expired")
SLOW: Final = Disconnect(3008, "slow")
INSUFFICIENT_STATE: Final = Disconnect(3010, "insufficient state")
NO_PONG: Final = Disconnect(3012, "no pong")
TOO_FAST: Final = Disconnect(3013, "too many requests")
INVALID_TOKEN: Final = Disconnect(3500, "invalid token")
MALFORMED: Final = Disconnect(3501, "bad request")
STALE: Final = Disconnect(3502, "stale")
FORCED: Final = Disconnect(3503, "force disconnect")
NOT_JSON: Final = Disconnect(3506, "inappropriate protocol")
FORBIDDEN: Final = Disconnect(3507, "permission denied")

# What fws's own close codes become. 4401 and 4403 are those of filters that end an access: `ban`, and revoked tokens.
_BY_CLOSE_CODE: Final = {
    GOING_AWAY: SHUTDOWN,
    SERVICE_RESTART: SHUTDOWN,
    ABNORMAL: NO_PONG,
    INTERNAL_ERROR: SERVER_ERROR,
    TRY_AGAIN_LATER: SLOW,
    POLICY_VIOLATION: FORCED,
    TOO_BIG: MALFORMED,
    PROTOCOL_ERROR: MALFORMED,
    UNSUPPORTED_DATA: MALFORMED,
    INVALID_DATA: MALFORMED,
    REFUSED + 401: INVALID_TOKEN,
    REFUSED + 403: FORBIDDEN,
}
_BY_ERROR: Final = {
    INTERNAL.code: SERVER_ERROR,
    UNAUTHORIZED.code: INVALID_TOKEN,
    BAD_REQUEST.code: MALFORMED,
    TOKEN_EXPIRED.code: EXPIRED,
    TOO_MANY_REQUESTS.code: TOO_FAST,
}


def disconnect_of(code: int, reason: str) -> tuple[int, str]:
    """The code and reason of a disconnection for a close code. Other codes of an application, from 3000 on, stay."""
    known = _BY_CLOSE_CODE.get(code)
    return (code, reason) if known is None else (known.code, reason or known.reason)


def end_of(refusal: Refusal) -> tuple[int, str]:
    """The code and reason of a disconnection for a client that may not stay."""
    error = error_of(refusal)
    end = _BY_ERROR.get(error.code, FORBIDDEN)
    return end.code, end.reason if error is TOKEN_EXPIRED else refusal.reason


class Unsubscribe(msgspec.Struct, frozen=True):
    """Why a subscription ends."""

    code: int
    reason: str


BY_SERVER: Final = Unsubscribe(2000, "server unsubscribe")
INSUFFICIENT: Final = Unsubscribe(2500, "insufficient state")
SUBSCRIPTION_EXPIRED: Final = Unsubscribe(2501, "subscription expired")
