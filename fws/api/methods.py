"""The table of methods. The application, the OpenAPI description, docs/api.md and `fws api` derive from it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from fws.api import requests
from fws.api.commands import Commands
from fws.api.method import Method
from fws.api.operator_methods import OPERATOR_METHODS
from fws.base.command_error import BAD_REQUEST, CommandError
from fws.pipeline.publication import Position, Publication


def channels_of(request: Any) -> Sequence[str]:
    """The channels that a request to publish names."""
    return request.channels if isinstance(request, requests.Broadcast) else [request.channel]


def _message(request: requests.Publish | requests.Broadcast) -> Any:
    if request.b64data:
        try:
            return b64decode(request.b64data, validate=True)
        except ValueError:
            raise CommandError(BAD_REQUEST, "b64data: this is not Base64") from None
    if request.data is UNSET:
        raise CommandError(BAD_REQUEST, "'data' is missing: a publication needs a message")
    return request.data


def _position(since: requests.StreamPosition | None) -> Position | None:
    return None if since is None else Position(since.epoch, since.offset)


def _place(position: Position | None) -> requests.PublishResult:
    if position is None:
        return requests.PublishResult()
    return requests.PublishResult(offset=position.offset, epoch=position.epoch)


def _publish(commands: Commands, request: requests.Publish) -> requests.PublishResult:
    key, keep = request.idempotency_key, not request.skip_history
    return _place(commands.publish(request.channel, _message(request), key=key, keep=keep))


def _broadcast(commands: Commands, request: requests.Broadcast) -> requests.BroadcastResult:
    key, keep = request.idempotency_key, not request.skip_history
    outcomes = commands.broadcast(request.channels, _message(request), key=key, keep=keep)
    return requests.BroadcastResult([_reply(outcome) for outcome in outcomes])


def _reply(outcome: Position | CommandError | None) -> requests.PublishReply:
    if isinstance(outcome, CommandError):
        return requests.PublishReply(error=requests.Error(outcome.code, outcome.message))
    return requests.PublishReply(result=_place(outcome))


def _subscribe(commands: Commands, request: requests.Subscribe) -> requests.Nothing:
    since = _position(request.recover_since)
    commands.subscribe(request.user, request.channel, client=request.client, session=request.session, since=since)
    return requests.Nothing()


def _unsubscribe(commands: Commands, request: requests.Unsubscribe) -> requests.Nothing:
    commands.unsubscribe(request.user, request.channel, client=request.client, session=request.session)
    return requests.Nothing()


def _disconnect(commands: Commands, request: requests.DisconnectRequest) -> requests.Nothing:
    how: dict[str, Any] = {}
    if request.disconnect is not None and request.disconnect.code:
        how = {"code": request.disconnect.code, "reason": request.disconnect.reason}
    commands.disconnect(request.user, client=request.client, session=request.session, keep=request.whitelist, **how)
    return requests.Nothing()


def _refresh(commands: Commands, request: requests.Refresh) -> requests.Nothing:
    commands.refresh(
        request.user,
        client=request.client,
        session=request.session,
        expired=request.expired,
        expire_at=request.expire_at,
    )
    return requests.Nothing()


def _presence(commands: Commands, request: requests.OfChannel) -> requests.PresenceResult:
    present = commands.presence(request.channel)
    found = {one.client: requests.ClientInfo(one.client, one.user, one.profile, one.info) for one in present}
    return requests.PresenceResult(found)


def _presence_stats(commands: Commands, request: requests.OfChannel) -> requests.PresenceStatsResult:
    return requests.PresenceStatsResult(*commands.presence_stats(request.channel))


def _history(commands: Commands, request: requests.History) -> requests.HistoryResult:
    page = commands.history(
        request.channel, since=_position(request.since), limit=request.limit, reverse=request.reverse
    )
    publications = [_publication(one) for one in page.publications]
    return requests.HistoryResult(publications, page.top.epoch, page.top.offset)


def _publication(publication: Publication) -> requests.PublicationResult:
    message, sender, known = publication.message, publication.sender, publication.info or {}
    binary = isinstance(message, bytes | bytearray | memoryview)
    return requests.PublicationResult(
        data=None if binary else message,
        offset=publication.offset,
        b64data=b64encode(message).decode() if binary else UNSET,
        info=_sender(sender, known) if sender else UNSET,
    )


def _sender(client: str, known: Mapping[str, Any]) -> requests.ClientInfo:
    """Who has published, as far as others may know it."""
    return requests.ClientInfo(client, str(known.get("user") or ""), known.get("profile"), known.get("info") or {})


def _history_remove(commands: Commands, request: requests.OfChannel) -> requests.Nothing:
    commands.history_remove(request.channel)
    return requests.Nothing()


def _channels(commands: Commands, request: requests.Channels) -> requests.ChannelsResult:
    found = commands.channels(request.pattern)
    return requests.ChannelsResult({name: requests.ChannelInfo(number) for name, number in found.items()})


def _info(commands: Commands, request: requests.Info) -> requests.InfoResult:
    return requests.InfoResult([msgspec.convert(dict(node), requests.Node) for node in commands.info()])


METHODS: Final = (
    Method(
        "publish",
        requests.Publish,
        requests.PublishResult,
        "publish",
        "Publish a message to the members of a channel.",
        _publish,
    ),
    Method(
        "broadcast",
        requests.Broadcast,
        requests.BroadcastResult,
        "publish",
        "Publish one message to several channels.",
        _broadcast,
    ),
    Method(
        "subscribe",
        requests.Subscribe,
        requests.Nothing,
        "admin",
        "Make a user's clients members of a channel.",
        _subscribe,
    ),
    Method(
        "unsubscribe",
        requests.Unsubscribe,
        requests.Nothing,
        "admin",
        "End the memberships of a user's clients in a channel.",
        _unsubscribe,
    ),
    Method(
        "disconnect",
        requests.DisconnectRequest,
        requests.Nothing,
        "admin",
        "Close a user's connections.",
        _disconnect,
        logged=True,
    ),
    Method(
        "refresh",
        requests.Refresh,
        requests.Nothing,
        "admin",
        "Set when a user's connections expire.",
        _refresh,
    ),
    Method(
        "presence",
        requests.OfChannel,
        requests.PresenceResult,
        "read",
        "Say who is present in a channel.",
        _presence,
    ),
    Method(
        "presence_stats",
        requests.OfChannel,
        requests.PresenceStatsResult,
        "read",
        "Say how many clients and users are present in a channel.",
        _presence_stats,
    ),
    Method(
        "history",
        requests.History,
        requests.HistoryResult,
        "read",
        "Give what a channel keeps.",
        _history,
    ),
    Method(
        "history_remove",
        requests.OfChannel,
        requests.Nothing,
        "admin",
        "Forget what a channel keeps.",
        _history_remove,
    ),
    Method(
        "channels",
        requests.Channels,
        requests.ChannelsResult,
        "read",
        "Name the channels that have members.",
        _channels,
    ),
    Method(
        "info",
        requests.Info,
        requests.InfoResult,
        "read",
        "Describe each node.",
        _info,
    ),
    *OPERATOR_METHODS,
    Method(
        "key",
        requests.AboutKey,
        requests.KeyResult,
        "any",
        "Say what the key permits.",
    ),
    Method(
        "batch",
        requests.Batch,
        requests.BatchResult,
        "its commands'",
        "Run several commands. Nothing is done unless the key permits all of them.",
    ),
)
BY_NAME: Final = {method.name: method for method in METHODS}
