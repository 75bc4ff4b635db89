"""One process for all clients of an endpoint: plain messages, or JSON lines that say whose they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from fws.base.close_codes import SERVICE_RESTART
from fws.base.errors import ProgramError, Reject
from fws.base.trace import headers as trace_headers
from fws.pipeline.answer import KEYS, Answer, AnswerError, read_answer
from fws.pipeline.interfaces import Client, Hub
from fws.pipeline.outcomes import DROP
from fws.programs.keeper import Keeper
from fws.programs.modes import Terms, stop_all
from fws.wire.encoding import json_bytes

# What an answer may say, by event. On `connect` nothing flows, and there is no client on `tick`.
ALLOWED = {
    "connect": tuple(key for key in KEYS if key not in ("message", "drop")),
    "message": tuple(key for key in KEYS if key != "identity"),
    "tick": ("message", "drop", "publish"),
    "to": ("reply", "close", "join", "leave", "publish"),
    "": ("publish",),
}
# The most clients that one line names one by one.
MAX_TO = 1000


class PerServer:
    """A process for all clients, in which each message is a line or a frame of its own."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._keeper = Keeper(
            partial(terms.start, {}, terms.framing),
            terms.log,
            timeout=terms.timeout,
            most=terms.restart,
            heard=self._heard,
            ended=self._ended,
            over=lambda: None,
        )

    def begin(self) -> None:
        self._keeper.begin()

    def connect(self, client: Client) -> Any:
        raise NotImplementedError

    def disconnect(self, client: Client) -> None:
        raise NotImplementedError

    def message(self, client: Client | None, message: Any) -> Any:
        framing = self._terms.framing
        return framing.decode(self._keeper.ask(framing.encode(message)), message)

    def stop(self, patience: float) -> None:
        stop_all([self._keeper], patience)

    def _heard(self, data: bytes) -> Any:
        return data

    def _ended(self, status: int) -> None:
        pass


class Addressed(PerServer):
    """A process for all clients that reads and writes JSON objects, each with the client that it is about.

    It may speak to the clients whose events it has got, until they leave, and to nobody else.
    """

    def __init__(self, terms: Terms, hub: Callable[[], Hub]) -> None:
        super().__init__(terms)
        self._hub = hub
        self._clients: dict[str, Client] = {}

    def connect(self, client: Client) -> None:
        request = client.request
        about = {"path": client.path, "params": dict(client.params), "address": request.address}
        try:
            answer = self._tell("connect", client, about)
        except ProgramError as error:
            self._terms.log.of(client).fault(str(error))
            raise Reject(503, "This service is not available now.") from None
        if answer is not None:
            answer.act(client, self._hub())
            answer.outcome()

    def disconnect(self, client: Client) -> None:
        # What is left in the process of a client that has just gone needs no answer.
        about = {"event": "disconnect", "client": client.id, "code": client.close_code}
        self._keeper.tell(json_bytes(about) + b"\n")

    def message(self, client: Client | None, message: Any) -> Any:
        # Encoded first, because bytes and half characters are the client's fault and not the program's.
        self._terms.framing.encode(message)
        event = "tick" if client is None else "message"
        about = {"channel": client.call.channel or None if client is not None else None, "message": message}
        answer = self._tell(event, client, about)
        if answer is None:
            return DROP
        if client is not None:
            try:
                answer.act(client, self._hub())
            except Reject as refusal:  # such as a channel too many
                self._terms.log.of(client).wrong(refusal.reason)
                raise
        else:
            answer.publish_all(self._hub())
        return answer.outcome()

    def _tell(self, event: str, client: Client | None, about: dict[str, Any]) -> Answer | None:
        """Tell the program about an event. Returns its answer; None if it gives none."""
        line: dict[str, Any] = {"event": event, **trace_headers()}
        if client is not None:
            if client.id not in self._clients:
                self._clients[client.id] = client
                client.defer(partial(self._clients.pop, client.id, None))
            line |= {"client": client.id, "identity": client.identity}
        data = json_bytes(line | about) + b"\n"
        if self._terms.sends:
            self._keeper.tell(data)
            return None
        try:
            return read_answer(self._keeper.ask(data), ALLOWED[event])
        except AnswerError as error:
            self._terms.log.metrics.count("program_answers_refused")
            raise ProgramError(self._terms.log.about(f"a wrong answer: {error}")) from None

    # What it writes.

    def _heard(self, data: bytes) -> Any:
        """The answer that a line is. A line with `to` is none, and nor is any where nobody waits for answers."""
        try:
            value = self._terms.framing.decode(data, None)
            if isinstance(value, dict) and ("to" in value or self._terms.sends):
                self._carry_out(value)
                return None
            if value is None:
                raise ProgramError("it answered null")
        except (ProgramError, AnswerError) as error:
            if not self._terms.sends and isinstance(error, ProgramError):
                raise ProgramError(self._terms.log.about(str(error))) from None
            self._terms.log.wrong(str(error))
            return None
        if self._terms.sends:
            self._terms.log.wrong("a line is a JSON object")
            return None
        return value

    def _carry_out(self, line: dict[str, Any]) -> None:
        """Do what a line says that answers no question. Raises AnswerError."""
        to = line.pop("to", None)
        answer = read_answer(line, ALLOWED["" if to is None else "to"])
        answer.publish_all(self._hub())
        answer = msgspec.structs.replace(answer, publish=())
        for client in self._named(to):
            try:
                answer.act(client, self._hub())
            except Reject as error:
                self._terms.log.of(client).wrong(error.reason)
            if answer.close is not None:
                client.close(answer.close.code, answer.close.reason)

    def _named(self, to: Any) -> list[Client]:
        """The clients that `to` names. One that has just left is no mistake."""
        if to is None:
            return []
        if to == "all":
            return list(self._clients.values())
        names = [to] if isinstance(to, str) else to
        if not isinstance(names, list) or len(names) > MAX_TO or not all(isinstance(name, str) for name in names):
            raise AnswerError(f'to is the id of a client, a list of at most {MAX_TO}, or "all"')
        return [client for name in dict.fromkeys(names) if (client := self._clients.get(name)) is not None]

    def _ended(self, status: int) -> None:
        if self._terms.closes:
            for client in list(self._clients.values()):
                client.close(SERVICE_RESTART, "the program has ended")
