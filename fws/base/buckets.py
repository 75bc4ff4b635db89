"""Token buckets: how often something may happen, with a burst."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import msgspec

# Keys that are remembered at most. An attacker with more addresses than this cannot be limited by address.
MAX_KEYS = 100_000
# Sums of floating-point seconds are not exact to the last digit.
_SLACK = 1e-9


class TokenBucket(msgspec.Struct, frozen=True):
    """A bucket that holds `burst` tokens and gains `rate` tokens per second.

    The state of a bucket is one number, which the caller keeps: the time at which the bucket will be full again
    (GCRA, ITU-T I.371). A time in the past stands for a full bucket.
    """

    rate: float
    burst: float

    def wait(self, full_at: float, now: float) -> float:
        """Seconds until the bucket has a token; 0.0 if it has one."""
        wait = max(full_at, now) + (1 - self.burst) / self.rate - now
        return wait if wait > _SLACK else 0.0

    def left(self, full_at: float, now: float) -> int:
        """The whole tokens in the bucket."""
        return int(self.burst - max(full_at - now, 0.0) * self.rate + _SLACK * self.rate)

    def take(self, full_at: float, now: float, tokens: int = 1) -> float:
        """The bucket's new state after tokens were taken."""
        return max(full_at, now) + tokens / self.rate


class Buckets:
    """A token bucket for each key, such as an address.

    At most `MAX_KEYS` keys are remembered. If there are more, the key that was silent for the longest time is
    forgotten, and begins again with a full bucket.

    Args:
        bucket: the bucket of each key. It may be replaced.
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_full_at", "bucket")

    def __init__(self, bucket: TokenBucket, clock: Callable[[], float]) -> None:
        self.bucket = bucket
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def adopt(self, other: Buckets) -> None:
        """Continue with the keys of other buckets, which are not used any more. Each lacks as many tokens as before."""
        now, factor = self._clock(), other.bucket.rate / self.bucket.rate
        for key, full_at in other._full_at.items():
            if full_at > now:
                self._full_at[key] = now + (full_at - now) * factor

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str) -> float:
        """Take a token. Returns 0.0, or without a token the seconds until there will be one."""
        now = self._clock()
        full_at = self._full_at.get(key, now)
        wait = self.bucket.wait(full_at, now)
        if not wait:
            self._full_at[key] = self.bucket.take(full_at, now)
            self._full_at.move_to_end(key)
            self._forget(now)
        return wait

    def wait(self, key: str) -> float:
        """Seconds until there is a token; 0.0 if there is one. Takes none."""
        now = self._clock()
        return self.bucket.wait(self._full_at.get(key, now), now)

    def _forget(self, now: float) -> None:
        """Drop two keys that need not be remembered. Each call adds one, so that no call is an expensive one."""
        for _ in range(2):
            full_at = next(iter(self._full_at.values()), math.inf)
            if full_at > now and len(self._full_at) <= MAX_KEYS:
                return
            self._full_at.popitem(last=False)
