"""Where a server listens: a TCP address or a UNIX socket."""

from __future__ import annotations

import ipaddress
import re

import msgspec

DEFAULT_PORT = 9000
# `sun_path` of a UNIX socket's address has 108 bytes on Linux; one of them is the terminating NUL.
MAX_UNIX_PATH = 107

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?\Z")


class Tcp(msgspec.Struct, frozen=True):
    """A TCP address. An empty host means all IPv4 interfaces, port 0 any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Unix(msgspec.Struct, frozen=True):
    """The address of a UNIX socket: the path of its file."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_listen(text: str) -> Tcp | Unix:
    """Read an address to listen on.

    Args:
        text: `host:port`, `[IPv6]:port`, `:port` for all IPv4 interfaces, or `unix:PATH`. A host without a port gets
            port 9000; port 0 means any free port.

    Raises:
        ValueError: the text is not such an address; the message says what would be right.
    """
    address = split_listen(text)
    if isinstance(address, Unix):
        return address
    host, port = address
    return Tcp(host, DEFAULT_PORT if port is None else port)


def split_listen(text: str) -> Unix | tuple[str, int | None]:
    """Read an address to listen on, without the default port.

    Returns:
        A UNIX socket, or a host and its port, which is None where the text names only a host.

    Raises:
        ValueError: the text is not such an address; the message says what would be right.
    """
    if text.startswith("unix:"):
        return _parse_unix(text.removeprefix("unix:"))
    if "://" in text:
        raise ValueError(f"{text!r} is a URL: write only the host and the port, such as {text.split('://')[1]!r}")
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(address):
            raise ValueError(f'{text!r} is not an address: write an IPv6 address in brackets, such as "[::1]:9000"')
        return address, parse_port(rest[1:]) if rest else None
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, ""
    if _is_ipv6(text):
        # `::1:9000` is a valid IPv6 address, but the writer more likely meant port 9000 of `::1`.
        meant = f"[{host}]:{port}" if _is_ipv6(host) and port.isdecimal() else f"[{text}]:{DEFAULT_PORT}"
        raise ValueError(f'{text!r} needs brackets: write "[{text}]" or "{meant}"')
    if not colon and host.isdecimal():
        raise ValueError(f'{text!r} is only a port: write "127.0.0.1:{text}", or ":{text}" for all interfaces')
    if host == "*":
        raise ValueError(f'{text!r} has no host: leave the host empty for all interfaces, ":{port or DEFAULT_PORT}"')
    if not (_HOST.match(host) or (colon and not host)):
        raise ValueError(f'{text!r} is not an address: write "host:port", ":port", "[IPv6]:port" or "unix:/path"')
    return host, parse_port(port) if colon else None


def _parse_unix(path: str) -> Unix:
    if not path or "\0" in path:
        raise ValueError('a UNIX socket needs the path of its file, such as "unix:/run/fws.sock"')
    if len(path.encode("utf-8", "surrogateescape")) > MAX_UNIX_PATH:
        raise ValueError(f"the path of a UNIX socket may have at most {MAX_UNIX_PATH} bytes: choose a shorter one")
    return Unix(path)


def parse_port(text: str) -> int:
    """Read a port number. Raises ValueError for anything else than 0 to 65535."""
    # `int` alone would also accept white space, signs, underscores, and digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError(f"{text!r} is not a port: write a number from 0 (any free port) to 65535")
    return int(text)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
