"""The SDK for JavaScript as npm has it, in node, over each of its transports.

All scenarios of tests/sdk run at the same time in one node process, against one server with Redis. Each test here looks
at the result of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import launcher
from tests.integration.operator import Operator
from tests.integration.redis_server import RedisServer
from tests.integration.sdk import CONF, KEY, PIPELINES, TRANSPORTS, Node, scenarios

MODULES = ("connections", "channels", "recovery", "backends")

Results = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Results:
    """What was wrong with each scenario over each transport; empty if nothing was."""
    folder: Path = tmp_path_factory.mktemp("sdk")
    with launcher(folder, None) as serve:
        server = serve(CONF, pipelines=PIPELINES, KEY=KEY, REDIS_URL=redis.url)
        operator = Operator(server, folder)

        def answer(request: dict[str, Any]) -> int:
            options = [f"--{name}={value}" for name, value in request.items() if name != "do"]
            return operator.fws(request["do"], *options).returncode

        told = Node("run.mjs", str(server.port), *MODULES, answer=answer).wait()
        assert [one for one in told if "scenario" not in one] == []
        assert "Traceback" not in server.output
    return {(one["scenario"], one["transport"]): one["error"] for one in told}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", scenarios(*MODULES))
def test_scenario(results: Results, scenario: str, transport: str) -> None:
    assert results[scenario, transport] == ""
