"""The request head (RFC 9112), read strictly and without I/O.

The documentation of pywsgi says that it is not meant for the open internet. It accepts bare line feeds, a space before
a colon, none or two `Host` headers, two lengths, and megabytes of headers. Therefore fws reads the head itself, and
passes on only what has one meaning.

h11 is well maintained, but it accepts bare line feeds and control characters in values, and it has no limit on the
length of a line or on the number of headers. It also takes longer: a browser's upgrade request of 11 headers (473
bytes) takes 23 µs here and 50 µs with h11 0.16, including the creation of the objects (Python 3.11, median of 7 runs of
5,000). The tests compare both: h11 reads everything that is accepted here in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv6Address
from urllib.parse import unquote_to_bytes

import msgspec

from fws.base.errors import Refusal

# Request head. Precedents: websockets 128 headers of 8 KiB, HAProxy 101 headers in 16 KiB,
# Envoy 100 headers in 60 KiB, node 16 KiB.
MAX_HEADERS = 100
MAX_HEAD_LINE = 8 * 1024
MAX_HEAD = 32 * 1024
# The largest body, unless a path takes larger ones.
MAX_BODY = 64 * 1024

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 5.6.2
ALLOW = ("Allow", "GET, HEAD")

_REQUEST_LINE = re.compile(rf"({TOKEN}) ([!-~]+) HTTP/([0-9]\.[0-9])")
_HTTP_09 = re.compile(rf"{TOKEN} [!-~]+")
# Possessive, because `[ \t]*` and the value overlap, and backtracking would take quadratic time.
_HEADER = re.compile(rf"({TOKEN}):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")
# The hosts of RFC 3986 that browsers send: DNS names (private ones may have underscores), IPv4, and IPv6 in brackets.
_AUTHORITY = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
# The absolute-form: an http URL or a WebSocket URL (RFC 6455 3), which some clients send to a proxy. No userinfo.
_ABSOLUTE = re.compile(r"(?i:https?|wss?)://([^/?@]+)((?:[/?].*)?)")
# RFC 9110 9.3 and RFC 5789.
_KNOWN_METHODS = ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH")
_LENGTH = re.compile(r"[0-9]{1,20}")  # 20 digits hold every 64-bit number
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_EMPTY_LINES = 2
# The first bytes of a TLS handshake (RFC 8446 5.1) and of versions 1 and 2 of the PROXY protocol.
_TLS = b"\x16\x03"
_FOREIGN = (_TLS, b"PROXY ", b"\r\n\r\n\0")


class Head(msgspec.Struct, frozen=True):
    """The head of one request, every part of which has been checked.

    `target` is in origin-form. It is as sent unless it was in absolute-form. `path` is its path, percent-decoded as
    UTF-8, and `query` is what follows the `?`, as sent. `version` is "1.1" or "1.0". The names in `headers` are in
    lower case. The values are Latin-1 without surrounding white space, and those of a repeated header are a tuple.
    """

    method: str
    target: str
    path: str
    query: str
    version: str
    headers: dict[str, str | tuple[str, ...]]

    def all(self, name: str) -> tuple[str, ...]:
        """Return the value of each header line of this name (in lower case), in order."""
        value = self.headers.get(name, ())
        return (value,) if isinstance(value, str) else value

    def get(self, name: str) -> str | None:
        """Return the value of the header of this name (in lower case), or None without one.

        Repeated lines are joined with ", " (RFC 9110 5.3). Those of `Cookie`, which HTTP/2 may split, are joined with
        "; " (RFC 9113 8.2.3).
        """
        value = self.headers.get(name)
        if isinstance(value, tuple):
            value = ("; " if name == "cookie" else ", ").join(value)
        return value

    @property
    def has_body(self) -> bool:
        """Whether content follows the head (RFC 9112 6.3)."""
        return bool(self.all("transfer-encoding")) or any(length.strip("0") for length in self.all("content-length"))

    @property
    def length(self) -> int:
        """The size of the body in bytes. It has been checked; only a POST can have a body."""
        return int(self.get("content-length") or 0)

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client sends the body when it has seen a `100 Continue` (RFC 9110 10.1.1)."""
        return self.version == "1.1" and (self.get("expect") or "").lower() == "100-continue"


