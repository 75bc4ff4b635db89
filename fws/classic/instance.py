"""What the older API's filters get: the instance of a client, and what all instances of a server share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec

from fws.classic.filters.base import WebSocketConsumerFilter
from fws.classic.storage import DefaultStorageObject

if TYPE_CHECKING:
    from fws.client import Client
    from fws.hub import Hub

# Under this no filter's own state is found by a name in TOML.
_KEY: Any = object()


class Queue(list[Any]):
    """The server's queue: what is appended runs through the chain of `WebSocketConsumerFilter` soon, in order."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake

    def append(self, data: Any) -> None:
        super().append(data)
        self._wake()

    put = append


class Shared:
    """What all instances of one server have in common. Filters of the consumer chain get it as their instance.

    Attributes:
        storage_object: what filters keep, and publish with.
        token: that each instance begins with.
        users: all connected clients' instances, by id.
        queue: what is put into it is consumed.
    """

    def __init__(self, storage_object: Any = None, token: str | None = None) -> None:
        self.queue = Queue(self._wake)
        self.storage_object = storage_object if storage_object is not None else DefaultStorageObject()
        self.token = token
        self.users: Mapping[str, Instance] = Users(self)
        self.hub: Hub | None = None
        self._consuming = False

    def attach(self, hub: Hub) -> None:
        """The server is there."""
        self.hub = hub
        self._wake()

    def _wake(self) -> None:
        if self.hub is not None and self.queue and not self._consuming:
            self._consuming = True
            self.hub.scheduler.spawn(self._consume)

    def _consume(self) -> None:
        """In a greenlet of its own: filters may wait."""
        assert self.hub is not None
        try:
            while self.queue:
                self.hub.guarded("publication", WebSocketConsumerFilter.run, self, self.queue.pop(0))
        finally:
            self._consuming = False


class Users(Mapping[str, "Instance"]):
    """All connected clients' instances by id: a view of the hub's clients."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def _clients(self) -> dict[str, Client]:
        return {} if self._shared.hub is None else self._shared.hub.clients

    def __getitem__(self, name: str) -> Instance:
        return instance_of(self._clients()[name], self._shared)

    def __iter__(self) -> Iterator[str]:
        # A filter that sends may end a client, and it leaves.
        return iter(tuple(self._clients()))

    def __len__(self) -> int:
        return len(self._clients())


class Peer(msgspec.Struct, frozen=True):
    """Where a client is. Its port is not known here."""

    type: str
    host: str
    port: int = 0


class Transport:
    """As much of a transport as filters use."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def loseConnection(self) -> None:  # noqa: N802
        """Begin the closing handshake."""
        self._client.close()

    def getPeer(self) -> Peer:  # noqa: N802
        """Where the client is."""
        return Peer("TCP" if self._client.address else "UNIX", self._client.address)


class Instance:
    """One client, as the older API's filters see it.

    Attributes:
        id: unique among all servers.
        token: to be set by filters; the server's own to begin with.
    """

    __slots__ = ("_client", "_shared", "id", "token", "transport")

    def __init__(self, client: Client, shared: Shared) -> None:
        self.id = client.id
        self.token = shared.token
        self.transport = Transport(client)
        self._client = client
        self._shared = shared

    @property
    def users(self) -> Mapping[str, Instance]:
        return self._shared.users

    @property
    def storage_object(self) -> Any:
        return self._shared.storage_object

    @property
    def queue(self) -> Queue:
        return self._shared.queue

    def sendMessage(self, data: Any) -> bool:  # noqa: N802
        """Send a message: as text when it is text or UTF-8, else as bytes. False when the client is on its way out."""
        if isinstance(data, bytes | bytearray | memoryview):
            data = text_or_bytes(bytes(data))
        return self._client.send(data)

    send = sendMessage

    def close(self) -> None:
        """Begin the closing handshake."""
        self._client.close()


def text_or_bytes(data: bytes) -> str | bytes:
    """Text when it is UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def instance_of(client: Client, shared: Shared) -> Instance:
    """The one instance of a client."""
    instance: Instance | None = client.state.get(_KEY)
    if instance is None:
        instance = client.state[_KEY] = Instance(client, shared)
    return instance


_shared: WeakKeyDictionary[Any, Shared] = WeakKeyDictionary()


def share(hub: Hub, shared: Shared) -> None:
    """Make this what the hub's instances share."""
    _shared[hub] = shared
    shared.attach(hub)


def shared_of(hub: Hub) -> Shared:
    """What the hub's instances share: what `share` said, else something of their own in memory."""
    found = _shared.get(hub)
    if found is None:
        found = Shared()
        share(hub, found)
    return found
