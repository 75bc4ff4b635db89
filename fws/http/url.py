"""The URL of an HTTP service, and whether others on the network could answer in its place."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# RFC 1918 and RFC 4193. `ip_address(…).is_private` also holds for addresses that are not a network of one's own, such
# as those for documentation.
_PRIVATE_NETWORKS = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
# Domains that no public DNS answers for: ICANN's .internal, RFC 6762, and RFC 8375. `.cluster.local` is in `.local`.
_PRIVATE_DOMAINS = (".internal", ".local", ".home.arpa")
PRIVATE_HOSTS = (
    "an address in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fc00::/7, a name without dots, "
    "or a name in .internal, .local or .home.arpa"
)


class Url:
    """An http or https URL without a user and password."""

    __slots__ = ("_text", "host", "port", "scheme", "target")

    def __init__(self, text: str, scheme: str, host: str, port: int | None, target: str) -> None:
        self._text = text
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read a URL. Raises ValueError that says what is wrong."""
        if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("expected a URL such as https://host/path")
        parts = urlsplit(text)
        port = parts.port
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL such as https://host/path")
        if parts.username is not None:
            raise ValueError("write the URL without user and password: they would be shown wherever the URL is")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(text, parts.scheme, parts.hostname, port, target)

    def __str__(self) -> str:
        return self._text

    @property
    def is_private(self) -> bool:
        """Whether nobody on the network path can change the answer: over TLS, or on this machine."""
        return self.scheme == "https" or self.host in LOOPBACK

    @property
    def is_inside(self) -> bool:
        """Whether the host is one of `PRIVATE_HOSTS`: in a private network, or under a name that no public DNS has."""
        try:
            address = ip_address(self.host)
        except ValueError:
            pass
        else:
            return address.is_loopback or any(address in network for network in _PRIVATE_NETWORKS)
        if "." in self.host:
            return self.host.endswith(_PRIVATE_DOMAINS)
        # The resolver reads a number such as 134744072 or 0x08080808 as an IPv4 address: 8.8.8.8.
        return not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", self.host)
