"""The composition root: makes one process serve one generation, and ends it in order."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
from typing import Any

import gevent
from gevent.event import Event

from fws.base.close_codes import GOING_AWAY
from fws.base.errors import StartError
from fws.base.files import LOOK
from fws.base.log import FoldingHandler
from fws.clients.sweeper import Sweeper
from fws.compiler.generation import Generation
from fws.config import Tcp, Unix
from fws.pipeline.traceback import culprit
from fws.runtime.watchdog import Watchdog
from fws.server.certificates import CertificateStore
from fws.server.listener import Listener
from fws.server.node import Node
from fws.server.sockets import bound, listen, remove_socket_file
from fws.server.web import Web
from fws.workers.heartbeat import ORPHAN_DRAIN, Pulse
from fws.workers.scoreboard import BEAT

logger = logging.getLogger("fws")

# Below this many descriptors a public server runs out of them before it runs out of anything else.
LOW_FILE_LIMIT = 4096
# Descriptors that no connection gets; 16 of them are for those who are told that there is no place.
RESERVE = 128
# Clients told to go in one go. They come back at once, elsewhere: a thousand at a time is what one takes in a second.
DRAIN_SLICE = 100
# Share of the drain time over which the good-byes are spread; the rest is for closing handshakes and `disconnect`.
SPREAD = 0.5
# Who is cut off still has a `disconnect` pipeline, and after it filters stop: each has this many seconds of the drain
# time at most, and a quarter of a short one.
LAST_WORDS = 1.0
# Seconds for publications of `disconnect` pipelines on their way to other nodes.
LAST_PUBLICATIONS = 2.0
# Seconds that a worker gives connections that it has accepted to become clients, when it leaves and others stay; a
# quarter of a short drain. With TLS these are four round trips, of a second each on a bad mobile link.
ARRIVE = 5.0
# Seconds between two lines about what was counted.
TELL = 60.0
# Good-byes a second that need no more spreading.
DRAIN_RATE = 1000


class Server:
    """One process: listener, hub and sweeper of one generation.

    Args:
        generation: what to serve.
        address: where to listen.
        log: whose folded lines are settled now and then.
        pulse: of a worker, which shares its listening socket with others.
        tls: what makes TLS handshakes; None for no TLS.
        given: a listening socket that others opened and keep; None to open one at the address.
    """

    def __init__(
        self,
        generation: Generation,
        address: Tcp | Unix,
        log: FoldingHandler | None = None,
        pulse: Pulse | None = None,
        tls: CertificateStore | None = None,
        given: Any = None,
    ) -> None:
        self.generation = generation
        self.address = address
        self.node = Node(generation)
        self._hub = self.node.hub
        self._context = self.node.context
        self._log = log
        self._pulse = pulse
        self._tls = tls
        self._given = given
        self._stop = Event()
        self._listener: Listener | None = None
        self._watchdog: Watchdog | None = None
        self._greenlets: list[Any] = []
        self._handlers: dict[int, Any] = {}
        static = generation.config.server.static
        self._web = Web(
            static=(generation.config.folder / static) if static else None,
            health=self.health,
            is_endpoint=generation.is_endpoint,
        )

    def start(self) -> None:
        """Listen and serve, and heed SIGTERM and SIGINT from now on. Raises StartError."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = gevent.signal_handler(number, self._signalled)
        self._handlers[signal.SIGHUP] = gevent.signal_handler(signal.SIGHUP, self._hung_up)
        pulse = self._pulse
        if pulse is None:
            self._handlers[signal.SIGUSR2] = gevent.signal_handler(signal.SIGUSR2, self._asked_to_renew)
            raise_file_limit()
            settings = self.generation.config.server
            listener = self._given or listen(self.address, settings.socket_mode, settings.socket_owner)
        else:
            listener = pulse.listener()
            self._greenlets.append(gevent.spawn(self._beat, pulse))
        seat = pulse.seat if pulse is not None else None
        capacity = capacity_of(self.generation.config.limits.clients)
        self._listener = Listener(listener, self._web, self.node, capacity, seat, self._tls)
        self.address = bound(self.address, listener)
        self._hub.start()
        try:
            self.generation.start()
        except BaseException as error:  # a user's filter may raise anything
            listener.close()
            self.generation.stop()
            self.node.broker.stop(0)
            where = culprit(error.__traceback__) or "a filter"
            raise StartError(f"{where} failed to start: {type(error).__name__}: {error}") from error
        # What is loaded by now stays: the collector need not look at it again, which is 3 ms of each full pass.
        gc.collect()
        gc.freeze()
        tasks = (Sweeper(self._hub, self._context).run, self._settle_log, self._tell_counts)
        self._greenlets += [gevent.spawn(task) for task in tasks]
        if self._tls is not None:
            self._greenlets.append(gevent.spawn(self._look_at_certificates, self._tls))
        max_block = self.generation.config.limits.max_block
        self._watchdog = Watchdog(max_block, self._context.metrics, self._tell_of_block)
        self._watchdog.start()
        self._listener.start()
        if pulse is not None:
            pulse.seat.beat(0)

    def serve_until_signal(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. A second signal ends the process at once."""
        self._stop.wait()
        self.drain()
        for number, handler in self._handlers.items():
            handler.cancel()
            # All is done: a second signal now must not turn the exit status into a failure.
            signal.signal(number, signal.SIG_IGN)

    def stop(self) -> None:
        """Make `serve_until_signal` drain and return. From any greenlet."""
        self._stop.set()

    def health(self) -> dict[str, Any]:
        """What `/healthz` shows."""
        draining = self._listener is not None and self._listener.draining
        clients = len(self._hub.clients)
        if draining:
            return {"status": "draining", "clients": clients}
        if (reason := self.node.broker.health()) is not None:
            return {"status": "degraded", "reason": reason, "clients": clients}
        return {"status": "ok", "clients": clients}

    def drain(self) -> None:
        """End in steps, each with its limit, all within `drain` seconds.

        1. Accept nobody. 2. Tell every client 1001, spread when they are many. 3. Wait for their closing
        handshakes and `disconnect` pipelines. 4. Cut off who is left. 5. Stop the filters. 6. Send what other nodes
        are to get.
        """
        limit = self.generation.config.server.drain
        if self._pulse is not None and self._pulse.orphaned:
            logger.error("the supervisor is gone")
            limit = min(limit, ORPHAN_DRAIN)
        clock = self._context.clock
        end = clock() + limit
        last_words = min(LAST_WORDS, limit / 4)
        listener = self._listener
        if listener is not None:
            # The socket alone: `stop` would wait for handlers, and they are the clients.
            listener.close()
            if self._pulse is not None:
                self._pulse.seat.beat(None)
                # Others go on serving, so nobody is refused: who has been accepted here becomes a client first.
                while listener.arriving and clock() < end - limit + min(ARRIVE, limit / 4):
                    gevent.sleep(0.02)
            listener.draining = True
        clients = self._hub.everybody()
        logger.info("draining: %d clients, at most %g s", len(clients), limit)
        if self._pulse is None and self._given is None:
            remove_socket_file(self.address)
        spread = min(len(clients) / DRAIN_RATE, limit * SPREAD)
        for start in range(0, len(clients), DRAIN_SLICE):
            for client in clients[start : start + DRAIN_SLICE]:
                client.close(GOING_AWAY, "the server is shutting down")
            if start + DRAIN_SLICE < len(clients):
                gevent.sleep(spread * DRAIN_SLICE / len(clients))
        while self._hub.busy and clock() < end - 2 * last_words:
            gevent.sleep(0.02)
        if self._hub.busy:
            logger.warning("%d clients did not disconnect in time", self._hub.busy)
            for client in self._hub.everybody():
                client.kill()
            while self._hub.busy and clock() < end - last_words:
                gevent.sleep(0.02)
        with gevent.Timeout(last_words, False):
            for failure in self.generation.stop():
                self._context.faults.report("stop", failure)
        # Mostly there is much time left; after stuck filters a little, which is enough for a Redis that answers.
        self.node.broker.stop(min(LAST_PUBLICATIONS, max(end - clock(), 0.1)))
        gevent.killall(self._greenlets, block=False)
        if self._watchdog is not None:
            self._watchdog.stop()
        self._tell_what_was_counted()
        logger.info("stopped")
        if self._log is not None:
            self._log.flush()

    def _signalled(self) -> None:
        # Platforms send SIGTERM to all processes, and then a worker has it from its supervisor as well.
        if self._stop.is_set() and self._pulse is None:
            logger.warning("second signal: ending at once")
            os._exit(1)
        self._stop.set()

    def _hung_up(self) -> None:
        if self._tls is not None:
            self._tls.reload()
        else:
            logger.warning(
                "SIGHUP: the configuration cannot be reloaded yet; SIGUSR2 to the supervisor renews the workers"
            )

    def _asked_to_renew(self) -> None:
        logger.warning("SIGUSR2: a single worker has no supervisor that could renew it: restart the server")

    def _beat(self, pulse: Pulse) -> None:
        while True:
            listener = self._listener
            serves = listener is not None and listener.started and not self._stop.is_set()
            pulse.seat.beat(listener.connections if serves and listener is not None else None)
            gevent.sleep(BEAT)

    def _look_at_certificates(self, tls: CertificateStore) -> None:
        while True:
            gevent.sleep(LOOK)
            tls.look()

    def _tell_of_block(self, line: str) -> None:
        if self._log is not None:
            self._log.write_past(logging.WARNING, logger.name, line)

    def _settle_log(self) -> None:
        while self._log is not None:
            gevent.sleep(1)
            self._log.settle()

    def _tell_counts(self) -> None:
        while True:
            gevent.sleep(TELL)
            self._tell_what_was_counted()

    def _tell_what_was_counted(self) -> None:
        news = self._context.metrics.news()
        if news:
            logger.info("counted: %s", news)


def capacity_of(clients: int) -> int:
    """How many connections there may be: `clients`, and no more than leaves descriptors for Redis, files and the log.

    The reserve is a quarter of a low limit on open files, `RESERVE` of any other.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return clients if limit == resource.RLIM_INFINITY else max(1, min(clients, limit - min(RESERVE, limit // 4)))


def raise_file_limit() -> None:
    """Raise the soft limit on open files to the hard one: a client is a descriptor. A low limit is named in the log."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    if soft != resource.RLIM_INFINITY and soft < LOW_FILE_LIMIT:
        logger.warning("the limit on open files, %d, bounds the number of clients: raise it with `ulimit -n`", soft)
