"""The control socket: who may use it, and what it does with nonsense."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest

from fws.live.control import (
    MAX_REQUEST,
    ControlError,
    ControlServer,
    Reply,
    ask,
    asking,
    runtime_folder,
    servers,
    socket_of,
)


def answer(request: Mapping[str, Any], reply: Reply) -> None:
    match request.get("do"):
        case "hello":
            reply({"pid": 1})
        case "many":
            for number in range(3):
                reply({"number": number})
        case "fail":
            raise ValueError("inside")
        case _:
            raise ControlError("unknown")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ControlServer]:
    server = ControlServer(tmp_path / f"{os.getpid()}.sock", answer)
    server.start()
    yield server
    server.stop()


def inside(call: Callable[[], Any]) -> Any:
    """Call something in a greenlet, while the server answers in another one."""
    return gevent.spawn(call).get(timeout=10)


def test_only_its_user_can_use_it(server: ControlServer) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert inside(lambda: ask(server.path, {"do": "hello"})) == {"pid": 1}


def test_answers_come_one_by_one_and_refusals_are_errors(server: ControlServer) -> None:
    def many() -> list[Any]:
        with asking(server.path, {"do": "many"}) as answers:
            return list(answers)

    assert inside(many) == [{"number": 0}, {"number": 1}, {"number": 2}]
    with pytest.raises(ControlError, match="unknown"):
        inside(lambda: ask(server.path, {"do": "what"}))


def test_a_fault_is_logged_and_the_server_goes_on(server: ControlServer, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ControlError, match="its log says why"):
        inside(lambda: ask(server.path, {"do": "fail"}))
    assert "the control socket failed: ValueError: inside" in caplog.text
    assert inside(lambda: ask(server.path, {"do": "hello"})) == {"pid": 1}


@pytest.mark.parametrize("data", [b"nonsense\n", b"[1]\n", b"\xff\n", b"x" * (2 * MAX_REQUEST), b""])
def test_nonsense_ends_only_its_own_connection(server: ControlServer, data: bytes) -> None:
    def talk() -> bytes:
        with gevent.socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(server.path))
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                return bytes(sock.recv(1000))
            except OSError:
                return b""

    said = inside(talk)
    assert said in (b"", b'{"error":"a request is one JSON object on a line"}\n')
    assert inside(lambda: ask(server.path, {"do": "hello"})) == {"pid": 1}


def test_dead_servers_are_forgotten(server: ControlServer, tmp_path: Path) -> None:
    dead = tmp_path / "999999999.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(dead))
    assert list(inside(lambda: servers(tmp_path))) == [server.path]
    assert not dead.exists()


def test_the_runtime_folder_must_be_private(tmp_path: Path) -> None:
    folder = runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert folder == tmp_path / "fws"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(ControlError, match="nobody else can enter"):
        runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ControlError, match="nobody else can enter"):
        runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_path_that_is_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="longer than 103 bytes"):
        socket_of(tmp_path / ("x" * 100), 1)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="No such file"):
        inside(lambda: ask(tmp_path / "none.sock", {"do": "hello"}))
