"""`rate_limit`: limit the rate of events with token buckets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fws import Client, Close, Filter, Help, Rate, Reject
from fws.base.addresses import site
from fws.base.buckets import Buckets, TokenBucket
from fws.base.close_codes import POLICY_VIOLATION
from fws.filters._key import Key
from fws.filters._refusal import Refusing, refuse
from fws.filters._shared import Away, SharedBuckets

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
    bits of an IPv6 address count, because they belong to one customer. With by=user, all clients of a user share one,
    and with by=channel, all who use the channel of a subscription or call. Any other value is named as in conditions:
    by=message.room, by=identity.team. Several names have a bucket for each combination, as in by=client,message.room,
    and by=all has one for everything. An event without this value, or with an empty one, counts by its client's
    address. A value that clients choose freely limits none of them, because each new value begins with a full bucket.

    Each stage has its own buckets, in each process. At most 100,000 addresses, users or other values are remembered.
    Beyond that, the one that was silent for the longest time begins with a full bucket.

    With store=shared, the buckets are in the storage, so that with Redis all nodes share them. Stages with the same
    `key`, `by`, `rate` and `burst` share their buckets, and a changed one of these begins with full buckets. A node
    takes some tokens in advance, at most a tenth of `burst`, and spends them within a second without asking again;
    unspent ones are lost. So in any time, all nodes together let at most as many events pass as one bucket would in one
    second more. While Redis is away, `away` decides: each node limits with buckets of its own, every event passes, or
    every event is refused. Redis is asked again after 2 seconds.

    Example:
        connect = ["rate_limit 5/min by=address", "token"]
        message = [
          "rate_limit 20/s burst=40 on_excess=reply",
          "rate_limit 200/s by=user store=shared",
          "echo",
        ]
    """

    rate: Annotated[Rate, Help("Rate at which the bucket gains tokens.")]
    burst: Annotated[
        int | None, Help("Events that may occur at once; the default is the rate per second, but at least 1.")
    ] = None
    by: Annotated[
        Key,
        Help(
            "Who has a bucket: each client, address, user or channel, each value of a name such as message.room, or "
            "all for everything together. Several with commas: client,message.room."
        ),
    ] = Key.parse("client")
    on_excess: Annotated[Refusing, Help("How to treat an event without a token.")] = "drop"
    store: Annotated[
        Literal["own", "shared"], Help("Whether each process has buckets of its own, or all nodes share them.")
    ] = "own"
    away: Annotated[
        Away,
        Help(
            "What happens to events while the storage of shared buckets cannot be asked: own for buckets of each "
            "process, pass, or refuse."
        ),
    ] = "own"
    key: Annotated[str, Help("Goes before the names of shared buckets in the storage.")] = "limit"

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        if (by := options.get("by")) is not None:
            by.check_event(event)

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Whether the storage is asked."""
        return self.store == "shared"

    def __post_init__(self) -> None:
        if self.burst is None:
            self.burst = max(1, math.ceil(self.rate))
        if self.burst < 1:
            raise ValueError("burst: at least 1 is needed, or no event passes")
        self._bucket = TokenBucket(self.rate, self.burst)
        self._each_client = str(self.by) == "client"
        self._each_address = str(self.by) == "address"
        self._buckets: Buckets | SharedBuckets = Buckets(self._bucket, self.clock)
        if self.store == "shared":
            if self._each_client:
                raise ValueError("store=shared needs by=address, user, channel or a value: a client is on one node")
            name = f"{self.key}:{self.by}:{self.rate:g}:{self.burst}"
            self._buckets = SharedBuckets(self, self._bucket, self.burst, name, self.away)
        elif self.away != "own" or self.key != "limit":
            raise ValueError("away and key are for store=shared")
        # Filters whose buckets are taken over, with the rates of these.
        self._former: tuple[tuple[RateLimit, float], ...] = ()

    def adopt(self, old: RateLimit) -> None:
        """Take over the buckets of a stage whose options were changed, so that a reload gives nobody a second burst.

        A bucket keeps the number of tokens that it lacks. Shared buckets are in the storage.
        """
        self._former = ((old, old._bucket.rate), *old._former)[:MAX_FORMER]
        old._former = ()
        if self.by == old.by and isinstance(self._buckets, Buckets) and isinstance(old._buckets, Buckets):
            self._buckets.adopt(old._buckets)

    def connect(self, client: Client) -> None:
        wait = self._take(client)
        if wait:
            raise Reject(429, "Too many connections, try again later.", [("Retry-After", str(math.ceil(wait)))])

    def subscribe(self, client: Client, channel: str) -> None:
        if self._take(client, None, channel):
            raise Reject(429, "Too many subscriptions, try again later.")

    def data(self, client: Client, data: bytes) -> None:
        if self._take(client):
            raise Close(POLICY_VIOLATION, "too fast")

    def message(self, client: Client, message: Any) -> Any:
        return refuse(client, self.on_excess, 429, "too fast") if self._take(client, message) else None

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        if not self._each_client:
            key = self._key(client, message, channel)
            if isinstance(self._buckets, SharedBuckets):
                return f"{self._buckets.left(key)} left of those taken in advance"
            wait = self._buckets.wait(key)
            return f"the next one in {wait:.2g} s" if wait else "more may come"
        now = self.clock()
        left = self._bucket.left(client.state.get(self, now), now)
        return f"{left} left" if left else "none left"

    def _key(self, client: Client, message: Any, channel: str | None) -> str:
        key = self.by.of(client, message, channel)
        # No value begins like this. A channel with the name of an address must not take the tokens of that address.
        return f"address={site(client.address)}" if key is None else key

    def _inherited(self, state: dict[Any, Any], now: float) -> float:
        """When the bucket will be full that a client has of a filter that was adopted; now if it has none."""
        for old, rate in self._former:
            if old in state:
                full_at: float = now + max(state.pop(old) - now, 0.0) * rate / self._bucket.rate
                return full_at
        return now

    def _take(self, client: Client, message: Any = None, channel: str | None = None) -> float:
        """Take a token. Returns 0.0, or without a token the seconds until there will be one."""
        if not self._each_client:
            # The address is looked up here, because calls are what a limit by address costs.
            key = site(client.address) if self._each_address else self._key(client, message, channel)
            wait = self._buckets.take(key)
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
