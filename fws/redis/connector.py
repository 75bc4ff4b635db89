"""Connections to Redis: plain streams, for code that implements the protocol itself.

No call takes long: connecting has 1 s and a reply has 2 s, and nothing is retried without the caller. With redis-py's
own methods, a caller of a frozen Redis waits for a minute. `fws.redis.client` has clients for commands.
"""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import msgspec
import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.retry import Retry

from fws.base.errors import FwsError
from fws.config import Redis
from fws.config.redis import FINGERPRINT_OF_ONE, RedisAddress, parse_redis
from fws.redis.resp import Failure, Replies, command

# Seconds for a TCP connection or a TLS handshake, and seconds for a reply.
CONNECT = 1.0
REPLY = 2.0
# The most bytes of one read. A relay can handle this much in a few milliseconds.
READ = 64 * 1024
# The most bytes of a reply. The longest one has the nodes of a Cluster.
LONGEST = 1024 * 1024

# The exceptions of a client's commands, for code that does not import redis-py.
RedisError = redis.RedisError
ResponseError = redis.ResponseError


class ConnectorError(FwsError):
    """Redis cannot be reached. The message says why in a few words, without a password."""


class Security(msgspec.Struct, frozen=True):
    """How TLS to Redis is verified, and how fws authenticates to the Sentinels.

    Attributes:
        ca: a file of certificate authorities; empty for those that the machine trusts.
        verify: "full", "ca" (not the host name) or "none".
        fingerprint: SHA-256 of the server's certificate. Nothing else is verified then.
        cert, key: files of the client's certificate and its key.
        sentinel_user, sentinel_password: for the Sentinels themselves.
    """

    ca: str = ""
    verify: str = "full"
    fingerprint: str = ""
    cert: str = ""
    key: str = ""
    sentinel_user: str = ""
    sentinel_password: str = ""


class Connector:
    """Connects to one Redis, or to those of a Sentinel or a Cluster. The constructor does not connect.

    Args:
        url: as in `[redis] url`. What its own options say about TLS wins over `security`.
        security: how TLS is verified.

    Raises:
        ValueError: an invalid URL, with a sentence that says what would be right.
    """

    def __init__(self, url: str | RedisAddress, security: Security | None = None) -> None:
        self.address = address = parse_redis(url) if isinstance(url, str) else url
        given = security or Security()
        own = {name: value for name in ("ca", "verify", "cert", "key") if (value := getattr(address, name))}
        self.security = msgspec.structs.replace(given, **own) if own else given
        self._tls: type[Any] | None = None
        if self.security.fingerprint and address.kind != "one":
            # Each server has a certificate of its own, and redis-py has no hook to check it.
            raise ValueError(FINGERPRINT_OF_ONE)

    @classmethod
    def of(cls, settings: Redis, folder: Path) -> Connector:
        """The connector for the section `[redis]`.

        Args:
            settings: the section; its `url` is not empty.
            folder: the folder that the paths of files are relative to.
        """
        files = {name: str(folder / value) for name in ("ca", "cert", "key") if (value := getattr(settings, name))}
        security = Security(
            verify=settings.verify,
            fingerprint=settings.fingerprint.replace(":", "").lower(),
            sentinel_user=settings.sentinel_user,
            sentinel_password=settings.sentinel_password,
            **files,
        )
        return cls(settings.url, security)

    def __str__(self) -> str:
        """The address without its password, for logs."""
        return str(self.address)

    def stream(self, host: str | None = None, port: int = 0, *, sentinel: bool = False) -> Stream:
        """Connect and log in. This takes at most 3 s.

        Args:
            host: the server, if a Sentinel or a Cluster has named it; by default that of the address.
            sentinel: whether it is a Sentinel, which has its own user and password and no database.

        Raises:
            ConnectorError: it cannot be reached.
        """
        options = self.options()
        if sentinel:
            security = self.security
            options |= {"username": security.sentinel_user or None, "password": security.sentinel_password or None}
            options["db"] = 0
        if self.address.path:
            options["path"] = self.address.path
        elif host is not None:
            options |= {"host": host, "port": port}
        else:
            options["host"], options["port"] = self.address.hosts[0]
        try:
            connection = self.connection_class()(**options)
        except OSError as error:
            raise ConnectorError(reason(error)) from None
        try:
            # redis-py sets no time limit on looking up names and on the TLS handshake.
            with gevent.Timeout(CONNECT + REPLY, ConnectorError("it does not answer")):
                connection.connect()
        except (redis.RedisError, OSError, ValueError) as error:
            connection.disconnect()
            raise ConnectorError(reason(error)) from None
        except BaseException:
            connection.disconnect()
            raise
        return Stream(connection, (host, port))

    def options(self) -> dict[str, Any]:
        """redis-py's options for a connection, without host and port."""
        address = self.address
        options: dict[str, Any] = {
            "db": address.db,
            "username": address.username,
            "password": address.password,
            "socket_timeout": REPLY,
            "socket_connect_timeout": CONNECT,
            "retry": once(),
            # RESP2, because every Redis supports it, and redis-py does not enable notifications with it.
            "protocol": 2,
            "decode_responses": False,
        }
        return options

    def connection_class(self) -> type[Any]:
        """redis-py's class for connections to this address."""
        if self.address.path:
            return UnixDomainSocketConnection
        if not self.address.tls:
            return Connection
        if self._tls is None:
            self._tls = tls_connection(self.security)
        return self._tls


