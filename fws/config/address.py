"""Where a server listens: a TCP address or a UNIX socket, and who has the say on it."""

from __future__ import annotations

import ipaddress
import re

import msgspec

DEFAULT_PORT = 9000
# `sun_path` of a UNIX socket's address is 108 bytes on Linux, one of them for the closing NUL.
MAX_UNIX_PATH = 107

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?\Z")


class Tcp(msgspec.Struct, frozen=True):
    """A TCP address. An empty host stands for all IPv4 interfaces, port 0 for any free port."""

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
        text: `host:port`, `[IPv6]:port`, `:port` for all IPv4 interfaces, or `unix:PATH`. A host alone has port
            9000; port 0 is any free one.

    Raises:
        ValueError: with a sentence that says what would be right.
    """
    address = _parse_address(text)
    if isinstance(address, Unix):
        return address
    host, port = address
    return Tcp(host, DEFAULT_PORT if port is None else port)


def effective_listen(config_listen: str, *, flag: str | None, port_variable: str | None) -> Tcp | Unix:
    """Where to listen: the flag's own port wins over the variable `PORT`, and that over the file's port.

    A flag of only a host keeps the port from `PORT` or the file. `PORT` does not touch a UNIX socket.

    Args:
        config_listen: `[server] listen`, its variables filled.
        flag: `--listen`, None when not given.
        port_variable: `PORT` of the environment, None or empty when not set.

    Raises:
        ValueError: which of them is wrong, and what would be right.
    """
    address = _parse_address(config_listen)
    if flag is not None:
        try:
            given = _parse_address(flag)
        except ValueError as error:
            raise ValueError(f"--listen: {error}") from None
        if isinstance(given, Unix):
            return given
        host, port = given
        if port is not None:
            return Tcp(host, port)
        address = (host, None if isinstance(address, Unix) else address[1])
    if isinstance(address, Unix):
        return address
    host, port = address
    if port_variable:
        try:
            port = _parse_port(port_variable)
        except ValueError as error:
            raise ValueError(f"the variable PORT: {error}") from None
    return Tcp(host, DEFAULT_PORT if port is None else port)


def _parse_address(text: str) -> Unix | tuple[str, int | None]:
    """A UNIX path, or a host and its port, None when there is none."""
    if text.startswith("unix:"):
        return _parse_unix(text.removeprefix("unix:"))
    if "://" in text:
        raise ValueError(f"{text!r} is a URL: write only the host and the port, such as {text.split('://')[1]!r}")
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(address):
            raise ValueError(f'{text!r} is no address: an IPv6 address stands in brackets, such as "[::1]:9000"')
        return address, _parse_port(rest[1:]) if rest else None
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, ""
    if _is_ipv6(text):
        # `::1:9000` is an address too, but hardly the one that was meant.
        meant = f"[{host}]:{port}" if _is_ipv6(host) and port.isdecimal() else f"[{text}]:{DEFAULT_PORT}"
        raise ValueError(f'{text!r} needs brackets: write "[{text}]" or "{meant}"')
    if not colon and host.isdecimal():
        raise ValueError(f'{text!r} is a port alone: write "127.0.0.1:{text}", or ":{text}" for all interfaces')
    if host == "*":
        raise ValueError(f'{text!r} has no host: leave it empty for all interfaces, ":{port or DEFAULT_PORT}"')
    if not (_HOST.match(host) or (colon and not host)):
        raise ValueError(f'{text!r} is no address: write "host:port", ":port", "[IPv6]:port" or "unix:/path"')
    return host, _parse_port(port) if colon else None


def _parse_unix(path: str) -> Unix:
    if not path or "\0" in path:
        raise ValueError('a UNIX socket needs the path of its file, such as "unix:/run/fws.sock"')
    if len(path.encode("utf-8", "surrogateescape")) > MAX_UNIX_PATH:
        raise ValueError(f"the path of a UNIX socket has at most {MAX_UNIX_PATH} bytes: choose a shorter one")
    return Unix(path)


def _parse_port(text: str) -> int:
    # Five digits are enough for any port, and `int` takes blanks, signs, underscores and other scripts' digits.
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError(f"{text!r} is no port: write a number from 0 (any free port) to 65535")
    return int(text)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
