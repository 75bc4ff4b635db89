"""`fws connect`: a WebSocket client for the terminal, and for pipes."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

import click
import gevent
from gevent import socket, ssl
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from fws import __version__
from fws.constants import GOING_AWAY, INVALID_DATA, NO_STATUS, NORMAL
from fws.log import escape, shorten

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed
    from websockets.protocol import Event as Arrival

# A terminal is for reading: what a server sends beyond this is refused with 1009.
MAX_MESSAGE = 16 * 1024 * 1024
# Bytes of a binary message that a terminal shows.
MAX_SHOWN = 64
# Seconds that a server has to answer the opening handshake, and its half of the closing one.
OPEN_TIMEOUT = 10
CLOSE_TIMEOUT = 3

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)\Z")


def _headers(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    headers = []
    for value in values:
        match = _HEADER.match(value)
        if match is None:
            raise click.BadParameter(f'{value!r} is no header: write "Name: value"')
        headers.append((match[1], match[2]))
    return headers


@click.command()
@click.argument("url")
@click.option("-H", "--header", "headers", multiple=True, callback=_headers, metavar='"NAME: VALUE"')
@click.option(
    "--subprotocol", "subprotocols", multiple=True, metavar="NAME", help="Offer it; the one liked best first."
)
@click.option("--origin", metavar="URL", help="Connect as a page of this origin would.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="When input comes from a pipe: how long without a message ends it.",
)
def connect(
    url: str, headers: list[tuple[str, str]], subprotocols: tuple[str, ...], origin: str | None, wait: float
) -> None:
    """Talk to the WebSocket server at URL.

    Each line you type is sent as a text message; what arrives is shown. Ctrl-D or Ctrl-C ends. Lines from a pipe are
    sent as they come, then answers are awaited. URL may be as short as localhost:9000. Exit with 0 when the connection
    ended normally (1000, 1001), else with 1.
    """
    # The client's half of the protocol takes 0.1 s and 2 MB that only this command needs.
    from websockets.exceptions import InvalidStatus, WebSocketException

    try:
        url = websocket_url(url)
        connection = Connection(url, headers, subprotocols, origin)
    except InvalidStatus as error:
        response = error.response
        sentence = (response.body or b"").decode("utf-8", "replace").strip().split("\n")[0]
        answer = f"{response.status_code} {response.reason_phrase}" + (f": {sentence}" if sentence else "")
        _fail(f"{url} answered HTTP {answer}")
    except (OSError, ValueError, WebSocketException) as error:
        _fail(f"cannot connect to {url}: {getattr(error, 'strerror', None) or getattr(error, 'msg', None) or error}")
    screen = Screen()
    screen.opened(url, connection.subprotocol)
    sys.exit(converse(connection, screen, wait))


def _fail(text: str) -> NoReturn:
    click.echo(f"fws: {shorten(escape(text))}", err=True)
    sys.exit(1)


def websocket_url(text: str) -> str:
    """The URL of what a person types or copies: `localhost:9000`, `:9000` and `http://…` will do.

    Raises:
        ValueError: another scheme.
    """
    match = _SCHEME.match(text)
    scheme, rest = (match[1].lower(), text[match.end() :]) if match else ("ws", text)
    scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    if scheme not in ("ws", "wss"):
        raise ValueError("a WebSocket URL begins with ws:// or wss://")
    return f"{scheme}://{'localhost' if rest[:1] == ':' else ''}{rest}"


class Connection:
    """The client's side of one connection: the protocol of the `websockets` package over a gevent socket.

    Its own threaded client is no choice here. One of its threads waits in a selector for the socket that another
    closes; as greenlets that is a watcher on a closed descriptor, for which libev aborts the process (websockets 17.4,
    gevent 26.9).

    Raises:
        OSError: no connection, or no answer in time.
        ValueError: the URL.
        WebSocketException: the URL, or an answer that is no 101.
    """

    def __init__(
        self,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        origin: str | None = None,
    ) -> None:
        from websockets.client import ClientProtocol
        from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
        from websockets.typing import Origin, Subprotocol
        from websockets.uri import parse_uri

        uri = parse_uri(url)
        self._protocol = ClientProtocol(
            uri,
            origin=None if origin is None else Origin(origin),
            extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)],
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            max_size=MAX_MESSAGE,
        )
        self._early: list[Arrival] = []
        self._writing = BoundedSemaphore()
        with gevent.Timeout(OPEN_TIMEOUT, TimeoutError(f"no answer within {OPEN_TIMEOUT} s")):
            self._socket = socket.create_connection((uri.host, uri.port))
            if uri.secure:
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=uri.host)
            self._open(headers)

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
        # Messages may come in one packet with the 101.
        self._early = events[1:]
        if self._protocol.handshake_exc is not None:
            self._socket.close()
            raise self._protocol.handshake_exc

    def send(self, text: bytes) -> None:
        """Send a text message of UTF-8. What cannot be sent any more is told by the end of `messages`."""
        from websockets.protocol import OPEN

        if self._protocol.state is OPEN:
            self._protocol.send_text(text)
            self._flush()

    def messages(self) -> Iterator[str | bytes]:
        """What arrives, until the connection ends: then `end` says how."""
        from websockets.frames import Frame, Opcode
        from websockets.protocol import CLOSED

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
            # Who writes may wait until the server reads, and the server until we do: so reading never waits for it.
            if not self._writing.locked():
                gevent.spawn(self._flush)
            self._read()

    @property
    def end(self) -> ConnectionClosed:
        return self._protocol.close_exc

    def close(self, receiving: gevent.Greenlet) -> None:
        """The closing handshake with 1000, as far as the server takes part; `receiving` runs `messages`."""
        from websockets.protocol import OPEN

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
        """Write what the protocol has to send; one greenlet at a time, as two in `sendall` tear each other's frames."""
        with self._writing:
            try:
                while pieces := self._protocol.data_to_send():
                    for data in pieces:
                        if data:
                            self._socket.sendall(data)
                        else:
                            self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the reader sees the end as well, and says how it came


