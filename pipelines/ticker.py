"""A ticker: publishes to a channel at an interval, and makes clients members of it."""

import math
import random
from typing import Annotated

from fws import Duration, Filter, Help


class Ticker(Filter):
    """Make each client a member of a channel on which an invented price is published at an interval.

    `start` and `stop` run with the server; `connect` runs for each client. A reload with another interval goes on with
    the price.
    """

    # The hook does not block, and the timer's function may not.
    waits = False

    channel: Annotated[str, Help("Channel to publish to.")] = "ticks"
    every: Annotated[Duration, Help("Time between two ticks.")] = 1.0

    def __post_init__(self) -> None:
        self.number = 0
        self.price = 100.0

    def adopt(self, old) -> None:
        self.number, self.price = old.number, old.price

    def start(self) -> None:
        self.timer = self.timers.at(self.clock() + self.every, self.tick)

    def stop(self) -> None:
        self.timer.cancel()

    def tick(self) -> None:
        self.start()
        self.number += 1
        self.price *= math.exp(random.gauss(0, 0.002))
        self.hub.publish(self.channel, {"type": "tick", "number": self.number, "price": round(self.price, 2)})

    def connect(self, client) -> None:
        client.join(self.channel)
