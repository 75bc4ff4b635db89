"""`fws connect`: a WebSocket client for terminals and pipes."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import click
import gevent
from gevent.event import Event
from gevent.socket import wait_read

from fws.base.close_codes import GOING_AWAY, NO_STATUS, NORMAL
from fws.base.log import escape, shorten

if TYPE_CHECKING:
    from fws.cli.connection import Connection

# The most bytes of a binary message that a terminal shows.
MAX_SHOWN = 64

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)\Z")


def _headers(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    headers = []
    for value in values:
        match = _HEADER.match(value)
        if match is None:
            raise click.BadParameter(f'{value!r} is not a header: write "Name: value"')
        headers.append((match[1], match[2]))
    return headers


@click.command()
@click.argument("url")
@click.option(
    "-H", "--header", "headers", multiple=True, callback=_headers, metavar='"NAME: VALUE"', help="Send this header."
)
@click.option(
    "--subprotocol",
    "subprotocols",
    multiple=True,
    metavar="NAME",
    help="Offer this subprotocol; the preferred one first.",
)
@click.option("--origin", metavar="URL", help="Send this Origin header, as a web page does.")
@click.option(
    "--ca", type=click.Path(), metavar="FILE", help="Trust the certificate authorities in this file, not the machine's."
)
@click.option("--insecure", is_flag=True, help="Do not verify the server's certificate.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="With input from a pipe, end after this time without a message.",
)
def connect(
    url: str,
    headers: list[tuple[str, str]],
    subprotocols: tuple[str, ...],
    origin: str | None,
    ca: str | None,
    insecure: bool,
    wait: float,
) -> None:
    """Connect to the WebSocket server at URL.

    Each line that you type is sent as a text message, and messages that arrive are shown. Ctrl-D or Ctrl-C ends the
    program. Lines from a pipe are sent as they are read; after the last one, the program waits for answers. URL may be
    as short as localhost:9000, or unix:/run/fws.sock for a UNIX socket (unix:/run/fws.sock:/chat for a path). The exit
    status is 0 if the connection ended normally (1000, 1001), else 1.
    """
    # The client's side of the protocol takes 0.1 s to import and 2 MB. Only this command needs it.
    from websockets.exceptions import InvalidStatus, WebSocketException

    from fws.cli.connection import Connection, tls_context, unix_address, websocket_url

    _have_outputs()
    try:
        unix = unix_address(url)
        file, url = (None, websocket_url(url)) if unix is None else unix
        tls = tls_context(ca, insecure=insecure) if ca is not None or insecure else None
        connection = Connection(url, headers, subprotocols, origin, unix=file, tls=tls)
    except InvalidStatus as error:
        response = error.response
        sentence = (response.body or b"").decode("utf-8", "replace").strip().split("\n")[0]
        answer = f"{response.status_code} {response.reason_phrase}" + (f": {sentence}" if sentence else "")
        _fail(f"{url} answered HTTP {answer}")
    except (OSError, ValueError, WebSocketException) as error:
        _fail(f"cannot connect to {url}: {getattr(error, 'strerror', None) or getattr(error, 'msg', None) or error}")
    sys.exit(converse(connection, Screen(), wait))


def _have_outputs() -> None:
    """Replace standard output and standard error by the null device if the shell has closed them (`>&-`)."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (it stays open as long as the process)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _fail(text: str) -> NoReturn:
    click.echo(f"fws: {shorten(escape(text))}", err=True)
    sys.exit(1)


