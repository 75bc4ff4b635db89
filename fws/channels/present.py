"""The members of this node in channels with presence: makes them known, and announces who is present."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fws.channels.announcer import Announcer, Content
from fws.channels.hub import Hub
from fws.channels.member import Member
from fws.config import Channel
from fws.config.channels import info_names
from fws.pipeline.publication import Announcement
from fws.presence.base import Presence, Present
from fws.runtime.context import Context

# The most characters of a text that is shown about a member.
LONGEST = 200


class PresentMembers:
    """Reports joins and leaves of this node's members to the presence, and its changes to the members.

    Args:
        settings_of: the settings of a channel; None without any.
    """

    def __init__(
        self, context: Context, hub: Hub, presence: Presence, settings_of: Callable[[str], Channel | None]
    ) -> None:
        self._hub = hub
        self._presence = presence
        self._settings_of = settings_of
        self._announcer = Announcer(context.clock, context.scheduler.after, self._announce)

    def start(self) -> None:
        self._presence.start(self._announcer)

    def join(self, client: Member, channel: str, settings: Channel) -> None:
        """A client has become a member. It is present from now on, or from the end of its `connect` on."""
        if client.id in self._hub.clients:
            self._presence.join(channel, self.shown(client, channel, settings), settings)
            if settings.announce:
                if channel not in self._announcer:
                    self._announcer.begin(channel, settings)
                    self._presence.watch(channel, settings)
                self._announcer.welcome(channel, client)

    def admitted(self, client: Member) -> None:
        """A client's `connect` has passed: it is present in the channels that it has joined."""
        for channel in tuple(client.channels):
            if (settings := self._with_presence(channel)) is not None:
                self.join(client, channel, settings)

    def refresh(self, client: Member) -> None:
        """What is shown about a client may have changed."""
        if client.id in self._hub.clients:
            for channel in client.channels:
                if (settings := self._with_presence(channel)) is not None:
                    self._presence.join(channel, self.shown(client, channel, settings), settings)

    def leave(self, client: Member, channel: str, settings: Channel) -> None:
        """A client was a member until now."""
        self._presence.leave(channel, client.id, settings)
        self._announcer.forget(channel, client)
        if channel in self._announcer and channel not in self._hub.named:
            self._announcer.end(channel)
            self._presence.unwatch(channel)

    def apply(self, channel: str, old: Channel | None, new: Channel | None) -> None:
        """A reload has changed what applies to a channel with members."""
        members = self._hub.members(channel)
        if old is not None and old.presence:
            if channel in self._announcer:
                self._announcer.end(channel)
                self._presence.unwatch(channel)
            if new is None or not new.presence:
                for client in members:
                    self._presence.leave(channel, client.id, Channel())
        if new is not None and new.presence:
            for client in members:
                self.join(client, channel, new)

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> None:
        """Call `done` with everybody who is present on all nodes, or with None if that cannot be known now."""
        self._presence.who(channel, done)

    def _with_presence(self, channel: str) -> Channel | None:
        settings = self._settings_of(channel)
        return settings if settings is not None and settings.presence else None

    @staticmethod
    def shown(client: Any, channel: str, settings: Channel) -> Present:
        """A client as others see it in a channel."""
        info: dict[str, Any] = {}
        for name, term in zip(info_names(settings.presence_info), settings.presence_info, strict=True):
            value = term.value(client, None, channel)
            if isinstance(value, str):
                info[name] = value[:LONGEST]
            elif value is None or isinstance(value, bool | int | float):
                info[name] = value
        info |= client.info(channel)
        return Present(client.id, str((client.identity or {}).get("user") or ""), info, client.profile)

    def _announce(self, channel: str, content: Content, client: Any) -> None:
        announcement = Announcement.of(channel, content)
        if client is None:
            self._hub.enqueue(announcement)
        elif channel in client.channels:
            self._hub.serve(client, channel, announcement)
