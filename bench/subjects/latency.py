"""Latency: messages to 1,000 members at a fixed rate, far below the capacity of the server."""

from measure import FWS_AND_LIMITS, Latency, Subject


def latency(name: str, rate: int) -> Latency:
    load = ("fanout", "-n", "1000", "-s", "256", "-r", str(rate))
    title = f"1,000 members, 256 B, {rate} messages/s"
    return Latency(name, title, load, "/fanout", who=FWS_AND_LIMITS, longer=4.0, clients=1000)


SUBJECT = Subject(
    "latency",
    "One client publishes to 1,000 members at a fixed rate. The latency is the time until the last member has it.",
    (latency("latency-20", 20), latency("latency-50", 50)),
)
