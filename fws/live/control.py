"""The control socket: a UNIX socket through which commands talk to a running server.

It is a file of mode 0600 in the user's runtime folder, and never on the network. A request and each answer is one JSON
object on a line. A connection carries one request; its answers end with the connection.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent import Greenlet, socket
from gevent.pool import Group
from gevent.server import StreamServer

from fws.base.errors import FwsError

logger = logging.getLogger("fws")

# The most bytes of a request, and seconds that it may take to arrive.
MAX_REQUEST = 64 * 1024
REQUEST_TIMEOUT = 5.0
# The most bytes of one answer.
MAX_ANSWER = 64 * 1024 * 1024
# A UNIX socket's path has at most 107 bytes on Linux and 103 on other systems.
MAX_PATH = 103
SUFFIX = ".sock"
# In the folder of the workers' sockets: where workers ask about the whole node.
NODE = f"node{SUFFIX}"

Reply = Callable[[Any], None]


class ControlError(FwsError):
    """No server can be reached through its control socket, or it refused a request."""


class ControlServer:
    """Answers requests at a control socket.

    Args:
        path: the file of the socket.
        answer: called in a greenlet with a request and a function that sends one answer. It raises ControlError to
            refuse a request, and OSError is raised to it when the asker has gone.

    Attributes:
        answer: as the argument. A change applies to requests that arrive from now on.
    """

    def __init__(self, path: Path, answer: Callable[[Mapping[str, Any], Reply], None]) -> None:
        self.path = path
        self.answer = answer
        self._requests = Group()
        self._server: StreamServer | None = None

    def start(self) -> None:
        """Listen. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self.path.unlink(missing_ok=True)
            listener.bind(str(self.path))
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(before)
        listener.listen(16)
        self._server = StreamServer(listener, self._serve, spawn=self._spawn)
        self._server.start()

    def stop(self) -> None:
        """Stop listening, and remove the file."""
        if self._server is not None:
            self._server.stop(timeout=0)
            self._server = None
            self.path.unlink(missing_ok=True)

    def running(self) -> list[Greenlet]:
        """The greenlets that answer requests at the moment."""
        return list(self._requests)

    def _spawn(self, *call: Any) -> None:
        self._requests.spawn(*call)

    def _serve(self, connection: Any, address: Any) -> None:
        def reply(answer: Any) -> None:
            connection.sendall(msgspec.json.encode(answer) + b"\n")

        try:
            with gevent.Timeout(REQUEST_TIMEOUT, OSError("no request in time")):
                line = _line(connection, MAX_REQUEST)
            self.answer(msgspec.json.decode(line, type=dict[str, Any]), reply)
        except msgspec.DecodeError:
            _try(lambda: reply({"error": "a request is one JSON object on a line"}))
        except ControlError as error:
            refusal = str(error)
            _try(lambda: reply({"error": refusal}))
        except OSError:
            pass  # the asker has gone
        except Exception as error:
            logger.error("the control socket failed: %s: %s", type(error).__name__, error, extra={"error": error})
            _try(lambda: reply({"error": "the server failed to answer; its log says why"}))
        finally:
            connection.close()


def _try(call: Callable[[], None]) -> None:
    try:
        call()
    except OSError:
        pass


def _line(connection: Any, most: int) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        piece = connection.recv(4096)
        if not piece or len(data) > most:
            raise OSError("no request")
        data += piece
    return data


@contextmanager
def asking(path: Path, request: Mapping[str, Any], timeout: float | None = None) -> Iterator[Iterator[dict[str, Any]]]:
    """Send a request, and give the answers as they arrive.

    Args:
        timeout: seconds that each answer may take; None for any time.

    Raises:
        ControlError: nothing listens there, the request is refused, or an answer takes too long.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode(request) + b"\n")
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}") from None
        yield _answers(connection, path)
    finally:
        connection.close()


def ask(path: Path, request: Mapping[str, Any], timeout: float | None = None) -> dict[str, Any]:
    """The only answer to a request. Raises ControlError as `asking`."""
    with asking(path, request, timeout) as answers:
        for answer in answers:
            return answer
    raise ControlError(f"{path}: the server has ended without an answer")


def _answers(connection: Any, path: Path) -> Iterator[dict[str, Any]]:
    rest = b""
    while True:
        try:
            data = connection.recv(65536)
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or 'no answer in time'}") from None
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > MAX_ANSWER:
            raise ControlError(f"{path}: an answer is too long")
        for line in lines:
            answer = msgspec.json.decode(line)
            if isinstance(answer, dict) and set(answer) == {"error"}:
                raise ControlError(str(answer["error"]))
            yield answer


def runtime_folder(environ: Mapping[str, str]) -> Path:
    """The folder for control sockets, which only this user can enter. It is made if it does not exist.

    It is `fws` in `$RUNTIME_DIRECTORY` (systemd) or `$XDG_RUNTIME_DIR`; without them `/tmp/fws-UID`.

    Raises:
        ControlError: the folder belongs to somebody else, or cannot be made.
    """
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(given) / "fws" if given and os.path.isdir(given) else Path("/tmp") / f"fws-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ControlError(f"{folder}: {error.strerror}") from None
    # Anybody may make a folder in /tmp, or a link.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ControlError(f"{folder}: it must be a folder of this user that nobody else can enter")
    return folder


def socket_of(folder: Path, pid: int) -> Path:
    """The control socket of the server with this process id. Raises ControlError if the path is too long."""
    path = folder / f"{pid}{SUFFIX}"
    if len(os.fsencode(path)) > MAX_PATH:
        raise ControlError(f"{path}: the path is longer than {MAX_PATH} bytes")
    return path


def servers(folder: Path) -> dict[Path, dict[str, Any]]:
    """The running servers, by control socket, with their answers to `hello`. Files that dead servers have left go."""
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            found[path] = ask(path, {"do": "hello"}, timeout=5.0)
        except ControlError:
            if not _alive(path):
                path.unlink(missing_ok=True)
    return found


def _alive(path: Path) -> bool:
    """Whether the process that a socket is named after exists."""
    try:
        os.kill(int(path.stem), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True
