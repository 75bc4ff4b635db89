"""For whom a program runs: once for each message, or all the time for each client. `shared.py` has the third mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec
from gevent.lock import BoundedSemaphore

from fws.base.close_codes import INTERNAL_ERROR, NORMAL
from fws.base.errors import ProgramError, Reject
from fws.pipeline.interfaces import Client
from fws.pipeline.outcomes import DROP
from fws.programs.environment import of_event
from fws.programs.framing import Framing, Whole
from fws.programs.keeper import Keeper
from fws.programs.log import ProgramLog
from fws.programs.once import Once
from fws.programs.process import Listener, Process


class Terms(msgspec.Struct, frozen=True):
    """What all modes need to know.

    Attributes:
        start: starts the program with further variables, and tells a listener. It may block.
        environment: the variables about a client.
        framing: of what the program reads and writes.
        timeout: seconds for an answer.
        restart: the longest wait in seconds before a program is started again.
        most: the most processes.
        sends: whether what a program writes is sent to clients, instead of flowing on.
        closes: whether clients are closed when their program has ended.
    """

    start: Callable[[Mapping[str, str], Framing, Listener], Process]
    environment: Callable[[Client], Mapping[str, str]]
    framing: Framing
    log: ProgramLog
    timeout: float
    restart: float
    most: int
    sends: bool
    closes: bool


class Mode(Protocol):
    """How an event reaches a program, and what it makes of it."""

    def begin(self) -> None:
        """The server has started."""

    def connect(self, client: Client) -> Any:
        """A client connects. Raises Reject."""

    def message(self, client: Client | None, message: Any) -> Any:
        """What flows on. Raises ProgramError, and Unsuitable if the program cannot read such a message."""

    def disconnect(self, client: Client) -> None:
        """A client has left."""

    def stop(self, patience: float) -> None:
        """End all processes, within this many seconds."""


class PerMessage:
    """A process for each message. It gets the message as its input, and its output is the answer."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._places = BoundedSemaphore(terms.most)
        self._running: set[Once] = set()
        self._stopped = False

    def begin(self) -> None:
        pass

    def connect(self, client: Client) -> Any:
        raise NotImplementedError

    def disconnect(self, client: Client) -> None:
        raise NotImplementedError

    def message(self, client: Client | None, message: Any) -> Any:
        terms = self._terms
        data = terms.framing.encode(message)
        environment = of_event("tick" if client is None else "message")
        if client is not None:
            environment |= terms.environment(client)
        if not self._places.acquire(timeout=terms.timeout):
            terms.log.metrics.count("programs_over_limit")
            raise ProgramError(terms.log.about(f"{terms.most} processes run already"))
        try:
            once = Once(partial(terms.start, environment, Whole()), terms.log.of(client), self._over)
        except BaseException:  # also if the client's greenlet is to end
            self._places.release()
            raise
        self._running.add(once)
        if self._stopped:  # while it was being started
            once.kill()
        output = once.run(data, terms.timeout)
        return terms.framing.decode(output, message)

    def _over(self, once: Once) -> None:
        self._running.discard(once)
        self._places.release()

    def stop(self, patience: float) -> None:
        self._stopped = True
        for once in self._running:
            once.kill()


class PerClient:
    """A process for each client, which starts with its first event and ends when the client leaves."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._keepers: set[Keeper] = set()

    def begin(self) -> None:
        pass

    def connect(self, client: Client) -> None:
        try:
            self._keeper(client).ready()
        except ProgramError as error:
            self._terms.log.of(client).fault(str(error))
            raise Reject(503, "This service is not available now.") from None

    def disconnect(self, client: Client) -> None:
        raise NotImplementedError

    def message(self, client: Client | None, message: Any) -> Any:
        assert client is not None
        terms = self._terms
        data = terms.framing.encode(message)
        keeper = self._keeper(client)
        if terms.sends:
            keeper.tell(data)
            return DROP
        return terms.framing.decode(keeper.ask(data), message)

    def _keeper(self, client: Client) -> Keeper:
        state: dict[Any, Any] = client.state
        keeper: Keeper | None = state.get(self)
        if keeper is None:
            terms = self._terms
            if len(self._keepers) >= terms.most:
                terms.log.metrics.count("programs_over_limit")
                raise ProgramError(terms.log.about(f"{terms.most} processes run already"))
            made = Keeper(
                partial(terms.start, terms.environment(client), terms.framing),
                terms.log.of(client),
                timeout=terms.timeout,
                most=terms.restart,
                heard=partial(self._send, client) if terms.sends else lambda message: message,
                ended=lambda status: self._ended(client, made, status),
                over=lambda: self._keepers.discard(made),
            )
            keeper = state[self] = made
            self._keepers.add(keeper)
            client.defer(keeper.stop)
        return keeper

    def _send(self, client: Client, data: bytes) -> None:
        try:
            client.send(self._terms.framing.decode(data, None))
        except ProgramError as error:
            self._terms.log.of(client).wrong(str(error))

    def _ended(self, client: Client, keeper: Keeper, status: int) -> None:
        if self._terms.closes:
            keeper.stop()  # nobody needs another one
            client.close(NORMAL if status == 0 else INTERNAL_ERROR, "the program has ended")

    def stop(self, patience: float) -> None:
        stop_all(list(self._keepers), patience)


def stop_all(keepers: list[Keeper], patience: float) -> None:
    """End programs, and kill those that are left after `patience` seconds, or when the caller is interrupted."""
    until = time.monotonic() + patience
    for keeper in keepers:
        keeper.stop()
    try:
        for keeper in keepers:
            keeper.wait(max(0.0, until - time.monotonic()))
    finally:
        for keeper in keepers:
            keeper.kill()
