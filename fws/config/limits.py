"""`[limits]`: how much of what one client, one address and all of them may have."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from fws.base.units import Duration, Rate, Size
from fws.pipeline.options import Help
from fws.wire.frames import MAX_FRAGMENTS
from fws.wire.head import MAX_HEAD, MAX_HEAD_LINE, MAX_HEADERS

Seconds = Annotated[Duration, Meta(gt=0)]
_Count = Annotated[int, Meta(ge=1)]

# Loopback and private networks (RFC 1918, 4193, 3927, 4291, 6598): one's own machines, and proxies.
OWN_NETWORKS = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
]


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that an endpoint may have for itself."""

    max_message: Annotated[
        Size,
        Meta(ge=125, le=1024**3),
        Help("The largest message a client may send, also after inflation (websockets and NATS: 1 MiB)."),
    ] = 1024**2
    max_outbox: Annotated[
        Size, Meta(ge=1), Help("Unsent bytes above which a client is a slow consumer (Centrifugo: 1 MiB).")
    ] = 1024**2


class Limits(Bounds, frozen=True, kw_only=True):
    """Each holds for one process. Brackets name who has such a default; a number without them is our own."""

    clients: Annotated[
        _Count, Help("Connections in all; more get 503. Open files set one of their own (NATS: 65,536).")
    ] = 65_536
    clients_per_address: Annotated[
        _Count, Help("Connections of one address, or of one /64 of IPv6; more get 429. A carrier's NAT has hundreds.")
    ] = 1000
    clients_per_user: Annotated[
        _Count, Help("Connections with the same identity.user; more get 429. One person's devices and tabs are tens.")
    ] = 100
    connections_per_address: Annotated[
        Rate,
        Help(
            "New connections of one address, a second's worth at once; more get 429. An office comes back like that "
            "after a restart."
        ),
    ] = 100.0
    failed_logins: Annotated[
        Rate,
        Help("Refusals with 401 of one address, a minute's worth at once; then it gets 429 (Fail2ban: 5 in 10 min)."),
    ] = 10 / 60
    exempt: Annotated[
        list[str],
        Help("Networks to which the limits per address do not apply: one's own, which are mostly proxies' (none: [])."),
    ] = msgspec.field(default_factory=OWN_NETWORKS.copy)
    messages: Annotated[
        Rate,
        Help(
            "Messages of one client, control frames too; one that sends more is read no faster than that. The default "
            "only keeps one from taking a whole core: a chat needs 20/s."
        ),
    ] = 100_000.0
    bytes: Annotated[
        Size,
        Meta(ge=1),
        Help("Bytes a second of one client; one that sends more is read no faster. A gigabit line carries 119 MiB."),
    ] = 256 * 1024**2
    max_fragments: Annotated[
        _Count, Help("The most frames that one message may come in (ws: 131,072; Autobahn needs 65,537).")
    ] = MAX_FRAGMENTS
    max_head: Annotated[
        Size, Meta(ge=1024, le=1024**2), Help("The largest request head (node: 16 KiB, Envoy: 60 KiB).")
    ] = MAX_HEAD
    max_head_line: Annotated[
        Size, Meta(ge=256, le=1024**2), Help("The longest line of a request head (websockets, nginx: 8 KiB).")
    ] = MAX_HEAD_LINE
    max_headers: Annotated[
        int, Meta(ge=10, le=10_000), Help("The most headers of a request (Envoy: 100, HAProxy: 101).")
    ] = MAX_HEADERS
    handshake_timeout: Annotated[
        Seconds, Help("From the accepted connection to the 101, absolute, TLS included (websockets: 10 s).")
    ] = 10
    idle_timeout: Annotated[
        Seconds | None,
        Help("A client that sends no message for so long is closed with 1008; left out: it may be silent."),
    ] = None
    close_timeout: Annotated[Seconds, Help("For the closing handshake; then TCP ends (websockets: 10 s).")] = 5
    ping_interval: Annotated[Seconds, Help("Between the pings to a client (Centrifugo: 25 s).")] = 25
    ping_timeout: Annotated[
        Seconds, Help("A client that leaves a ping unanswered for this long is gone (Centrifugo: 8 s).")
    ] = 10
    max_block: Annotated[
        Seconds, Help("What holds the loop longer is named in the log with its stack (asyncio's debug mode: 100 ms).")
    ] = 0.1
