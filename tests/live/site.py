"""A server without a network that can be reloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gevent

from fws.clients.client import Client
from fws.compiler.compile import generation_of
from fws.compiler.generation import Generation
from fws.config import load
from fws.live.reload import Reloader, Report
from tests.support import Harness, build


class LiveSite:
    """A harness as the site of a reloader.

    Attributes:
        failures: what the tests of the file say.
        lost: clients whose endpoint was removed.
    """

    def __init__(self, toml: str, folder: Path, *, pipelines: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.harness: Harness = build(toml, folder, pipelines=pipelines)
        self.harness.generation.start()
        self.failures: list[str] = []
        self.lost: list[Client] = []
        self.reloader = Reloader(self)

    @property
    def generation(self) -> Generation:
        return self.harness.node.generation

    def edit(self, toml: str, *, pipelines: Mapping[str, str] | None = None, test: bool = True) -> Report:
        """Change the file and modules, and reload."""
        self.write(toml, pipelines or {})
        return self.reloader.reload(test=test)

    def look(self, later: float = 0.0) -> None:
        """Let former filters be stopped, so many seconds from now, and wait for that."""
        failures: list[BaseException] = []
        self.reloader.look(self.clock() + later, failures.append)
        gevent.joinall([one for retired in self.reloader.retiring for one in retired.stopping], timeout=10)
        self.reloader.look(self.clock() + later, failures.append)
        assert failures == []

    def write(self, toml: str, pipelines: Mapping[str, str]) -> None:
        for name, source in pipelines.items():
            (self.folder / "pipelines" / f"{name}.py").write_text(source)
        (self.folder / "test.toml").write_text(toml)

    def build(self) -> Generation:
        document = load(self.folder / "test.toml")
        return generation_of(document, {}, self.generation.services, previous=self.generation)

    def test(self) -> list[str]:
        return self.failures

    def clients_at(self, path: str | None) -> int:
        return sum(client.endpoint.path == path for client in self.harness.peers if not client.closing)

    def apply(self, generation: Generation) -> None:
        self.lost += self.harness.node.swap(generation)

    def clock(self) -> float:
        return self.harness.clock()
