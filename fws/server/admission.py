"""Admission: limits on the connections of an address and of a user, on their rate, and on failed logins.

It has no sockets: its input is addresses and names, its output is refusals. Each reason has a counter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from fws.base.addresses import site
from fws.base.buckets import Buckets, TokenBucket
from fws.base.errors import Refusal
from fws.base.metrics import Metrics
from fws.config import Limits
from fws.wire.proxy import parse_networks

# A client over a limit may try again after this many seconds.
RETRY = ("Retry-After", "5")
_MINUTE = 60.0


class Lease:
    """Counts one connection towards the limits of its address and its user, until `leave`."""

    __slots__ = ("_address", "_admission", "_user")

    def __init__(self, admission: Admission, address: str) -> None:
        self._admission = admission
        self._address = address
        self._user = ""

    def claim(self, user: str) -> None:
        """Count the connection as this user's. Raises Refusal if the user has too many."""
        if user and not self._user:
            self._admission.add_user(user)
            self._user = user

    def leave(self) -> None:
        """The connection has ended. May be called twice."""
        self._admission.forget(self._address, self._user)
        self._address = self._user = ""


class Admission:
    """Counts the connections of one process.

    Args:
        limits: `[limits]`.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._addresses: dict[str, int] = {}
        self._users: dict[str, int] = {}
        # A handshake asks twice, and to compare an address with the networks takes some µs.
        self._key = lru_cache(1024)(self._key_of)
        self._arrivals, self._failures = (Buckets(TokenBucket(1.0, 1.0), clock) for _ in range(2))
        self.limits = limits

    @property
    def limits(self) -> Limits:
        """`[limits]`. When they change, everything that was counted still counts."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._exempt = parse_networks(limits.exempt)
        self._key.cache_clear()
        rate, failures = limits.connections_per_address, limits.failed_logins
        self._arrivals.bucket = TokenBucket(rate, max(rate, 1.0))
        self._failures.bucket = TokenBucket(failures, max(failures * _MINUTE, 1.0))

    def enter(self, address: str) -> Lease:
        """Count a new connection from this address.

        Args:
            address: in the form of `fws.wire.proxy.normal`; empty for a UNIX socket.

        Raises:
            Refusal: 429, the address has too many connections, or they arrive too fast.
        """
        key = self._key(address)
        if key:
            count = self._addresses.get(key, 0)
            if count >= self._limits.clients_per_address:
                raise self._refusal("address_clients_over_limit", "Too many connections from this address.")
            if self._arrivals.take(key):
                raise self._refusal("address_connections_over_rate", "Connections from this address come too fast.")
            self._addresses[key] = count + 1
        return Lease(self, key)

    def check_logins(self, address: str) -> None:
        """Called before credentials are checked. Raises Refusal, 429, after too many wrong ones from this address."""
        key = self._key(address)
        if key and self._failures.wait(key):
            raise self._refusal("failed_logins_over_rate", "Too many failed logins from this address.")

    def login_failed(self, address: str) -> None:
        """Credentials from this address were wrong."""
        self._metrics.count("failed_logins")
        key = self._key(address)
        if key:
            self._failures.take(key)

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
        """The site under which an address is counted; empty for an address that is not counted."""
        return "" if not address or address in self._exempt else site(address)

    def _refusal(self, name: str, reason: str) -> Refusal:
        self._metrics.count(name)
        return Refusal(429, reason, [RETRY], cause=name)
