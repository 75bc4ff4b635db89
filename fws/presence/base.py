"""The interface of presence: who is a member of a channel, across all nodes.

All back ends pass the tests in `tests/presence/contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from fws.config import Channel


class Present(msgspec.Struct, frozen=True, omit_defaults=True):
    """One client in a channel.

    Attributes:
        client: its id.
        user: its user; empty for nobody in particular.
        info: what the option `presence_info` selects, by name.
        profile: what its token shows to others, in a protocol whose tokens do so; None for nothing.
    """

    client: str
    user: str = ""
    info: dict[str, Any] = {}
    profile: Any = None


class Change(msgspec.Struct, frozen=True):
    """What has changed in a channel.

    Attributes:
        joined: clients that have come, or whose info has changed.
        left: ids of clients that have left.
        quiet: whether members are not told: a client has returned in time, in the place of one in `left`.
    """

    joined: Sequence[Present] = ()
    left: Sequence[str] = ()
    quiet: bool = False


class Watcher(Protocol):
    """Is told about changes in the channels that it watches. Its methods must not block."""

    def changed(self, channel: str, change: Change) -> None:
        """A client has joined or left on some node. A change may come twice, or be missing."""

    def renewed(self, channel: str, present: Sequence[Present]) -> None:
        """Everybody who is present, from a query; changes may have been missed before."""


class Presence(Protocol):
    """Knows who is a member of channels. None of its methods blocks."""

    def start(self, watcher: Watcher) -> None:
        """Begin. Nothing else may be called before."""

    def join(self, channel: str, present: Present, settings: Channel) -> None:
        """A client of this node has become a member, or its info has changed.

        If a client of the same user has left and still lingers, this one takes its place.
        """

    def leave(self, channel: str, client: str, settings: Channel) -> None:
        """A client of this node has left. It is present for as long as it lingers, if it has a user."""

    def watch(self, channel: str, settings: Channel) -> None:
        """The watcher wants to know about a channel with members on this node: it is `renewed` soon, and then told."""

    def unwatch(self, channel: str) -> None:
        """The last member on this node has left."""

    def here(self) -> list[int]:
        """The number of this node's clients who are present, for each channel."""

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> None:
        """Call `done` with everybody who is present on all nodes, or with None if that cannot be known now.

        Clients of a node that has died are not among them 15 s later.
        """
