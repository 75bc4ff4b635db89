"""The methods for operators: what they see of a node, and what they do to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import msgspec

from fws.api import operator_requests as requests
from fws.api.method import Method
from fws.api.operator import Operator
from fws.api.requests import Nothing


def _stages(operator: Operator, request: requests.Stages) -> requests.StagesResult:
    return msgspec.convert(operator.stages(request.seconds), requests.StagesResult)


def _clients(operator: Operator, request: requests.Clients) -> requests.ClientsResult:
    wanted = {name: getattr(request, name) for name in ("user", "address", "channel", "client", "path")}
    total, first = operator.clients(request.offset + request.limit, **wanted)
    shown = msgspec.convert(first[request.offset :], list[requests.ClientView])
    return requests.ClientsResult(total, shown)


def _ban(operator: Operator, request: requests.BanRequest) -> Nothing:
    operator.ban(request.kind, request.name, request.seconds or None)
    return Nothing()


def _unban(operator: Operator, request: requests.OfBan) -> requests.UnbanResult:
    return requests.UnbanResult(operator.unban(request.kind, request.name))


def _bans(operator: Operator, request: requests.ListBans) -> requests.BansResult:
    return requests.BansResult([requests.BanView(*ban) for ban in operator.bans()])


def _generation(operator: Operator, request: requests.AboutGeneration) -> requests.GenerationResult:
    return msgspec.convert(operator.generation(), requests.GenerationResult)


def _reload(operator: Operator, request: requests.Reload) -> requests.ReloadResult:
    report = operator.reload(dry_run=request.dry_run, test=not request.skip_tests)
    return msgspec.convert(report, requests.ReloadResult)


def _faults(operator: Operator, request: requests.ListFaults) -> requests.FaultsResult:
    return requests.FaultsResult(msgspec.convert(operator.faults(), list[requests.FaultView]))


def _nodes(operator: Operator, request: requests.AboutNodes) -> requests.NodesResult:
    return msgspec.convert(operator.nodes(), requests.NodesResult)


def _tap(operator: Operator, request: requests.Tap) -> Iterator[requests.Tapped | None]:
    with closing(operator.tap(msgspec.to_builtins(request))) as lines:
        for line in lines:
            yield msgspec.convert(line, requests.Tapped) if line else None


OPERATOR_METHODS: Final = (
    Method(
        "stages",
        requests.Stages,
        requests.StagesResult,
        "read",
        "Measure what each stage of each pipeline does.",
        _stages,
        by="operator",
    ),
    Method(
        "generation",
        requests.AboutGeneration,
        requests.GenerationResult,
        "read",
        "Describe the generation in force and the last reload.",
        _generation,
        by="operator",
    ),
    Method(
        "nodes",
        requests.AboutNodes,
        requests.NodesResult,
        "read",
        "Describe each node, the workers of this one, and its connection to Redis.",
        _nodes,
        by="operator",
    ),
    Method(
        "faults",
        requests.ListFaults,
        requests.FaultsResult,
        "admin",
        "Give the faults of the last hour, each cause once.",
        _faults,
        by="operator",
    ),
    Method(
        "clients",
        requests.Clients,
        requests.ClientsResult,
        "admin",
        "Find clients of this node.",
        _clients,
        by="operator",
    ),
    Method(
        "ban",
        requests.BanRequest,
        Nothing,
        "admin",
        "Ban a user, an address or a token, for the filter `ban`.",
        _ban,
        by="operator",
        logged=True,
    ),
    Method(
        "unban",
        requests.OfBan,
        requests.UnbanResult,
        "admin",
        "End a ban.",
        _unban,
        by="operator",
        logged=True,
    ),
    Method(
        "bans",
        requests.ListBans,
        requests.BansResult,
        "admin",
        "List the bans that are not over.",
        _bans,
        by="operator",
    ),
    Method(
        "reload",
        requests.Reload,
        requests.ReloadResult,
        "admin",
        "Put what the file says now in force.",
        _reload,
        by="operator",
        logged=True,
    ),
    Method(
        "tap",
        requests.Tap,
        requests.Tapped,
        "admin",
        "Show what passes through stages, as server-sent events.",
        _tap,
        by="operator",
        streams=True,
        logged=True,
    ),
)