def tls_connection(security: Security) -> type[Any]:
    """A class of TLS connections.

    All its connections share one context. redis-py makes one for each connection, and reading the machine's authorities
    blocks the event loop for 30 ms. With `ca`, only those authorities are trusted, and not the machine's as well.

    Raises:
        OSError: a file of certificates cannot be read.
    """
    context = ssl.create_default_context(cafile=security.ca or None)
    context.check_hostname = security.verify == "full" and not security.fingerprint
    if security.fingerprint or security.verify == "none":
        context.verify_mode = ssl.CERT_NONE
    if security.cert:
        context.load_cert_chain(security.cert, security.key or None)

    class TlsConnection(SSLConnection):  # type: ignore[misc,unused-ignore]
        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            tls = context.wrap_socket(sock, server_hostname=self.host)
            if security.fingerprint:
                found = sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
                if not hmac.compare_digest(found, security.fingerprint):
                    tls.close()
                    raise FingerprintError(f"it has another certificate, whose fingerprint is {found}")
            return tls

    return TlsConnection


class FingerprintError(redis.ConnectionError):
    """The server's certificate is not the pinned one."""


class Stream:
    """One open connection to Redis: bytes out, bytes in.

    Attributes:
        place: the host and port that were requested.
    """

    __slots__ = ("_connection", "_socket", "place")

    def __init__(self, connection: Any, place: tuple[str | None, int]) -> None:
        self.place = place
        self._connection = connection
        # The only private name of redis-py that is used, because its readers wait for whole replies of any size.
        self._socket = connection._sock

    def send(self, data: bytes, timeout: float = REPLY) -> None:
        """Send all the data. If it raises ConnectorError, it is unknown how much was sent."""
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(data)
        except OSError as error:
            raise ConnectorError(reason(error)) from None

    def receive(self, timeout: float) -> bytes:
        """Return bytes that have arrived; empty after the time. Raises ConnectorError if the connection ends."""
        try:
            self._socket.settimeout(timeout)
            data: bytes = self._socket.recv(READ)
        except TimeoutError:
            return b""
        except OSError as error:
            raise ConnectorError(reason(error)) from None
        if not data:
            raise ConnectorError("it closed the connection")
        return data

    def ask(self, *words: bytes, timeout: float = REPLY) -> Any:
        """Return the reply to one command. No other reply may be pending on the stream.

        Raises:
            ConnectorError: there is no reply within `timeout` seconds, or it is an error.
        """
        self.send(command(*words), timeout)
        replies = Replies(LONGEST)
        until = monotonic() + timeout
        while (left := until - monotonic()) > 0:
            if found := replies.feed(self.receive(left)):
                if isinstance(found[0], Failure):
                    raise ConnectorError(error_text(found[0]))
                return found[0]
        raise ConnectorError("it does not answer")

    def when_readable(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call `call` when bytes or the end arrive. Returns a function that stops this, which must be called before
        `close`.
        """
        watcher = gevent.get_hub().loop.io(self._socket.fileno(), 1)
        watcher.start(call)

        def stop() -> None:
            watcher.stop()
            watcher.close()

        return stop

    def close(self) -> None:
        """Close the stream. A greenlet that is blocked in `send` or `receive` gets a ConnectorError."""
        self._connection.disconnect()


def slot_of(name: bytes) -> int:
    """Return the slot of a Cluster for a key or channel. In a name with `{…}` only that part counts."""
    slot: int = key_slot(name)
    return slot


def reason(error: BaseException) -> str:
    """Return why Redis cannot be reached, in a few words for the log and `/healthz`."""
    if isinstance(error, ConnectorError | FingerprintError):
        return str(error)
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, ConnectorError):
        return str(cause)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, FileNotFoundError) and cause.filename:
        return f"there is no file {cause.filename}"
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        text = str(error if isinstance(error, ssl.SSLError) else cause).upper()
        if "ALERT" in text and ("CERTIFICATE" in text or "UNKNOWN_CA" in text or "HANDSHAKE_FAILURE" in text):
            return "it refuses the client certificate, or asks for one: set cert and key in [redis]"
        if isinstance(error, ssl.SSLEOFError) or isinstance(cause, ssl.SSLEOFError):
            # In TLS 1.3, OpenSSL's server ends the connection like this after the handshake if a client certificate is
            # missing.
            return "it ended the TLS connection: if it asks for client certificates, set cert and key in [redis]"
        if "PEM" in text or "KEY_VALUES_MISMATCH" in text:
            return "a file of certificates or keys in [redis] is invalid"
        return "it does not speak TLS"
    if isinstance(error, redis.AuthenticationError):
        return "it refuses the password"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "it does not answer"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower() if cause.strerror.isascii() else cause.strerror
    return error_text(str(error)) or type(error).__name__


_FAILURES = {
    "NOAUTH": "it asks for a password",
    "WRONGPASS": "it refuses the password",
    "LOADING": "it is loading its data",
    "READONLY": "it is a replica and does not accept writes",
    "MASTERDOWN": "it is a replica and does not reach its master",
    "BUSY": "a script keeps it busy",
}


def error_text(failure: str) -> str:
    """Return the error that Redis replied, in a few words."""
    return _FAILURES.get(failure.partition(" ")[0], f"it replied: {failure[:200]}")


def once() -> Retry:
    """redis-py's retry policy without retries, because the caller decides."""
    return Retry(NoBackoff(), 0)
