"""The opening handshake (RFC 6455 4.2): recognizing and checking upgrade requests, and answering them.

Lists are compared token by token, and everything else exactly. With a test for substrings, `Connection:
not-upgrade-really` would upgrade, and the subprotocol `v1` would match `v10`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha1

import msgspec

from fws.base.errors import Refusal
from fws.wire.head import ALLOW, TOKEN, Head, parse_authority

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
# 16 bytes are 22 base64 digits, the last of which has 2 bits. If it could be any digit, two keys would mean the same
# bytes.
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
_TOKEN = re.compile(TOKEN)
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Schemes whose origins always name a host.
_WITH_HOST = ("http", "https", "ws", "wss")
_UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
_PROXY_HINT = "If there is a proxy in front, it must pass the headers Upgrade and Connection on."

# A subprotocol that contains a token is never chosen, because the response would show the token, and so would logs of
# responses.
TOKEN_SUBPROTOCOL = "fws.token."
PLAIN_SUBPROTOCOL = "fws"

Origin = tuple[str, str, int | None]  # scheme, host and port, normalised so that equal means the same


class Origins(msgspec.Struct, frozen=True):
    """The origins that may connect besides the server's own; made by `parse_origins`.

    Attributes:
        listed: origins as they were written.
        below: scheme, domain and port of entries such as `https://*.example.org`: any host below the domain.
        null: whether pages without an origin may connect: sandboxed frames, and local files in most browsers.
        everyone: whether the check is off.
    """

    listed: frozenset[Origin] = frozenset()
    below: frozenset[Origin] = frozenset()
    null: bool = False
    everyone: bool = False

    def __contains__(self, origin: Origin) -> bool:
        if origin in self.listed:
            return True
        if not self.below:
            return False
        scheme, host, port = origin
        labels = host.split(".")
        return any((scheme, ".".join(labels[at:]), port) in self.below for at in range(1, len(labels)))


def wants_upgrade(head: Head) -> bool:
    """Whether the request asks for a WebSocket, well-formed or not.

    The key alone says so too. A proxy that is not configured for WebSockets removes `Upgrade`, which concerns one hop
    only (RFC 9110 7.6.1), and passes the key on. Such a request must not be answered with a page.
    """
    return _names(head, "upgrade", "websocket") or head.get("sec-websocket-key") is not None


def check(head: Head) -> str:
    """Check an upgrade request as RFC 6455 4.2.1 says; return the value of `Sec-WebSocket-Accept`.

    The origin and subprotocols are not checked here, since they depend on the endpoint.

    Raises:
        Refusal: 405 for another method than GET, 426 naming version 13 for another version, else 400.
    """
    if head.method != "GET":
        raise Refusal(405, "A WebSocket is opened with GET.", [ALLOW], cause="handshake")
    if head.version != "1.1":
        # Not 505: that refuses a major version (RFC 9110 15.6.6), and plain requests of HTTP/1.0 are served.
        raise Refusal(
            400,
            "A WebSocket is opened with HTTP/1.1, also by a proxy (in nginx: proxy_http_version 1.1).",
            cause="handshake",
        )
    if head.has_body:
        raise Refusal(400, "An upgrade request may not have a body.", cause="handshake")
    if not _names(head, "upgrade", "websocket"):
        raise Refusal(400, f'The Upgrade header does not name "websocket". {_PROXY_HINT}', cause="handshake")
    if not _names(head, "connection", "upgrade"):
        raise Refusal(400, f'The Connection header does not name "Upgrade". {_PROXY_HINT}', cause="handshake")
    # The version comes before the key, whose form may differ in another version.
    if head.all("sec-websocket-version") != ("13",):
        raise Refusal(
            426,
            "Only version 13 of WebSocket is served.",
            [*_UPGRADE, ("Sec-WebSocket-Version", "13")],
            cause="handshake",
        )
    keys = head.all("sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise Refusal(400, "The request needs one Sec-WebSocket-Key, which is 16 bytes in base64.", cause="handshake")
    return b64encode(sha1(keys[0].encode("ascii") + _GUID).digest()).decode("ascii")


def choose_subprotocol(head: Head, supported: Sequence[str]) -> str | None:
    """Return the first subprotocol of the client's list that is supported, or None.

    An empty header asks for nothing: clients for microcontrollers and some proxies send one.

    With None the connection opens without one; a client that needs one ends it (RFC 6455 4.1). Browsers do. Where they
    can send a token only as a subprotocol, they also offer `fws`, which is supported then.

    Raises:
        Refusal: 400 for an offer that is not a list of distinct tokens.
    """
    offered = _elements(head, "sec-websocket-protocol")
    if not offered:
        return None
    if len(set(offered)) != len(offered) or not all(map(_TOKEN.fullmatch, offered)):
        raise Refusal(400, "The Sec-WebSocket-Protocol header is not a list of distinct tokens.", cause="handshake")
    if any(name.startswith(TOKEN_SUBPROTOCOL) for name in offered):
        supported = [*supported, PLAIN_SUBPROTOCOL]
    return next((name for name in offered if name in supported and not name.startswith(TOKEN_SUBPROTOCOL)), None)


def offered_token(head: Head) -> str | None:
    """The token that a client sends as a subprotocol, `fws.token.TOKEN`; None without one."""
    offered = (name for name in _elements(head, "sec-websocket-protocol") if name.startswith(TOKEN_SUBPROTOCOL))
    return next((name.removeprefix(TOKEN_SUBPROTOCOL) for name in offered), None)


def parse_origins(entries: Sequence[str]) -> Origins:
    """Read the option `origins`.

    An entry is an origin as the browser sends it, such as `https://example.org`, `capacitor://localhost` or `file://`;
    `https://*.example.org` for every host below a domain; `null`; or `*` for every origin.

    Raises:
        ValueError: an entry is none of these. The message says what to write instead.
    """
    listed: set[Origin] = set()
    below: set[Origin] = set()
    for entry in entries:
        if entry in ("*", "null"):
            continue
        scheme, wildcard, domain = entry.partition("://*.")
        origin = _parse_origin(f"{scheme}://{domain}" if wildcard else entry)
        if origin is None or (wildcard and not _is_name(origin[1])):
            raise ValueError(f"{entry!r} is not an origin: {_advice(entry)}")
        if origin[0] in ("ws", "wss"):
            page = "http" + entry[len("ws") :]
            raise ValueError(f'{entry!r} never matches, for an origin is a page\'s address: write "{page}"')
        (below if wildcard else listed).add(origin)
    return Origins(frozenset(listed), frozenset(below), null="null" in entries, everyone="*" in entries)


def check_origin(head: Head, origins: Origins, *, secure: bool, host: str | None = None) -> None:
    """Prevent web pages of other sites from connecting with their visitors' cookies (RFC 6455 10.2).

    Pages of the server's own host and port pass, and pages that `origins` names. A request without `Origin` passes as
    well: it does not come from a browser, and could claim anything.

    Args:
        head: a checked request.
        origins: further origins that the endpoint allows.
        secure: whether the client came over TLS.
        host: the host that the client requested from a proxy, if it is not in the `Host` header.

    Raises:
        Refusal: 403. Its advice says what the origin was compared with, and what to change.
    """
    values = head.all("origin")
    if not values:
        return
    if len(values) > 1:
        raise Refusal(403, "The request has more than one Origin header.", cause="origin")
    text = values[0]
    if origins.everyone or (origins.null and text == "null"):
        return
    origin = _parse_origin(text)
    own = host or head.get("host")
    if origin is None or (origin not in origins and origin not in _own_origins(own, secure)):
        raise Refusal(403, "Pages of this origin may not connect here.", advice=_advice_on(text, own), cause="origin")


def check_site(head: Head, origins: Origins) -> None:
    """Prevent pages of other sites from making their visitors' browsers open a stream, such as by `<img src>`.

    The browser sends such a GET with cookies and without `Origin`, unlike a request for a WebSocket. The page cannot
    read the response, but the request has commands with it. Browsers say where it comes from (W3C Fetch Metadata).

    Raises:
        Refusal: 403.
    """
    if (
        head.get("origin") is None
        and head.get("sec-fetch-site") in ("cross-site", "same-site")
        and not origins.everyone
    ):
        raise Refusal(403, "Pages of other sites may not connect here.", cause="origin")


def _advice_on(origin: str, host: str | None) -> str:
    """The advice for an operator about a refused origin. Both values come from a client, so they are shortened."""
    origin, host = origin[:70], (host or "")[:50]
    proxy = "" if origin == "null" else "pass the Host on (in nginx: proxy_set_header Host $http_host), or "
    return f'the origin {origin} is not that of the Host {host}: {proxy}set origins = ["{origin}"]'


def response_headers(
    accept: str, subprotocol: str | None = None, extensions: str | None = None
) -> list[tuple[str, str]]:
    """Return the headers of the 101 (RFC 6455 4.2.2).

    Args:
        accept: the result of `check`.
        subprotocol: the result of `choose_subprotocol`.
        extensions: the value of `Sec-WebSocket-Extensions`, if any was agreed on.
    """
    headers = [*_UPGRADE, ("Sec-WebSocket-Accept", accept)]
    if subprotocol:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    if extensions:
        headers.append(("Sec-WebSocket-Extensions", extensions))
    return headers


def _elements(head: Head, name: str) -> list[str]:
    """Split a list header; empty elements do not count (RFC 9110 5.6.1.2)."""
    elements = (element.strip(" \t") for element in (head.get(name) or "").split(","))
    return [element for element in elements if element]


def _names(head: Head, name: str, word: str) -> bool:
    """Whether a list header names this word, in any case."""
    value = (head.get(name) or "").lower()
    return value == word or word in (element.strip(" \t") for element in value.split(","))


def _parse_origin(text: str) -> Origin | None:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme = match[1].lower()
    if not match[2]:
        # App shells send such origins for pages of a scheme without hosts: `file://` in a WebView, `app://` in
        # Electron.
        return None if scheme in _WITH_HOST else (scheme, "", None)
    authority = parse_authority(match[2])
    if authority is None:
        return None
    host, port = authority
    return scheme, host, port or _DEFAULT_PORTS.get(scheme)


def _is_name(host: str) -> bool:
    """Whether a host is a domain name, which may have subdomains, and not an address."""
    return not host.startswith(("[", ".")) and not host.replace(".", "").isdigit()


def _own_origins(host: str | None, secure: bool) -> list[Origin | None]:
    """The origins of pages that this server itself serves to the client.

    A connection without TLS may come from a proxy that terminates TLS, so that its pages may have either scheme.
    """
    schemes = ("https",) if secure else ("http", "https")
    return [_parse_origin(f"{scheme}://{host}") for scheme in schemes] if host else []


def _advice(entry: str) -> str:
    """Say what to write instead of an entry that is not an origin."""
    scheme, separator, rest = entry.partition("://")
    host = rest.partition("/")[0]
    if entry.lower() == "null":
        return 'write "null"'
    if not separator and parse_authority(entry):
        return f'write "https://{entry}" (or http)'
    if "*" in entry:
        return 'write "https://*.example.org" for all hosts below a domain, or "*" alone for every origin'
    if host != rest and _parse_origin(f"{scheme}://{host}"):
        return f'it has no path: write "{scheme}://{host}"'
    return 'write "scheme://host" or "scheme://host:port" in ASCII (a name like bücher.de as xn--bcher-kva.de)'
