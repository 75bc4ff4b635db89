"""Compression: permessage-deflate is agreed on. Clients send plain frames, as RFC 7692 lets them."""

from measure import Measure, Subject
from servers import COMPRESSION

SUBJECT = Subject(
    "compression",
    "permessage-deflate without context takeover: the server compresses what it sends; clients send plain frames.",
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