class Takes(msgspec.Struct, frozen=True):
    """What a path takes besides GET and HEAD.

    Attributes:
        methods: the methods that the path answers, POST or OPTIONS among them. A refused method gets them in `Allow`.
        body: the most bytes of the body of a POST.
        check: called with the head of a POST and the address of the client before the body is read, so that nobody can
            make the server read and hold a body who has no right to send one. Raises Refusal.
    """

    methods: tuple[str, ...] = ("POST",)
    body: int = MAX_BODY
    check: Callable[[Head, str], object] | None = None


# What the application takes at a decoded path; None for GET and HEAD only.
Taking = Callable[[str], Takes | None]


class HeadReader:
    """Reads one request head from bytes that arrive in any pieces. This takes linear time.

    The limits are checked while bytes arrive, so that at most `size` bytes and one read are held. A refused head ends
    the connection, because it is unknown where the next request begins.

    Args:
        size: the most bytes of the whole head.
        line: the most bytes of a line.
        headers: the most headers.
        taking: what each path takes besides GET and HEAD; None if no path takes anything.

    Attributes:
        rest: the bytes that follow the head, when that is complete.
        takes: what the path takes; None for GET and HEAD only.
    """

    __slots__ = (
        "_buffer",
        "_empty_lines",
        "_headers",
        "_line",
        "_max_headers",
        "_max_line",
        "_max_size",
        "_number",
        "_request",
        "_scanned",
        "_taking",
        "rest",
        "takes",
    )

    def __init__(
        self,
        size: int = MAX_HEAD,
        line: int = MAX_HEAD_LINE,
        headers: int = MAX_HEADERS,
        taking: Taking | None = None,
    ) -> None:
        self._max_size = size
        self._max_line = line
        self._max_headers = headers
        self._buffer = bytearray()
        self._line = 0  # where the unfinished line begins
        self._scanned = 0  # no line feed before this
        self._empty_lines = 0
        self._request: tuple[str, str, str] | None = None
        self._headers: dict[str, str | tuple[str, ...]] = {}
        self._number = 0
        self._taking = taking
        self.rest = b""
        self.takes: Takes | None = None

    @property
    def method(self) -> str:
        """The method, as soon as the request line has been read; empty before."""
        return self._request[0] if self._request is not None else ""

    def feed(self, data: bytes) -> Head | None:
        """Read the next bytes. Return the head if it is complete, else None.

        After that, `rest` has the bytes that follow the head, and the reader must not be used again.

        Raises:
            Refusal: 400, 405, 411, 413, 414, 417, 431, 501 or 505; `reason` says what is wrong.
        """
        buffer = self._buffer
        buffer += data
        if buffer.startswith(_FOREIGN):
            raise _not_http(buffer)
        while (end := buffer.find(b"\n", self._scanned)) >= 0:
            raw = buffer[self._line : end].decode("latin-1")
            self._line = self._scanned = end + 1
            line = raw.removesuffix("\r")
            # A line is checked before the whole head, so that the status does not depend on the size of a read.
            if len(line) > self._max_line:
                raise self._line_too_long()
            if end >= self._max_size:
                raise _too_large(self._max_size)
            if len(line) == len(raw):
                raise Refusal(400, "A line of the request head ends without a carriage return.")
            if self._take(line):
                self.rest = bytes(buffer[end + 1 :])
                return self._finish()
        self._scanned = len(buffer)
        if len(buffer) - self._line - buffer.endswith(b"\r") > self._max_line:
            raise self._line_too_long()
        if len(buffer) > self._max_size:
            raise _too_large(self._max_size)
        return None

    def _line_too_long(self) -> Refusal:
        if self._request is None:
            return Refusal(414, f"The request line is longer than {self._max_line} bytes.")
        return Refusal(431, f"A header line is longer than {self._max_line} bytes.")

    def _take(self, line: str) -> bool:
        """Read one line without its end. Return whether the head is complete."""
        if self._request is None:
            if line:
                self._request = self._request_line(line)
            else:
                self._empty_lines += 1  # RFC 9112 2.2: accepted for old clients that end a body with an empty line
                if self._empty_lines > _MAX_EMPTY_LINES:
                    raise Refusal(400, "Too many empty lines before the request line.")
            return False
        if not line:
            return True
        self._number = number = self._number + 1
        if number > self._max_headers:
            raise Refusal(431, f"The request has more than {self._max_headers} headers.")
        match = _HEADER.fullmatch(line)
        if match is None:
            raise Refusal(
                400,
                f'Header line {number} is not "name: value" on one line, without a space before the colon '
                "and without control characters.",
            )
        name, value = match[1].lower(), match[2].rstrip(" \t")
        held = self._headers.get(name)
        if held is None:
            self._headers[name] = value
        else:
            self._headers[name] = (held, value) if isinstance(held, str) else (*held, value)
        return False

    def _request_line(self, line: str) -> tuple[str, str, str]:
        method, target, version = _split(line)
        if method not in ("GET", "HEAD"):
            self.takes = _taken(method, target, self._taking)
        if "#" in target:
            raise Refusal(400, "The request target has a fragment, which clients keep to themselves.")
        return method, target, version

    def _finish(self) -> Head:
        assert self._request is not None
        method, target, version = self._request
        target, authority = _origin_form(target)
        path, _, query = target.partition("?")
        head = Head(method, target, _decode_path(path), query, version, self._headers)
        _check_host(head)
        if authority is not None:
            # RFC 9112 3.2.2: the host of the target replaces the value of `Host`.
            self._headers["host"] = authority
        if method == "POST" and self.takes is not None:
            _check_body(head, self.takes.body)
        else:
            _check_no_body(head)
        return head


