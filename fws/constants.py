"""Numbers of the protocol, and limits with their origins. Defaults that a user may change stand with their option."""

from __future__ import annotations

# Close codes, RFC 6455 7.4.1 and the IANA registry it started.
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
TRY_AGAIN_LATER = 1013

# A message in more frames than this is an attack, not a message: Autobahn's largest honest case
# (9.3, 9.4) has 65,537; `ws` 8.21 chose the same 131,072.
MAX_FRAGMENTS = 131_072
# Empty fragments carry nothing; a row of them only burns the processor.
MAX_EMPTY_FRAGMENTS = 100

# Messages that one message may become, over all lists in lists. Each costs about what a message of its own does: this
# many hold the loop for 15 to 20 ms.
MAX_PARTS = 1000

# Request head. Precedents: websockets 128 headers of 8 KiB, HAProxy 101 headers in 16 KiB,
# Envoy 100 headers in 60 KiB, node 16 KiB.
MAX_HEADERS = 100
MAX_HEAD_LINE = 8 * 1024
MAX_HEAD = 32 * 1024


def valid_close_code(code: int) -> bool:
    """Whether a Close frame may carry this code (RFC 6455 7.4, with the IANA registry up to 1014)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
