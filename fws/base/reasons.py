"""Why clients are refused, in a bounded set of words: the label `reason` of `fws_refused_total`."""

from __future__ import annotations

from typing import Final

from fws.base.errors import Refusal, Reject

FILTER = "filter"
OTHER = "other"

# Words that code of fws gives as the cause of a refusal. Other causes are those of users' filters.
# fmt: off
_CAUSES: Final = frozenset((
    # Before the `connect` pipeline.
    "full", "draining", "timeout", "origin", "path", "transport", "handshake", "api",
    "address_clients_over_limit", "address_connections_over_rate", "user_clients_over_limit", "failed_logins_over_rate",
    # Tokens and other credentials, as `logins_refused` counts them.
    "missing", "too_long", "malformed", "signature", "key", "algorithm", "critical", "claims", "expired", "not_yet",
    "audience", "issuer", "used", "unavailable", "paused", "busy", "invalid", "denied", "banned", "other_channel",
    "other_user", "other_client", "unknown", "late",
    # A filter has raised an exception.
    "fault",
))
# fmt: on
# What the status alone says about a request.
_BY_STATUS: Final = {404: "path", 408: "timeout"} | dict.fromkeys(
    (400, 405, 411, 413, 414, 415, 417, 426, 431, 501, 505), "request"
)
REASONS: Final = _CAUSES | {FILTER, OTHER, *_BY_STATUS.values()}


def reason_of(refusal: Refusal) -> str:
    """One of `REASONS`."""
    if refusal.cause in _CAUSES:
        return refusal.cause
    return FILTER if isinstance(refusal, Reject) else _BY_STATUS.get(refusal.status, OTHER)