def parse_authority(text: str) -> tuple[str, int | None] | None:
    """Split `host[:port]` as in a `Host` header. Return None if it is malformed.

    The host is in lower case, and an IPv6 address is in its shortest form in brackets, so that equal hosts are equal
    texts.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    name, address, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and not 1 <= port <= 65535:
        return None
    if name is not None:
        return name.lower(), port
    try:
        ip = IPv6Address(address)
    except ValueError:
        return None
    if ip.ipv4_mapped is not None:
        # Browsers write such an address in hexadecimal (WHATWG URL, section 3.5). Python does so only before 3.13.
        low = int(ip.ipv4_mapped)
        return f"[::ffff:{low >> 16:x}:{low & 0xFFFF:x}]", port
    return f"[{ip}]", port


def _not_http(start: bytearray) -> Refusal:
    """Refuse the first bytes of another protocol. The reason says what to change."""
    if start.startswith(_TLS):
        return Refusal(400, "This port speaks plain HTTP, not TLS: connect with ws://, or configure [server.tls].")
    return Refusal(
        400,
        "A PROXY protocol header is read only with proxy_protocol = true and from an address in trusted_proxies.",
    )


def _too_large(most: int) -> Refusal:
    return Refusal(431, f"The request head is larger than {most} bytes.")


def _split(line: str) -> tuple[str, str, str]:
    """Split a request line into method, target and version."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        if _HTTP_09.fullmatch(line):  # its client sends nothing more, and waits for the answer
            raise Refusal(505, "HTTP/0.9 is not served: use HTTP/1.1.")
        raise Refusal(400, 'The request line is not "method target HTTP/1.1" with single spaces between.')
    method, target, version = match.groups()
    if version[0] != "1":
        raise Refusal(505, f"HTTP/{version} is not served: use HTTP/1.1.")
    # A minor version above 1.1 is served as 1.1 (RFC 9110 2.5).
    return method, target, "1.0" if version == "1.0" else "1.1"


