"""What a client says: commands, read from lines of JSON. Whatever they contain is hostile until it is checked here."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fws.base.decoding import decode

# The most bytes of a method's name, and of a token (as in fws.auth.credential).
MAX_METHOD = 200
MAX_TOKEN = 8 * 1024
# The most publications that one request for a history gets.
MAX_HISTORY = 1000

# A flag of `subscribe`: a position that cannot be recovered is an error.
REJECT_UNRECOVERED = 2

_Epoch = Annotated[str, Meta(max_length=32)]
_Offset = Annotated[int, Meta(ge=0, lt=10**13)]
_Token = Annotated[str, Meta(max_length=MAX_TOKEN)]
_Name = Annotated[str, Meta(max_length=1000)]  # a longer one would be quoted in errors and logs


class Subscribe(msgspec.Struct, frozen=True):
    """`subscribe`; also the position of a channel that the server subscribes, in `connect`."""

    channel: _Name = ""
    token: _Token = ""
    recover: bool = False
    epoch: _Epoch = ""
    offset: _Offset = 0
    data: Any = None
    type: int = 0
    delta: str = ""
    tf: Any = None
    flag: int = 0


class Connect(msgspec.Struct, frozen=True):
    token: _Token = ""
    data: Any = None
    subs: dict[str, Subscribe] = {}


class Unsubscribe(msgspec.Struct, frozen=True):
    channel: _Name = ""


class Publish(msgspec.Struct, frozen=True):
    channel: _Name = ""
    data: Any = None
    type: int = 0


class Presence(msgspec.Struct, frozen=True):
    channel: _Name = ""


class Since(msgspec.Struct, frozen=True):
    epoch: _Epoch = ""
    offset: _Offset = 0


class History(msgspec.Struct, frozen=True):
    channel: _Name = ""
    limit: Annotated[int, Meta(ge=-(2**31), lt=2**31)] = 0
    since: Since | None = None
    reverse: bool = False


class Send(msgspec.Struct, frozen=True):
    data: Any = None


class Rpc(msgspec.Struct, frozen=True):
    method: Annotated[str, Meta(max_length=MAX_METHOD)] = ""
    data: Any = None


class Refresh(msgspec.Struct, frozen=True):
    token: _Token = ""


class SubRefresh(msgspec.Struct, frozen=True):
    channel: _Name = ""
    token: _Token = ""
    type: int = 0


class Ping(msgspec.Struct, frozen=True):
    pass


Request = Connect | Subscribe | Unsubscribe | Publish | Presence | History | Send | Rpc | Refresh | SubRefresh | Ping


class Command(msgspec.Struct, frozen=True):
    """One command. Fields that are not known are ignored, as Protobuf does it."""

    id: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    connect: Connect | None = None
    subscribe: Subscribe | None = None
    unsubscribe: Unsubscribe | None = None
    publish: Publish | None = None
    presence: Presence | None = None
    presence_stats: Presence | None = None
    history: History | None = None
    ping: Ping | None = None
    send: Send | None = None
    rpc: Rpc | None = None
    refresh: Refresh | None = None
    sub_refresh: SubRefresh | None = None

    @property
    def name(self) -> str:
        """The first request in it; empty if it has none."""
        return next((name for name in _REQUESTS if getattr(self, name) is not None), "")

    @property
    def what(self) -> str:
        """What the client wants, for the log. It has no token and no data."""
        request = getattr(self, self.name, None)
        return f"{self.name} {getattr(request, 'channel', '') or getattr(request, 'method', '')}".strip()


_REQUESTS = tuple(name for name in Command.__struct_fields__ if name != "id")
_decode = msgspec.json.Decoder(Command).decode


def parse(line: str) -> Command:
    """Read one line. A text that was cut within an emoji gets U+FFFD there.

    Raises:
        ValueError: it is not a command, or it is too deep or has too many parts.
    """
    command: Command = decode(line, replace=True, decoder=_decode)
    return command
