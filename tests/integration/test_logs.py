"""All lines about one client can be found by its id, in both forms of the log."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.integration.conftest import Running, Serve
from tests.integration.operator import Operator
from tests.integration.raw import TEXT, Raw, frame

MODULE = """
from fws import Filter
class Fails(Filter):
    def message(self, client, message):
        return message["nothing"]
class Tells(Filter):
    def connect(self, client):
        client.send(client.id)
"""
WRONG = """
[limits]
close_timeout = "1s"
[endpoints."/wrong"]
connect = ["broken.tells"]
message = ["json", "by_type"]
[filters.by_type]
use = "switch"
key = "type"
[filters.by_type.case]
fault = ["broken.fails"]
exec = ["exec 'echo sorry >&2; exit 3' shell=true per=message"]
own = ["exec 'exit 4' shell=true per=client timeout=1s"]
http = ["http http://127.0.0.1:1/"]
fill = ["publish {message.room}"]
[endpoints."/closed"]
connect = ["reject 403 'Not you.'"]
"""
SLOW = """
[limits]
max_outbox = "32KiB"
[endpoints."/hear"]
connect = ["broken.tells", "join all"]
message = ["echo"]
[endpoints."/say"]
message = ["publish all"]
"""


def lines_of(server: Running, client: str) -> list[dict[str, Any]]:
    """The lines of the log that have an id in them anywhere, as a search finds them."""
    found = list(map(json.loads, server.lines))  # each line is JSON, those of tracebacks too
    return [line for line, text in zip(found, server.lines, strict=True) if client in text]


@pytest.mark.process
def test_a_client_that_does_everything_wrong_is_found_by_its_id(serve: Serve) -> None:
    arguments = ("--log-format", "json", "--log-level", "debug")
    server = serve(WRONG, *arguments, pipelines={"broken": MODULE}, ready=False)
    server.port = int(server.wait_for(r"listening on [\d.]+:(\d+)")[1])
    with pytest.raises(InvalidStatus, match="403"):
        connect(server.url("/closed"), proxy=None)
    with server.connect() as sock:
        wrong = Raw(sock, "/wrong")
        _, told = wrong.receive()
        client = told.decode()
        for kind in ("fault", "exec", "own", "http", "fill", "fault"):
            wrong.send(TEXT, json.dumps({"type": kind, "text": "\x1b[31m"}).encode())
        server.wait_for("message for client")
        sock.sendall(frame(TEXT, b"not masked", mask=None))
        server.wait_for(f"client {client} at 127.0.0.1 disconnected")
    lines = lines_of(server, client)
    assert {line["client"] for line in lines} == {client}
    messages = [line["message"] for line in lines]
    for expected in (
        r"client \S+ at 127\.0\.0\.1 connected to /wrong",
        r"127\.0\.0\.1: GET|127\.0\.0\.1 GET /wrong HTTP/1\.1: 101",
        r"message failed in pipelines\.broken\.Fails\.message \(broken\.py:5\) for client \S+: KeyError: 'nothing'",
        r"echo \(\d+\): sorry",
        r"echo: it has ended with the status 3",
        r"exit \(\d+\) has ended with the status 4",
        r"    Traceback ",
        r"the service at http://127\.0\.0\.1:1/: Connection refused",
        r"message for client \S+: ",
        r"client \S+ broke the protocol: 1002 ",
    ):
        assert any(re.search(expected, message) for message in messages), "\n".join([expected, *server.lines])
    assert messages[-1].startswith(f"client {client} at 127.0.0.1 disconnected: 1002 ")
    by_message = {line["message"]: line for line in lines}
    [fault] = [line for line in lines if line["level"] == "error"][:1]
    assert (fault["event"], fault["error"], fault["logger"]) == ("message", "KeyError", "fws.filters")
    assert by_message[messages[-1]]["code"] == 1002
    # Whoever was refused has an id as well, which is in both lines about the request.
    [refused] = [line for line in map(json.loads, server.lines) if "Not you." in line["message"]]
    assert (refused["status"], refused["address"]) == (403, "127.0.0.1")
    assert len(lines_of(server, refused["client"])) == 2
    assert server.stop() == 0


@pytest.mark.process
def test_every_line_about_a_client_has_its_id_from_its_connection_to_its_end(serve: Serve, tmp_path: Path) -> None:
    server = serve(SLOW, "--log-level", "debug", pipelines={"broken": MODULE})
    operator = Operator(server, tmp_path)
    ends: dict[str, str] = {}
    with connect(server.url("/hear"), proxy=None) as ann:
        ends[str(ann.recv(timeout=10))] = "1000"
    with connect(server.url("/hear"), proxy=None) as bob:
        client = str(bob.recv(timeout=10))
        assert operator.fws("kick", client, "--reason", "enough").returncode == 0
        with pytest.raises(ConnectionClosed, match="1008"):
            bob.recv(timeout=10)
        ends[client] = "1008 enough"
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", server.port))
    with slow, connect(server.url("/say"), proxy=None) as writer:
        client = Raw(slow, "/hear").receive()[1].decode()
        ends[client] = "1013 too slow"
        with contextlib.suppress(ConnectionClosed):
            for _ in range(400):
                writer.send("x" * 30_000)
        server.wait_for(f"client {client} is too slow: 1013")
    for client, end in ends.items():
        server.wait_for(rf"client {client} at \S+ disconnected: {end}")
        found = [line for line in server.lines if client in line]
        assert f"client {client} at 127.0.0.1 connected to /hear" in found[0]
        assert any(f"GET /hear HTTP/1.1: 101 Switching Protocols (client {client})" in line for line in found)
        assert "disconnected" in found[-1]
    # Fault: the library had a line without an id about each request.
    assert "Initializing" not in server.output
    # No line about a connection lacks the id.
    assert [line for line in server.lines if "127.0.0.1" in line and "client " not in line and "GET" in line] == []
    assert server.stop() == 0
