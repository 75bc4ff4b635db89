"""Connecting: handshakes, alone and followed by a close."""

from measure import FWS_AND_LIMITS, Measure, Subject
from servers import CONNECTION

SUBJECT = Subject(
    "connecting",
    "How many clients can connect in a second: 2,000 clients that stay, and clients that disconnect at once.",
    (
        Measure(
            "churn",
            "connect and disconnect, 32 at a time",
            ("connect", "--churn", "-c", "32"),
            "/fanout",
            unit="handshakes/s",
            needs=CONNECTION,
        ),
        Measure(
            "arrive",
            "2,000 connect and stay, 64 at a time",
            ("connect", "-n", "2000", "-c", "64"),
            "/fanout",
            unit="handshakes/s",
            needs=CONNECTION,
            who=FWS_AND_LIMITS,
            clients=2000,
        ),
    ),
)
