"""Where Redis is: the URL in `[redis] url`, read and checked, and shown without its password.

    redis://user:password@host:6379/0          one server; rediss:// for TLS
    unix:///run/redis.sock                     the same machine
    redis+sentinel://a:26379,b:26379/name/0    the master that these Sentinels name; rediss+sentinel:// for TLS
    redis+cluster://a:6379,b:6379              the Cluster of these nodes; rediss+cluster:// for TLS

Providers write `valkey` for `redis`, and put redis-py's options behind a `?`. Those that say how to connect are
honoured; those that concern redis-py alone, such as `decode_responses`, are ignored.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

import msgspec

FINGERPRINT_OF_ONE = "a fingerprint is that of one server: for Sentinels and a Cluster write ca in its place"
REDIS_PORT = 6379
SENTINEL_PORT = 26379

_SCHEMES = {
    "redis": "one",
    "rediss": "one",
    "unix": "one",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
# Other names that providers and clients give the same schemes.
_ALIASES = {
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+ssl": "rediss",
    "redis+tls": "rediss",
    "redis+socket": "unix",
    "redis+unix": "unix",
    "valkey+sentinel": "redis+sentinel",
    "valkeys+sentinel": "rediss+sentinel",
    "valkey+cluster": "redis+cluster",
    "valkeys+cluster": "rediss+cluster",
}
# redis-py's options that say how to verify the server, and the value of `verify` that each means.
_CERT_REQS = {"none": "none", "cert_none": "none", "optional": "full", "required": "full", "cert_required": "full"}
_FILES = {"ssl_ca_certs": "ca", "ssl_certfile": "cert", "ssl_keyfile": "key"}
# redis-py's options that concern its own objects, or that fws decides for itself.
_IGNORED = frozenset(
    (
        "protocol",
        "socket_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "health_check_interval",
        "retry_on_timeout",
        "retry_on_error",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "max_connections",
        "timeout",
        "client_name",
        "lib_name",
        "lib_version",
        "ssl",
    )
)
_EXAMPLES = (
    "redis://host:6379/0, rediss://host:6379/0 (TLS), unix:///run/redis.sock, "
    "redis+sentinel://host:26379,host2:26379/service/0 or redis+cluster://host:6379,host2:6379 (rediss+… for TLS)"
)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?\Z|\[[0-9A-Fa-f:.]+\]\Z")


class RedisAddress(msgspec.Struct, frozen=True):
    """One Redis, the Sentinels that know it, or nodes of a Cluster. As text it has no password.

    Attributes:
        kind: "one", "sentinel" or "cluster".
        hosts: host and port of the server, of the Sentinels, or of some nodes; none for a UNIX socket.
        path: of the UNIX socket.
        service: the name that the Sentinels know it by.
        tls: whether TLS is spoken.
        verify, ca, cert, key: what the URL's own options say about TLS; empty where they say nothing.
    """

    kind: str
    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    verify: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    @property
    def tls(self) -> bool:
        return self.scheme.startswith("rediss")

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{hosts}" + (f"/{self.service}" if self.service else "")

    # A struct's own shows every field, and a traceback or a debugger would show the password.
    __repr__ = __str__


def parse_redis(url: str) -> RedisAddress:
    """Read the address of Redis. User and password stand before the host, `user:password@`, percent-encoded.

    Raises:
        ValueError: with a sentence that says what would be right. It never has the password.
    """
    scheme, found, rest = url.strip().partition("://")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if not found or scheme not in _SCHEMES:
        raise ValueError(f"this is not an address of Redis: write {_EXAMPLES}")
    # A password may hold a "/", a "?" and even an "@" that were not encoded; hosts and service names hold none of them.
    credentials, _, place = rest.rpartition("@")
    username, password = _credentials(credentials)
    place, _, query = place.partition("?")
    if "#" in place or "#" in query:
        raise ValueError("the address of Redis has no part after '#'")
    options = _options(query)
    username, password = options.pop("username", username), options.pop("password", password)
    number = options.pop("db", None)
    db = 0 if number is None else _number(number, 1_000_000, "the database is a number")
    if scheme == "unix":
        if not place.startswith("/") or "\0" in place:
            raise ValueError("a UNIX socket needs the whole path of its file, such as unix:///run/redis.sock")
        return RedisAddress("one", scheme, path=unquote(place), db=db, username=username, password=password)
    kind = _SCHEMES[scheme]
    hosts, _, path = place.partition("/")
    parts = path.removesuffix("/").split("/") if path.removesuffix("/") else []
    service = ""
    if kind == "sentinel":
        if not 1 <= len(parts) <= 2:
            raise ValueError(
                "Sentinel needs the name of its service, such as redis+sentinel://host:26379,host2:26379/mymaster/0"
            )
        service = unquote(parts.pop(0))
    if len(parts) > 1 or (kind == "cluster" and parts not in ([], ["0"])):
        what = "a Cluster has only the database 0" if kind == "cluster" else "after the host stands only the database"
        raise ValueError(f"{what}: write {_EXAMPLES}")
    if parts:
        db = _number(parts[0], 1_000_000, "the database is a number")
    port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    places = tuple(_host(host.strip(), port) for host in hosts.split(","))
    if kind == "one" and len(places) > 1:
        raise ValueError(f"{scheme}:// names one host; several are a Sentinel's or a Cluster's: write {_EXAMPLES}")
    return RedisAddress(kind, scheme, places, service=service, db=db, username=username, password=password, **options)


def _options(query: str) -> dict[str, str]:
    """What redis-py's options in a URL mean here: fields of the address, and `username`, `password` and `db`."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        lower = value.strip().lower()
        if name == "ssl_cert_reqs":
            if lower not in _CERT_REQS:
                raise ValueError('in the address of Redis ssl_cert_reqs is "none" or "required"')
            found["verify"] = _CERT_REQS[lower]
        elif name == "ssl_check_hostname":
            if lower in ("false", "0", "no") and found.get("verify") != "none":
                found["verify"] = "ca"
        elif name in _FILES:
            found[_FILES[name]] = value
        elif name in ("username", "password", "db"):
            found[name] = value
        elif name not in _IGNORED:
            raise ValueError(
                f"the address of Redis has an option {name[:40]!r} that is not known here: settings such as ca, "
                "verify, cert and key are lines of [redis]"
            )
    return found


def _credentials(text: str) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    username, _, password = text.partition(":")
    return unquote(username) or None, unquote(password) or None


def _host(text: str, default: int) -> tuple[str, int]:
    host, port = text, ""
    if not text.endswith("]"):
        host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    if not _HOST.match(host):
        raise ValueError(f"the address of Redis needs a host, such as host:{default}, or [::1]:{default} for IPv6")
    return host.strip("[]"), _number(port, 65535, "a port is a number from 0 to 65535") if port else default


def _number(text: str, most: int, rule: str) -> int:
    # The text is not shown: where the host was forgotten it is the password.
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > most:
        raise ValueError(f"in the address of Redis {rule}: write {_EXAMPLES}")
    return int(text)
