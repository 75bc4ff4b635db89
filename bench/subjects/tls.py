"""TLS: what it adds to the cost of a message, a handshake and an idle client."""

from measure import Measure, Subject
from servers import TLS
from subjects.memory import Memory

SUBJECT = Subject(
    "tls",
    "All connections use TLS 1.3 with a P-256 key. Each handshake is a full one, without session resumption.",
    (
        Measure("tls-echo", "64 clients, 64 B", ("echo", "-n", "64", "-s", "64"), "/echo", needs=TLS),
        Measure("tls-echo-64k", "16 clients, 64 KiB", ("echo", "-n", "16", "-s", "65536"), "/echo", needs=TLS),
        Measure(
            "tls-fanout",
            "1,000 members, 128 B, one message at a time",
            ("fanout", "-n", "1000", "-s", "128", "-w", "1"),
            "/fanout",
            unit="deliveries/s",
            needs=TLS,
            clients=1000,
        ),
        Measure(
            "tls-churn",
            "connect and disconnect, 32 at a time",
            ("connect", "--churn", "-c", "32"),
            "/fanout",
            unit="handshakes/s",
            needs=TLS,
        ),
    ),
    tls=True,
)
# This subject has a process of its own: memory that other measures have freed would hide what the clients take.
MEMORY = Subject(
    "tls-memory",
    "The resident memory that 3,000 idle clients add. Each is a member of a channel.",
    (Memory("tls-memory", "3,000 idle clients", (), "/fanout", needs=TLS, clients=3000),),
    most_rounds=1,
    tls=True,
)
