"""What proxies say about the clients behind them: `X-Forwarded-…` headers, and both versions of the PROXY protocol.

Any client could send the same. The callers use it only if the peer is a trusted proxy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from fws.wire.head import Head, parse_authority

# In `trusted_proxies`, this stands for all peers at a UNIX socket, which have no address.
UNIX = "unix:"

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"  # PROXY protocol 2.2
_FIXED = 16
# The longest header of version 2. HAProxy accepts what fits into its buffer (16 KiB), and nginx accepts 4 KiB.
# Addresses and the names of a certificate take some hundred bytes.
_MAX_BODY = 4096
_MAX_V1 = 107  # 2.1, with the line's end
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\x00-\x1f\x7f]*)?")
_LENGTHS = {1: 12, 2: 36, 3: 216}  # the size of the addresses by family: IPv4, IPv6, UNIX
_SSL, _CLIENT_SSL = 0x20, 1  # the type of the value about TLS, and its bit for "the client connected over TLS"
# An entry of X-Forwarded-For: some proxies add the port.
_V4_PORT = re.compile(r"([0-9.]+)(?::[0-9]{1,5})?")
_V6_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")
_SCHEMES = {"https": True, "wss": True, "http": False, "ws": False}


class ProxyError(ValueError):
    """The bytes are not a valid PROXY header."""


class Networks(msgspec.Struct, frozen=True):
    """A set of networks, which may include peers without an address; made by `parse_networks`."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def __contains__(self, address: str) -> bool:
        """Whether an address in the form of `normal` is in one of the networks; empty for a UNIX socket."""
        if not address:
            return self.unix
        if not self.networks:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)


class Source(msgspec.Struct, frozen=True):
    """Where a request comes from.

    Attributes:
        address: the client's address; empty on a UNIX socket.
        secure: whether the client connected over TLS; None if no proxy says so.
        host: the host (and port) that the client requested, if it is not that of the `Host` header.
    """

    address: str
    secure: bool | None = None
    host: str | None = None


def parse_networks(entries: Sequence[str]) -> Networks:
    """Read a list of networks, addresses and `unix:`.

    Raises:
        ValueError: an entry is invalid. The message says what would be right.
    """
    networks = []
    for entry in entries:
        if entry == UNIX:
            continue
        try:
            networks.append(ip_network(entry))
        except ValueError:
            raise ValueError(f"{entry!r} is not a network: {_advice(entry)}") from None
    return Networks(tuple(networks), unix=UNIX in entries)


def normal(address: str) -> str:
    """An address in its shortest form and without a zone. An IPv4-mapped IPv6 address becomes the IPv4 address."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or parsed)


def forwarded(head: Head, source: Source, trusted: Networks) -> Source:
    """Where a request comes from, according to the headers that trusted proxies wrote.

    Each proxy appends to `X-Forwarded-For`. Read from its end, the first address that is not a trusted proxy is the
    client. For the other two headers the last value counts, which the nearest proxy wrote or passed on.

    Args:
        source: what is known without the headers. Its address is the peer's.
    """
    if source.address not in trusted:
        return source
    address = source.address
    for entry in reversed((head.get("x-forwarded-for") or "").split(",")):
        found = _entry(entry.strip())
        if found is None:
            break
        address = found
        if address not in trusted:
            break
    secure = _SCHEMES.get(_last(head, "x-forwarded-proto").lower(), source.secure)
    host = _last(head, "x-forwarded-host")
    return Source(address, secure, host if host and parse_authority(host) is not None else source.host)


def header_end(data: bytes) -> int | None:
    """Where the PROXY header at the beginning of `data` ends; None if more data is needed to know.

    Raises:
        ProxyError: `data` does not begin with a PROXY header.
    """
    if data[:1] == b"\r":
        if not _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
            raise ProxyError("no PROXY header")
        if len(data) < _FIXED:
            return None
        length = int.from_bytes(data[14:16], "big")
        if length > _MAX_BODY:
            raise ProxyError(f"a PROXY header of more than {_MAX_BODY} bytes")
        return _FIXED + length if len(data) >= _FIXED + length else None
    if not b"PROXY ".startswith(data[:6]):
        raise ProxyError("no PROXY header")
    end = data.find(b"\r\n", 0, _MAX_V1)
    if end < 0 and len(data) >= _MAX_V1:
        raise ProxyError(f"a PROXY line of more than {_MAX_V1} bytes")
    return None if end < 0 else end + 2


def parse_proxy(header: bytes) -> Source | None:
    """The client that a complete PROXY header names; None if the connection is the proxy's own, such as a health check.

    Raises:
        ProxyError: it is malformed.
    """
    return _parse_v2(header) if header[:1] == b"\r" else _parse_v1(header)


def _parse_v1(header: bytes) -> Source | None:
    line = header.removesuffix(b"\r\n")
    if _UNKNOWN.fullmatch(line):
        return None
    match = _V1.fullmatch(line)
    if match is None:
        raise ProxyError("a malformed PROXY line")
    family = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source, _ = family(match[2].decode()), family(match[3].decode())
    except ValueError:
        raise ProxyError("a PROXY line with an invalid address") from None
    if int(match[4]) > 65535 or int(match[5]) > 65535:
        raise ProxyError("a PROXY line with an invalid port")
    return Source(normal(str(source)))


def _parse_v2(header: bytes) -> Source | None:
    if len(header) < _FIXED or not header.startswith(_SIGNATURE):
        raise ProxyError("no PROXY header")
    version, command = header[12] >> 4, header[12] & 15
    family, protocol = header[13] >> 4, header[13] & 15
    body = header[_FIXED:]
    if version != 2 or command > 1 or len(body) != int.from_bytes(header[14:16], "big"):
        raise ProxyError("a PROXY header that is not well-formed")
    if command == 0:
        return None
    length = _LENGTHS.get(family, 0)
    if family > 3 or protocol > 2 or len(body) < length:
        raise ProxyError("a PROXY header that is not well-formed")
    secure = _says_tls(body[length:])
    if protocol != 1 or family == 0:
        return None
    if family == 3:
        return Source("", secure)
    if family == 1:
        return Source(str(IPv4Address(body[:4])), secure)
    return Source(normal(str(IPv6Address(body[:16]))), secure)


def _says_tls(values: bytes) -> bool | None:
    """Whether the client connected over TLS, according to the values after the addresses."""
    while values:
        if len(values) < 3:
            raise ProxyError("a PROXY header with half a value")
        kind, length = values[0], int.from_bytes(values[1:3], "big")
        value, values = values[3 : 3 + length], values[3 + length :]
        if len(value) < length:
            raise ProxyError("a PROXY header with half a value")
        if kind == _SSL and value:
            return bool(value[0] & _CLIENT_SSL)
    return None


def _entry(text: str) -> str | None:
    """The address in an entry of X-Forwarded-For; None for `unknown` and obfuscated names."""
    match = _V4_PORT.fullmatch(text) or _V6_PORT.fullmatch(text)
    try:
        return normal(str(ip_address(match[1] if match else text)))
    except ValueError:
        return None


def _last(head: Head, name: str) -> str:
    return (head.get(name) or "").rpartition(",")[2].strip()


def _advice(entry: str) -> str:
    try:
        return f'write "{ip_network(entry, strict=False)}"'
    except ValueError:
        return 'write one such as "10.0.0.0/8", an address, or "unix:" for a UNIX socket'
