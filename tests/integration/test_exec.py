"""Programs as filters, in a real server with real clients."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import ROOT, Serve

MANY = 100


def test_the_example_counts_asks_jq_and_plays(serve: Serve) -> None:
    server = serve(ROOT / "conf" / "exec.toml")
    with connect(server.url("/count")) as client:
        client.send("to be or not to be")
        assert client.recv(10) == "6"
    with connect(server.url("/game")) as ann, connect(server.url("/game")) as bob:
        first, second = (json.loads(player.recv(10))["you"] for player in (ann, bob))
        ann.send("left")
        bob.send("jump")
        assert json.loads(reply_to(bob, "error"))["error"] == "say left or right"
        while json.loads(reply_to(bob, "players"))["players"] != {first: 9, second: 10}:
            pass
        [game] = [
            pid for pid in children(server.process.pid) if b"game.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.killpg(int(game), signal.SIGKILL)
        for player in (ann, bob):
            with pytest.raises(ConnectionClosed, match="1012"):
                reply_to(player, "the end")
    assert server.stop() == 0
    assert "was ended by SIGKILL" in server.output


def reply_to(client: ClientConnection, key: str) -> str:
    """The next message that has this key."""
    while key not in (message := str(client.recv(10))):
        pass
    return message


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_drain_and_a_reload_end_programs_and_their_groups(serve: Serve, tmp_path: Path) -> None:
    conf = """
        [endpoints."/stubborn"]
        message = ["exec \\"trap '' TERM; sleep 60 & echo $!; wait\\" shell=true grace=OPTION output=send"]
        [endpoints."/kept"]
        message = ["exec 'while read -r x; do echo $$; done' shell=true per=server", "echo"]
    """
    server = serve(conf.replace("OPTION", "300ms"))
    with connect(server.url("/stubborn")) as client, connect(server.url("/kept")) as other:
        other.send("who?")
        kept = other.recv(10)
        client.send("go")
        first = int(client.recv(10))
        (tmp_path / "conf" / "test.toml").write_text(conf.replace("OPTION", "200ms"))
        server.signal(signal.SIGHUP)
        until(lambda: not is_there(first))
        other.send("who?")
        assert other.recv(10) == kept
        client.send("go")
        second = int(client.recv(10))
        assert is_there(second)
        assert server.stop() == 0
        until(lambda: not is_there(second))


def test_a_drain_keeps_its_limit_with_stubborn_programs(serve: Serve, tmp_path: Path) -> None:
    """Fault: filters were stopped one after the other, and the limit interrupted only the first: 76 s for 3 s."""
    conf = """
        [server]
        drain = "2s"
        [endpoints."/a"]
        message = ["exec ./stub.sh per=server grace=25s"]
        [endpoints."/b"]
        message = ["exec ./stub.sh per=server grace=GRACE"]
    """
    stub = tmp_path / "conf" / "stub.sh"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text('#!/bin/sh\ntrap "" TERM\nwhile :; do sleep 0.1; done\n')
    stub.chmod(0o755)
    server = serve(conf.replace("GRACE", "20s"))
    for number, grace in enumerate(("21s", "22s"), 3):
        (tmp_path / "conf" / "test.toml").write_text(conf.replace("GRACE", grace))
        server.signal(signal.SIGHUP)
        until(lambda number=number: len(children(server.process.pid)) == number)  # type: ignore[misc]
    programs = [int(pid) for pid in children(server.process.pid)]
    time.sleep(0.5)  # the former ones are being ended
    began = time.monotonic()
    assert server.stop() == 0
    # With a little for the interpreter to end.
    assert time.monotonic() - began < 2.7
    until(lambda: not any(is_there(pid) for pid in programs))
    assert "stop failed" not in server.output


def test_programs_end_with_a_server_that_is_killed(serve: Serve) -> None:
    server = serve('[pipelines]\nmessage = ["exec cat per=server", "echo"]')
    until(lambda: len(children(server.process.pid)) == 1)
    [program] = children(server.process.pid)
    server.end()
    until(lambda: not is_there(int(program)))


def is_there(pid: int) -> bool:
    """Whether a process runs. One that nobody has reaped does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_many_programs_that_start_do_not_hold_up_others(serve: Serve) -> None:
    """They are started one at a time, and everybody has a turn in between. bench/exec.py measures it with 1,000."""
    server = serve(
        f"""
        [limits]
        clients_per_address = {MANY + 10}
        connections_per_address = "100000/s"
        [endpoints."/echo"]
        message = ["echo"]
        [endpoints."/cat"]
        message = ["exec cat most={MANY}", "echo"]
        """
    )
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server.url("/cat"), compression=None)) for _ in range(MANY)]
        other = stack.enter_context(connect(server.url("/echo"), compression=None))
        for client in clients:
            client.send("hello")
        waits = []
        while len(children(server.process.pid)) < MANY:
            began = time.monotonic()
            other.send("ping")
            assert other.recv(10) == "ping"
            waits.append(time.monotonic() - began)
        assert sorted(waits)[len(waits) // 2] < 0.1
        assert [client.recv(30) for client in clients] == ["hello"] * MANY
    until(lambda: not children(server.process.pid))
    assert not re.search("event loop is blocked", server.output)
