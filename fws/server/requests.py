"""What the commands ask every node, and what a node does and answers then."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import msgspec

from fws.base.errors import Close
from fws.base.timers import Timer
from fws.channels.hub import Hub
from fws.clients.client import Client
from fws.nodes.answers import Answers
from fws.runtime.context import Context
from fws.runtime.scheduler import Budget

# Why a connection ends whose time is over.
EXPIRED_REASON = "connection expired"


class Whom(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which clients are meant: those with this user, and of these the one with the id or session, if one is given."""

    user: str
    client: str = ""
    session: str = ""


class Join(Whom, frozen=True, kw_only=True, tag_field="do", tag="subscribe"):
    """Let clients join a channel, from a position on: `EPOCH:OFFSET`, or empty."""

    channel: str
    since: str = ""


class Leave(Whom, frozen=True, kw_only=True, tag_field="do", tag="unsubscribe"):
    """Let clients leave a channel."""

    channel: str


class End(Whom, frozen=True, kw_only=True, tag_field="do", tag="disconnect"):
    """Close connections, except those of the clients with the ids in `keep`."""

    code: int
    reason: str
    keep: list[str] = []


class Refresh(Whom, frozen=True, kw_only=True, tag_field="do", tag="refresh"):
    """Let connections end now, or at a Unix time; 0 for no time."""

    expired: bool = False
    expire_at: float = 0.0


class ListChannels(msgspec.Struct, frozen=True, tag_field="do", tag="channels"):
    """Name the channels that match a pattern."""

    pattern: str = ""


class Inform(msgspec.Struct, frozen=True, tag_field="do", tag="info"):
    """Say how the node is."""


class Channels(msgspec.Struct, frozen=True, omit_defaults=True):
    """The number of members by channel, or why they cannot be named."""

    channels: dict[str, int] = {}
    problem: str = ""


class Process(msgspec.Struct, frozen=True):
    """What a process takes: per cent of one processor since it was last asked, and bytes of memory."""

    cpu: float
    rss: int


class Info(msgspec.Struct, frozen=True):
    """One node.

    Attributes:
        uid: its id.
        name: host name and process id.
        num_clients: connected clients.
        num_users: their users. All clients without a user count as one.
        num_channels: channels with members on the node.
        num_subs: memberships.
        uptime: seconds since its start.
    """

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_channels: int
    num_subs: int
    uptime: int
    process: Process


class Requests:
    """Serves the requests of commands on this node. Requests of other nodes are checked as those of an application.

    Args:
        matching: makes a function of a pattern, which says whether a name matches.
        largest: the most bytes of an answer.
        version: of fws.
        id: of this node, when it is needed.
    """

    def __init__(
        self,
        hub: Hub,
        context: Context,
        answers: Answers,
        *,
        matching: Callable[[str], Callable[[str], object]],
        largest: int,
        version: str,
        id: Callable[[], str],
    ) -> None:
        self._hub = hub
        self._context = context
        self._matching = matching
        self._largest = largest
        self._version = version
        self._id = id
        self._began = context.clock()
        # Processor seconds when this was last asked, and when that was.
        self._used = 0.0, self._began
        # When connections end that cannot see to it themselves, by client.
        self._ends: dict[str, Timer] = {}
        served: dict[type[Any], Callable[[Any], Any]] = {
            Join: self._join,
            Leave: self._leave,
            End: self._end,
            Refresh: self._refresh,
            ListChannels: self._channels,
            Inform: self._inform,
        }
        for kind, serve in served.items():
            answers.add(str(kind.__struct_config__.tag), partial(_checked, kind, serve))

    def _chosen(self, whom: Whom, *, connecting: bool = False) -> Iterator[Client]:
        """The clients that are meant. Other greenlets have turns between them.

        Args:
            connecting: whether clients count whose `connect` has not passed.
        """
        if not (whom.user or whom.client or whom.session):
            raise ValueError("a request for all clients without a user")
        budget = Budget()
        budget.start()
        if whom.client and not connecting:
            found = self._hub.clients.get(whom.client)
            candidates = [] if found is None else [found]
        else:
            candidates = self._hub.present() if connecting else [*self._hub.clients.values()]
        for client in cast("list[Client]", candidates):
            budget.spend()
            if client.user == whom.user and whom.client in ("", client.id) and whom.session in ("", client.secret):
                yield client

    def _join(self, request: Join) -> None:
        for client in self._chosen(request):
            client.join(request.channel, since=request.since)

    def _leave(self, request: Leave) -> None:
        for client in self._chosen(request):
            client.leave(request.channel)

    def _end(self, request: End) -> None:
        end = Close(request.code, request.reason)
        for client in self._chosen(request, connecting=True):
            if client.id not in request.keep:
                client.close(end.code, end.reason)

    def _refresh(self, request: Refresh) -> None:
        for client in self._chosen(request):
            if request.expired:
                client.expire(EXPIRED_REASON)
            else:
                self._end_at(client, request.expire_at)

    def _end_at(self, client: Client, wall: float) -> None:
        """Let a connection end at a Unix time, instead of an earlier or later one; 0 for no time."""
        if client.set_end(wall):
            return
        former = self._ends.pop(client.id, None)
        if former is not None:
            former.cancel()
        if wall:
            when = self._context.clock() + wall - self._context.wall()
            self._ends[client.id] = self._context.timers.at(when, partial(client.expire, EXPIRED_REASON))
            if former is None:
                client.defer(partial(self._forget_end, client.id))

    def _forget_end(self, client: str) -> None:
        timer = self._ends.pop(client, None)
        if timer is not None:
            timer.cancel()

    def _channels(self, request: ListChannels) -> Channels:
        budget = Budget()
        budget.start()
        matches = self._matching(request.pattern)
        found = {}
        for name in self._hub.channels():
            budget.spend()
            # A client may have left while others had their turn.
            if matches(name) and (members := len(self._hub.members(name))):
                found[name] = members
        if len(msgspec.json.encode(found)) > self._largest // 2:
            return Channels(problem=f"a node has {len(found)} channels, too many for one answer: use a pattern")
        return Channels(found)

    def _inform(self, request: Inform) -> Info:
        clients = cast("list[Client]", [*self._hub.clients.values()])
        now = self._context.clock()
        return Info(
            uid=self._id(),
            name=f"{os.uname().nodename}-{os.getpid()}",
            version=self._version,
            num_clients=len(clients),
            num_users=len({client.user for client in clients}),
            num_channels=len(self._hub.channels()),
            num_subs=sum(len(client.channels) for client in clients),
            uptime=int(now - self._began),
            process=Process(self._cpu(now), _memory()),
        )

    def _cpu(self, now: float) -> float:
        (used, when), self._used = self._used, (time.process_time(), now)
        return round(100 * (self._used[0] - used) / max(now - when, 0.001), 1)


def _checked(kind: type[Any], serve: Callable[[Any], Any], request: Mapping[str, Any]) -> Any:
    """Serve a request if it has the fields of its kind. Every answer is an object."""
    answer = serve(msgspec.convert(request, kind))
    return {} if answer is None else msgspec.to_builtins(answer)


def _memory() -> int:
    """The memory of this process in bytes: the present one where the system tells it, else the most so far."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
