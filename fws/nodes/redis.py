"""Requests through Redis: one channel that all nodes receive, and one for each node. They are signals of the broker.

How many nodes there are follows from the number of receivers that Redis reports for a request. A node may receive it
more than once, because its patterns match the channel as well. Each answer therefore says how often its node does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gevent.event import Event

from fws.base.metrics import Metrics
from fws.brokers.envelope import SIGNAL
from fws.brokers.items import Item, Session
from fws.brokers.redis import INTERNAL, RedisBroker
from fws.nodes.answers import served
from fws.nodes.base import PATIENCE, Answer
from fws.nodes.messages import ENVELOPE, LARGEST, Message, decode, encode, is_id, packed
from fws.redis.resp import command
from fws.runtime.scheduler import Scheduler

# The channel of all nodes. Names with a control character cannot be joined or published to by clients.
ALL = f"{INTERNAL}nodes"
# The most requests of other nodes that are being served.
MOST = 1000


def channel_of(node: str) -> str:
    """The channel of one node."""
    return f"{INTERNAL}node:{node}"


class _Signal(Item):
    """A message to one channel, at most once.

    Args:
        reached: called with the number of subscriptions that have received it; 0 if it was not sent.
    """

    __slots__ = ("_late", "_payload", "_reached")

    def __init__(self, name: bytes, payload: bytes, reached: Callable[[int], None]) -> None:
        super().__init__(name, len(payload))
        self._payload = payload
        self._reached = reached
        self._late = False

    @classmethod
    def command(cls, items: Sequence[_Signal], session: Session) -> bytes:
        [item] = items
        if item._late:
            # Nobody waits for it any more, and serving it now could surprise.
            return command(b"PING")
        return command(session.publish, item.name, SIGNAL + item._payload)

    def answered(self, reply: Any) -> None:
        if not self._late:
            self._reached(reply if type(reply) is int else 0)

    def lost(self) -> None:
        if not self._late:
            self._reached(0)

    def delayed(self) -> None:
        self.lost()
        self._late = True


class _Question:
    """A request to all nodes that is under way.

    Attributes:
        answers: by node, with None from those that have no answer.
        complete: set when every node that has received the request has answered.
    """

    __slots__ = ("_copies", "_reached", "answers", "complete")

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.complete = Event()
        self._copies = 0
        self._reached: int | None = None

    def reached(self, count: int) -> None:
        """So many subscriptions have received it."""
        self._reached = count
        self._look()

    def answered(self, message: Message) -> None:
        """A node has answered, or this node has heard its own request."""
        if message.node not in self.answers:
            self.answers[message.node] = message.answer
            self._copies += message.copies
            self._look()

    def _look(self) -> None:
        if self._reached is not None and self._copies >= self._reached:
            self.complete.set()


class RedisNodes:
    """Reaches other nodes through the broker.

    Args:
        broker: has been started when `start` is called.
    """

    def __init__(self, broker: RedisBroker, scheduler: Scheduler, metrics: Metrics) -> None:
        self.id = ""
        self.largest = min(LARGEST, broker.largest) - ENVELOPE
        self._broker = broker
        self._scheduler = scheduler
        self._metrics = metrics
        self._questions: dict[str, _Question] = {}
        # What other nodes were told and have not confirmed.
        self._told: dict[str, Callable[[bool], None]] = {}
        # The number of requests that are being served.
        self._serving = 0
        broker.observe(self)

    def start(self, answer: Answer) -> None:
        self.id = self._broker.node
        self._answer = answer
        for channel in (ALL, channel_of(self.id)):
            self._broker.subscribe(channel)

    def health(self) -> str | None:
        return self._broker.health()

    def ask(self, request: Mapping[str, Any], *, timeout: float = PATIENCE) -> list[Any]:
        content = packed(request, self.largest)
        id, question = secrets.token_urlsafe(9), _Question()
        self._questions[id] = question
        if self._broker.available:
            self._send(ALL, Message(id, self.id, content), question.reached)
        else:
            question.reached(0)
        try:
            own = self._answer(request)
            if not question.complete.wait(timeout):
                self._metrics.count("node_answers_missing")
        finally:
            del self._questions[id]
        answers = [own, *(answer for node, answer in question.answers.items() if node != self.id)]
        return [answer for answer in answers if answer is not None]

    def tell(self, node: str, request: Mapping[str, Any], done: Callable[[bool], None]) -> None:
        content = packed(request, self.largest)
        if node == self.id:
            self._scheduler.spawn(served, self._answer, request, node, self._metrics)
            done(True)
        elif not self._broker.available or not is_id(node):
            done(False)
        else:
            id = secrets.token_urlsafe(9)
            self._told[id] = done
            self._send(channel_of(node), Message(id, self.id, content), partial(self._reached, id))
            self._scheduler.after(PATIENCE, partial(self._confirm, id, False))

    def _reached(self, id: str, count: int) -> None:
        # If some subscription has received it, it may be that of a pattern, so that the node must confirm it.
        if not count:
            self._confirm(id, False)

    def _confirm(self, id: str, received: bool) -> None:
        done = self._told.pop(id, None)
        if done is not None:
            done(received)

    def _send(self, channel: str, message: Message, reached: Callable[[int], None]) -> None:
        self._broker.send(_Signal(self._broker.name_of(channel), encode(message), reached))

    # As an observer of the broker.

    def confirmed(self, channel: str) -> None:
        """Nothing waits for a subscription."""

    def signalled(self, channel: str, signal: bytes) -> None:
        if not channel.startswith(INTERNAL):
            return
        try:
            message = decode(signal)
        except ValueError:
            self._metrics.count("redis_malformed")
            return
        if message.request is None:
            self._heed(message)
        elif channel != ALL:
            self._accept(message, tells=True)
        elif message.node != self.id:
            self._accept(message, tells=False)
        elif (question := self._questions.get(message.id)) is not None:
            # This node's own request. It has been answered without Redis.
            question.answered(Message(message.id, self.id, copies=self._broker.copies_of(ALL)))

    def _heed(self, message: Message) -> None:
        """Another node has answered, or says that it has received what it was told."""
        question = self._questions.get(message.id)
        if question is not None:
            question.answered(message)
        else:
            self._confirm(message.id, True)

    def _accept(self, message: Message, *, tells: bool) -> None:
        """Another node wants something."""
        if self._serving >= MOST:
            self._metrics.count("node_requests_dropped")
            return
        self._serving += 1
        if tells:
            self._reply(message, None)
        self._scheduler.spawn(self._serve, message, tells)

    def _serve(self, message: Message, tells: bool) -> None:
        try:
            answer = served(self._packed_answer, message.request or {}, message.node, self._metrics)
            if not tells:
                self._reply(message, answer)
        finally:
            self._serving -= 1

    def _packed_answer(self, request: Mapping[str, Any]) -> Any:
        answer = self._answer(request)
        return None if answer is None else packed(answer, self.largest)

    def _reply(self, message: Message, answer: Any) -> None:
        copies = self._broker.copies_of(ALL)
        self._send(channel_of(message.node), Message(message.id, self.id, answer=answer, copies=copies), _ignore)


def _ignore(count: int) -> None:
    """Whether an answer was received does not matter here."""
