"""Token buckets in the storage, which all nodes share."""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

from gevent.event import Event

from fws import Filter, StorageError
from fws.base.breaker import Breaker
from fws.base.buckets import Buckets, TokenBucket
from fws.base.leases import Leases
from fws.pipeline.storage import MAX_KEY

Away = Literal["own", "pass", "refuse"]

# Seconds for which a storage that is away is not asked again.
REST = 2.0


class _Asking:
    """The storage is being asked for a bucket. Others wait for the answer and do not ask.

    Attributes:
        failed: whether there was no answer.
        waiting: the events that wait, at first the one that asks.
    """

    __slots__ = ("done", "failed", "waiting")

    def __init__(self) -> None:
        self.done = Event()
        self.failed = False
        self.waiting = 1


class SharedBuckets:
    """A token bucket for each key, as `Buckets` has them, in the storage of a filter. `take` may block.

    Args:
        owner: the filter.
        bucket: the bucket of each key.
        name: goes before each key in the storage.
        away: what happens while the storage cannot be asked.
    """

    def __init__(self, owner: Filter, bucket: TokenBucket, burst: int, name: str, away: Away) -> None:
        self._owner = owner
        self._rate = bucket.rate
        self._burst = burst
        self._name = name
        self._away = away
        self._leases = Leases(bucket.rate, burst, owner.clock)
        self._own = Buckets(bucket, owner.clock)
        self._breaker = Breaker(1, REST, owner.clock)
        self._asking: dict[str, _Asking] = {}

    def take(self, key: str) -> float:
        """Take a token. Returns 0.0, or without a token the seconds until there may be one."""
        waiting = 1
        while (wait := self._leases.spend(key)) is None:
            asking = self._asking.get(key)
            if asking is None:
                return self._ask(key, waiting)
            asking.waiting += 1
            asking.done.wait()
            if asking.failed:
                return self._alone(key)
            waiting = asking.waiting
            asking.waiting -= 1
        return wait

    def left(self, key: str) -> int:
        """The tokens that this node can spend without asking."""
        return self._leases.left(key)

    def _ask(self, key: str, waiting: int) -> float:
        if not self._breaker.allows():
            return self._alone(key)
        owner, asking = self._owner, _Asking()
        self._asking[key] = asking
        wanted, began = self._leases.wanted(key, waiting), owner.clock()
        try:
            got, wait = owner.storage.take(self._stored(key), wanted, self._rate, self._burst)
        except StorageError as error:
            asking.failed = True
            if error.logged:  # it is away, and the key is not the cause
                self._breaker.failed()
            owner.services.report("rate_limit", error, "")
            return self._alone(key)
        finally:
            del self._asking[key]
            asking.waiting -= 1
            asking.done.set()
        self._breaker.succeeded()
        return self._leases.answered(key, wanted, got, wait, began)

    def _alone(self, key: str) -> float:
        """Decide without the storage."""
        self._owner.services.metrics.count("limits_alone")
        if self._away == "own":
            return self._own.take(key)
        return 0.0 if self._away == "pass" else REST

    def _stored(self, key: str) -> str:
        """The key in the storage, whatever a client has put into it."""
        data = f"{self._name}:{key}".encode("utf-8", "replace")
        return data.decode() if len(data) <= MAX_KEY else sha256(data).hexdigest()
