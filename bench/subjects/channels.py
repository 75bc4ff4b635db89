"""Many channels: a thousand small ones take turns, so that little can be batched."""

from measure import FWS_AND_LIMITS, Measure, Subject
from servers import CHANNEL

SUBJECT = Subject(
    "channels",
    "There are 1,000 channels of 10 members, and one member of each publishes. The channels take turns, with 64 "
    "messages in flight in total.",
    (
        Measure(
            "channels",
            "1,000 channels of 10 members, 128 B, 64 messages in flight in total",
            ("fanout", "-n", "10000", "--groups", "1000", "-s", "128", "-w", "64"),
            "/channel/{g}",
            unit="deliveries/s",
            needs=CHANNEL,
            who=FWS_AND_LIMITS,
            clients=10000,
        ),
    ),
)
