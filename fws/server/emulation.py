"""Commands of clients over plain HTTP: each request is for a client of this node, or of another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import gevent
import msgspec
from gevent.event import AsyncResult
from gevent.lock import Semaphore
from msgspec import Meta

from fws.base.decoding import decode
from fws.base.errors import Reject
from fws.nodes.messages import is_id
from fws.wire.encoding import json_bytes

if TYPE_CHECKING:
    from fws.clients.client import Client
    from fws.server.node import Node

# Seconds that commands wait for a client that is busy with earlier ones, and between two looks at it.
PATIENCE = 5.0
LOOK = 0.01
# The requests that wait for one client, and their characters. SDKs send each command as a request of its own.
MOST_WAITING = 1000
MOST_CHARACTERS = 4 * 1024 * 1024
# The characters of commands on their way to other nodes. Anybody can send some for a node that does not exist.
MOST_TOLD = 8 * 1024 * 1024
# What one node tells another: commands for one of its clients.
COMMANDS = "commands"

Answer = tuple[int, str]
_NO_NODE: Answer = (404, "There is no such node.")
_BUSY: Answer = (503, "The client is busy.")
_DONE: Answer = (204, "")


class Emulated(msgspec.Struct, frozen=True):
    """The body of a request with commands, as SDKs send it.

    Attributes:
        session: the secret of a client.
        data: lines.
        node: the id of the client's node.
    """

    session: Annotated[str, Meta(min_length=1, max_length=100)]
    data: str
    node: Annotated[str, Meta(max_length=100)] = ""

    @classmethod
    def parse(cls, body: bytes) -> Emulated:
        """Read a body. `data` may also be one command, not in a text.

        Raises:
            ValueError: it is not one, or it is too deep or has too many parts.
        """
        try:
            # The lines are not looked at, however many brackets they have.
            return _decode(body)
        except (ValueError, RecursionError):
            single: _Single = decode(body, replace=True, decoder=_decode_single)
            return cls(single.session, json_bytes(single.data).decode(), single.node)


class _Single(msgspec.Struct, frozen=True):
    session: Annotated[str, Meta(min_length=1, max_length=100)]
    data: dict[str, Any]
    node: Annotated[str, Meta(max_length=100)] = ""


_decode = msgspec.json.Decoder(Emulated).decode
_decode_single = msgspec.json.Decoder(_Single).decode


class _Queue:
    """The requests that wait for one client. They are served in the order of their arrival."""

    __slots__ = ("characters", "requests", "turn")

    def __init__(self) -> None:
        self.turn = Semaphore()
        self.requests = 0
        self.characters = 0


class Emulation:
    """Gives commands to clients.

    Args:
        node: the parts of the process.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        node.answers.add(COMMANDS, self.told)
        self._queues: dict[str, _Queue] = {}
        self._told = 0

    def answer(self, body: bytes) -> Answer:
        """Serve one request. Blocks while the client is busy, which is the backpressure.

        Returns:
            The HTTP status, and a sentence.
        """
        try:
            request = Emulated.parse(body)
        except (ValueError, TypeError):
            return 400, "The body is not a JSON object with session, node and data."
        client = self._node.sessions.get(request.session)
        if client is not None:
            return _DONE if self._hand(client, request.data) else _BUSY
        if request.node == self._node.id:
            return _DONE  # the session is gone, and its stream has ended
        return self._tell(request) if is_id(request.node) else _NO_NODE

    def _tell(self, request: Emulated) -> Answer:
        """Send commands to the node of their client."""
        if self._told + len(request.data) > MOST_TOLD:
            return 503, "Too many commands are on their way to other nodes."
        arrived: AsyncResult = AsyncResult()
        message = {"do": COMMANDS, "session": request.session, "data": request.data}
        self._told += len(request.data)
        try:
            self._node.nodes.tell(request.node, message, arrived.set)
            return _DONE if arrived.get() else _NO_NODE
        except ValueError:
            return 413, "The commands are too large."
        finally:
            self._told -= len(request.data)

    def told(self, request: Mapping[str, Any]) -> None:
        """Another node has got commands for a client of this node. It has been told that they have arrived."""
        client = self._node.sessions.get(str(request.get("session") or ""))
        data = request.get("data")
        if client is not None and isinstance(data, str) and not self._hand(client, data):
            client.refuse(Reject(429, "Too many commands wait."))  # nothing is lost silently

    def _hand(self, client: Client, text: str) -> bool:
        """Give commands to a client of this node when it has served earlier ones. Returns whether it has got them."""
        queue = self._queues.setdefault(client.id, _Queue())
        if queue.requests >= MOST_WAITING or (queue.requests and queue.characters + len(text) > MOST_CHARACTERS):
            return False
        queue.requests += 1
        queue.characters += len(text)
        end = self._node.context.clock() + PATIENCE
        try:
            if not queue.turn.acquire(timeout=PATIENCE):
                return False
            try:
                while client.busy and not client.closing:
                    if self._node.context.clock() > end:
                        return False
                    gevent.sleep(LOOK)
                client.hear(text)
            finally:
                queue.turn.release()
        finally:
            queue.requests -= 1
            queue.characters -= len(text)
            if not queue.requests:
                self._queues.pop(client.id, None)
        return True
