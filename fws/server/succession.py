"""What a process without Redis leaves to its successor: the history of its channels, and their numbering.

From the moment at which the old process has copied its history, the new one alone numbers publications. The old one
sends it what its clients publish, and gets back all publications with their numbers, as a node gets them from Redis. So
members on both see one order, and a client that moves from one to the other misses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from gevent import Timeout, socket
from gevent.event import Event

from fws.base.errors import StartError
from fws.brokers.memory import MemoryBroker
from fws.config import Channel
from fws.histories.base import Follower
from fws.histories.memory import MemoryHistory
from fws.live.control import ControlError, ask
from fws.pipeline.publication import Position, Publication
from fws.server.link import Carried, Frame, Link
from fws.server.node import Node

logger = logging.getLogger("fws")

# Seconds in which a successor must have got everything.
PATIENCE = 30.0

Done = Callable[[Position | None], None]


class Bequest:
    """The old process's side. Implements `fws.histories.memory.Successor`.

    Args:
        path: the socket at which the successor listens.

    Attributes:
        over: whether the connection has ended.

    Raises:
        ControlError: nothing is kept in memory, or the successor cannot be reached.
    """

    def __init__(self, node: Node, path: str) -> None:
        history, broker = node.history, node.broker
        if not isinstance(history, MemoryHistory) or not isinstance(broker, MemoryBroker):
            raise ControlError("the history is in Redis")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            raise ControlError(f"{path}: {error.strerror}") from None
        self.over = False
        self._node = node
        self._history = history
        self._broker = broker
        self._leaving = False
        self._number = 0
        # Publications whose numbers are awaited.
        self._pending: dict[int, tuple[Publication, Channel, Done | None]] = {}
        # Nothing else runs until the end: no publication comes between the copy and the change of who numbers.
        first = [*(Frame("kept", kept=one) for one in history.dump()), Frame("begin")]
        self._link = Link(connection, self._heard, self._ended, first)
        history.successor = self
        broker.share(self._link.copy)

    def leave(self) -> None:
        """The successor serves, and this process drains."""
        if self.over:
            self._history.begin_anew()
        self._leaving = True

    def end(self, timeout: float) -> None:
        """Send what still waits, within so many seconds, and end the connection."""
        if not self.over:
            self.over = True
            self._link.flush(timeout)
            self._link.close()

    def publish(self, publication: Publication, settings: Channel, done: Done | None) -> None:
        carried = Carried.of(publication)
        self._number += 1
        self._pending[self._number] = publication, settings, done
        self._link.send(Frame("number", self._number, carried))

    def remove(self, channel: str) -> None:
        self._link.send(Frame("remove", channel=channel))

    def _heard(self, frame: Frame) -> None:
        if frame.what == "answer":
            _, _, done = self._pending.pop(frame.number, (None, None, None))
            if done is not None:
                done(Position(frame.epoch, frame.offset) if frame.epoch else None)
        elif frame.carried is not None:
            publication = frame.carried.publication
            settings = self._node.channels.kept(publication.channel)
            if frame.what == "numbered" and settings is not None:
                self._history.repeat(publication, settings)
            else:
                self._node.channels.deliver(publication)

    def _ended(self, gives_up: bool) -> None:
        """The successor is gone, or is not listened to any more: this process numbers again."""
        self.over = True
        self._history.successor = None
        self._broker.share(None)
        if self._leaving or gives_up:
            self._history.begin_anew()
        pending, self._pending = self._pending, {}
        for publication, settings, done in pending.values():
            self._history.publish(publication, settings, done)


class Succession:
    """What a process may leave to a successor. Without Redis, it does so when a successor asks."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._bequest: Bequest | None = None

    def give(self, path: str) -> None:
        """Begin to give to a successor. Raises ControlError, also if there is one already."""
        if self._bequest is not None and not self._bequest.over:
            raise ControlError("there is a successor already")
        self._bequest = Bequest(self._node, path)

    def leave(self) -> None:
        """As `Bequest.leave`."""
        if self._bequest is not None:
            self._bequest.leave()

    def end(self, timeout: float) -> None:
        """As `Bequest.end`."""
        if self._bequest is not None:
            self._bequest.end(timeout)


class _Tee:
    """The follower of the successor's history, which also tells the old process what arrives."""

    def __init__(self, follower: Follower, link: Link) -> None:
        self._link = link
        self._follower = follower
        self.told, self.missed, self.weigh = follower.told, follower.missed, follower.weigh

    def arrived(self, publication: Publication) -> None:
        self._link.send(Frame("numbered", carried=Carried.of(publication)))
        self._follower.arrived(publication)


class Heir:
    """The successor's side.

    Attributes:
        begun: whether it has got everything, and numbers publications.
    """

    def __init__(self, node: Node, history: MemoryHistory, broker: MemoryBroker, connection: socket.socket) -> None:
        self.begun = Event()
        self._node = node
        self._history = history
        self._broker = broker
        self._former = history.follower
        self._link = Link(connection, self._heard, self._ended)

    def _heard(self, frame: Frame) -> None:
        if frame.kept is not None:
            self._history.load(frame.kept)
        elif frame.what == "begin":
            self._history.start(_Tee(self._former, self._link))
            self._broker.share(self._link.copy)
            self.begun.set()
        elif frame.what == "remove":
            if (settings := self._node.channels.kept(frame.channel)) is not None:
                self._history.remove(frame.channel, settings, lambda removed: None)
        elif frame.carried is not None:
            publication = frame.carried.publication
            settings = self._node.channels.kept(publication.channel) if frame.what == "number" else None
            if settings is not None:
                self._history.publish(publication, settings, lambda position: self._answer(frame.number, position))
            else:
                self._node.channels.deliver(publication)
                if frame.what == "number":
                    self._link.send(Frame("plain", carried=frame.carried))
                    self._answer(frame.number, None)

    def _answer(self, number: int, position: Position | None) -> None:
        at = position or Position("", 0)
        self._link.send(Frame("answer", number, epoch=at.epoch, offset=at.offset))

    def _ended(self, gives_up: bool) -> None:
        """The old process has ended. If it has not, it numbers as well from now on."""
        if gives_up:
            self._history.begin_anew()
        self._history.start(self._former)
        self._broker.share(None)

    @property
    def is_connected(self) -> bool:
        return self._link.is_open


def inherit(node: Node, predecessor: str, path: Path) -> None:
    """Go on with what the old process has kept in memory, and number publications from now on.

    Args:
        predecessor: the control socket of the old process.
        path: where to listen for it for a moment.

    Raises:
        StartError: the old process has stopped to give.
    """
    history, broker = node.history, node.broker
    if not isinstance(history, MemoryHistory) or not isinstance(broker, MemoryBroker):
        return
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        listener.listen(1)
        ask(Path(predecessor), {"do": "bequeath", "to": str(path)}, PATIENCE)
        with Timeout(PATIENCE, OSError("the old process does not connect")):
            connection, _ = listener.accept()
    except (ControlError, OSError) as error:
        logger.warning("channels begin empty, because the old process gives nothing: %s", error)
        return
    finally:
        listener.close()
        path.unlink(missing_ok=True)
    heir = Heir(node, history, broker, connection)
    if not heir.begun.wait(PATIENCE) or not heir.is_connected:
        raise StartError("the old process has stopped to give what it has in memory")
