"""What operators look for in one process: some of its clients, and its faults of the last hour."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fws.runtime.scheduler import Budget

if TYPE_CHECKING:
    from fws.clients.client import Client
    from fws.server.node import Node

# The most clients of one answer, whatever is asked for.
MAX_CLIENTS = 10_000


def found(clients: Iterable[Client], request: Mapping[str, Any], worker: int) -> dict[str, Any]:
    """The clients that a request describes: their number, and the first of them in the order of their ids.

    Other greenlets have turns meanwhile.

    Args:
        request: `most` is the number of clients in the answer. `client`, `address` and `path` are beginnings, `user`
            and `channel` are exact; what is empty or missing is not looked at.
        worker: the number of this process.
    """
    wanted = wanted_by(request)
    most = min(int(request.get("most") or 0), MAX_CLIENTS)
    matching = list(_matching(clients, wanted))
    first = heapq.nsmallest(most, matching, key=lambda client: client.id)
    return {"total": len(matching), "clients": [_shown(client, worker) for client in first]}


def wanted_by(request: Mapping[str, Any]) -> dict[str, str]:
    """What a request says about the clients that it is about; empty for what does not matter."""
    return {name: str(request.get(name) or "") for name in ("client", "user", "address", "path", "channel")}


def is_wanted(client: Client, wanted: Mapping[str, str]) -> bool:
    """Whether a client is as `wanted_by` says."""
    return (
        client.id.startswith(wanted["client"])
        and wanted["user"] in ("", client.user)
        and client.address.startswith(wanted["address"])
        and client.path.startswith(wanted["path"])
        and (not wanted["channel"] or wanted["channel"] in client.channels)
    )


def _matching(clients: Iterable[Client], wanted: Mapping[str, str]) -> Iterator[Client]:
    budget = Budget()
    budget.start()
    for client in clients:
        budget.spend()
        if is_wanted(client, wanted):
            yield client


def _shown(client: Client, worker: int) -> dict[str, Any]:
    return {
        "client": client.id,
        "user": client.user,
        "path": client.path,
        "address": client.address,
        "channels": sorted(client.channels),
        "waiting": client.outbox.size,
        "token": client.credential,
        "worker": worker,
    }


def faults_of(node: Node, wall: float) -> list[dict[str, Any]]:
    """The faults of the last hour, each with the place of its stage in the file.

    Args:
        wall: Unix time.
    """
    source = node.generation.config.source
    answer = []
    for fault in node.context.faults.book.since(wall):
        place = source.place(fault.path).short if fault.path else ""
        answer.append({**msgspec.to_builtins(fault), "place": place})
    return answer
