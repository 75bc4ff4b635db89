"""Compression: permessage-deflate is negotiated. Clients send uncompressed frames, which RFC 7692 allows."""

from measure import Measure, Subject
from servers import COMPRESSION

SUBJECT = Subject(
    "compression",
    "The server compresses its messages with permessage-deflate, without context takeover. Clients send uncompressed "
    "frames.",
    (
        Measure(
            "compressed-echo",
            "64 clients, 4 KiB of text",
            ("echo", "-n", "64", "-s", "4096"),
            "/echo",
            needs=COMPRESSION,
        ),
        Measure(
            "compressed-fanout",
            "1,000 members, 4 KiB of text, one message at a time",
            ("fanout", "-n", "1000", "-s", "4096", "-w", "1"),
            "/fanout",
            unit="deliveries/s",
            needs=COMPRESSION,
            clients=1000,
        ),
    ),
    compressed=True,
)
