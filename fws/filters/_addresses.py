"""What is kept for each address that clients come from, within a bound."""

from __future__ import annotations

import functools
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

MAX_ADDRESSES = 100_000


class Addresses:
    """By address, when its bucket will be full again. An address that is not here has a full one.

    At most `MAX_ADDRESSES` are kept; past that the one that was silent the longest is forgotten.
    """

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def get(self, address: str, default: float) -> float:
        return self._full_at.get(network(address), default)

    def put(self, address: str, full_at: float, now: float) -> None:
        """Note one bucket, and forget from the front what is full by now or too much."""
        name = network(address)
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        while self._full_at and (len(self._full_at) > MAX_ADDRESSES or next(iter(self._full_at.values())) <= now):
            self._full_at.popitem(last=False)


@functools.lru_cache(maxsize=10_000)
def network(address: str) -> str:
    """What counts as one address: an IPv4 address, or the first 64 bits of an IPv6 address."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or IPv6Address(int(ip) >> 64 << 64))
    return str(ip)
