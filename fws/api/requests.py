"""The requests of the API and their results, as Centrifugo's clients send and expect them.

The fields of a request are its options: validation, the OpenAPI description, the page docs/api.md and `fws api` read
them. Fields that Centrifugo knows and fws does not have are named in `unsupported`, because to ignore one would change
what a request means.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fws.base.close_codes import valid_close_code
from fws.pipeline.options import Check, Help
from fws.pipeline.publication import check_channel

# The most channels of one broadcast, commands of one batch, and characters of a key.
MAX_CHANNELS = 10_000
MAX_COMMANDS = 1000
MAX_KEY = 200


def _check_channels(channels: list[str]) -> None:
    if not 1 <= len(channels) <= MAX_CHANNELS:
        raise ValueError(f"a broadcast has 1 to {MAX_CHANNELS} channels")
    for channel in channels:
        check_channel(channel)


def _check_key(key: str) -> None:
    if len(key) > MAX_KEY:
        raise ValueError(f"it can have at most {MAX_KEY} characters")


def _check_commands(commands: list[dict[str, Any]]) -> None:
    if len(commands) > MAX_COMMANDS:
        raise ValueError(f"a batch has at most {MAX_COMMANDS} commands")


class StreamPosition(msgspec.Struct, frozen=True):
    """A position in a channel's history."""

    offset: Annotated[int, Meta(ge=0)] = 0
    epoch: str = ""


class Disconnect(msgspec.Struct, frozen=True):
    """How a connection is closed."""

    code: int = 0
    reason: str = ""


def _check_disconnect(disconnect: Disconnect | None) -> None:
    if disconnect is not None and disconnect.code and not valid_close_code(disconnect.code):
        raise ValueError(f"the code {disconnect.code} may not be sent: use 3000-4999")


_Channel = Annotated[str, Help("Name of the channel."), Check(check_channel)]
_User = Annotated[str, Help("The user, as `identity.user` has it.")]
_Client = Annotated[str, Help("Id of one client of the user; if empty, all of them.")]
_Session = Annotated[str, Help("Session of one client of the user; if empty, all of them.")]
_Data = Annotated[Any, Help("The message: any JSON. A text is sent as it is, anything else as JSON.")]
_B64 = Annotated[str, Help("A binary message instead, in Base64.")]
_Key = Annotated[
    str,
    Help(
        "With a key, a publication that is sent again within five minutes is published once, so that a request that "
        "got no answer can be repeated."
    ),
    Check(_check_key),
]
_Skip = Annotated[bool, Help("Whether the history does not keep it.")]
_LABELS = ("label_filter", "all_users")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The base of requests.

    Attributes:
        unsupported: fields of Centrifugo that fws does not have.
        positional: the fields that `fws api` takes as arguments, in this order.
    """

    unsupported: ClassVar[tuple[str, ...]] = ()
    positional: ClassVar[tuple[str, ...]] = ()


class Publish(Request, frozen=True, kw_only=True):
    unsupported = ("tags", "delta", "version", "version_epoch")
    positional = ("channel", "data")

    channel: _Channel
    data: _Data = UNSET
    b64data: _B64 = ""
    skip_history: _Skip = False
    idempotency_key: _Key = ""


class Broadcast(Request, frozen=True, kw_only=True):
    unsupported = ("tags", "delta", "version", "version_epoch")
    positional = ("channels", "data")

    channels: Annotated[list[str], Help("Names of the channels."), Check(_check_channels)]
    data: _Data = UNSET
    b64data: _B64 = ""
    skip_history: _Skip = False
    idempotency_key: _Key = ""


class Subscribe(Request, frozen=True, kw_only=True):
    unsupported = ("expire_at", "info", "b64info", "data", "b64data", "override", *_LABELS)
    positional = ("user", "channel")

    user: _User
    channel: _Channel
    client: _Client = ""
    session: _Session = ""
    recover_since: Annotated[
        StreamPosition | None, Help("Position after which the clients get what the channel keeps.")
    ] = None


class Unsubscribe(Request, frozen=True, kw_only=True):
    unsupported = _LABELS
    positional = ("user", "channel")

    user: _User
    channel: _Channel
    client: _Client = ""
    session: _Session = ""


class DisconnectRequest(Request, frozen=True, kw_only=True):
    unsupported = _LABELS
    positional = ("user",)

    user: _User
    client: _Client = ""
    session: _Session = ""
    whitelist: Annotated[list[str], Help("Ids of clients that stay.")] = []
    disconnect: Annotated[
        Disconnect | None, Help("Close code and reason that the client gets."), Check(_check_disconnect)
    ] = None


class Refresh(Request, frozen=True, kw_only=True):
    unsupported = ("info", *_LABELS)
    positional = ("user",)

    user: _User
    client: _Client = ""
    session: _Session = ""
    expired: Annotated[bool, Help("Whether the connections expire now.")] = False
    expire_at: Annotated[int, Meta(ge=0), Help("When they expire, in Unix time; 0 for never.")] = 0


class OfChannel(Request, frozen=True, kw_only=True):
    positional = ("channel",)

    channel: _Channel


class History(Request, frozen=True, kw_only=True):
    positional = ("channel",)

    channel: _Channel
    limit: Annotated[
        int, Help("The most publications; 0 for the position of the newest one only, a negative number for all.")
    ] = 0
    since: Annotated[StreamPosition | None, Help("Only what came after this position, or before it in reverse.")] = None
    reverse: Annotated[bool, Help("Whether the newest ones come first.")] = False


class Channels(Request, frozen=True, kw_only=True):
    pattern: Annotated[str, Help("Only channels whose names match, such as chat:*. If empty, all of them.")] = ""


class Info(Request, frozen=True, kw_only=True):
    pass


class AboutKey(Request, frozen=True, kw_only=True):
    pass


class Batch(Request, frozen=True, kw_only=True):
    positional = ("commands",)

    commands: Annotated[
        list[dict[str, Any]],
        Help('Commands, each an object with one method: [{"publish": {…}}, {"presence": {…}}].'),
        Check(_check_commands),
    ]
    parallel: Annotated[bool, Help("Whether they run at the same time, in no particular order.")] = False


# Results.


class Nothing(msgspec.Struct, frozen=True):
    """The result of what has none."""


class PublishResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The position of a publication; without fields if the channel has no history."""

    offset: int = 0
    epoch: str = ""


