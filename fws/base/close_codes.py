"""The close codes of RFC 6455 section 7.4.1 and of the IANA registry that it started."""

from __future__ import annotations

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
