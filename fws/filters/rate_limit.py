"""`rate_limit`: a token bucket per client or per address."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fws import Client, Close, Filter, Help, Rate, Reject
from fws.base.addresses import site
from fws.base.buckets import Buckets, TokenBucket
from fws.base.close_codes import POLICY_VIOLATION
from fws.filters._refusal import Refusing, refuse


class RateLimit(Filter):
    """Let only so many events through in a time.

    A bucket holds up to `burst` tokens and fills at `rate`; each event takes one out. On `message` an event without a
    token is dropped, or dropped and answered with `{"error": "…"}`, or closes the connection with 1008, as
    `on_excess` says. On `data` it always closes, as bytes left out would garble the frames behind them. On `connect`,
    of use with by=address, it refuses the client with 429.

    Each client has a bucket of its own, or with by=address all clients of one IP address share one; of IPv6 the
    first 64 bits count, as who has one such address has them all. A stage's buckets are its own, in each process. Of
    addresses at most 100,000 are remembered; past that the one that was silent the longest starts anew.

    Example:
        connect = ["rate_limit 5/min by=address"]
        message = ["rate_limit 20/s burst=40 on_excess=reply", "echo"]
    """

    waits = False

    rate: Annotated[Rate, Help("How fast the bucket fills.")]
    burst: Annotated[int | None, Help("Events at once; without it as many as the rate gives in a second, or 1.")] = None
    by: Annotated[Literal["client", "address"], Help("Who has a bucket.")] = "client"
    on_excess: Annotated[Refusing, Help("What becomes of an event without a token.")] = "drop"

    def __post_init__(self) -> None:
        if self.burst is None:
            self.burst = max(1, math.ceil(self.rate))
        if self.burst < 1:
            raise ValueError("burst: at least 1 event at once, or nothing ever passes")
        self._bucket = TokenBucket(self.rate, self.burst)
        self._addresses = Buckets(self._bucket, self.clock)

    def connect(self, client: Client) -> None:
        wait = self._take(client)
        if wait:
            raise Reject(429, "Too many connections, try again later.", [("Retry-After", str(math.ceil(wait)))])

    def data(self, client: Client, data: bytes) -> None:
        if self._take(client):
            raise Close(POLICY_VIOLATION, "too fast")

    def message(self, client: Client, message: Any) -> Any:
        return refuse(client, self.on_excess, POLICY_VIOLATION, "too fast") if self._take(client) else None

    def _take(self, client: Client) -> float:
        """Take a token; when there is none, the seconds until there will be one."""
        if self.by == "address":
            wait = self._addresses.take(site(client.address))
        else:
            now = self.clock()
            # Under the filter itself as the key, which no placeholder and no condition can name.
            state: dict[Any, Any] = client.state
            full_at = state.get(self, now)
            wait = self._bucket.wait(full_at, now)
            if not wait:
                state[self] = self._bucket.take(full_at, now)
        if wait:
            self.services.metrics.count("events_over_rate")
        return wait
