"""Commands in memory, for tests of the API alone. They remember what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

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
