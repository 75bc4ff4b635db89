"""One question to an HTTP service: no redirects, no second try, an end to how long it takes and how much it says."""

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
    "For https, file of the certificates that may sign the service's, relative to the TOML file's folder; without it "
    "the system's."
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
    """The service is not to be had, or says too much. Says why in a few words."""


class Url:
    """An http or https URL without user and password."""

    __slots__ = ("_text", "host", "port", "scheme", "target")

    def __init__(self, text: str, scheme: str, host: str, port: int | None, target: str) -> None:
        self._text = text
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raises ValueError that says what is wrong."""
        if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("expected a URL such as https://host/path")
        parts = urlsplit(text)
        port = parts.port
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL such as https://host/path")
        if parts.username is not None:
            raise ValueError("a URL has no user and password in it: they would be shown wherever the URL is")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(text, parts.scheme, parts.hostname, port, target)

    def __str__(self) -> str:
        return self._text

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can change what comes: it is TLS, or this machine."""
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
    """What the certificate of an https service is checked against; None for plain HTTP.

    To be made once: to read the system's certificates takes 30 ms.

    Args:
        ca: file of certificates, in place of the system's.

    Raises:
        ValueError: the file cannot be used, or there is no certificate to check.
    """
    if url.scheme != "https":
        if ca is not None:
            raise ValueError("ca: over plain HTTP there is no certificate to check: write https://")
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:  # which speaks of OpenSSL's source files
        raise ValueError("ca: there are no certificates in PEM in it") from None
    except OSError as error:
        raise ValueError(f"ca: {error.strerror}") from None


def ask(
    url: Url, headers: Mapping[str, str], timeout: float, limit: int, trusted: ssl.SSLContext | None = None
) -> tuple[int, bytes]:
    """GET it. The status and the body.

    Args:
        timeout: seconds for all of it.
        limit: bytes that the body may have.
        trusted: what `trust` gave for the URL.

    Raises:
        HttpError: no answer in time, none that can be understood, or too long a one.
    """
    question = _Question(url, headers, timeout, limit, trusted)
    # In a thread, as much of it has no end of its own: a look-up in the DNS, one address after the other, a TLS
    # handshake and a head that drip.
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
    """One question on its way.

    Attributes:
        answer: status and body, when it is there.
        error: why there will be none.
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
        """Ask, and keep what comes of it."""
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
        """Nobody waits for the answer any more: end what is still under way as soon as it can be ended."""
        self._withdrawn = True
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._peer.shutdown(socket.SHUT_RDWR)

    def _ask(self) -> tuple[int, bytes] | None:
        self._connection.connect()
        # The response takes it over when the server is to close it.
        self._peer = self._connection.sock
        if self._withdrawn:
            return None
        self._connection.request("GET", self._target, headers=self._headers)
        with self._connection.getresponse() as response:
            body = response.read(self._limit + 1)
            if len(body) > self._limit:
                raise HttpError(f"the answer has more than {self._limit} bytes")
            # http.client takes an end in the middle of head or body for the end of it. What was cut short must not
            # pass for "200, and no more to say".
            if response.length or (response.status == 200 and not (body or response.length == 0 or response.chunked)):
                raise HttpError("the answer was cut short")
            return response.status, body