class Screen:
    """Where messages are shown: marked and with control characters escaped on a terminal, as they are in a pipe.

    Attributes:
        typing: whether a person types the messages to send and sees the answers beside them.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, markup=False, emoji=False)
        self._terminal = self._console.is_terminal
        self.typing = self._terminal and sys.stdin is not None and sys.stdin.isatty()
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def opened(self, url: str, subprotocol: str | None) -> None:
        if self.typing:
            spoken = f", subprotocol {escape(subprotocol)}" if subprotocol else ""
            self.notice(f"connected to {escape(url)}{spoken}; Ctrl-D ends")
        self.prompt()

    def prompt(self) -> None:
        if self.typing:
            self._write(self._styled("> ", "dim"))

    def message(self, message: str | bytes) -> None:
        """Show what arrived. Raises OSError when standard output is gone."""
        if not self._terminal:
            self._write((message if isinstance(message, str) else hexadecimal(message)) + "\n")
            return
        text = escape(message) if isinstance(message, str) else hexadecimal(message, MAX_SHOWN)
        line = self._styled("< ", "bold cyan") + self._styled(text, "cyan")
        self._write(self._above(line, f"< {text}") if self.typing else line + "\n")

    def notice(self, text: str) -> None:
        """Something about the connection, for people: standard error, so that a pipe holds messages only."""
        if self.typing:
            self._write("\n" if self._console.is_dumb_terminal else "\r\x1b[K")
        click.echo(self._styled(text, "dim") if self.typing else text, err=True)

    def _above(self, line: str, plain: str) -> str:
        """`line` above the one that is being typed, which keeps its text and cursor.

        Save the cursor, make room by as many line feeds as rows are needed (at the bottom they scroll), go back up,
        push the typed line down, print, restore, and follow it down. Restoring is absolute and going down stops at
        the bottom, so it fits whether the terminal scrolled or not.
        """
        from rich.cells import chop_cells

        rows = len(chop_cells(plain, self._console.width))
        if self._console.is_dumb_terminal or rows >= self._console.height - 1:
            return f"\n{line}\n"
        return f"\x1b7{chr(10) * rows}\x1b[{rows}A\r\x1b[{rows}L{line}\x1b8\x1b[{rows}B"

    def _styled(self, text: str, style: str) -> str:
        """Rich knows whether this terminal has colours and whether they are wanted (NO_COLOR)."""
        from rich.text import Text

        with self._console.capture() as capture:
            self._console.print(Text(text, style), end="", soft_wrap=True)
        return capture.get()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def hexadecimal(message: bytes, limit: int | None = None) -> str:
    """A binary message as text: its size and its bytes, at most `limit` of them."""
    more = " …" if limit is not None and len(message) > limit else ""
    return f"({len(message)} byte{'' if len(message) == 1 else 's'}) {message[:limit].hex(' ')}{more}".rstrip()


def converse(connection: Connection, screen: Screen, wait: float) -> int:
    """Send standard input line by line and show what arrives, until either side ends.

    Args:
        wait: seconds without a message that end it, once input from a pipe is at its end.

    Returns:
        The exit status.
    """
    interrupted, news = Event(), Event()
    watcher = gevent.signal_handler(signal.SIGINT, interrupted.set)
    receiving = gevent.spawn(_receive, connection, screen, news)
    sending = gevent.spawn(_send, connection, screen)
    gevent.wait([receiving, sending, interrupted], count=1)
    # At the end of the input of a pipe answers may still be on their way.
    while not (screen.typing or receiving.ready() or interrupted.is_set()):
        news.clear()
        if not gevent.wait([receiving, interrupted, news], timeout=wait, count=1):
            break
    ended, fault = receiving.ready(), sending.value
    watcher.cancel()
    connection.close(receiving)
    sending.kill()
    if ended and receiving.get():
        screen.notice(how(connection.end))
        received = connection.end.rcvd
        return 0 if received is not None and received.code in (NORMAL, GOING_AWAY, NO_STATUS) else 1
    if fault:
        screen.notice(f"fws: {fault}")
        return 1
    if screen.typing:
        screen.notice("closed")
    return 0


def _receive(connection: Connection, screen: Screen, news: Event) -> bool:
    """Show messages; returns whether it was the connection that ended, and not standard output."""
    try:
        for message in connection.messages():
            screen.message(message)
            news.set()
    except OSError:
        # Whoever read our output has had enough. What is left in its buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _send(connection: Connection, screen: Screen) -> str:
    """Send the lines of standard input; returns what is wrong with one of them, or nothing at its end."""
    for number, line in enumerate(_lines(), start=1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return f"line {number} is not UTF-8: it and what follows was not sent"
        connection.send(line)
        screen.prompt()
    return ""


def _lines() -> Iterator[bytes]:
    """The lines of standard input. Waits for them in the loop: a blocking read would hold up what arrives."""
    if sys.stdin is None:
        return
    descriptor, rest = sys.stdin.fileno(), b""
    while True:
        socket.wait_read(descriptor)
        data = os.read(descriptor, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest


def how(end: ConnectionClosed) -> str:
    """Who ended the connection, with which code and reason."""
    first = end.sent if end.rcvd is None or end.rcvd_then_sent is False else end.rcvd
    if first is None:
        return "the connection was lost (1006)"
    who = "by the server" if first is end.rcvd else "by this side"
    code = "no code" if first.code == NO_STATUS else str(first.code)
    return f"closed {who}: {code} {escape(first.reason)}".rstrip()
