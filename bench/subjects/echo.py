"""Echo: each client sends a message and waits for its return, or keeps several messages in flight."""

from typing import Any

from measure import FWS_AND_LIMITS, Measure, Subject


def echo(name: str, title: str, clients: int, size: int, in_flight: int = 1, **rest: Any) -> Measure:
    load = ("echo", "-n", str(clients), "-s", str(size), "-d", str(in_flight))
    return Measure(name, title, load, "/echo", **rest)


SUBJECT = Subject(
    "echo",
    "Each client sends a message and waits until the server has sent it back. In the last measure, each client keeps "
    "16 messages in flight.",
    (
        echo("echo-1", "1 client, 64 B", 1, 64, who=FWS_AND_LIMITS),
        echo("echo-64", "64 clients, 64 B", 64, 64, quick=True),
        echo("echo-512", "512 clients, 64 B", 512, 64, who=FWS_AND_LIMITS),
        echo("echo-4k", "64 clients, 4 KiB", 64, 4096, who=FWS_AND_LIMITS),
        echo("echo-64k", "16 clients, 64 KiB", 16, 65536),
        echo("echo-deep", "64 clients, 64 B, 16 in flight on each", 64, 64, 16, quick=True),
    ),
)
