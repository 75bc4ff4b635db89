"""Each refusal is counted by its reason. The limits themselves are tested in tests/hostile."""

from __future__ import annotations

import contextlib
import json
import re

from tests.integration.conftest import Running, Serve
from tests.integration.raw import BINARY, TEXT, Raw, frame, request


def answer_of(server: Running, *lines: str) -> bytes:
    """The head of the answer to an upgrade request; empty if the connection is closed."""
    with server.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(request("/", *lines))
        return sock.recv(4096)
    return b""


COUNTS = """
from fws import Filter


class Counts(Filter):
    waits = False

    def connect(self, client):
        client.send(self.services.metrics.all())
"""


def test_refusals_are_counted_by_reason(serve: Serve) -> None:
    server = serve(
        '[endpoints."/counts"]\nconnect = ["counts"]\n[pipelines]\nmessage = ["echo"]', pipelines={"counts": COUNTS}
    )
    answer_of(server, "Origin: https://elsewhere.example")
    for wrong in (frame(TEXT, b"\xff"), frame(BINARY, bytes(1024**2 + 1)), b"\x81\x00"):
        with server.connect() as sock:
            raw = Raw(sock)
            with contextlib.suppress(ConnectionError):
                sock.sendall(wrong)
            raw.close_code()
    with server.connect_tcp() as sock:
        sock.sendall(b"GET / HTTP/0.9\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 505 ")
    with server.connect() as sock:
        counts = json.loads(Raw(sock, "/counts").receive()[1])
    expected = {
        "origins_refused": 1,
        "refused_403": 1,
        "refused_505": 1,
        "protocol_errors_1002": 1,
        "protocol_errors_1007": 1,
        "protocol_errors_1009": 1,
    }
    assert {name: counts.get(name) for name in expected} == expected
    assert server.stop() == 0
    # Once a minute, and at the end.
    assert re.search(r"counted: .*protocol_errors_1002 1.*refused_505 1", server.output)
