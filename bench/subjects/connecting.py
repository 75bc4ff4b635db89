"""Connecting: handshakes, alone and with the close that follows."""

from measure import FWS_AND_LIMITS, Measure, Subject
from servers import CONNECTION

SUBJECT = Subject(
    "connecting",
    "How many clients come in a second: 2,000 that stay, and clients that come and go at once, 32 at a time.",
    (
        Measure(
            "churn",
            "come and go, 32 at a time",
            ("connect", "--churn", "-c", "32"),
            "/fanout",
            unit="handshakes/s",
            needs=CONNECTION,
        ),
        Measure(
            "arrive",
            "2,000 come and stay, 64 at a time",
            ("connect", "-n", "2000", "-c", "64"),
            "/fanout",
            unit="handshakes/s",
            needs=CONNECTION,
            who=FWS_AND_LIMITS,
            clients=2000,
        ),
    ),
)
