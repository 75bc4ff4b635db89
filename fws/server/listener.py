"""The listening socket: which connections are accepted, rejected, or left in the kernel's queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent.pywsgi import WSGIServer

from fws.base.errors import Refusal
from fws.base.novelty import Novelty
from fws.runtime.greenlets import GreenletPool
from fws.server.admission import RETRY
from fws.server.arrival import Arrival
from fws.server.front import Application
from fws.server.handler import Handler
from fws.server.waiting import Waiting
from fws.wire.proxy import normal, parse_networks

if TYPE_CHECKING:
    from fws.config import Server
    from fws.server.certificates import CertificateStore
    from fws.server.node import Node
    from fws.workers.scoreboard import Row

logger = logging.getLogger("fws.http")

# A worker with more connections than another leaves new ones to it for this many seconds. After that it accepts those
# that still wait for this many seconds.
PATIENCE = 0.02
EAGER = 0.005
# At capacity, this many connections at a time are answered with 503. Others wait in the listening socket.
REFUSED = 16
FULL_PAUSE = 0.05


class Listener(WSGIServer):
    """gevent's server, with what its handlers need.

    Args:
        capacity: the most connections.
        row: the scoreboard's row of a worker that shares its listening socket; None for a single process.
        tls: certificates; None for no TLS.

    Attributes:
        websockets: whether requests may become WebSockets.
        draining: whether upgrades are refused.
        arriving: connections that are not clients yet, or that request something else.
        waiting: connections whose peers are waited for.
    """

    websockets = True
    # Otherwise the machine's own name would be looked up in the DNS, for an environ that no filter sees.
    base_env = {**WSGIServer.base_env, "SERVER_NAME": "fws"}

    def __init__(
        self,
        listener: Any,
        application: Application,
        node: Node,
        capacity: int,
        row: Row | None = None,
        tls: CertificateStore | None = None,
    ) -> None:
        # `wsgi.multiprocess` makes gevent accept one connection per turn instead of a hundred.
        environ = {"wsgi.multiprocess": row is not None, "wsgi.url_scheme": "http" if tls is None else "https"}
        super().__init__(
            listener,
            application,
            handler_class=Handler,
            spawn=GreenletPool().spawn,
            log=None,
            error_log=logger,
            environ=environ,
        )
        self.node = node
        self._hub = node.hub
        self.tls = tls
        self.configure(node.generation.config.server, capacity)
        # Separate from refusals, so that a robot's requests for missing files do not hide a refusal.
        self.failures = Novelty(node.context.clock)
        self.draining = False
        self.arriving = 0
        self.waiting = Waiting()
        self._refused = 0
        self._row = row
        self._eager_until = 0.0

    def configure(self, settings: Server, capacity: int) -> None:
        """Set what a reload may change, for connections from now on."""
        self.trusted = parse_networks(settings.trusted_proxies)
        self.proxy_protocol = settings.proxy_protocol
        self._capacity = capacity

    def close(self) -> None:
        """Accept no more connections, and end those that are idle: a proxy would send its next request on one of them,
        and not to the process that goes on serving.
        """
        super().close()
        self.waiting.end_idle()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return self.arriving + len(self._hub.clients)

    def handle(self, sock: Any, arrival: Arrival) -> bool:
        """Serve a connection up to the 101 or its end. Returns whether the greenlet may be used again."""
        handler = Handler(sock, arrival, self)
        try:
            handler.handle()
            return not handler.filtered
        finally:
            arrival.leave()
            if arrival.refusal is None:
                self.arriving -= 1
            else:
                self._refused -= 1

    def do_read(self) -> Any:
        """Accept a connection. Without a free descriptor, log that and try again in a moment."""
        row = self._row
        if row is not None and time.monotonic() > self._eager_until and row.is_ahead(self.connections):
            self._rest(PATIENCE, self._accept_eagerly)
            return None
        if self.connections >= self._capacity and self._refused >= REFUSED:
            self._rest(FULL_PAUSE)
            return None
        try:
            accepted = super().do_read()
        except OSError as error:
            if self.is_fatal_error(error):
                raise
            self.node.context.metrics.count("accept_failures")
            logger.error("cannot accept connections: %s", error.strerror)
            self._rest(0.1)
            return None
        if not accepted:
            return None
        sock, address = accepted
        arrival = self._admit(normal(str(address[0])) if isinstance(address, tuple) else "")
        if arrival is None:
            sock.close()
            return None
        if row is not None:
            row.beat(self.connections)
        return sock, arrival

    def _admit(self, address: str) -> Arrival | None:
        """The connection as an arrival, with a refusal if it is over a limit; None if it must be closed at once."""
        arrival = Arrival(address)
        try:
            if self.connections >= self._capacity:
                self.node.context.metrics.count("clients_over_limit")
                logger.warning("all %d connections are in use: new ones get 503", self._capacity)
                raise Refusal(503, "The server is full.", [RETRY], cause="full")
            if address not in self.trusted:
                arrival.lease = self.node.admission.enter(address)
        except Refusal as refusal:
            if self._refused >= REFUSED:
                return None
            arrival.refusal = refusal
            self._refused += 1
        else:
            self.arriving += 1
        return arrival

    def _rest(self, seconds: float, then: Callable[[], None] | None = None) -> None:
        """Accept no connections for a while."""
        self.stop_accepting()
        self._timer = self.loop.timer(seconds)
        self._timer.start(then or self._start_accepting_if_started)

    def _accept_eagerly(self) -> None:
        """Other workers had time to accept the waiting connections. Now any worker may."""
        self._eager_until = time.monotonic() + EAGER
        self._start_accepting_if_started()
