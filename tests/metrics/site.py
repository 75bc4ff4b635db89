"""What the metrics of a node are collected from, without a server."""

from __future__ import annotations

from collections.abc import Mapping

from fws.metrics.collect import Sources, collect
from fws.metrics.lag import Lag
from fws.metrics.snapshot import Snapshot
from fws.metrics.walk import Walk
from fws.pipeline.pipeline import StepId
from fws.pipeline.tally import StageCounts
from fws.server.node import Node


def sources_of(node: Node, stages: Mapping[StepId, StageCounts]) -> Sources:
    """The sources of a node with these stages."""
    return Sources(
        node.context,
        node.hub,
        node.broker,
        node.history,
        stages=lambda: stages,
        messages=lambda: {"*": 3},
        generation=lambda: node.generation,
        since=lambda: 1e9,
        capacity=lambda: 100,
    )


def walk_of(node: Node) -> Walk:
    """The walk over its clients."""
    return Walk(node.hub, node.history, node.presence, node.context.clock)


def snapshot_of(node: Node, stages: Mapping[StepId, StageCounts] | None = None) -> Snapshot:
    """The snapshot of a node."""
    return collect(sources_of(node, stages or {}), walk_of(node), Lag(node.context.clock))
