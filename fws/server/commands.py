"""The commands of the server API: what an application can have done, on all nodes and workers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from functools import partial
from typing import Any

import msgspec
from gevent.pool import Pool

from fws.base.command_error import BAD_REQUEST, INTERNAL, NOT_AVAILABLE, UNRECOVERABLE_POSITION, CommandError
from fws.base.errors import Close, StorageError
from fws.channels.service import ChannelService
from fws.channels.waiting import answer_of
from fws.config import Channel
from fws.histories.base import Page
from fws.nodes.base import Nodes
from fws.pipeline.publication import Position, check_channel
from fws.presence.base import Present
from fws.server.requests import Channels, End, Info, Inform, Join, Leave, ListChannels, Refresh, Whom

# The channels to which one broadcast publishes at the same time.
PARALLEL = 64
# The most characters of a pattern, a user, and the id of a client or session.
LONGEST = 500
# The codes that Centrifugo's clients know: 3503 tells them not to reconnect.
FORCED = 3503


class Commands:
    """What the server API can do.

    Each method may block its greenlet, works for all nodes, and raises CommandError. What is published through the API
    is the application's own intent, so that no rule of [channels] is asked.

    A command for clients reaches each node at most once. Nodes that are not connected to Redis at that moment do not
    get it. If this node itself is not connected, it does its own part and raises CommandError.

    Args:
        malformed: called for an answer of a node that is malformed.
    """

    def __init__(self, channels: ChannelService, nodes: Nodes, malformed: Callable[[], None]) -> None:
        self._service = channels
        self._nodes = nodes
        self._malformed = malformed

    # Channels.

    def publish(self, channel: str, message: Any, *, key: str = "", keep: bool = True) -> Position | None:
        """Publish a message. Returns its position; None if the channel has no history.

        Args:
            key: a message with the same key is not published again within 5 minutes, and has the same position.
            keep: whether the channel's history keeps it.

        Raises:
            CommandError: 107 for an invalid name or message; 100 if it is not known whether it was published.
        """
        try:
            return self._service.publish_and_wait(channel, message, key=key, keep=keep)
        except (ValueError, TypeError) as error:
            raise CommandError(BAD_REQUEST, str(error)) from None
        except StorageError as error:
            raise CommandError(INTERNAL, str(error)) from None

    def broadcast(
        self, channels: Sequence[str], message: Any, *, key: str = "", keep: bool = True
    ) -> list[Position | CommandError | None]:
        """Publish a message to several channels. Returns for each what `publish` returns, or why it failed.

        Raises:
            CommandError: 107 without any channel.
        """
        if not channels:
            raise CommandError(BAD_REQUEST, "a broadcast needs channels")

        def publish(channel: str) -> Position | CommandError | None:
            try:
                return self.publish(channel, message, key=key, keep=keep)
            except CommandError as error:
                return error

        if len(channels) == 1:
            return [publish(channels[0])]
        results: list[Position | CommandError | None] = Pool(PARALLEL).map(publish, channels)
        return results

    def presence(self, channel: str) -> list[Present]:
        """Everybody who is present in a channel. Raises CommandError: 107, 108 without presence, 100."""
        if not self._settings(channel).presence:
            raise CommandError(NOT_AVAILABLE, "the channel has no presence")
        return self._asked(partial(self._service.presence, channel))  # type: ignore[no-any-return]

    def presence_stats(self, channel: str) -> tuple[int, int]:
        """The clients that are present in a channel, and their users. All clients without a user count as one."""
        present = self.presence(channel)
        return len(present), len({one.user for one in present})

    def history(self, channel: str, *, since: Position | None = None, limit: int = 0, reverse: bool = False) -> Page:
        """A part of what a channel keeps, and the position of the channel.

        Args:
            since: after which position, or with `reverse` before it; None for the oldest, or with `reverse` the newest.
            limit: the most publications; 0 for the position alone, below 0 for all.
            reverse: whether the newest comes first.

        Raises:
            CommandError: 107; 108 without history; 112 if publications after `since` are missing, or the channel never
                had this position; 100.
        """
        if not self._settings(channel).kept:
            raise CommandError(NOT_AVAILABLE, "the channel has no history")
        if since is not None and reverse and not since.offset:
            raise CommandError(BAD_REQUEST, "nothing comes before the offset 0")
        span: dict[str, Any] = {"since": since, "limit": limit, "reverse": reverse}
        page: Page = self._asked(lambda: answer_of(lambda done: self._service.page(channel, done=done, **span)))
        if not page.complete:
            raise CommandError(UNRECOVERABLE_POSITION)
        return page

    def history_remove(self, channel: str) -> None:
        """Forget what a channel keeps. Raises CommandError: 107, 108 without history, 100."""
        if not self._settings(channel).kept:
            raise CommandError(NOT_AVAILABLE, "the channel has no history")
        self._asked(partial(self._service.remove_history, channel))

    def channels(self, pattern: str = "") -> dict[str, int]:
        """The channels with members on any node, and the number of these.

        Args:
            pattern: which names; empty for all. `*` is any number of characters, `?` one, `[a-z]` one of these.

        Raises:
            CommandError: 107 for an invalid pattern; 100 if other nodes cannot be asked, or there are too many.
        """
        _check_texts(pattern)
        matching(pattern)
        found: dict[str, int] = {}
        for answer in self._ask(ListChannels(pattern), Channels):
            if answer.problem:
                raise CommandError(INTERNAL, answer.problem)
            for channel, members in answer.channels.items():
                found[channel] = found.get(channel, 0) + members
        return found

    # Clients.

    def subscribe(
        self, user: str, channel: str, *, client: str = "", session: str = "", since: Position | None = None
    ) -> None:
        """Let the clients of a user join a channel, or the one of them with this id or session.

        An empty user stands for clients without a user, and needs `client` or `session`.

        Args:
            since: the position up to which they have read the channel.

        Raises:
            CommandError: 107; 100 if other nodes cannot be asked.
        """
        _check(channel)
        if since is not None and Position.parse(str(since)) is None:
            raise CommandError(BAD_REQUEST, "a position has an epoch and an offset")
        start = "" if since is None else str(since)
        self._tell(Join(user=user, client=client, session=session, channel=channel, since=start))

    def unsubscribe(self, user: str, channel: str, *, client: str = "", session: str = "") -> None:
        """Let the clients of a user leave a channel. Arguments and errors as for `subscribe`."""
        _check(channel)
        self._tell(Leave(user=user, client=client, session=session, channel=channel))

    def disconnect(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        keep: Sequence[str] = (),
        code: int = FORCED,
        reason: str = "force disconnect",
    ) -> None:
        """Close the connections of a user. Arguments and errors as for `subscribe`.

        Args:
            keep: ids of clients that stay.
            code, reason: as in `fws.base.errors.Close`.
        """
        try:
            end = Close(code, reason)
        except (ValueError, TypeError) as error:
            raise CommandError(BAD_REQUEST, str(error)) from None
        _check_texts(*keep)
        self._tell(End(user=user, client=client, session=session, keep=[*keep], code=end.code, reason=end.reason))

    def refresh(
        self, user: str, *, client: str = "", session: str = "", expired: bool = False, expire_at: float = 0
    ) -> None:
        """Set when the connections of a user end. Arguments and errors as for `subscribe`.

        Args:
            expired: whether they end now, with the code 3005.
            expire_at: the Unix time at which they end with this code; 0 for none.
        """
        if not 0 <= expire_at < 1e12:
            raise CommandError(BAD_REQUEST, "expire_at is a Unix time in seconds")
        self._tell(Refresh(user=user, client=client, session=session, expired=expired, expire_at=expire_at))

    # Nodes.

    def info(self) -> list[dict[str, Any]]:
        """One entry for each node, as `fws.server.requests.Info` describes it. Nodes that do not answer are missing."""
        found = self._answers(Inform(), Info)
        return [msgspec.to_builtins(one) for one in sorted(found, key=lambda one: (one.name, one.uid))]

    def _tell(self, request: Whom) -> None:
        _check_texts(request.user, request.client, request.session)
        if not (request.user or request.client or request.session):
            raise CommandError(BAD_REQUEST, "an empty user needs a client or a session")
        self._ask(request, msgspec.Raw)

    def _ask(self, request: Any, kind: Any) -> list[Any]:
        """Ask all nodes. Raises CommandError if Redis is away, after this node has done its part."""
        before = self._nodes.health()
        found = self._answers(request, kind)
        away = self._nodes.health() or before
        if away is not None:
            raise CommandError(INTERNAL, f"other nodes cannot be asked: {away}")
        return found

    def _answers(self, request: Any, kind: Any) -> list[Any]:
        try:
            answers = self._nodes.ask(msgspec.to_builtins(request))
        except ValueError as error:
            raise CommandError(BAD_REQUEST, str(error)) from None
        if kind is msgspec.Raw:
            return []
        found = []
        for answer in answers:
            try:
                found.append(msgspec.convert(answer, kind))
            except msgspec.ValidationError:
                self._malformed()
        return found

    def _settings(self, channel: str) -> Channel:
        """The settings of a channel. Raises CommandError for an invalid name."""
        _check(channel)
        rule = self._service.rules.of(channel)
        return Channel() if rule is None else rule.settings

    @staticmethod
    def _asked(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except StorageError as error:
            raise CommandError(INTERNAL, str(error)) from None


def matching(pattern: str) -> Callable[[str], object]:
    """A function that says whether a name matches a pattern; each does if the pattern is empty.

    `translate` lets each `*` match in one way only, so that the time grows with the product of the lengths at most.

    Raises:
        CommandError: 107, the pattern is invalid.
    """
    try:
        return re.compile(translate(pattern or "*")).match
    except re.error as error:
        raise CommandError(BAD_REQUEST, f"the pattern is invalid: {error}") from None


def _check(channel: str) -> None:
    try:
        check_channel(channel)
    except ValueError as error:
        raise CommandError(BAD_REQUEST, str(error)) from None


def _check_texts(*texts: str) -> None:
    for text in texts:
        if not isinstance(text, str) or len(text) > LONGEST or not text.isprintable():
            raise CommandError(BAD_REQUEST, f"a text is printable and has at most {LONGEST} characters")
