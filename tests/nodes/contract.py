"""What every back end of nodes promises. A back end's tests inherit from the mixin, so that all pass the same tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gevent
import pytest

from fws.nodes.base import Nodes
from tests.brokers.contract import wait_until


class Served:
    """What a node answers, and what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[Mapping[str, Any]] = []

    def __call__(self, request: Mapping[str, Any]) -> Any:
        self.requests.append(request)
        match request["do"]:
            case "name":
                return {"name": self.name}
            case "fail":
                raise RuntimeError("a fault of this node")
            case "slow":
                gevent.sleep(0.1)
                return self.name
            case "echo":
                return request["content"]
            case "only":
                return self.name if request["name"] == self.name else None
        return None


class NodesContract:
    """The tests. A subclass makes the nodes.

    Attributes:
        nodes: have been started, and know one another.
        served: what each of them answers.
    """

    nodes: list[Nodes]
    served: list[Served]

    def test_each_node_has_an_id_of_its_own(self) -> None:
        ids = {node.id for node in self.nodes}
        assert len(ids) == len(self.nodes)
        assert all(len(id) >= 12 for id in ids)

    def test_every_node_answers_once_and_this_one_first(self) -> None:
        for node, served in zip(self.nodes, self.served, strict=True):
            answers = node.ask({"do": "name"})
            assert answers[0] == {"name": served.name}
            assert sorted(answer["name"] for answer in answers) == sorted(one.name for one in self.served)
        assert all(len(served.requests) == len(self.nodes) for served in self.served)

    def test_an_answer_is_not_waited_for_longer_than_needed(self) -> None:
        with gevent.Timeout(1.5):
            for _ in range(3):
                assert len(self.nodes[0].ask({"do": "name"})) == len(self.nodes)

    def test_an_answer_may_take_a_while(self) -> None:
        assert sorted(self.nodes[0].ask({"do": "slow"})) == sorted(served.name for served in self.served)

    def test_requests_do_not_wait_for_one_another(self) -> None:
        asking = [gevent.spawn(self.nodes[0].ask, {"do": "slow"}) for _ in range(10)]
        with gevent.Timeout(1.0):
            gevent.joinall(asking)
        assert all(len(one.value) == len(self.nodes) for one in asking)

    def test_nodes_without_an_answer_are_left_out(self) -> None:
        assert self.nodes[0].ask({"do": "nothing"}) == []
        assert self.nodes[0].ask({"do": "only", "name": self.served[-1].name}) == [self.served[-1].name]

    @pytest.mark.parametrize(
        "content", [0, "", [], {}, False, "ü\u2028\x00", [1.5, None, {"a": [True]}], "x" * 100_000]
    )
    def test_values_come_back_as_they_were(self, content: Any) -> None:
        assert self.nodes[0].ask({"do": "echo", "content": content}) == [content] * len(self.nodes)

    def test_a_node_can_be_told_something(self) -> None:
        for node, served in zip(self.nodes, self.served, strict=True):
            told: list[bool] = []
            self.nodes[0].tell(node.id, {"do": "note", "number": 1}, told.append)
            wait_until(lambda: bool(told) and bool(served.requests))  # noqa: B023
            assert told == [True]
            assert served.requests == [{"do": "note", "number": 1}]

    def test_what_a_node_is_told_keeps_its_order(self) -> None:
        told: list[bool] = []
        for number in range(100):
            self.nodes[0].tell(self.nodes[-1].id, {"do": "note", "number": number}, told.append)
        wait_until(lambda: len(told) == 100 and len(self.served[-1].requests) == 100)
        assert [request["number"] for request in self.served[-1].requests] == list(range(100))

    @pytest.mark.parametrize("node", ["another", "", "a b", "*", "\x00", "\ud800", "x" * 1000])
    def test_a_node_that_does_not_exist_is_not_told(self, node: str) -> None:
        told: list[bool] = []
        self.nodes[0].tell(node, {"do": "note"}, told.append)
        wait_until(lambda: bool(told))
        gevent.sleep(0.05)
        assert told == [False]
        assert all(not served.requests for served in self.served)

    def test_a_request_that_is_too_large_is_refused(self) -> None:
        node = self.nodes[0]
        with pytest.raises(ValueError, match="at most"):
            node.ask({"do": "x" * node.largest})
        with pytest.raises(ValueError, match="at most"):
            node.tell(self.nodes[-1].id, {"do": "x" * node.largest}, print)

    def test_a_request_that_json_cannot_represent_is_refused(self) -> None:
        for value in (object(), "\ud800"):
            with pytest.raises(ValueError, match="JSON"):
                self.nodes[0].ask({"do": "echo", "content": value})
        assert self.nodes[0].ask({"do": "echo", "content": [math.pi]})[0] == [math.pi]

    def test_the_others_can_be_reached(self) -> None:
        assert all(node.health() is None for node in self.nodes)
