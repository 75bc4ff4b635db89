"""Clients in a process of their own, so that they can be in another network namespace and vanish with it."""

from __future__ import annotations

import socket
import sys

from tests.integration.raw import Raw, request


def main(address: str, port: str, count: str) -> None:
    """Connect: a third joins the room, a third is silent, and a third is in the middle of its handshake."""
    kept = []
    for number in range(int(count)):
        sock = socket.create_connection((address, int(port)), 10)
        if number % 3 == 2:
            sock.sendall(request()[:40])
        else:
            Raw(sock, "/all" if number % 3 else "/")
        kept.append(sock)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
