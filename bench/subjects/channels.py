"""Many channels: a thousand small ones that take turns, so that little can be shared."""

from measure import FWS_AND_LIMITS, Measure, Subject
from servers import CHANNEL

SUBJECT = Subject(
    "channels",
    "1,000 channels of 10 members, of which one publishes; the channels take turns, 64 messages are on their way.",
    (
        Measure(
            "channels",
            "1,000 channels of 10 members, 128 B, 64 in flight over all",
            ("fanout", "-n", "10000", "--groups", "1000", "-s", "128", "-w", "64"),
            "/channel/{g}",
            unit="deliveries/s",
            needs=CHANNEL,
            who=FWS_AND_LIMITS,
            clients=10000,
        ),
    ),
)