def _taken(method: str, target: str, taking: Taking | None) -> Takes:
    """What the path of a target takes besides GET and HEAD. Raises Refusal if this method is not among it."""
    if method not in _KNOWN_METHODS:
        raise Refusal(501, "This method is not known here: only GET and HEAD are served.")  # RFC 9110 9.1
    try:
        found = taking(_decode_path(_origin_form(target)[0].partition("?")[0])) if taking is not None else None
    except Refusal:  # nothing is at such a target
        found = None
    if found is None:
        raise Refusal(405, "Only GET and HEAD are served.", [ALLOW])
    if method not in found.methods:
        names = ", ".join(found.methods)
        raise Refusal(405, f"This path serves only {names}.", [("Allow", names)])
    return found


def _origin_form(target: str) -> tuple[str, str | None]:
    """Return the request target in origin-form, and the authority if it was in absolute-form (RFC 9112 3.2).

    Raises:
        Refusal: 400 for the two other forms, which only CONNECT and OPTIONS use, and for anything else.
    """
    if target.startswith("/"):
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise Refusal(400, 'The request target is neither a path that begins with "/" nor an http URL.')
    authority, rest = match.groups()
    if parse_authority(authority) is None:
        raise Refusal(400, 'The host of the request target is not "host" or "host:port".')
    return rest if rest.startswith("/") else f"/{rest}", authority


def _decode_path(raw: str) -> str:
    if "%" not in raw:
        return raw
    try:
        if _BAD_ESCAPE.search(raw):
            raise ValueError
        path = unquote_to_bytes(raw).decode()
    except ValueError:
        raise Refusal(400, "The path is not percent-encoded UTF-8.") from None
    if _CONTROL.search(path):
        raise Refusal(400, "The path holds a control character.")
    return path


def _check_host(head: Head) -> None:
    """Check that there is one valid `Host` (RFC 9112 3.2). HTTP/1.0 does not require it."""
    hosts = head.all("host")
    if len(hosts) > 1 or (not hosts and head.version == "1.1"):
        raise Refusal(400, "The request needs exactly one Host header.")
    if hosts and parse_authority(hosts[0]) is None:
        raise Refusal(400, 'The Host header is not "host" or "host:port".')


def _check_no_body(head: Head) -> None:
    """Check that there is no body, without any ambiguity (RFC 9112 6). Request smuggling uses such ambiguities."""
    _check_codings(head)
    if head.has_body:
        raise Refusal(400, f"A {head.method} request may not have a body here.")


def _check_body(head: Head, most: int) -> None:
    """Check that it is certain where the body ends, and that it is not too large."""
    _check_codings(head)
    if head.all("transfer-encoding"):
        raise Refusal(411, "A body in chunks is not taken here: send it with a Content-Length.")
    if not head.all("content-length"):
        raise Refusal(411, "A POST request needs a Content-Length.")
    if head.length > most:
        raise Refusal(413, f"The body is larger than {most} bytes.")
    expected = head.get("expect")
    if expected is not None and head.version == "1.1" and not head.waits_for_continue:
        raise Refusal(417, 'Only "100-continue" can be expected.')


def _check_codings(head: Head) -> None:
    """Check that the length of a body is given in one way (RFC 9112 6.1 and 6.3)."""
    codings, lengths = head.all("transfer-encoding"), head.all("content-length")
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise Refusal(400, "The Content-Length is not a single decimal number.")
    if codings and (lengths or head.version == "1.0"):
        raise Refusal(400, "A Transfer-Encoding needs HTTP/1.1, and no Content-Length beside it.")
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        raise Refusal(501, "This transfer coding is not served.")