class Error(msgspec.Struct, frozen=True):
    """Why a command failed."""

    code: int
    message: str


class PublishReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a publication in one of several channels."""

    result: PublishResult | None = None
    error: Error | None = None


class BroadcastResult(msgspec.Struct, frozen=True):
    """What became of it in each channel, in their order."""

    responses: list[PublishReply]


class ClientInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A client. `conn_info` is the claim `info` of its token, `chan_info` what `presence_info` selects."""

    client: str
    user: str = ""
    conn_info: Any = None
    chan_info: dict[str, Any] = {}


class PresenceResult(msgspec.Struct, frozen=True):
    """Everybody who is present, by the client's id."""

    presence: dict[str, ClientInfo]


class PresenceStatsResult(msgspec.Struct, frozen=True):
    """How many are present."""

    num_clients: int
    num_users: int


class PublicationResult(msgspec.Struct, frozen=True):
    """One publication. A binary message has `b64data`, and null for `data`."""

    data: Any
    offset: int
    b64data: str | UnsetType = UNSET
    info: ClientInfo | UnsetType = UNSET


class HistoryResult(msgspec.Struct, frozen=True):
    """Publications, and the position of the newest one of the channel."""

    publications: list[PublicationResult]
    epoch: str
    offset: int


class ChannelInfo(msgspec.Struct, frozen=True):
    """One channel."""

    num_clients: int


class ChannelsResult(msgspec.Struct, frozen=True):
    """The channels with members, by name."""

    channels: dict[str, ChannelInfo]


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """One node: its numbers of clients, their users, memberships and channels, and the seconds since its start."""

    uid: str
    name: str
    version: str = ""
    num_clients: int = 0
    num_users: int = 0
    num_subs: int = 0
    num_channels: int = 0
    uptime: int = 0
    process: dict[str, float] = {}


class InfoResult(msgspec.Struct, frozen=True):
    """All nodes."""

    nodes: list[Node]


class KeyResult(msgspec.Struct, frozen=True):
    """The name of the key, as the log shows it, and the methods that it permits."""

    name: str
    methods: list[str]


class BatchResult(msgspec.Struct, frozen=True):
    """One reply for each command: its method and the result, or `error`."""

    replies: list[dict[str, Any]]
