"""A ticker: publishes to a channel at an interval, and makes clients members of it."""

import math
import random
from typing import Annotated

import gevent

from fws import Duration, Filter, Help


class Ticker(Filter):
    """Make each client a member of a channel on which an invented price is published at an interval.

    `start` and `stop` run with the server; `connect` runs for each client.
    """

    channel: Annotated[str, Help("Channel to publish to.")] = "ticks"
    every: Annotated[Duration, Help("Time between two ticks.")] = 1.0

    def start(self) -> None:
        self.greenlet = gevent.spawn(self.tick)

    def stop(self) -> None:
        self.greenlet.kill()

    def tick(self) -> None:
        price = 100.0
        for number in range(1, 10**12):
            price *= math.exp(random.gauss(0, 0.002))
            self.hub.publish(self.channel, {"type": "tick", "number": number, "price": round(price, 2)})
            gevent.sleep(self.every)

    def connect(self, client) -> None:
        client.join(self.channel)
