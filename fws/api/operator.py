"""What operators see and do through the API, as its methods need it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from fws.auth.bans import Banned


class Operator(Protocol):
    """Views of one node with all its workers. Any method may block its greenlet, and raises CommandError."""

    def stages(self, seconds: float) -> Mapping[str, Any]:
        """Every pipeline with all its stages, and what each stage has done in this time, as `StagesResult` has it."""

    def clients(self, most: int, **wanted: str) -> tuple[int, Sequence[Mapping[str, Any]]]:
        """The number of the clients that are wanted, and the first of them in the order of their ids."""

    def generation(self) -> Mapping[str, Any]:
        """The generation in force and the last reload."""

    def reload(self, *, dry_run: bool, test: bool) -> Mapping[str, Any]:
        """Put what the file says now in force, or only say what would change. Returns the report."""

    def faults(self) -> Sequence[Mapping[str, Any]]:
        """The faults of the last hour, the latest first."""

    def nodes(self) -> Mapping[str, Any]:
        """All nodes, the processes of this one, and its connection to Redis, as `NodesResult` has it."""

    def tap(self, request: Mapping[str, Any]) -> Generator[Mapping[str, Any]]:
        """What passes through stages, until the iterator is closed. An empty mapping says that nothing has passed."""

    def ban(self, kind: str, name: str, seconds: float | None) -> object:
        """Ban a user, an address or a token."""

    def unban(self, kind: str, name: str) -> bool:
        """End a ban. Returns whether there was one."""

    def bans(self) -> Sequence[Banned]:
        """Every ban that is not over."""
