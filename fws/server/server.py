"""The server: one process that serves a configuration, from listening to draining."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gevent
from gevent.event import Event

from fws.base.close_codes import GOING_AWAY
from fws.base.errors import StartError
from fws.base.files import LOOK
from fws.base.log import FoldingHandler
from fws.clients.sweeper import Sweeper
from fws.compiler.generation import Generation
from fws.config import Config, Tcp, Tls, Unix
from fws.live.observation import Observation
from fws.live.origin import Origin
from fws.live.reload import Reloader, ReloadError, Requests
from fws.live.retirement import await_stops, stop
from fws.live.tallies import Tallies
from fws.pipeline.traceback import culprit
from fws.runtime.watchdog import Watchdog
from fws.server.admin import AdminPort, open_admin
from fws.server.apis import Apis
from fws.server.certificates import CertificateStore, TlsError, make_context
from fws.server.descriptors import capacity_of, raise_file_limit
from fws.server.dismissal import dismiss
from fws.server.listener import Listener
from fws.server.log_keeper import LogKeeper
from fws.server.monitor import Monitor
from fws.server.node import Node, tracer_of
from fws.server.operator import Operator
from fws.server.sockets import bound, copy, listen, remove_socket_file
from fws.server.streams import Streams
from fws.server.succession import Succession, inherit
from fws.server.web import Web
from fws.workers.heartbeat import ORPHAN_DRAIN, Heartbeat
from fws.workers.scoreboard import BEAT, Row

if TYPE_CHECKING:
    from fws.clients.client import Client

logger = logging.getLogger("fws")

# Clients whose filters are still at work get a Close when this part of the time for all of them is left.
HURRY = 0.25
# At the end of a drain, the `disconnect` pipelines of clients that were cut off have this many seconds, and then the
# `stop` hooks of filters. Each has a quarter of a short drain.
LAST_WORDS = 1.0
# Seconds for each of those who get the last publications and spans: other nodes, the successor, the collector.
LAST_PUBLICATIONS = 2.0
# When a worker drains and others stay, connections that it has accepted have this many seconds to become clients, or a
# quarter of a short drain. A TLS handshake takes four round trips, of one second each on a bad mobile link.
ARRIVE = 5.0
# Seconds between two looks at filters that a reload has replaced.
RETIRE = 0.25


class Server:
    """One process: listener, hub and sweeper of the generation in force.

    Args:
        generation: what to serve at first.
        address: where to listen.
        log: its folded lines are written regularly.
        heartbeat: the connection to the supervisor; None for a process that is not a worker.
        tls: certificates; None for no TLS.
        given: a listening socket that another process opened and keeps; None to open one at the address.
        origin: where new generations come from; None if there can be none.
        tls_of: the TLS settings of a configuration, in which flags may have replaced the file's.
    """

    def __init__(
        self,
        generation: Generation,
        address: Tcp | Unix,
        log: FoldingHandler | None = None,
        heartbeat: Heartbeat | None = None,
        tls: CertificateStore | None = None,
        given: Any = None,
        origin: Origin | None = None,
        tls_of: Callable[[Config], Tls | None] = lambda config: config.tls,
    ) -> None:
        self.address = address
        self.node = Node(generation)
        if (tracer := tracer_of(generation, self.node.context)) is not None:
            self.node.begin_tracing(tracer)
        self._hub = self.node.hub
        self.observation = Observation(lambda: self.generation, self._hub)
        self._context = self.node.context
        self.tallies = Tallies(self._context.clock)
        self.tallies.renew(generation)
        self.reloader = Reloader(self)
        self.reloads = Requests(lambda dry_run, test: self.reloader.reload(dry_run=dry_run, test=test))
        self._keeper = LogKeeper(log, self._context.metrics)
        self._heartbeat = heartbeat
        self._tls = tls
        self._given = given
        self._origin = origin
        self._tls_of = tls_of
        self.succession = Succession(self.node)
        self._stop = Event()
        self._renewal = Event()
        # Whether other processes go on serving at the same sockets when this one drains.
        self._shares = heartbeat is not None
        self._row = heartbeat.row if heartbeat is not None else None
        self._listener: Listener | None = None
        self._admin: AdminPort | None = None
        self._watchdog: Watchdog | None = None
        self._greenlets: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self.operator = Operator(self.node)
        self._apis = Apis(self.node, self.node.commands, self.operator)
        self._web = Web(
            static=static_of(generation),
            health=self.health,
            is_endpoint=lambda path: self.generation.is_endpoint(path),
            api=self._apis.public,
            streams=Streams(self.node),
        )
        self._admin_web = Web(
            static=None,
            health=self.health,
            is_endpoint=lambda path: False,
            api=self._apis.admin,
            page=self._apis.page,
        )

    @property
    def generation(self) -> Generation:
        """The generation in force."""
        return self.node.generation

    def start(self) -> None:
        """Listen, serve, and handle signals from now on.

        Raises:
            StartError: the address cannot be bound, or a filter failed to start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = gevent.signal_handler(number, self._signalled)
        self._handlers[signal.SIGHUP] = gevent.signal_handler(signal.SIGHUP, self._hung_up)
        heartbeat = self._heartbeat
        config = self.generation.config
        if heartbeat is None:
            self._handlers[signal.SIGUSR2] = gevent.signal_handler(signal.SIGUSR2, self._renewal.set)
            raise_file_limit()
            settings = config.server
            listener = self._given or listen(self.address, settings.socket_mode, settings.socket_owner)
            admin = open_admin(config)
        else:
            listener, admin = heartbeat.listener(), heartbeat.admin()
            self._greenlets.append(gevent.spawn(self._beat, heartbeat.row))
        self._listener = Listener(listener, self._web, self.node, self.capacity, self._row, self._tls)
        self.address = bound(self.address, listener)
        self.node.start()
        if admin is not None:
            self._admin = AdminPort(admin, self._admin_web, Monitor(self, heartbeat), self.node)
        try:
            self.generation.start()
        except BaseException as error:  # a user's filter may raise anything
            listener.close()
            if self._admin is not None:
                self._admin.close(shared=self._shares)
            await_stops(stop(self.generation.components, lambda error: None), LAST_WORDS)
            self.node.broker.stop(0)
            where = culprit(error.__traceback__) or "a filter"
            raise StartError(f"{where} failed to start: {type(error).__name__}: {error}") from error
        if heartbeat is not None and heartbeat.predecessor:
            inherit(self.node, heartbeat.predecessor, Path(heartbeat.control) / f"{os.getpid()}.link")
        self.node.serve()
        # Objects that exist by now stay. If the garbage collector does not look at them, a full pass saves 3 ms.
        gc.collect()
        gc.freeze()
        tasks = (
            Sweeper(self._hub, self._context).run,
            self._keeper.settle,
            self._keeper.count,
            self._retire_regularly,
        )
        self._greenlets += [gevent.spawn(task) for task in tasks]
        if self._tls is not None:
            self._greenlets.append(gevent.spawn(self._look_at_certificates, self._tls))
        self._watchdog = Watchdog(config.limits.max_block, self._context.metrics, self._keeper.write_past)
        self._watchdog.start()
        self._listener.start()
        if heartbeat is not None:
            heartbeat.row.beat(0)
        if self._admin is not None:
            self._admin.serve()

    @property
    def admin_address(self) -> Tcp | Unix | None:
        """Where the listener of [admin] is; None without one."""
        return None if self._admin is None else self._admin.address

    @property
    def capacity(self) -> int:
        """The most connections."""
        return capacity_of(self.generation.config.limits.clients)

    @property
    def draining(self) -> bool:
        """Whether no new clients are accepted any more."""
        return self._stop.is_set() or (self._listener is not None and self._listener.draining)

    @property
    def connections(self) -> int | None:
        """The number of open connections; None while none are accepted."""
        listener = self._listener
        serves = listener is not None and listener.started and not self._stop.is_set()
        return listener.connections if serves and listener is not None else None

    def serve_until_signal(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. A second signal ends the process at once."""
        while self.wait():
            logger.warning("SIGUSR2: a successor can only be started by `fws run`: restart the server")
        self.finish()

    def finish(self) -> None:
        """Drain, and ignore signals afterwards."""
        self.drain()
        for number, handler in self._handlers.items():
            handler.cancel()
            # A second signal that arrives now must not change the exit status.
            signal.signal(number, signal.SIG_IGN)

    def wait(self) -> bool:
        """Serve until a signal. Returns whether it is SIGUSR2, which asks for a successor, and not one to end."""
        gevent.wait([self._stop, self._renewal], count=1)
        self._renewal.clear()
        return not self._stop.is_set()

    def sockets(self) -> tuple[Any, Any]:
        """Copies of the listening socket and of that of [admin], which is None without one. Raises OSError."""
        assert self._listener is not None
        return copy(self._listener.socket), None if self._admin is None else copy(self._admin.socket)

    def share(self, row: Row, folder: Path) -> None:
        """Other processes may serve at the same sockets from now on, and others handle the signals of this one.

        Args:
            row: its row of the scoreboard that it shares with them.
            folder: theirs.
        """
        self._shares, self._row = True, row
        for handler in self._handlers.values():
            handler.cancel()
        row.beat(self.connections)
        self._greenlets.append(gevent.spawn(self._beat, row))
        if self._admin is not None:
            self._admin.share(row, folder)

    def stop(self) -> None:
        """Make `serve_until_signal` drain and return. From any greenlet."""
        self._stop.set()

    def health(self) -> dict[str, Any]:
        """The answer of `/healthz`."""
        clients = len(self._hub.clients)
        if self.draining:
            return {"status": "draining", "clients": clients}
        if (reason := self.node.broker.health()) is not None:
            return {"status": "degraded", "reason": reason, "clients": clients}
        return {"status": "ok", "clients": clients}

    def drain(self) -> None:
        """End in steps within `drain` seconds. Each step has a limit of its own.

        1. Stop accepting connections, and let no schedule be due any more.
        2. Close every client with 1001 when what it has sent is served, spread over time if there are many.
        3. Wait for that, for their closing handshakes and `disconnect` pipelines, and for schedules that are running.
           Clients whose filters are still at work when most of the time is over are closed without waiting.
        4. Cut off the clients that are left.
        5. Stop the filters, all at the same time, and interrupt those that are not ready in time.
        6. Send the remaining publications to other nodes and the successor, and the remaining spans to the collector.
        """
        limit = self.generation.config.server.drain
        if self._heartbeat is not None and self._heartbeat.orphaned:
            logger.error("the supervisor is gone")
            limit = min(limit, ORPHAN_DRAIN)
        clock = self._context.clock
        began = clock()
        end = began + limit
        last_words = min(LAST_WORDS, limit / 4)
        self.node.schedules.stop()
        listener = self._listener
        if listener is not None:
            # Only the socket: `stop` would wait for the handlers of all clients.
            listener.close()
            if self._shares:
                if self._admin is not None:
                    self._admin.close(shared=True)
                if self._row is not None:
                    self._row.beat(None)
                # Other workers go on serving, so that nobody is refused. Accepted connections become clients first.
                while listener.arriving and clock() < began + min(ARRIVE, limit / 4):
                    gevent.sleep(0.02)
            listener.draining = True
        self.succession.leave()
        clients = self._hub.everybody()
        logger.info("draining: %d clients, at most %g s", len(clients), limit)
        if not self._shares and self._given is None:
            remove_socket_file(self.address)
        reason = "the server is shutting down"
        dismiss(clients, limit, reason)
        cut = end - 2 * last_words
        self._await_end(cut - (cut - began) * HURRY)
        for client in self._hub.everybody():
            client.close(GOING_AWAY, reason)
        self._await_end(cut)
        if self.node.schedules.running:
            logger.warning("a schedule is still running and is cut off")
        if self._hub.busy:
            logger.warning("%d clients did not disconnect in time", self._hub.busy)
            for client in self._hub.everybody():
                client.kill()
            while self._hub.busy and clock() < end - last_words:
                gevent.sleep(0.02)
        former = self.reloader.end(self._stop_failed)
        await_stops([*former, *stop(self.generation.components, self._stop_failed)], last_words)

        def left() -> float:
            # After filters that hang there is little time left, but enough for a Redis that answers.
            return min(LAST_PUBLICATIONS, max(end - clock(), 0.1))

        self.node.broker.stop(left())
        self.succession.end(left())
        if self.node.tracer is not None:
            self.node.tracer.stop(left())
        gevent.killall(self._greenlets, block=False)
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._admin is not None:
            self._admin.close(shared=self._shares)  # until now it has answered that the server drains
            self.operator.end_taps()
            self._admin.stop()
        self._keeper.write_counters()
        if self._heartbeat is not None or not self._shares:  # otherwise the process stays, and its supervisor says more
            logger.info("stopped")
        self._keeper.flush()

    def _await_end(self, until: float) -> None:
        """Wait until no client is left and no schedule runs, but not longer than until a time of the clock."""
        while (self._hub.busy or self.node.schedules.running) and self._context.clock() < until:
            gevent.sleep(0.02)

    def _stop_failed(self, error: BaseException) -> None:
        self._context.faults.report("stop", error)

    def _signalled(self) -> None:
        # Platforms send SIGTERM to all processes. A worker then gets a second one from its supervisor.
        if self._stop.is_set() and self._heartbeat is None:
            logger.warning("second signal: ending at once")
            os._exit(1)
        self._stop.set()

    def _hung_up(self) -> None:
        if self._origin is None:
            if self._tls is not None:
                self._tls.reload()
        elif self._heartbeat is None:
            # A worker's supervisor gets the signal too, and makes all workers reload together.
            gevent.spawn(self.reloads.ask)

    # What the reloader needs (`fws.live.reload.Site`).

    def build(self) -> Generation:
        """Read and compile the file anew, and load the certificates. Raises ConfigError and ReloadError."""
        if self._tls is not None:
            self._tls.reload()
        if self._origin is None:
            raise ReloadError(["this server was not started from a file"])
        generation = self._origin.next(self.generation)
        tls = self._tls_of(generation.config)
        if tls is not None:
            try:
                make_context(tls, generation.config.folder)
            except TlsError as error:
                raise ReloadError([str(error)]) from None
        return generation

    def test(self) -> list[str]:
        """Run the file's tests. Returns why they fail."""
        return self._origin.test() if self._origin is not None else []

    def clients_at(self, path: str | None) -> int:
        """The number of clients at an endpoint."""
        return sum(client.endpoint.path == path for client in self.clients())

    def clients(self) -> list[Client]:
        """All clients, including those that are connecting."""
        return cast("list[Client]", self._hub.present())

    def clock(self) -> float:
        """Monotonic seconds."""
        return self._context.clock()

    def wall(self) -> float:
        """Unix time."""
        return self._context.wall()

    def apply(self, generation: Generation) -> None:
        """Put a generation in force, between two events."""
        lost = self.node.swap(generation)
        self.observation.renew()
        self.tallies.renew(generation)
        config = generation.config
        self._web.static = static_of(generation)
        self._apis.configure(config)
        if self._listener is not None:
            self._listener.configure(config.server, self.capacity)
        if self._watchdog is not None:
            self._watchdog.max_block = config.limits.max_block
        tls = self._tls_of(config)
        if self._tls is not None and tls is not None:
            self._tls.change(tls, config.folder)
        if lost:
            logger.info("%d clients of removed endpoints are closed", len(lost))
            self._greenlets.append(gevent.spawn(dismiss, lost, config.server.drain, "the endpoint was removed"))

    def _retire_regularly(self) -> None:
        while True:
            gevent.sleep(RETIRE)
            if self.reloader.retiring:
                self.reloader.look(self.clock(), self._stop_failed)

    def _beat(self, row: Row) -> None:
        while True:
            row.beat(self.connections)
            gevent.sleep(BEAT)

    def _look_at_certificates(self, tls: CertificateStore) -> None:
        while True:
            gevent.sleep(LOOK)
            tls.look()


def static_of(generation: Generation) -> Path | None:
    """The folder of static files; None for none."""
    static = generation.config.server.static
    return generation.config.folder / static if static else None
