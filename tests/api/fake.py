"""Commands in memory, for tests of the API alone. They remember what was asked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from fws.auth.bans import Banned
from fws.base.command_error import NOT_AVAILABLE, UNRECOVERABLE_POSITION, CommandError
from fws.base.errors import StorageError
from fws.histories.base import Page
from fws.pipeline.publication import Position, Publication
from fws.presence.base import Present

EPOCH = "e1"


class FakeCommands:
    """Channels that begin with `seen:` have presence, and those with `broken:` fail.

    Args:
        keeps: whether a channel has history. By default, those that begin with `kept:` have.

    Attributes:
        asked: each call with its arguments.
    """

    def __init__(self, keeps: Callable[[str], bool] = lambda channel: channel.startswith("kept:")) -> None:
        self._keeps = keeps
        self.asked: list[tuple[Any, ...]] = []
        self._kept: dict[str, list[Publication]] = {}
        self._keys: dict[tuple[str, str], Position | None] = {}

    def publish(self, channel: str, message: Any, *, key: str = "", keep: bool = True) -> Position | None:
        self.asked.append(("publish", channel, message))
        if channel.startswith("broken:"):
            raise StorageError("Redis is away") if channel == "broken:redis" else RuntimeError("a bug")
        if (channel, key) in self._keys:
            return self._keys[channel, key]
        position = None
        if self._keeps(channel) and keep:
            kept = self._kept.setdefault(channel, [])
            position = Position(EPOCH, len(kept) + 1)
            kept.append(Publication(channel, message, offset=position.offset, epoch=EPOCH))
        if key:
            self._keys[channel, key] = position
        return position

    def broadcast(
        self, channels: Sequence[str], message: Any, *, key: str = "", keep: bool = True
    ) -> list[Position | CommandError | None]:
        return [
            CommandError(NOT_AVAILABLE) if channel == "full" else self.publish(channel, message, key=key, keep=keep)
            for channel in channels
        ]

    def subscribe(
        self, user: str, channel: str, *, client: str = "", session: str = "", since: Position | None = None
    ) -> None:
        self.asked.append(("subscribe", user, channel, client, session, since))

    def unsubscribe(self, user: str, channel: str, *, client: str = "", session: str = "") -> None:
        self.asked.append(("unsubscribe", user, channel, client, session))

    def disconnect(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        keep: Sequence[str] = (),
        code: int = 3503,
        reason: str = "force disconnect",
    ) -> None:
        self.asked.append(("disconnect", user, client, session, list(keep), code, reason))

    def refresh(
        self, user: str, *, client: str = "", session: str = "", expired: bool = False, expire_at: int = 0
    ) -> None:
        self.asked.append(("refresh", user, client, session, expired, expire_at))

    def presence(self, channel: str) -> list[Present]:
        if not channel.startswith("seen:"):
            raise CommandError(NOT_AVAILABLE)
        return [Present("c1", "ann", {"name": "Ann"}), Present("c2")]

    def presence_stats(self, channel: str) -> tuple[int, int]:
        return len(self.presence(channel)), 1

    def history(self, channel: str, *, since: Position | None = None, limit: int = 0, reverse: bool = False) -> Page:
        if not self._keeps(channel):
            raise CommandError(NOT_AVAILABLE)
        if since is not None and since.epoch != EPOCH:
            raise CommandError(UNRECOVERABLE_POSITION)
        kept = self._kept.get(channel, [])
        found = [one for one in kept if since is None or one.offset > since.offset][:: -1 if reverse else 1]
        return Page(found if limit < 0 else found[:limit], Position(EPOCH, len(kept)), True)

    def history_remove(self, channel: str) -> None:
        self._kept.pop(channel, None)

    def channels(self, pattern: str = "") -> Mapping[str, int]:
        return {name: 2 for name in ("chat:tea", "news") if fnmatchcase(name, pattern or "*")}

    def info(self) -> list[dict[str, Any]]:
        return [{"uid": "n1", "name": "host_9000", "version": "1.0", "num_clients": 3, "more": "ignored"}]


class FakeOperator:
    """A node with one pipeline, one client and one fault.

    Attributes:
        asked: each call that changes something, with its arguments.
        tapped: whether a tap is running.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.tapped = False

    def stages(self, seconds: float) -> dict[str, Any]:
        numbers = dict.fromkeys(("rate", "drop", "error", "close", "refuse", "p50", "p99"), 0.0)
        stage = {"stage": "message/echo", "text": "echo", "chain": "", "place": "a.toml:3", **numbers}
        outer = {**stage, "stage": "message/by", "branches": [{"label": "chat", "stages": [stage]}]}
        return {
            "file": "a.toml",
            "generation": 1,
            "generation_age": 2.0,
            "refused": "",
            "workers": 1,
            "clients": 1,
            "in": 1.5,
            "out": 0.0,
            "lag": 0.1,
            "counters": {},
            "pipelines": [{"title": "every path", "path": "*", "event": "message", "stages": [outer]}],
        }

    def clients(self, most: int, **wanted: str) -> tuple[int, list[dict[str, Any]]]:
        self.asked.append(("clients", most, {name: text for name, text in wanted.items() if text}))
        one = {"path": "/", "address": "", "channels": [], "waiting": 0, "token": "", "worker": 0}
        return 7, [{"client": f"c{number}", "user": "ann", **one} for number in range(min(most, 7))]

    def generation(self) -> dict[str, Any]:
        last = {"at": 5.0, "status": "done", "generation": 2, "lines": ["~ message json"]}
        return {"file": "a.toml", "generation": 2, "since": 5.0, "last": last}

    def reload(self, *, dry_run: bool, test: bool) -> dict[str, Any]:
        self.asked.append(("reload", dry_run, test))
        return {"status": "unchanged", "generation": 2, "lines": []}

    def faults(self) -> list[dict[str, Any]]:
        texts = dict.fromkeys(("event", "stage", "place", "where", "what", "client", "stack", "cause"), "x")
        return [{**texts, "count": 2, "first": 1.0, "last": 2.0}]

    def nodes(self) -> dict[str, Any]:
        worker = {"worker": 0, "pid": 7, "uid": "n1", "clients": 1, "status": "ok", "reason": ""}
        return {"nodes": [{"uid": "n1", "name": "host"}], "workers": [worker], "redis": "none"}

    def tap(self, request: Mapping[str, Any]) -> Generator[dict[str, Any]]:
        if request["stage"] == "broken":
            raise CommandError(NOT_AVAILABLE, "there are 10 taps already")
        self.tapped = True
        try:
            yield {"tapping": 1, "generation": 1}
            yield {}
            yield {"at": 1.0, "stage": "message/echo", "outcome": "pass", "in": "<b>", "more": "ignored"}
        finally:
            self.tapped = False

    def ban(self, kind: str, name: str, seconds: float | None) -> None:
        self.asked.append(("ban", kind, name, seconds))

    def unban(self, kind: str, name: str) -> bool:
        self.asked.append(("unban", kind, name))
        return name == "ann"

    def bans(self) -> list[Banned]:
        return [Banned("user", "ann", 0.0)]
