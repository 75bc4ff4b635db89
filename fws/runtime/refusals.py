"""Refusals of clients: each is counted, and each reason is logged."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fws.base.errors import Refusal
from fws.base.metrics import Metrics
from fws.base.novelty import Novelty
from fws.base.reasons import reason_of
from fws.base.trace import TraceContext, fields, mark_of

logger = logging.getLogger("fws.http")

# The request stands last in a line, because the log cuts its lines and a client decides how long its request is.
MAX_REQUEST = 200


class Refusals:
    """Records refusals, before and after the 101.

    Whoever sees a refusal in a browser finds its reason in the log. A reason has one line in a minute, so that a
    flood of refused clients does not become a flood of lines; the level `debug` shows all of them. Clients can make
    many reasons, because advice may quote them. Each status therefore has its own, bounded number of reasons, apart for
    those with advice, so that made-up origins hide no other refusal.

    Args:
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_metrics", "_novelty")

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._novelty: dict[tuple[int, bool], Novelty] = {}

    def record(self, refusal: Refusal, address: str, request: str = "", client: str = "") -> None:
        """Count a refusal and log it: as a warning if an operator can do something about it.

        Args:
            address: the client's; empty at a UNIX socket.
            request: what was refused, such as `GET /chat HTTP/1.1`; empty if that is not known.
            client: the id of the client; empty if the request has not become one.
        """
        self._metrics.count("refused", label=refusal.status, reason=reason_of(refusal))
        reason = refusal.advice or refusal.reason
        self.log(refusal.status, reason, address, request, client, warns=bool(refusal.advice), trace=mark_of(refusal))

    def log(
        self,
        status: int,
        reason: str,
        address: str,
        request: str = "",
        client: str = "",
        *,
        warns: bool = False,
        trace: TraceContext | None = None,
    ) -> None:
        """Log why something was refused, without counting it.

        Args:
            warns: whether an operator can do something about it.
            trace: the event in which it was refused, if that was traced.
        """
        level = logging.WARNING if warns else logging.INFO
        kind = status, warns
        if kind not in self._novelty:
            self._novelty[kind] = Novelty(self._clock)
        if not self._novelty[kind].is_new(reason):
            level = logging.DEBUG
        asked = f" ({request[:MAX_REQUEST]})" if request else ""
        extra = {"client": client, "address": address, "status": status, **fields(trace)}
        if level == logging.DEBUG:
            extra["cause"] = client
        logger.log(level, "refused %s: %d %s%s", address or "a client", status, reason, asked, extra=extra)
