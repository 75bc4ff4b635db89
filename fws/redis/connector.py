"""A link to Redis: makes clients for commands, and bare streams for who speaks the protocol at its own pace.

No call through a link lasts long: connecting is given 1 s, a reply 2 s, and nothing is tried again behind the caller's
back, because redis-py's own ways keep a caller of a frozen Redis for a minute.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from fws.base.errors import FwsError
from fws.config.redis import RedisAddress, parse_redis

# Seconds for a TCP connection or a TLS handshake, and for one reply.
CONNECT = 1.0
REPLY = 2.0
# Connections that one client opens at most, and the seconds that a caller waits for one of them to be free.
CONNECTIONS = 32
FREE = 1.0
# Bytes read in one go: what a relay can handle in a few milliseconds.
READ = 64 * 1024


# What a client's commands raise, for who knows Redis through a link only.
RedisError = redis.RedisError


class LinkError(FwsError):
    """Redis is not to be had, or no more. Says why in a few words, never with a password."""


class Link:
    """How to reach one Redis, or a Sentinel's or Cluster's. Making one connects to nothing.

    Args:
        url: as in `[redis] url`.
        ca: file of the certificates that may sign the server's; empty for those that the machine trusts.

    Raises:
        ValueError: a URL that is none, with a sentence that says what would be right.
    """

    def __init__(self, url: str | RedisAddress, ca: str | Path = "") -> None:
        self.address = parse_redis(url) if isinstance(url, str) else url
        self._ca = str(ca)

    def __str__(self) -> str:
        """The address without its password, for logs."""
        return str(self.address)

    def client(self) -> redis.Redis | RedisCluster:
        """A redis-py client for commands, for any number of greenlets. Values are bytes.

        For a Cluster this asks one of the nodes for the others, so it may take 2 s, and raises `redis.RedisError` when
        none answers; else nothing is connected yet. A command lasts 4 s at most (1 s until a connection is free, 1 s to
        connect, 2 s for the reply) and raises `redis.RedisError`; whether it was carried out is then not known.
        """
        address = self.address
        options = self._options()
        if address.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            del options["db"]
            return RedisCluster(
                startup_nodes=nodes, dynamic_startup_nodes=False, max_connections=CONNECTIONS, **options
            )
        if address.kind == "sentinel":
            # The Sentinels themselves have no password here.
            plain = {"socket_timeout": CONNECT, "socket_connect_timeout": CONNECT, "retry": _once(), "protocol": 2}
            sentinel = Sentinel(address.hosts, sentinel_kwargs=plain)
            return redis.Redis(connection_pool=SentinelConnectionPool(address.service, sentinel, **options))
        if address.path:
            options["path"] = address.path
        else:
            options["host"], options["port"] = address.hosts[0]
        pool = BlockingConnectionPool(
            max_connections=CONNECTIONS, timeout=FREE, connection_class=self._connection_class(), **options
        )
        return redis.Redis(connection_pool=pool)

    def stream(self, host: str | None = None, port: int = 0, *, plain: bool = False) -> Stream:
        """Connect and log in. Takes 3 s at most.

        Args:
            host: of this server, for a Sentinel's or a Cluster's; else the only one of the address.
            plain: without user, password and database, as for a Sentinel.

        Raises:
            LinkError: it is not to be had.
        """
        options = self._options()
        if plain:
            options |= {"username": None, "password": None, "db": 0}
        if self.address.path:
            options["path"] = self.address.path
        elif host is not None:
            options |= {"host": host, "port": port}
        else:
            options["host"], options["port"] = self.address.hosts[0]
        connection = self._connection_class()(**options)
        try:
            # Names are looked up and TLS is shaken hands on without any limit of redis-py's.
            with gevent.Timeout(CONNECT + REPLY, LinkError("it does not answer")):
                connection.connect()
        except (redis.RedisError, OSError) as error:
            connection.disconnect()
            raise LinkError(reason(error)) from None
        except BaseException:
            connection.disconnect()
            raise
        return Stream(connection, (host, port))

    def _options(self) -> dict[str, Any]:
        address = self.address
        options: dict[str, Any] = {
            "db": address.db,
            "username": address.username,
            "password": address.password,
            "socket_timeout": REPLY,
            "socket_connect_timeout": CONNECT,
            "retry": _once(),
            # RESP2: any Redis speaks it, and redis-py asks for no notifications of its own with it.
            "protocol": 2,
            "decode_responses": False,
        }
        if address.tls and self._ca:
            options["ssl_ca_certs"] = self._ca
        return options

    def _connection_class(self) -> type[Any]:
        if self.address.path:
            return UnixDomainSocketConnection
        return SSLConnection if self.address.tls else Connection


class Stream:
    """One open connection to Redis: bytes out, bytes in.

    Attributes:
        place: host and port that it was asked for.
    """

    __slots__ = ("_connection", "_socket", "place")

    def __init__(self, connection: Any, place: tuple[str | None, int]) -> None:
        self.place = place
        self._connection = connection
        # The one private name of redis-py's that is used: its readers wait for whole replies, however large.
        self._socket = connection._sock

    def send(self, data: bytes, timeout: float = REPLY) -> None:
        """Send all of it. Raises LinkError, and then nobody knows how much was sent."""
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(data)
        except OSError as error:
            raise LinkError(reason(error)) from None

    def receive(self, timeout: float) -> bytes:
        """What has come, empty when nothing does within the time. Raises LinkError when the connection ends."""
        try:
            self._socket.settimeout(timeout)
            data: bytes = self._socket.recv(READ)
        except TimeoutError:
            return b""
        except OSError as error:
            raise LinkError(reason(error)) from None
        if not data:
            raise LinkError("it closed the connection")
        return data

    def when_readable(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have `call` called when something comes, or the end. Returns what stops it, to be called before `close`."""
        watcher = gevent.get_hub().loop.io(self._socket.fileno(), 1)
        watcher.start(call)

        def stop() -> None:
            watcher.stop()
            watcher.close()

        return stop

    def close(self) -> None:
        """End it. Who waits in `send` or `receive` gets a LinkError."""
        self._connection.disconnect()


def slot_of(name: bytes) -> int:
    """The slot of a Cluster that a key or channel belongs to; of a name with `{…}` that part alone counts."""
    slot: int = key_slot(name)
    return slot


def reason(error: BaseException) -> str:
    """Why Redis is not to be had, in a few words for logs and `/healthz`."""
    if isinstance(error, LinkError):
        return str(error)
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return "it does not speak TLS"
    if isinstance(error, redis.AuthenticationError):
        return "it refuses the password"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "it does not answer"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower() if cause.strerror.isascii() else cause.strerror
    return told(str(error)) or type(error).__name__


_FAILURES = {
    "NOAUTH": "it asks for a password",
    "WRONGPASS": "it refuses the password",
    "LOADING": "it is loading its data",
    "READONLY": "it is a replica and takes no writes",
    "MASTERDOWN": "it is a replica and does not reach its master",
    "BUSY": "a script keeps it busy",
}


def told(failure: str) -> str:
    """What Redis replied instead of an answer, in a few words."""
    return _FAILURES.get(failure.partition(" ")[0], f"it replied: {failure[:200]}")


def _once() -> Retry:
    """Try once, and tell."""
    return Retry(NoBackoff(), 0)
