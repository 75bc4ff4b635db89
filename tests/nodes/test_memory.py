"""The only node."""

from __future__ import annotations

import pytest

from fws.base.metrics import Metrics
from fws.nodes.memory import MemoryNodes
from fws.runtime.scheduler import Scheduler
from tests.brokers.contract import wait_until
from tests.nodes.contract import NodesContract, Served


class TestMemoryNodes(NodesContract):
    @pytest.fixture(autouse=True)
    def begin(self) -> None:
        self.metrics = Metrics()
        node = MemoryNodes(Scheduler(), self.metrics)
        self.served = [Served("a")]
        node.start(self.served[0])
        self.nodes = [node]

    def test_a_fault_while_it_is_told_something_is_counted(self) -> None:
        self.nodes[0].tell(self.nodes[0].id, {"do": "fail"}, lambda received: None)
        wait_until(lambda: self.metrics["node_faults"] == 1)
