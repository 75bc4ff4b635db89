"""What one process answers at its control socket: reload, taps, statistics, clients and channels."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import gevent
import msgspec

from fws.base.close_codes import POLICY_VIOLATION
from fws.base.errors import Close, StorageError
from fws.config import Channel
from fws.live.control import ControlError, Reply
from fws.live.observation import Tap, is_at
from fws.live.recorder import FORMAT, Recorder
from fws.live.redaction import Redaction
from fws.live.reload import described
from fws.pipeline.pipeline import Step, StepId
from fws.pipeline.tally import StageCounts
from fws.server.inquiries import faults_of, found, is_wanted, wanted_by

if TYPE_CHECKING:
    from fws.clients.client import Client
    from fws.server.server import Server

# Seconds between two signs that a tap is still there, so that a terminal that was closed is noticed.
ALIVE = 5.0
# Seconds for which events are gathered before they are sent.
RECORD = 0.25
# The longest time for which statistics are gathered at once.
MAX_SECONDS = 60.0


class Operations:
    """Answers requests to one process.

    Args:
        server: the process.
        worker: its number; 0 for a single process.
    """

    def __init__(self, server: Server, worker: int = 0) -> None:
        self._server = server
        self._worker = worker
        self._answers: dict[str, Callable[[Mapping[str, Any], Reply], None]] = {
            "hello": self._hello,
            "reload": self._reload,
            "prepare": self._prepare,
            "commit": self._commit,
            "discard": self._discard,
            "clients": self._clients,
            "find": self._find,
            "kick": self._kick,
            "channels": self._channels,
            "history": self._history,
            "presence": self._presence,
            "tap": self._tap,
            "record": self._record,
            "statistics": self._statistics,
            "generation": self._generation,
            "faults": self._faults,
            "process": self._process,
            "bequeath": self._bequeath,
        }

    def answer(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Answer one request. Raises ControlError if it is not known."""
        answer = self._answers.get(str(request.get("do")))
        if answer is None:
            raise ControlError(f"the server does not know the request {request.get('do')!r}")
        answer(request, reply)

    def _hello(self, request: Mapping[str, Any], reply: Reply) -> None:
        reply(
            {
                "pid": os.getpid(),
                "file": os.path.abspath(self._server.generation.config.file),
                "generation": self._server.generation.number,
                "workers": 1,
            }
        )

    # Reload.

    def _reload(self, request: Mapping[str, Any], reply: Reply) -> None:
        report = self._server.reloads.ask(dry_run=bool(request.get("dry_run")), test=bool(request.get("test", True)))
        reply(msgspec.to_builtins(report))

    def _prepare(self, request: Mapping[str, Any], reply: Reply) -> None:
        reloader = self._server.reloader
        report = reloader.prepare(dry_run=bool(request.get("dry_run")), test=bool(request.get("test")))
        reply(msgspec.to_builtins(report))

    def _commit(self, request: Mapping[str, Any], reply: Reply) -> None:
        reply(msgspec.to_builtins(self._server.reloader.commit(int(request.get("number") or 0))))

    def _discard(self, request: Mapping[str, Any], reply: Reply) -> None:
        self._server.reloader.discard()
        reply({})

    def _generation(self, request: Mapping[str, Any], reply: Reply) -> None:
        generation = self._server.generation
        reply(described(os.path.abspath(generation.config.file), generation.number, self._server.reloads))

    # The process itself.

    def _faults(self, request: Mapping[str, Any], reply: Reply) -> None:
        reply({"faults": faults_of(self._server.node, self._server.wall())})

    def _process(self, request: Mapping[str, Any], reply: Reply) -> None:
        health = self._server.health()
        reply({"worker": self._worker, "pid": os.getpid(), "uid": self._server.node.id, "reason": "", **health})

    # Clients and channels.

    def _chosen(self, request: Mapping[str, Any]) -> list[Client]:
        wanted, user = str(request.get("client") or ""), request.get("user")
        clients = self._server.clients()
        return [
            client
            for client in clients
            if (not wanted or client.id == wanted) and (user is None or client.user == user)
        ]

    def _clients(self, request: Mapping[str, Any], reply: Reply) -> None:
        for number, client in enumerate(self._chosen(request)):
            if number % 500 == 499:
                gevent.sleep(0)
            reply(
                {
                    "id": client.id,
                    "user": client.user,
                    "path": client.path,
                    "address": client.address,
                    "channels": sorted(client.channels),
                    "waiting": client.outbox.size,
                    "worker": self._worker,
                }
            )

    def _find(self, request: Mapping[str, Any], reply: Reply) -> None:
        reply(found(self._server.clients(), request, self._worker))

    def _kick(self, request: Mapping[str, Any], reply: Reply) -> None:
        if not request.get("client") and request.get("user") is None:
            raise ControlError("say whom: a client's id, or a user")
        try:
            end = Close(int(request.get("code") or POLICY_VIOLATION), str(request.get("reason") or ""))
        except ValueError as error:
            raise ControlError(str(error)) from None
        chosen = self._chosen(request)
        for client in chosen:
            client.close(end.code, end.reason)
        reply({"kicked": len(chosen)})

    def _channels(self, request: Mapping[str, Any], reply: Reply) -> None:
        hub = self._server.node.hub
        for name in hub.channels():
            reply({"channel": name, "members": len(hub.members(name))})

    def _history(self, request: Mapping[str, Any], reply: Reply) -> None:
        channel, last = str(request.get("channel") or ""), int(request.get("last") or 0)
        settings = self._settings(channel, "kept", "history")
        try:
            for one in self._server.node.channels.history(channel, min(last or settings.history, settings.history)):
                text = isinstance(one.message, bytes)
                message = one.message.decode("utf-8", "backslashreplace") if text else one.message
                reply({"epoch": one.epoch, "offset": one.offset, "sender": one.sender, "message": message})
        except StorageError as error:
            raise ControlError(str(error)) from None

    def _presence(self, request: Mapping[str, Any], reply: Reply) -> None:
        channel = str(request.get("channel") or "")
        self._settings(channel, "presence", "presence")
        try:
            for one in self._server.node.channels.presence(channel):
                reply({"client": one.client, "user": one.user, "info": one.info})
        except StorageError as error:
            raise ControlError(str(error)) from None

    def _settings(self, channel: str, has: str, what: str) -> Channel:
        """The settings of a channel. Raises ControlError if it does not have what is asked for."""
        rule = self._server.generation.config.channels.of(channel)
        if rule is None or not getattr(rule.settings, has):
            raise ControlError(f"the channel {channel!r} has no {what}: see `fws check --channel {channel} CONF`")
        return rule.settings

    def _bequeath(self, request: Mapping[str, Any], reply: Reply) -> None:
        self._server.succession.give(str(request.get("to") or ""))
        reply({})

    # Views.

    def _tap(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Answer with what passes, until the asker goes."""
        views = self._server.observation
        tap = Tap(
            self._server.wall,
            pattern=str(request.get("pattern") or ""),
            client=str(request.get("client") or ""),
            user=str(request.get("user") or ""),
            channel=str(request.get("channel") or ""),
            outcomes=frozenset(map(str, request.get("outcomes") or ())),
            rate=float(request.get("rate") or 1e9),
            redaction=Redaction(map(str, request.get("redact") or ())),
            place=self._place,
            whole=bool(request.get("whole")),
        )
        views.add(tap)
        try:
            generation = self._server.generation.number
            reply({"tapping": self._stages(str(request.get("pattern") or "")), "generation": generation})
            while True:
                lines = tap.take(ALIVE)
                if self._server.generation.number != generation:
                    generation = self._server.generation.number
                    stages = self._stages(str(request.get("pattern") or ""))
                    reply({"generation": generation, "tapping": stages})
                for line in lines:
                    reply({**line, "worker": self._worker})
                if not lines:
                    reply({})
        finally:
            views.remove(tap)

    def _record(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Answer with the events of this process, until the asker goes."""
        server = self._server
        wanted = wanted_by(request)

        def chosen(client: Any) -> bool:
            if client is None:
                return not wanted["client"] and not wanted["user"]
            return is_wanted(client, wanted)

        recorder = Recorder(server.wall, Redaction(map(str, request.get("redact") or ())), chosen)
        server.observation.add(recorder)
        try:
            reply({"recording": FORMAT, "file": os.path.abspath(server.generation.config.file)})
            while True:
                events = recorder.take(RECORD)
                gevent.sleep(0)
                for event in events:
                    reply(msgspec.to_builtins(event))
                if (skipped := recorder.skipped) or not events:
                    reply({"skipped": skipped} if skipped else {})
        finally:
            server.observation.remove(recorder)

    def _stages(self, pattern: str) -> int:
        """The number of stages that a pattern matches."""
        steps = {step.id: step for pipeline in self._server.generation.pipelines() for step in pipeline.walk()}
        return sum(is_at(pattern, step) for step in steps.values())

    def _place(self, step: Step) -> str:
        return self._server.generation.config.source.place(step.path).short

    def _statistics(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Answer after each interval with what was counted in it; `times` answers, or for ever if that is 0."""
        seconds = min(max(float(request.get("seconds") or 1.0), 0.05), MAX_SECONDS)
        times = int(request.get("times") or 0)
        server, hub = self._server, self._server.node.hub
        metrics, traffic, tallies = server.node.context.metrics, hub.traffic, server.tallies
        number = 0
        while not times or number < times:
            number += 1
            counters, stages, messages = Counter(metrics.all()), tallies.all(), sum(tallies.messages().values())
            sent, began = traffic.sent, time.perf_counter()
            lag = _sleep(seconds)
            passed = time.perf_counter() - began
            reply(
                {
                    "seconds": passed,
                    "clients": len(hub.clients),
                    "in": sum(tallies.messages().values()) - messages,
                    "out": traffic.sent - sent,
                    "lag": lag,
                    "generation": server.generation.number,
                    "generation_age": server.clock() - server.reloader.since,
                    "refused": server.reloader.refused,
                    "file": server.generation.config.file,
                    "counters": dict(Counter(metrics.all()) - counters),
                    "stages": list(self._stages_since(stages)),
                    "worker": self._worker,
                }
            )

    def _stages_since(self, earlier: Mapping[StepId, StageCounts]) -> Iterator[dict[str, Any]]:
        """What each stage of the generation in force has done since its counts were those."""
        tallies = self._server.tallies
        now = tallies.all()
        for id, step in tallies.steps.items():
            counts = now[id].since(earlier[id]) if id in earlier else now[id]
            yield {
                "id": str(id),
                "path": id.path,
                "stage": id.way,
                "text": step.text,
                "place": self._place(step),
                "count": counts.runs,
                "drop": counts.drops,
                "error": counts.faults,
                "close": counts.closes,
                "refuse": counts.refusals,
                "times": {str(bucket): many for bucket, many in counts.times.times.items()},
            }


def _sleep(seconds: float) -> float:
    """Sleep, and return by how many seconds the event loop was late at worst."""
    until = time.perf_counter() + seconds
    worst = 0.0
    while (left := until - time.perf_counter()) > 0:
        step = min(0.02, left)
        began = time.perf_counter()
        gevent.sleep(step)
        worst = max(worst, time.perf_counter() - began - step)
    return worst
