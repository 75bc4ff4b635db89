"""Fan-out: one client publishes, every member of the channel gets it, as fast as it goes."""

from typing import Any

from measure import FWS_AND_LIMITS, Measure, Subject
from servers import CHANNEL


def fanout(name: str, members: int, window: int, **rest: Any) -> Measure:
    title = f"{members:,} members, 128 B, {'one message at a time' if window == 1 else f'{window} messages in flight'}"
    load = ("fanout", "-n", str(members), "-s", "128", "-w", str(window))
    return Measure(name, title, load, "/fanout", unit="deliveries/s", needs=CHANNEL, clients=members, **rest)


SUBJECT = Subject(
    "fanout",
    "One client publishes to all members of a channel; the next message goes out when the last has been received by "
    "all, or up to 64 are on their way.",
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
