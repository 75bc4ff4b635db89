"""Leases: tokens of a bucket that all nodes share, which one node has taken in advance and spends by itself."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from fws.base.buckets import MAX_KEYS

# Seconds after which the unspent tokens of a lease are forgotten.
LEASE = 1.0
# A lease has at most this part of the bucket's tokens, so that a node does not use up what others need.
PART = 10
# Seconds after which a bucket that was found empty is asked again. It has gained several tokens by then.
PAUSE = 0.05


class _Lease:
    """The tokens of one bucket that are left, and until when they may be spent.

    Attributes:
        asked, got: how many were asked for, and how many there were.
        ask_at: when the bucket may be asked again.
    """

    __slots__ = ("ask_at", "asked", "got", "tokens", "until")

    def __init__(self, asked: int, got: int, until: float, ask_at: float) -> None:
        self.asked = asked
        self.got = got
        self.tokens = got
        self.until = until
        self.ask_at = ask_at


class Leases:
    """What a node knows about shared buckets, by key.

    A lease is as large as the node's demand: it is doubled when it is spent within its time, and otherwise as large as
    what was spent of the last one. It has at most a tenth of the bucket.

    The guarantee: a bucket gives at most `burst + rate * span` tokens in any span of time, and each is spent within
    `LEASE` seconds. So in any span all nodes together spend at most `burst + rate * (span + LEASE)`.

    At most `MAX_KEYS` keys are remembered. If there are more, the tokens of the key that was asked for the longest time
    ago are forgotten.

    Args:
        rate, burst: of each bucket.
        clock: monotonic seconds.
    """

    __slots__ = ("_burst", "_clock", "_leases", "_most", "_pause")

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._most = max(1, burst // PART)
        self._pause = min(PAUSE, self._most / rate)
        self._clock = clock
        self._leases: OrderedDict[str, _Lease] = OrderedDict()

    def __len__(self) -> int:
        return len(self._leases)

    def spend(self, key: str) -> float | None:
        """Spend a token. Returns 0.0, or the seconds until there may be one; None if the bucket must be asked."""
        lease = self._leases.get(key)
        if lease is None:
            return None
        now = self._clock()
        if lease.tokens and now < lease.until:
            lease.tokens -= 1
            return 0.0
        return lease.ask_at - now if now < lease.ask_at else None

    def left(self, key: str) -> int:
        """The tokens that can be spent without asking."""
        lease = self._leases.get(key)
        return lease.tokens if lease is not None and self._clock() < lease.until else 0

    def wanted(self, key: str, waiting: int) -> int:
        """How many tokens to ask for.

        Args:
            waiting: events that wait for the answer. They spend their tokens at once, so that their number is not
                limited to a lease.
        """
        lease, size = self._leases.get(key), 1
        if lease is not None:
            in_time = self._clock() < lease.until
            size = 2 * lease.asked if in_time else max(1, lease.got - lease.tokens)
        return max(min(size, self._most), min(waiting, self._burst))

    def answered(self, key: str, asked: int, got: int, wait: float, began: float) -> float:
        """Take note of an answer, and spend a token. Returns 0.0, or the seconds until there may be one.

        Args:
            asked, got: how many tokens were asked for and taken.
            wait: seconds until the bucket has its next token.
            began: when it was asked. The tokens were taken later, so that the lease ends early and not late.
        """
        now = self._clock()
        if got < asked:
            wait = max(wait, self._pause)
        lease = self._leases[key] = _Lease(asked, got, began + LEASE, now + wait)
        self._leases.move_to_end(key)
        self._forget(now)
        if not got:
            return wait
        lease.tokens -= 1
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop two keys that need not be remembered. Each call adds one, so that no call is an expensive one."""
        for _ in range(2):
            first = next(iter(self._leases.values()), None)
            until = math.inf if first is None else max(first.until, first.ask_at)
            if until > now and len(self._leases) <= MAX_KEYS:
                return
            self._leases.popitem(last=False)
