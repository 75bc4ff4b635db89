"""One request to an HTTP service: without redirects and retries, with limits on its time and on the answer's size."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fws.base.errors import FwsError

# The option `ca`.
CA = (
    "For https: a file of the certificate authorities that are trusted, relative to the TOML file's folder. The "
    "default is the system's."
)
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


class HttpError(FwsError):
    """The service is not available, or its answer is too long. The message says why in a few words."""


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


def trust(url: Url, ca: Path | None) -> ssl.SSLContext | None:
    """The TLS context for an https service; None for plain HTTP.

    Make it once, because reading the system's certificates takes 30 ms.

    Args:
        ca: a file of certificate authorities, instead of the system's.

    Raises:
        ValueError: the file cannot be used, or the URL is plain HTTP.
    """
    if url.scheme != "https":
        if ca is not None:
            raise ValueError("ca: plain HTTP has no certificate to check: write https://")
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:  # its text names OpenSSL's source files
        raise ValueError("ca: the file has no certificates in PEM") from None
    except OSError as error:
        raise ValueError(f"ca: {error.strerror}") from None


def ask(
    url: Url, headers: Mapping[str, str], timeout: float, limit: int, trusted: ssl.SSLContext | None = None
) -> tuple[int, bytes]:
    """Send a GET request. Returns the status and the body.

    Args:
        timeout: seconds for everything.
        limit: the most bytes of the body.
        trusted: the result of `trust` for the URL.

    Raises:
        HttpError: the answer did not arrive in time, is invalid, or is too long.
    """
    question = _Question(url, headers, timeout, limit, trusted)
    # In a thread, because several steps have no time limit of their own: the DNS lookup, trying one address after the
    # other, a slow TLS handshake, and a slow response head.
    thread = threading.Thread(target=question.put, daemon=True)
    thread.start()
    try:
        thread.join(timeout)
    finally:
        question.withdraw()
    if question.answer is None:
        raise question.error or HttpError(f"no answer within {timeout:g} s")
    return question.answer


class _Question:
    """One request under way.

    Attributes:
        answer: status and body; None until they have arrived.
        error: why there will be no answer.
    """

    def __init__(
        self, url: Url, headers: Mapping[str, str], timeout: float, limit: int, trusted: ssl.SSLContext | None
    ) -> None:
        self.answer: tuple[int, bytes] | None = None
        self.error: HttpError | None = None
        self._target = url.target
        self._headers = {"accept": "application/json", **headers}
        self._timeout = timeout
        self._limit = limit
        self._withdrawn = False
        self._peer: Any = None
        self._connection = (
            http.client.HTTPConnection(url.host, url.port, timeout=timeout)
            if trusted is None
            else http.client.HTTPSConnection(url.host, url.port, timeout=timeout, context=trusted)
        )

    def put(self) -> None:
        """Send the request, and keep the answer or the error."""
        try:
            self.answer = self._ask()
        except HttpError as error:
            self.error = error
        except TimeoutError:
            pass
        except ssl.SSLError as error:
            self.error = HttpError(f"TLS: {error.reason or 'failed'}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.error = HttpError(getattr(error, "strerror", None) or type(error).__name__)
        finally:
            self._connection.close()

    def withdraw(self) -> None:
        """Nobody waits for the answer any more: end the request as soon as possible."""
        self._withdrawn = True
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._peer.shutdown(socket.SHUT_RDWR)

    def _ask(self) -> tuple[int, bytes] | None:
        self._connection.connect()
        # Kept, because the response takes the socket over if the server is going to close the connection.
        self._peer = self._connection.sock
        if self._withdrawn:
            return None
        self._connection.request("GET", self._target, headers=self._headers)
        with self._connection.getresponse() as response:
            body = response.read(self._limit + 1)
            if len(body) > self._limit:
                raise HttpError(f"the answer has more than {self._limit} bytes")
            # http.client accepts a head or body that ends early. A response that was cut off must not pass for a 200.
            if response.length or (response.status == 200 and not (body or response.length == 0 or response.chunked)):
                raise HttpError("the answer was cut short")
            return response.status, body
