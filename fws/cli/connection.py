"""The client's side of a WebSocket connection, for `fws connect`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import gevent
from gevent import socket, ssl
from gevent.lock import BoundedSemaphore
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import CLOSED, OPEN, Event
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from fws import __version__
from fws.base.close_codes import INVALID_DATA, NO_STATUS, NORMAL
from fws.base.log import escape

# Messages above this size, which nobody could read in a terminal, are refused with 1009.
MAX_MESSAGE = 16 * 1024 * 1024
# Seconds that a server has to answer the opening handshake and the closing handshake.
OPEN_TIMEOUT = 10
CLOSE_TIMEOUT = 2

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def websocket_url(text: str) -> str:
    """The URL for an address that a person types or copies, such as `localhost:9000`, `:9000` or `http://…`.

    Raises:
        ValueError: another scheme, or a space.
    """
    if any(char.isspace() for char in text):
        raise ValueError("a URL has no spaces: write %20")
    match = _SCHEME.match(text)
    scheme, rest = (match[1].lower(), text[match.end() :]) if match else ("ws", text)
    scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    if scheme not in ("ws", "wss"):
        raise ValueError("a WebSocket URL begins with ws:// or wss://")
    return f"{scheme}://{'localhost' if rest[:1] == ':' else ''}{rest}"


def unix_address(text: str) -> tuple[str, str] | None:
    """The socket's file and the URL of `unix:/run/fws.sock` or `unix:/run/fws.sock:/chat`; None for another address.

    Raises:
        ValueError: the address has no file.
    """
    if not text.startswith("unix:"):
        return None
    file, _, path = text.removeprefix("unix:").removeprefix("//").partition(":/")
    if not file:
        raise ValueError("a UNIX socket needs the path of its file: unix:/run/fws.sock, or unix:/run/fws.sock:/chat")
    return file, websocket_url(f"localhost/{path}")


def tls_context(ca: str | None, *, insecure: bool) -> ssl.SSLContext:
    """The TLS context that verifies the server's certificate.

    Args:
        ca: a file of certificate authorities to trust instead of the machine's.
        insecure: whether the certificate is not verified.

    Raises:
        OSError: the file cannot be read, or has no certificate.
    """
    context = ssl.create_default_context(cafile=ca)
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Connection:
    """The client's side of one connection: the protocol of the `websockets` package over a gevent socket.

    The threaded client of that package cannot be used. One of its threads waits in a selector for a socket that another
    thread closes. With greenlets this is a watcher on a closed descriptor, and libev then aborts the process
    (websockets 17.4, gevent 26.9).

    Args:
        unix: the file of a UNIX socket to connect to, instead of the URL's host.
        tls: verifies the server's certificate; None for the machine's authorities.

    Raises:
        OSError: the connection failed, or there was no answer in time.
        ValueError: the URL is invalid.
        WebSocketException: the URL is invalid, or the answer is not a 101.
    """

    def __init__(
        self,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        origin: str | None = None,
        *,
        unix: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url
        uri = parse_uri(url)
        self._protocol = ClientProtocol(
            uri,
            origin=None if origin is None else Origin(origin),
            extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)],
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            max_size=MAX_MESSAGE,
        )
        self._early: list[Event] = []
        self._writing = BoundedSemaphore()
        with gevent.Timeout(OPEN_TIMEOUT, TimeoutError(f"no answer within {OPEN_TIMEOUT} s")):
            self._socket = _unix(unix) if unix is not None else socket.create_connection((uri.host, uri.port))
            try:
                if uri.secure:
                    context = tls or tls_context(None, insecure=False)
                    self._socket = context.wrap_socket(self._socket, server_hostname=uri.host)
                self._open(headers)
            except BaseException:
                self._socket.close()
                raise

    @property
    def subprotocol(self) -> str | None:
        return self._protocol.subprotocol

    def _open(self, headers: Sequence[tuple[str, str]]) -> None:
        request = self._protocol.connect()
        request.headers["User-Agent"] = f"fws/{__version__}"
        for name, _ in headers:
            request.headers.pop(name, None)
        for name, value in headers:
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()
        while not (events := self._protocol.events_received()) and self._protocol.handshake_exc is None:
            self._read()
        # Messages may arrive together with the 101.
        self._early = events[1:]
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc

    def send(self, text: bytes) -> None:
        """Send a text message. If the connection has ended, `messages` ends and shows that."""
        if self._protocol.state is OPEN:
            self._protocol.send_text(text)
            self._flush()

    def messages(self) -> Iterator[str | bytes]:
        """Messages that arrive, until the connection ends. `end` and `how` then say how it ended."""
        text, parts = False, bytearray()
        while self._protocol.state is not CLOSED:
            events, self._early = self._early + self._protocol.events_received(), []
            for event in events:
                if not isinstance(event, Frame) or event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    continue
                if event.opcode is not Opcode.CONT:
                    text = event.opcode is Opcode.TEXT
                parts += event.data
                if event.fin:
                    message, parts = bytes(parts), bytearray()
                    try:
                        yield message.decode() if text else message
                    except UnicodeDecodeError:
                        self._protocol.fail(INVALID_DATA, "text that is not UTF-8")
            # Writing may block until the server reads, and the server may wait until we read. Therefore reading never
            # waits for writing.
            if not self._writing.locked():
                gevent.spawn(self._flush)
            self._read()

    @property
    def end(self) -> ConnectionClosed:
        """The close codes of both sides, after `messages` has ended."""
        return self._protocol.close_exc

    def how(self) -> str:
        """Which side ended the connection, with which code and reason."""
        end = self.end
        first = end.sent if end.rcvd is None or end.rcvd_then_sent is False else end.rcvd
        if first is None:
            return "the connection was lost (1006)"
        who = "by the server" if first is end.rcvd else "by this side"
        code = "no code" if first.code == NO_STATUS else str(first.code)
        return f"closed {who}: {code} {escape(first.reason)}".rstrip()

    def close(self, receiving: gevent.Greenlet) -> None:
        """Do the closing handshake with 1000, as far as the server takes part. `receiving` runs `messages`."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(NORMAL)
            gevent.spawn(self._flush)
        receiving.join(CLOSE_TIMEOUT)
        receiving.kill()
        self._socket.close()

    def _read(self) -> None:
        if self._protocol.close_expected():
            self._socket.settimeout(CLOSE_TIMEOUT)
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()

    def _flush(self) -> None:
        """Write what the protocol has to send. Only one greenlet may write, because two in `sendall` would mix their
        frames.
        """
        with self._writing:
            try:
                while pieces := self._protocol.data_to_send():
                    for data in pieces:
                        if data:
                            self._socket.sendall(data)
                        else:
                            self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the reader also sees the end, and reports it


def _unix(file: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(file)
    except BaseException:
        connection.close()
        raise
    return connection
