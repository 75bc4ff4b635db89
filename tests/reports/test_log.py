"""Log lines about connections that the server ends."""

from __future__ import annotations

import socket

from tests.integration.conftest import Serve
from tests.integration.raw import CLOSE, TEXT, Raw

TOML = """
[limits]
ping_interval = "100ms"
ping_timeout = "100ms"
max_message = "1KiB"
max_outbox = "64KiB"
[endpoints."/ws"]
message = ["echo"]
[endpoints."/flood"]
connect = ["flood"]
"""
FLOOD = '''
from fws import Filter

class Flood(Filter):
    """Sends more than a client that does not read can take."""

    def connect(self, client):
        for _ in range(100):
            client.send("x" * 60_000)
'''


def test_the_end_of_every_connection_has_a_line_with_its_reason(serve: Serve) -> None:
    """Fault: the level `debug` had no line about a client that the server ended. Only counters showed it.

    https://github.com/django/daphne/pull/474: nobody could see that the server itself had ended a client that did not
    answer. https://github.com/miguelgrinberg/python-socketio/issues/1006: a message over the limit ended a connection,
    and it took long to find out why.
    """
    server = serve(TOML, "--log-level", "debug", pipelines={"flood": FLOOD})

    def gone(code: int, reason: str) -> None:
        server.wait_for(rf"debug +client \S+ at 127\.0\.0\.1 disconnected: {code} {reason}", 20)

    with server.connect() as sock:
        Raw(sock, "/ws").send(TEXT, b"x" * 2000)
        gone(1009, "a message is larger than 1024 bytes")
    with server.connect() as sock:
        Raw(sock, "/ws").send(CLOSE, b"\x0f\xa1done")
        gone(4001, "done")
    with server.connect() as sock:
        Raw(sock, "/ws")
        gone(1006, "no answer to a ping")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        Raw(sock, "/flood")
        gone(1013, "too slow")
