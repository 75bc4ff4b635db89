"""Fan-out: one client publishes to all members of a channel, as fast as possible."""

from typing import Any

from measure import FWS_AND_LIMITS, Measure, Subject
from servers import CHANNEL


def fanout(name: str, members: int, window: int, **rest: Any) -> Measure:
    title = f"{members:,} members, 128 B, {'one message at a time' if window == 1 else f'{window} messages in flight'}"
    load = ("fanout", "-n", str(members), "-s", "128", "-w", str(window))
    return Measure(name, title, load, "/fanout", unit="deliveries/s", needs=CHANNEL, clients=members, **rest)


SUBJECT = Subject(
    "fanout",
    "One client publishes to all members of a channel. It sends the next message when all members have received the "
    "last one, or it keeps up to 64 messages in flight.",
    (
        fanout("fanout-100", 100, 1, who=FWS_AND_LIMITS),
        fanout("fanout-1000", 1000, 1, quick=True),
        fanout("fanout-5000", 5000, 1, who=FWS_AND_LIMITS),
        fanout("fanout-10000", 10000, 1, who=FWS_AND_LIMITS),
        fanout("fanout-100-deep", 100, 64, who=FWS_AND_LIMITS),
        fanout("fanout-1000-deep", 1000, 64, quick=True),
        fanout("fanout-5000-deep", 5000, 64, who=FWS_AND_LIMITS),
    ),
)
