"""The close codes of RFC 6455 section 7.4.1 and of the IANA registry that it started."""

from __future__ import annotations

from http import HTTPStatus

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
UNSUPPORTED_DATA = 1003
NO_STATUS = 1005  # never on the wire: a Close frame without a code
ABNORMAL = 1006  # never on the wire: TCP ended without a Close frame
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
TRY_AGAIN_LATER = 1013

# After the 101 there is no HTTP status any more. A refusal then has its status plus this number as its close code, so
# 4401 stands for 401.
REFUSED = 4000


def valid_close_code(code: int) -> bool:
    """Whether a Close frame may carry this code (RFC 6455 7.4, with the IANA registry up to 1014)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


# What fws sends, or sees at the end of a connection: registered codes, those of the protocol `centrifuge`, and those of
# refusals.
_OWN = frozenset(
    [*range(1000, 1016), *range(3000, 3015), *range(3500, 3510), *(REFUSED + s for s in HTTPStatus if s >= 400)]
)


def label_of(code: int) -> str:
    """A close code as a metric shows it: those of an application, of which a client can send thousands, as `3xxx` or
    `4xxx`.
    """
    return str(int(code)) if code in _OWN else f"{code // 1000}xxx" if 3000 <= code <= 4999 else "other"
