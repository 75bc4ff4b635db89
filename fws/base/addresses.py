"""What counts as one address when connections are limited or banned."""

from __future__ import annotations

import functools
from ipaddress import IPv6Address, ip_address


@functools.lru_cache(maxsize=10_000)
def site(address: str) -> str:
    """An IPv4 address itself, or the first 64 bits of an IPv6 address: one network of one customer (RFC 6177).

    Anything else, such as the empty address of a UNIX socket, is returned as it is. Parsing takes 8 µs.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or IPv6Address(int(ip) >> 64 << 64))
    return str(ip)
