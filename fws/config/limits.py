"""`[limits]`: how much one client, one address and all clients together may use."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from fws.base.units import Duration, Rate, Size
from fws.pipeline.options import Check, Help
from fws.wire.frames import MAX_FRAGMENTS
from fws.wire.head import MAX_HEAD, MAX_HEAD_LINE, MAX_HEADERS
from fws.wire.proxy import parse_networks

Seconds = Annotated[Duration, Meta(gt=0)]
_Count = Annotated[int, Meta(ge=1)]

# Loopback and private networks (RFC 1918, 4193, 3927, 4291, 6598): the operator's own machines and proxies.
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
    """Limits that an endpoint may set for itself."""

    max_message: Annotated[
        Size,
        Meta(ge=125, le=1024**3),
        Help("The largest message that a client may send, measured after decompression (websockets, NATS: 1 MiB)."),
    ] = 1024**2
    max_outbox: Annotated[
        Size, Meta(ge=1), Help("Unsent bytes above which a client is a slow consumer (Centrifugo: 1 MiB).")
    ] = 1024**2


class Limits(Bounds, frozen=True, kw_only=True):
    """Limits of one process. The brackets name software with the same or a similar default."""

    clients: Annotated[
        _Count,
        Help("Connections of the process; further ones get 503. The limit on open files may be lower (NATS: 65,536)."),
    ] = 65_536
    clients_per_address: Annotated[
        _Count,
        Help("Connections of one IPv4 address or one IPv6 /64; further ones get 429. A carrier's NAT has hundreds."),
    ] = 1000
    clients_per_user: Annotated[
        _Count,
        Help("Connections with the same identity.user; further ones get 429. One person has tens of devices and tabs."),
    ] = 100
    subscriptions: Annotated[
        _Count,
        Help("Channels that one client may request itself; further requests get 429 (Centrifugo: 128)."),
    ] = 1000
    connections_per_address: Annotated[
        Rate,
        Help(
            "New connections of one address; one second's worth may arrive at once, further ones get 429. An office "
            "behind one address reconnects like that after a restart."
        ),
    ] = 100.0
    failed_logins: Annotated[
        Rate,
        Help(
            "Refusals with 401 of one address; one minute's worth may occur at once. After that the address gets 429 "
            "(Fail2ban: 5 in 10 min)."
        ),
    ] = 10 / 60
    exempt: Annotated[
        list[str],
        Help(
            "Networks to which the limits per address do not apply. The default is the private networks, because "
            "connections from there mostly come from proxies; [] means none."
        ),
        Check(parse_networks),
    ] = msgspec.field(default_factory=OWN_NETWORKS.copy)
    messages: Annotated[
        Rate,
        Help(
            "Messages of one client, including control frames. A client that sends more is read more slowly. The "
            "default only keeps one client from using a whole core; a chat needs 20/s."
        ),
    ] = 100_000.0
    bytes: Annotated[
        Size,
        Meta(ge=1),
        Help(
            "Bytes per second of one client. A client that sends more is read more slowly. A gigabit line carries "
            "119 MiB."
        ),
    ] = 256 * 1024**2
    history_memory: Annotated[
        Size,
        Meta(ge=1024**2),
        Help(
            "Memory of the histories of all channels together, if they are kept in this process (without Redis). Above "
            "it, the channels that were unused for longest are forgotten."
        ),
    ] = 256 * 1024**2
    max_fragments: Annotated[
        _Count, Help("The most frames in which one message may arrive (ws: 131,072; Autobahn needs 65,537).")
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
        Seconds, Help("Time from the accepted connection to the 101 response, including TLS (websockets: 10 s).")
    ] = 10
    idle_timeout: Annotated[
        Seconds | None,
        Help("A client that sends no message for this long is closed with 1008. Without it, clients may be silent."),
    ] = None
    close_timeout: Annotated[Seconds, Help("Time for the close handshake; then TCP ends (websockets: 10 s).")] = 5
    ping_interval: Annotated[Seconds, Help("Time between two pings to a client (Centrifugo: 25 s).")] = 25
    ping_timeout: Annotated[
        Seconds, Help("A client that does not answer a ping within this time is disconnected (Centrifugo: 8 s).")
    ] = 10
    max_block: Annotated[
        Seconds, Help("Whatever blocks the event loop longer is logged with its stack (asyncio's debug mode: 100 ms).")
    ] = 0.1
    threads: Annotated[
        int,
        Meta(ge=1, le=256),
        Help("Native threads for what filters offload (`self.offload`). Python's default: 5 to 32."),
    ] = 4
    offload_timeout: Annotated[Seconds, Help("Time that one such call may take, waiting for a thread included.")] = 30
