"""gevent-websocket's handler: serves an accepted connection up to the 101, or to its end.

It keeps the shape of the library, which is one greenlet for each arrival and the steps `upgrade_websocket`,
`start_response` and `run_websocket`. It replaces what these steps do: the request head is read strictly and under one
time limit, and after the 101 the socket belongs to the client.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

from gevent import Timeout, socket
from geventwebsocket.handler import WebSocketHandler

from fws.base.errors import Refusal, phrase
from fws.clients.client import Client
from fws.clients.tls_transport import TlsTransport, end_tls
from fws.clients.transport import Transport
from fws.runtime.scheduler import Deadline, overdue, pause
from fws.server.arrival import Arrival
from fws.server.certificates import identity_of, reason_of
from fws.server.front import Front
from fws.server.pywsgi import NoInput, RequestHeaders, library_logger
from fws.server.streams import HEAD, SECURE, cors_headers, stream_headers
from fws.server.upgrade import endpoint_of, first_text, route, stream_of
from fws.server.web import REASON
from fws.wire.deflate import Agreement, negotiate
from fws.wire.handshake import check, response_headers, wants_upgrade
from fws.wire.head import Head, HeadReader, Takes
from fws.wire.proxy import ProxyError, Source, forwarded, header_end, parse_proxy

if TYPE_CHECKING:
    from fws.compiler.endpoint import Endpoint
    from fws.server.certificates import CertificateStore
    from fws.wire.framing import Transport as Carrier

logger = logging.getLogger("fws.http")

RECEIVE = 16 * 1024
# Seconds to make a plain response, and then to send each piece of it (8 KiB of a file). A peer that takes longer for a
# piece is not reading. A large file over a slow network may take longer as a whole.
RESPONSE_TIMEOUT = 60.0
# Seconds that a refused peer may take to read the answer and to stop sending.
LINGER = 1.0
# Seconds that a connection over a limit has to send its request, which is answered with 503 or 429.
REFUSED_TIMEOUT = 2.0
# All requests without a body share an empty one.
_NO_BODY = io.BytesIO()
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(WebSocketHandler):
    """One connection: HTTP requests until one of them becomes a WebSocket.

    Attributes:
        filtered: whether filters that may block have run in its greenlet.
    """

    server: Front
    headers_sent: bool
    environ: dict[str, Any]
    socket: Any
    headers: Any
    # The library's own property removes the log handlers of the application.
    logger = library_logger

    def __init__(self, sock: Any, arrival: Arrival, server: Front) -> None:
        # A stream of the library would take 4.6 KB per client, and read ahead of our head reader.
        super().__init__(sock, arrival.address, server, rfile=_NO_BODY)
        self._arrival = arrival
        self._head: Any = None
        self._rest = b""
        self._takes: Takes | None = None
        self._timeout: Deadline | None = None
        self._agreement: Agreement | None = None
        self._refused = False
        self._upgrades = False
        # What carries a client that the present request opens over plain HTTP; None if it does not.
        self._stream: Carrier | None = None
        self._switching = b""
        self._commands = ""
        # The id of the client that the present request becomes, or would have become.
        self._client_id = ""
        # Where the connection comes from, and where the present request comes from. A proxy's requests are those of
        # many clients.
        self._peer = self._source = Source(arrival.address)
        self._arrived = False
        self._secure = False
        self.filtered = False

    def handle_one_request(self) -> Any:
        """Read and answer one request. The result is pywsgi's: True for another request, None for the end."""
        node = self.server.node
        # From the accept to the 101, so that a byte now and then does not extend it. It is not a time-out of the
        # socket, because the filters of `connect` count as well.
        limit = node.limits.handshake_timeout
        refusal = self._arrival.refusal
        self._timeout = Deadline(limit if refusal is None else min(limit, REFUSED_TIMEOUT))
        with self._timeout:
            try:
                if not self._arrived and not self._arrive():
                    return None
                head = self._read_head()
                if head is None:
                    return None
                if refusal is not None:
                    raise refusal
                self._source = forwarded(head, self._peer, self.server.trusted)
                self._prepare(head)
                if head.method == "POST" and not self._upgrades and not self._read_body(head):
                    return None
                if not self._upgrades and self._stream is None:
                    self._allow_time(RESPONSE_TIMEOUT)
                self.handle_one_response()
                if self._refused:
                    self._timeout.close()
                    self._linger()
            except Deadline:
                if self.headers_sent:
                    return None  # a connection that was kept, on which no further request has come
                node.context.metrics.count("handshake_timeouts")
                if self._arrived:
                    self._answer(Refusal(408, "The request took too long."))
                return None
            except Refusal as refusal:
                self._timeout.close()
                self._answer(refusal)
                return None
            except OSError:
                return None
            finally:
                self._timeout.close()
        if self.close_connection or self.server.draining:
            self._end_tls()
            return None
        # Reading and writing do not block while the socket is ready. A peer that sends one request after the other
        # would keep others from their turn.
        pause()
        return True

    def _arrive(self) -> bool:
        """Read what precedes the first request: the PROXY header of a trusted proxy, and the TLS handshake."""
        server = self.server
        if server.proxy_protocol and self._peer.address in server.trusted:
            try:
                source = parse_proxy(self._read_proxy_header())
            except ProxyError as error:
                server.node.context.metrics.count("proxy_errors")
                logger.warning("the proxy %s sent %s", self._peer.address or "at the UNIX socket", error)
                return False
            if source is not None:
                self._peer = self._source = source
        if server.tls is not None and not self._tls_handshake(server.tls):
            return False
        self._arrived = True
        return True

    def _read_proxy_header(self) -> bytes:
        """Read the PROXY header up to its last byte and no further, because TLS may follow."""
        header = b""
        end = None
        while end is None:
            ahead = self.socket.recv(RECEIVE, socket.MSG_PEEK)
            if not ahead:
                raise ProxyError("no PROXY header")
            end = header_end(header + ahead)
            header += self.socket.recv(len(ahead) if end is None else end - len(header))
        return header

    def _tls_handshake(self, tls: CertificateStore) -> bool:
        """Do the TLS handshake. If it fails, the connection is closed, with a line at the level `debug`."""
        try:
            self.socket = tls.handshake(self.socket, self.server.node.context.scheduler)
        except OSError as error:
            self.server.node.context.metrics.count("tls_failures")
            logger.debug("no TLS with %s: %s", self._address(), reason_of(error))
            return False
        self._secure = True
        return True

    def _end_tls(self) -> None:
        inner = getattr(self.socket, "_sslobj", None)
        if inner is not None:
            end_tls(inner)

    def _read_head(self) -> Head | None:
        """Return the head of the next request, or None if the peer leaves before it is complete.

        `command` is set to the request's method as soon as that is known, even if the rest of the head is refused.
        """
        limits = self.server.node.limits
        self.requestline = ""
        taking = self.server.application.takes
        reader = HeadReader(limits.max_head, limits.max_head_line, limits.max_headers, taking)
        data, waiting = self._rest, self.server.waiting
        try:
            while True:
                head = reader.feed(data) if data else None
                if head is not None:
                    self._rest = reader.rest
                    self._takes = reader.takes
                    return head
                # The headers are those of an earlier request on this connection.
                waiting[self.socket] = self.headers_sent and not data
                data = self.socket.recv(RECEIVE)
                if not data:
                    return None
        finally:
            waiting.pop(self.socket, None)
            self.command = reader.method

    def _read_body(self, head: Head) -> bool:
        """Read the body, and nothing behind it, into memory. Returns False if the peer leaves before its end.

        A body that the application does not look at is read as well, so that it is never taken for the next request.
        """
        assert self._takes is not None
        self.headers_sent = False  # those of an earlier request on this connection are
        if self._takes.check is not None:
            self._takes.check(head, self._source.address)
        # A request that came late on a connection that was kept has the whole time for its body.
        self._allow_time(self.server.node.limits.handshake_timeout)
        body, self._rest = bytearray(self._rest[: head.length]), self._rest[head.length :]
        if head.waits_for_continue and len(body) < head.length:
            self.socket.sendall(_CONTINUE)
        with self.server.waiting.on(self.socket):
            while len(body) < head.length:
                data = self.socket.recv(min(RECEIVE, head.length - len(body)))
                if not data:
                    return False
                body += data
        self.environ["wsgi.input"] = io.BytesIO(body)
        return True

    def _prepare(self, head: Head) -> None:
        """Set the attributes that pywsgi expects. A checked head has nothing ambiguous."""
        self._head = head
        self._client_id = ""
        self.command, self.path, self.request_version = head.method, head.target, f"HTTP/{head.version}"
        # For logs, and therefore without the query, which may contain a token.
        path, mark, _ = head.target.partition("?")
        self.requestline = f"{head.method} {path}{mark and '?…'} {self.request_version}"
        self.application = self.server.application
        self.wsgi_input = NoInput
        self._upgrades = self.server.websockets and wants_upgrade(head)
        if self._upgrades:
            self.environ = {}
            return
        self._stream = stream_of(self.server.node, head) if self.server.websockets else None
        tokens = [token.strip().lower() for token in (head.get("connection") or "").split(",")]
        self.close_connection = "close" in tokens or (head.version == "1.0" and "keep-alive" not in tokens)
        self.headers = RequestHeaders(head)
        # For pywsgi no request has a body. It would read it without a time limit.
        self.content_length = 0
        self.environ = self.get_environ()
        self.environ |= {"REMOTE_ADDR": self._source.address, HEAD: head, SECURE: self._is_secure}

    def _answer(self, refusal: Refusal) -> None:
        """Refuse a request whose head could not be read, and end the connection so that the answer arrives.

        If a socket is closed with unread bytes, TCP resets the connection, and the reset can overtake the answer.
        `_linger` prevents this.
        """
        self._record(refusal)
        headers = self._headers_of(refusal)
        lines = [f"HTTP/1.1 {refusal.status} {phrase(refusal.status)}", *(f"{name}: {text}" for name, text in headers)]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        with Timeout(LINGER, False):
            try:
                self.socket.sendall(head + self._body_of(refusal))
            except OSError:
                return
        self._linger()

    def _linger(self) -> None:
        """Send FIN, and read what the peer still sends for a short time."""
        self._end_tls()
        with Timeout(LINGER, False):
            try:
                self.socket.shutdown(socket.SHUT_WR)
                while self.socket.recv(RECEIVE):
                    pause()
            except OSError:
                pass

    def _record(self, refusal: Refusal) -> None:
        self.server.node.context.refusals.record(refusal, self._address(), self.requestline, self._client_id)

    def _headers_of(self, refusal: Refusal) -> list[tuple[str, str]]:
        length = str(len(_sentence(refusal)))
        own = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", length), ("Connection", "close")]
        return [*refusal.headers, *own]

    def _body_of(self, refusal: Refusal) -> bytes:
        """Return the reason; nothing for HEAD, whose answer has headers only (RFC 9110 9.3.2)."""
        return b"" if self.command == "HEAD" else _sentence(refusal)

    # The library calls these.

    def upgrade_websocket(self) -> list[bytes] | None:
        """Check and route the request, and run its `connect` pipeline before the 101. Refusals are plain HTTP."""
        head, stream = self._head, self._stream
        if not self._upgrades and stream is None:
            return None  # the WSGI application answers
        try:
            accept = check(head) if stream is None else ""
            if self.server.draining:
                raise _going_away()
            if stream is not None:
                self._commands = first_text(head, self.environ["wsgi.input"].read())
            client = self._admit(head)
        except Refusal as refusal:
            return self._refuse(refusal)
        self.websocket = client
        self.environ["wsgi.websocket"] = client  # the library then knows that the response carries a client
        if stream is not None:
            self.start_response("200 OK", stream_headers(stream) + self._cors(client.endpoint))
            return None
        extensions = self._agreement.header if self._agreement is not None else None
        self.start_response("101 Switching Protocols", response_headers(accept, client.subprotocol, extensions))
        return None

    @property
    def _is_secure(self) -> bool:
        return self._secure if self._source.secure is None else self._source.secure

    def _cors(self, endpoint: Endpoint) -> list[tuple[str, str]]:
        """What lets a page of another origin read the response over plain HTTP."""
        return cors_headers(self._head, endpoint.origins, secure=self._is_secure, host=self._source.host)

    def _admit(self, head: Head) -> Client:
        """The client for a valid upgrade request. Raises Refusal."""
        node, source, arrival = self.server.node, self._source, self._arrival

        def enter() -> None:
            if arrival.lease is None:
                arrival.lease = node.admission.enter(source.address)

        stream = self._stream
        carrier = stream or "websocket"
        client = route(node, head, source.address, enter, secure=self._is_secure, host=source.host, transport=carrier)
        self._client_id = client.id
        endpoint = client.endpoint
        offers = head.get("sec-websocket-extensions")
        if endpoint.settings.compression and offers is not None and stream is None:
            # An idle client keeps no compression window. It would take 40 KiB, ten times as much as everything else.
            self._agreement = negotiate(offers, client_no_context_takeover=True)
        if self._secure:
            client.identity = identity_of(self.socket)
        self.filtered = endpoint.connect.waits
        try:
            assert arrival.lease is not None
            client.connect(arrival.lease.claim)
        except Deadline:
            node.context.metrics.count("handshake_timeouts")
            advice = f"the connect pipeline took longer than handshake_timeout at {client.path[:100]}"
            raise Refusal(503, "The server took too long to decide.", advice=advice, cause="timeout") from None
        if self.server.draining:
            client.disconnect()
            raise _going_away()
        # If many clients connect at once, each of them runs a pipeline.
        if overdue():
            try:
                pause()
            except BaseException:  # the time is over, and nothing else would end the client yet
                client.disconnect()
                raise
        return client

    def _refuse(self, refusal: Refusal) -> list[bytes]:
        """Refuse a valid request. pywsgi sends the answer."""
        self.close_connection = self._refused = True
        self._record(refusal)
        headers = self._headers_of(refusal)
        if self._stream is not None and (endpoint := endpoint_of(self.server.node, self._head)) is not None:
            headers += self._cors(endpoint)  # so that the page learns the status
        self.start_response(f"{refusal.status} {phrase(refusal.status)}", headers)
        return [self._body_of(refusal)]

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """As pywsgi, except for a client: to check, encode and date the few lines would take 15 µs."""
        if "websocket" not in self.__dict__:
            return super().start_response(status, headers, exc_info)
        self.status, self.code, self.close_connection = status.encode(), int(status[:3]), True
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._switching = f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1")
        return self.write

    def _allow_time(self, seconds: float) -> None:
        """Restart the time limit for a body, a plain response or its next piece."""
        assert self._timeout is not None
        self._timeout.close()
        self._timeout = Deadline(seconds)
        self._timeout.start()

    def _sendall(self, data: bytes) -> None:
        """Send a piece of a response."""
        if not self._upgrades:
            self._allow_time(RESPONSE_TIMEOUT)
        with self.server.waiting.on(self.socket):
            super()._sendall(data)

    def write(self, data: bytes) -> None:
        """Called without data to send the head. It is sent later, together with what `connect` sent to the client."""
        if "websocket" not in self.__dict__:
            super().write(data)
        self.headers_sent = True

    def run_websocket(self) -> None:
        """Hand the socket over to the client, which sends the 101. pywsgi's greenlet ends, and frees its memory.

        A pipeline that may block has a greenlet of its own, with an empty stack. An idle client has none.
        """
        client: Client = self.websocket
        client_socket, self.socket = self.socket, None
        transport = (TlsTransport if self._secure else Transport)(client_socket, self._arrival.lease)
        self._arrival.lease = None
        client.open(transport, self._switching, self._agreement, self._rest)
        if self._stream is not None and self._commands:
            self.server.node.context.scheduler.soon(client.hear, self._commands)
        del self.websocket

    def run_application(self) -> None:
        """As the library. If the 101 cannot be sent, a client whose `connect` pipeline has passed is ended too."""
        try:
            super().run_application()
        finally:
            client = self.__dict__.pop("websocket", None)
            if client is not None:
                client.disconnect()

    def handle_error(self, kind: Any, error: Any, traceback: Any) -> None:
        """Handle an exception of a response. A peer that is gone or too slow is normal; anything else is a bug."""
        self.close_connection = True
        if error is self._timeout or isinstance(error, OSError):
            self.server.node.context.metrics.count("responses_cut")
            return
        extra = {"error": error, "client": self._client_id, "address": self._address()}
        logger.error("%s failed: %s: %s", self.requestline, kind.__name__, error, extra=extra)
        self._send_error_response_if_possible(500)

    def log_request(self) -> None:
        """Log a request at the level `debug`, and a failed plain request at `info`, once a minute.

        The library would discard the line, and would log nothing about upgrades.
        """
        if not self.requestline:
            return
        failed = not self._refused and isinstance(self.code, int) and self.code >= 400
        level = logging.DEBUG
        if failed and self.server.failures.is_new(f"{self.code} {self.requestline[:100]}"):
            level = logging.INFO
        reason = self.environ.get(REASON) if failed else None
        because = f" ({reason})" if reason else ""
        if logger.isEnabledFor(level):
            extra = {"address": self._address(), "status": self.code, "client": self._client_id}
            if self._client_id:
                extra["cause"] = self._client_id
            line = self._address(), self.requestline, self.status_text(), because
            logger.log(level, "%s %s: %s%s", *line, extra=extra)

    def status_text(self) -> str:
        """Return the status and its phrase: `404 NOT FOUND`."""
        # The library stores bytes, or a text if the peer has left before the response.
        status = self.status.decode("latin-1") if isinstance(self.status, bytes) else self.status
        return str(status or self.code)

    def _address(self) -> str:
        return self._source.address


def _going_away() -> Refusal:
    return Refusal(503, "The server is shutting down.", [("Retry-After", "5")], cause="draining")


def _sentence(refusal: Refusal) -> bytes:
    return f"{refusal.reason}\n".encode()
