"""Half-open peers: their machine has lost power, or a cable was pulled. Nothing more arrives, not even a FIN.

There are two ways to make them. For "unplugged", the peers and the server are in two network namespaces with a pair of
virtual interfaces between them, one of which is taken down. This requires user namespaces, which every user may create
on a Debian machine, but not in a container with Docker's default rules; there only the other way is used. "deaf" needs
no privileges: the peers' sockets get a filter (BPF) that drops each packet before TCP sees it, so that nothing is
acknowledged or answered.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.attack import descriptors, until
from tests.hostile.bystander import Bystander
from tests.integration.conftest import ROOT, Running, Serve
from tests.integration.raw import Raw, request

# A message of the bystander's goes to the room as well, and fills the outboxes of those who have vanished there.
ROOM = """
[limits]
ping_interval = "1s"
ping_timeout = "1s"
handshake_timeout = "1s"
close_timeout = "1s"
max_outbox = "64KiB"
[pipelines]
message = ["echo", "swell"]
[endpoints."/all"]
connect = ["join all"]
"""
SWELL = """
from fws import Filter


class Swell(Filter):
    waits = False

    def message(self, client, message):
        self.hub.publish("all", "x" * 100_000)
"""
PEERS = 60
SO_ATTACH_FILTER = 26
CAP_SYS_ADMIN = 21
NEAR, FAR = "10.77.0.1", "10.77.0.2"


def can_unplug() -> bool:
    """Whether namespaces are available. It is an error if they are permitted and cannot be created."""
    try:
        if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0:
            return True
    except FileNotFoundError:
        pass
    rights = re.search(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())
    return rights is not None and bool(int(rights[1], 16) >> CAP_SYS_ADMIN & 1)


WAYS = ["deaf", "unplugged"] if can_unplug() else ["deaf"]


def deafen(sock: socket.socket) -> None:
    """Drop every packet for this socket."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET | BPF_K: keep 0 bytes
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))


class Place:
    """Where server, bystander and peers are.

    Attributes:
        inside: the command that runs another command in the server's namespace.
        address: the address of the server for the bystander.
    """

    inside: tuple[str, ...] = ()
    address = "127.0.0.1"

    def come(self, server: Running) -> None:
        """The peers connect."""
        raise NotImplementedError

    def vanish(self) -> None:
        """The peers vanish."""
        raise NotImplementedError


class Deaf(Place):
    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._socks: list[socket.socket] = []

    def come(self, server: Running) -> None:
        for number in range(PEERS):
            sock = self._stack.enter_context(server.connect())
            if number % 3 == 2:
                sock.sendall(request()[:40])
            else:
                Raw(sock, "/all" if number % 3 else "/")
            self._socks.append(sock)

    def vanish(self) -> None:
        for sock in self._socks:
            deafen(sock)


class Unplugged(Place):
    address = NEAR

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        near = self._hold("unshare", "-rn")
        self.inside = ("nsenter", "--preserve-credentials", "-U", "-n", "-t", str(near))
        far = self._hold(*self.inside, "unshare", "-n")
        self._far = ("nsenter", "--preserve-credentials", "-U", "-n", "-t", str(far))
        self._run(*self.inside, "ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", str(far))
        for way, name, address in ((self.inside, "near0", NEAR), (self._far, "far0", FAR)):
            self._run(*way, "ip", "link", "set", "lo", "up")
            self._run(*way, "ip", "address", "add", f"{address}/24", "dev", name)
            self._run(*way, "ip", "link", "set", name, "up")

    def _hold(self, *command: str) -> int:
        """Keep a new namespace alive. Returns the pid of the process that does."""
        program = "import sys; print('here', flush=True); sys.stdin.read()"
        process = self._start(*command, sys.executable, "-c", program)
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n", f"no network namespace, though we may make one: {command}"
        return process.pid

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"no network namespace: {' '.join(command)}: {done.stderr}"

    def come(self, server: Running) -> None:
        words = [sys.executable, "-m", "tests.hostile.peers", NEAR, str(server.port), str(PEERS)]
        peers = self._start(*self._far, *words)
        assert peers.stdout is not None
        assert peers.stdout.readline() == b"ready\n"

    def vanish(self) -> None:
        self._run(*self._far, "ip", "link", "set", "far0", "down")


@pytest.fixture(params=WAYS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        yield Deaf(stack) if request.param == "deaf" else Unplugged(stack)


def test_a_vanished_peer_is_noticed_and_disturbs_nobody(serve: Serve, place: Place) -> None:
    server = serve(ROOM, pipelines={"swell": SWELL}, inside=place.inside, listen="0.0.0.0:0")
    with Bystander(server, inside=place.inside, address=place.address):
        files = descriptors(server)
        place.come(server)
        until(lambda: descriptors(server) == files + PEERS)
        place.vanish()
        # A ping, its time, and what a closing handshake and a refusal may take; twice that for a busy machine.
        until(lambda: descriptors(server) <= files, 12)
    assert "Traceback" not in server.output
