"""What filters of the older API get: the instance of a client, and what all instances of a server share."""

from __future__ import annotations

from collections import deque
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from fws.base.errors import Close
from fws.classic.filters.base import WebSocketConsumerFilter
from fws.classic.storage import DefaultStorageObject, StorageObject
from fws.pipeline.interfaces import Client
from fws.pipeline.services import Services
from fws.wire.encoding import payload_of

# A key that no name in TOML can refer to.
_KEY: Any = object()
# The most items that wait in a queue. Further ones are dropped.
MAX_QUEUE = 10_000


class Received(dict[str, Any]):
    """A message from pub/sub in the form of redis-py: `type`, `pattern`, `channel` and `data`, with names and texts as
    bytes.

    `sendMessage` sends its `data`.
    """

    def __init__(self, channel: str | None, message: Any) -> None:
        data = message if isinstance(message, bytes) else payload_of(message)[1]
        name = None if channel is None else channel.encode("utf-8", "surrogateescape")
        super().__init__(type="message", pattern=None, channel=name, data=data)


class Queue:
    """The server's queue. Its items run through the chain of `WebSocketConsumerFilter` soon, in order.

    At most `MAX_QUEUE` items wait. Further ones are dropped and counted as `queue_drops`.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._items: deque[Any] = deque()

    def put(self, data: Any) -> None:
        """Never waits."""
        if len(self._items) < MAX_QUEUE:
            self._items.append(data)
            self._shared.wake()
        elif self._shared.services is not None:
            self._shared.services.metrics.count("queue_drops")

    append = put

    def get(self) -> Any:
        """The oldest item. Raises IndexError if there is none."""
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items

    def __len__(self) -> int:
        return len(self._items)


class Shared:
    """What all instances of one server share. Filters of the consumer chain get it as their instance.

    Attributes:
        storage_object: stores what filters keep, and publishes.
        token: the first token of each instance.
        users: all connected clients' instances, by id.
        queue: its items go to the consumer chain.
    """

    def __init__(self, storage_object: Any = None, token: str | None = None) -> None:
        self.queue = Queue(self)
        self.storage_object = storage_object if storage_object is not None else DefaultStorageObject()
        self.token = token
        self.users: Mapping[str, Instance] = Users(self)
        self.services: Services | None = None
        self._consuming = False
        if isinstance(self.storage_object, DefaultStorageObject):
            self.storage_object.listen(lambda channel, data: self.queue.put(Received(channel, data)))

    def attach(self, services: Services) -> None:
        """The server has started."""
        self.services = services
        self.wake()

    def wake(self) -> None:
        """Let the items of the queue be consumed, as soon as the server runs."""
        if self.services is not None and self.queue and not self._consuming:
            self._consuming = True
            self.services.spawn(self._consume)

    def _consume(self) -> None:
        """Consume one item in a greenlet of its own, because filters may block. The next item has another turn of the
        loop.
        """
        services = self.services
        assert services is not None
        try:
            WebSocketConsumerFilter.run(self, self.queue.get())
        except Close:
            pass  # no client is concerned that could be closed
        except BaseException as error:  # a filter may raise anything
            services.report("publication", error, "")
        finally:
            self._consuming = False
            if self.queue:
                services.later(self.wake)


class Users(Mapping[str, "Instance"]):
    """All connected clients' instances by id: a view of the hub's clients.

    Iteration uses a copy, because clients come and go while a filter blocks.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def _clients(self) -> Mapping[str, Client]:
        return {} if self._shared.services is None else self._shared.services.hub.clients

    def _all(self) -> dict[str, Instance]:
        shared = self._shared
        return {name: instance_of(client, shared) for name, client in self._clients().items()}

    def __getitem__(self, name: str) -> Instance:
        return instance_of(self._clients()[name], self._shared)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._clients()))

    def __len__(self) -> int:
        return len(self._clients())

    def values(self) -> ValuesView[Instance]:
        return self._all().values()

    def items(self) -> ItemsView[str, Instance]:
        return self._all().items()


class Peer(msgspec.Struct, frozen=True):
    """The address of a client. Its port is not known here."""

    type: str
    host: str
    port: int = 0


class Transport:
    """The part of a transport that filters use."""

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
    """One client as filters of the older API see it.

    Attributes:
        id: unique among all servers.
        token: set by filters. It begins with the server's token.

    Filters may set any other attribute. It exists as long as the client.
    """

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
        """Send a message: as text if it is text or UTF-8, else as bytes. Returns False if the connection is ending."""
        if isinstance(data, Received):
            data = data["data"]
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
    """The instance of a client. Each client has one."""
    instance: Instance | None = client.state.get(_KEY)
    if instance is None:
        instance = client.state[_KEY] = Instance(client, shared)
    return instance


_shared: WeakKeyDictionary[Any, Shared] = WeakKeyDictionary()


def share(services: Services, shared: Shared) -> None:
    """Let the instances of a server share this object."""
    _shared[services] = shared
    shared.attach(services)


def shared_of(services: Services) -> Shared:
    """What the instances of a server share: the object given to `share`, or one with the storage and channels of all
    filters.
    """
    found = _shared.get(services)
    if found is None:
        found = Shared(StorageObject(services.storage, services.hub.publish))
        share(services, found)
    return found
