from __future__ import annotations

import pytest

from fws.brokers.memory import MemoryBroker
from tests.brokers.contract import Contract, Node


class TestMemory(Contract):
    @pytest.fixture
    def make(self) -> None:
        self.nodes = [Node(MemoryBroker())]