class Screen:
    """Shows messages: marked and with control characters escaped on a terminal, and unchanged in a pipe.

    Attributes:
        typing: whether a person types messages on the same terminal that shows the answers.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, markup=False, emoji=False)
        self._terminal = self._console.is_terminal
        self.typing = self._terminal and sys.stdin is not None and sys.stdin.isatty()

    def prompt(self) -> None:
        if self.typing:
            self._write(self._styled("> ", "dim"))

    def message(self, message: str | bytes) -> None:
        """Show a message. Raises OSError if standard output is closed."""
        if not self._terminal:
            self._write((message if isinstance(message, str) else hexadecimal(message)) + "\n")
            return
        text = escape(message) if isinstance(message, str) else hexadecimal(message, MAX_SHOWN)
        line = self._styled("< ", "bold cyan") + self._styled(text, "cyan")
        self._write(self._above(line, f"< {text}") if self.typing else line + "\n")

    def notice(self, text: str) -> None:
        """Show a notice about the connection on standard error, so that a pipe gets messages only."""
        if self.typing:
            self._write("\n" if self._console.is_dumb_terminal else "\r\x1b[K")
        click.echo(self._styled(text, "dim") if self.typing else text, err=True)

    def _above(self, line: str, plain: str) -> str:
        """Show a line above the line that is being typed, which keeps its text and cursor.

        It saves the cursor, makes room with a line feed for each row (which scrolls at the bottom), goes back up, moves
        the typed line down, prints the line, restores the cursor, and moves it down. Restoring is absolute and moving
        down stops at the bottom, so that the result is the same whether the terminal scrolled or not.
        """
        from rich.cells import chop_cells

        rows = len(chop_cells(plain, self._console.width))
        if self._console.is_dumb_terminal or rows >= self._console.height - 1:
            return f"\n{line}\n"
        return f"\x1b7{chr(10) * rows}\x1b[{rows}A\r\x1b[{rows}L{line}\x1b8\x1b[{rows}B"

    def _styled(self, text: str, style: str) -> str:
        """Rich knows whether the terminal has colours and whether the user wants them (NO_COLOR)."""
        from rich.text import Text

        with self._console.capture() as capture:
            self._console.print(Text(text, style), end="", soft_wrap=True)
        return capture.get()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def hexadecimal(message: bytes, limit: int | None = None) -> str:
    """A binary message as text: its size, and at most `limit` of its bytes."""
    more = " …" if limit is not None and len(message) > limit else ""
    return f"({len(message)} byte{'' if len(message) == 1 else 's'}) {message[:limit].hex(' ')}{more}".rstrip()


def converse(connection: Connection, screen: Screen, wait: float) -> int:
    """Send standard input line by line and show messages that arrive, until either side ends the connection.

    Args:
        wait: after the end of input from a pipe, seconds without a message until the connection is ended.

    Returns:
        The exit status.
    """
    news, enough = Event(), Event()
    watcher = gevent.signal_handler(signal.SIGINT, enough.set)
    if screen.typing:
        spoken = f", subprotocol {connection.subprotocol}" if connection.subprotocol else ""
        screen.notice(f"connected to {escape(connection.url)}{spoken}; Ctrl-D ends")
        screen.prompt()
    receiving = gevent.spawn(_receive, connection, screen, news, enough)
    sending = gevent.spawn(_send, connection, screen)
    gevent.wait([receiving, sending, enough], count=1)
    # At the end of input from a pipe, answers may still be on their way.
    while not (screen.typing or receiving.ready() or enough.is_set()):
        news.clear()
        if not gevent.wait([receiving, enough, news], timeout=wait, count=1):
            break
    ended, fault = receiving.ready(), sending.value
    enough.set()
    connection.close(receiving)
    sending.kill()
    watcher.cancel()
    if ended:
        received = connection.end.rcvd
        screen.notice(connection.how())
        return 0 if received is not None and received.code in (NORMAL, GOING_AWAY, NO_STATUS) else 1
    if fault:
        screen.notice(f"fws: {fault}")
        return 1
    if screen.typing:
        screen.notice("closed")
    return 0


def _receive(connection: Connection, screen: Screen, news: Event, enough: Event) -> None:
    """Show messages. After `enough` is set, only wait for the end of the connection."""
    for message in connection.messages():
        if enough.is_set():
            continue
        try:
            screen.message(message)
        except OSError:
            # The reader of our output is gone. What is left in the buffer must not cause another error at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            enough.set()
        news.set()


def _send(connection: Connection, screen: Screen) -> str:
    """Send the lines of standard input. Returns an error about one of them; empty at the end of input."""
    for number, line in enumerate(_lines(), start=1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return f"line {number} is not UTF-8: this line and the following ones were not sent"
        connection.send(line)
        screen.prompt()
    return ""


def _lines() -> Iterator[bytes]:
    """The lines of standard input. It waits in the event loop, because a blocking read would delay messages."""
    if sys.stdin is None:
        return
    descriptor, rest = sys.stdin.fileno(), b""
    while True:
        wait_read(descriptor)
        data = os.read(descriptor, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest
