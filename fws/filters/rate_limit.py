"""`rate_limit`: limit the rate of events with token buckets."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fws import Client, Close, Filter, Help, Rate, Reject
from fws.base.addresses import site
from fws.base.buckets import Buckets, TokenBucket
from fws.base.close_codes import POLICY_VIOLATION
from fws.filters._refusal import Refusing, refuse

# Reloads after which a silent client's bucket is still known.
MAX_FORMER = 8


class RateLimit(Filter):
    """Limit the rate of events.

    A token bucket has up to `burst` tokens and gains tokens at `rate`. Each event takes one. On `message`, an event
    without a token is dropped, or dropped and answered with `{"error": "…"}`, or it closes the connection with 1008,
    depending on `on_excess`. On `data` it always closes the connection, because missing bytes would corrupt the
    following frames. A client that makes a call, in a protocol such as `centrifuge`, gets an error instead of a dropped
    message or an answer. On `connect`, which is useful with by=address, it refuses the client with 429, and on
    `subscribe` the subscription.

    Each client has a bucket of its own. With by=address, all clients of one IP address share a bucket. The first 64
    bits of an IPv6 address count, because they belong to one customer. Each stage has its own buckets, in each process.
    At most 100,000 addresses are remembered. Beyond that, the address that was silent for the longest time begins with
    a full bucket.

    Example:
        connect = ["rate_limit 5/min by=address"]
        message = ["rate_limit 20/s burst=40 on_excess=reply", "echo"]
    """

    waits = False

    rate: Annotated[Rate, Help("Rate at which the bucket gains tokens.")]
    burst: Annotated[
        int | None, Help("Events that may occur at once; the default is the rate per second, but at least 1.")
    ] = None
    by: Annotated[Literal["client", "address"], Help("Whether each client or each address has a bucket.")] = "client"
    on_excess: Annotated[Refusing, Help("How to treat an event without a token.")] = "drop"

    def __post_init__(self) -> None:
        if self.burst is None:
            self.burst = max(1, math.ceil(self.rate))
        if self.burst < 1:
            raise ValueError("burst: at least 1 is needed, or no event passes")
        self._bucket = TokenBucket(self.rate, self.burst)
        self._addresses = Buckets(self._bucket, self.clock)
        # Filters whose buckets are taken over, with the rates of these.
        self._former: tuple[tuple[RateLimit, float], ...] = ()

    def adopt(self, old: RateLimit) -> None:
        """Take over the buckets of a stage whose options were changed, so that a reload gives nobody a second burst.

        A bucket keeps the number of tokens that it lacks.
        """
        self._former = ((old, old._bucket.rate), *old._former)[:MAX_FORMER]
        old._former = ()
        self._addresses.adopt(old._addresses)

    def connect(self, client: Client) -> None:
        wait = self._take(client)
        if wait:
            raise Reject(429, "Too many connections, try again later.", [("Retry-After", str(math.ceil(wait)))])

    def subscribe(self, client: Client, channel: str) -> None:
        if self._take(client):
            raise Reject(429, "Too many subscriptions, try again later.")

    def data(self, client: Client, data: bytes) -> None:
        if self._take(client):
            raise Close(POLICY_VIOLATION, "too fast")

    def message(self, client: Client, message: Any) -> Any:
        return refuse(client, self.on_excess, 429, "too fast") if self._take(client) else None

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        if self.by == "address":
            wait = self._addresses.wait(site(client.address))
            return f"the next one in {wait:.2g} s" if wait else "more may come"
        now = self.clock()
        left = self._bucket.left(client.state.get(self, now), now)
        return f"{left} left" if left else "none left"

    def _inherited(self, state: dict[Any, Any], now: float) -> float:
        """When the bucket will be full that a client has of a filter that was adopted; now if it has none."""
        for old, rate in self._former:
            if old in state:
                full_at: float = now + max(state.pop(old) - now, 0.0) * rate / self._bucket.rate
                return full_at
        return now

    def _take(self, client: Client) -> float:
        """Take a token. Returns 0.0, or without a token the seconds until there will be one."""
        if self.by == "address":
            wait = self._addresses.take(site(client.address))
        else:
            now = self.clock()
            state: dict[Any, Any] = client.state
            # The filter itself is the key, which no placeholder and no condition can name.
            full_at = state.get(self)
            if full_at is None:
                full_at = self._inherited(state, now)
            wait = self._bucket.wait(full_at, now)
            if not wait:
                state[self] = self._bucket.take(full_at, now)
        if wait:
            self.services.metrics.count("events_over_rate")
        return wait
