"""The nodes of a simulation keep the same promises."""

from __future__ import annotations

import pytest

from fws.base.timers import Timers
from fws.testing.bus import Bus, BusNodes
from tests.nodes.contract import NodesContract, Served
from tests.support import Clock


class TestBusNodes(NodesContract):
    @pytest.fixture(autouse=True, params=[1, 3])
    def begin(self, request: pytest.FixtureRequest) -> None:
        bus = Bus(Clock(1000.0), Timers())
        nodes = [BusNodes(bus) for _ in range(request.param)]
        self.nodes = [*nodes]
        self.served = [Served(f"{number}") for number in range(request.param)]
        for node, served in zip(nodes, self.served, strict=True):
            node.start(served)
