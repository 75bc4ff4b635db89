"""Admission: how many connections an address and a user have, how fast they come, and who must wait.

It knows no socket: addresses and names go in, refusals come out. What is refused is counted under one name a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address

from fws.base.errors import Refusal
from fws.base.metrics import Metrics
from fws.config import Limits
from fws.wire.proxy import parse_networks

# Addresses of which something is remembered beside their connections. Past it those that came longest ago are
# forgotten: an attacker with more addresses than this is past counting by address.
MAX_REMEMBERED = 100_000
# Seconds after which someone over a limit may try again.
RETRY = ("Retry-After", "5")
_MINUTE = 60.0


class Lease:
    """What one connection counts for, until it `leave`s."""

    __slots__ = ("_address", "_admission", "_user")

    def __init__(self, admission: Admission, address: str) -> None:
        self._admission = admission
        self._address = address
        self._user = ""

    def claim(self, user: str) -> None:
        """The connection is this user's, from now on. Raises Refusal when they have too many."""
        if user and not self._user:
            self._admission.add_user(user)
            self._user = user

    def leave(self) -> None:
        """The connection has ended. Safe to call twice."""
        self._admission.forget(self._address, self._user)
        self._address = self._user = ""


class Admission:
    """Counts for one process.

    Args:
        limits: `[limits]`.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._metrics = metrics
        self._exempt = parse_networks(limits.exempt)
        self._addresses: dict[str, int] = {}
        self._users: dict[str, int] = {}
        # To parse an address and compare it takes 8 µs, and a handshake asks twice.
        self._key = lru_cache(1024)(self._key_of)
        rate = limits.connections_per_address
        self._coming = Leaky(rate, max(rate, 1.0), clock)
        self._failing = Leaky(limits.failed_logins, max(limits.failed_logins * _MINUTE, 1.0), clock)

    def enter(self, address: str) -> Lease:
        """A connection from this address begins.

        Args:
            address: as `fws.wire.proxy.normal` gives it; empty for a UNIX socket's.

        Raises:
            Refusal: 429, the address has too many, or they come too fast.
        """
        key = self._key(address)
        if key:
            count = self._addresses.get(key, 0)
            if count >= self._limits.clients_per_address:
                raise self._refusal("address_clients_over_limit", "Too many connections from this address.")
            if not self._coming.take(key):
                raise self._refusal("address_connections_over_rate", "Connections from this address come too fast.")
            self._addresses[key] = count + 1
        return Lease(self, key)

    def check_logins(self, address: str) -> None:
        """Before credentials are looked at. Raises Refusal, 429, when too many of this address were wrong."""
        key = self._key(address)
        if key and self._failing.is_full(key):
            raise self._refusal("failed_logins_over_rate", "Too many failed logins from this address.")

    def login_failed(self, address: str) -> None:
        """Credentials from this address were wrong."""
        self._metrics.count("failed_logins")
        key = self._key(address)
        if key:
            self._failing.take(key)

    def add_user(self, user: str) -> None:
        count = self._users.get(user, 0)
        if count >= self._limits.clients_per_user:
            raise self._refusal("user_clients_over_limit", "Too many connections of this user.")
        self._users[user] = count + 1

    def forget(self, address: str, user: str) -> None:
        for counts, key in ((self._addresses, address), (self._users, user)):
            if key:
                if counts[key] > 1:
                    counts[key] -= 1
                else:
                    del counts[key]

    def _key_of(self, address: str) -> str:
        """Under which an address is counted; empty for one that is not. A site has a /64 of IPv6 to itself."""
        if not address or address in self._exempt:
            return ""
        if ":" not in address:
            return address
        try:
            return IPv6Address(address).packed[:8].hex()
        except ValueError:
            return address

    def _refusal(self, name: str, reason: str) -> Refusal:
        self._metrics.count(name)
        return Refusal(429, reason, [RETRY])


class Leaky:
    """Leaky buckets by key: each takes `size` at once and loses `rate` a second."""

    __slots__ = ("_clock", "_levels", "_rate", "_size")

    def __init__(self, rate: float, size: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._size = size
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> bool:
        """Put one in. False when it is full."""
        now = self._clock()
        level = self._level(key, now)
        if level + 1 > self._size:
            return False
        # Behind all others: the first of the dictionary are those that came longest ago.
        self._levels.pop(key, None)
        self._levels[key] = (level + 1, now)
        self._forget(now)
        return True

    def is_full(self, key: str) -> bool:
        return self._level(key, self._clock()) + 1 > self._size

    def __len__(self) -> int:
        return len(self._levels)

    def _level(self, key: str, now: float) -> float:
        level, since = self._levels.get(key, (0.0, now))
        return max(0.0, level - (now - since) * self._rate)

    def _forget(self, now: float) -> None:
        """Drop what is empty again, two at a time, so that one call is as cheap as another."""
        for _ in range(2):
            key = next(iter(self._levels), None)
            if key is None or (self._level(key, now) > 0 and len(self._levels) <= MAX_REMEMBERED):
                return
            del self._levels[key]
