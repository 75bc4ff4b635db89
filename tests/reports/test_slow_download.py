"""A file over a slow network."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from tests.integration.conftest import Serve

# The server with a second in place of the minute that each piece has.
IMPATIENT = """
from gevent import monkey; monkey.patch_all()
import fws.server.handler; fws.server.handler.RESPONSE_TIMEOUT = 1.0
from fws.cli import main; main()
"""


def test_a_download_may_take_longer_than_its_pieces_and_a_reader_that_stops_is_cut_off(
    serve: Serve, tmp_path: Path
) -> None:
    """Fault: a plain response had 60 s as a whole, so that slow networks got only the beginning of a large file.

    https://github.com/dunglas/mercure/issues/335: a time-out for writing, counted from the beginning, cut off clients
    that read all the time.
    """
    size = 8 * 1024 * 1024
    (tmp_path / "conf" / "www").mkdir(parents=True)
    (tmp_path / "conf" / "www" / "large.bin").write_bytes(bytes(size))
    server = serve('[server]\nstatic = "www"\n[endpoints."/ws"]\nmessage = ["echo"]\n', program=("-c", IMPATIENT))

    def slow_socket() -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return sock

    with slow_socket() as reader, slow_socket() as stopped:
        began = time.monotonic()
        received = 0
        while data := reader.recv(1024 * 1024):
            received += len(data)
            # Evenly, so that the whole takes 1.6 times as long as one piece may.
            time.sleep(max(0.0, began + 1.6 * received / size - time.monotonic()))
        assert time.monotonic() - began > 1.5
        assert received > size
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := stopped.recv(1024 * 1024):
                received += len(data)
        assert received < size
