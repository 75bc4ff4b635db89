"""The sections of a TOML file, each declared once.

A section is one row of `SECTIONS`, and its options are the fields of its class. The reader, the page of settings, the
JSON Schema and the error messages derive from both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from fws.base.units import Size
from fws.config.address import DEFAULT_PORT, parse_listen
from fws.config.api import Admin, Api, ApiKey
from fws.config.channels import Channel
from fws.config.limits import Bounds, Limits, Seconds
from fws.config.overrides import MAX_WORKERS
from fws.config.redis import parse_redis
from fws.config.schedules import Schedule
from fws.config.traces import Traces
from fws.pipeline.options import Check, Help, Secret
from fws.wire.framing import Transport
from fws.wire.handshake import TOKEN_SUBPROTOCOL
from fws.wire.proxy import parse_networks

# What carries clients where an endpoint does not choose.
_CARRIERS: Final[dict[str, tuple[Transport, ...]]] = {
    "raw": ("websocket",),
    "centrifuge": ("websocket", "http_stream", "sse"),
}
# RFC 6455 11.3.4: a subprotocol's name is a token of RFC 7230 3.2.6.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def _check_redis_name(name: str) -> None:
    if not name or not name.isprintable():
        raise ValueError(f"{name!r} is not a name in Redis: write at least one character, and no control characters")


def _check_redis_names(names: list[str]) -> None:
    for name in names:
        _check_redis_name(name)


def _check_fingerprint(value: str) -> None:
    if value and not re.fullmatch(r"[0-9A-Fa-f]{64}", value.replace(":", "")):
        raise ValueError(
            "a SHA-256 fingerprint has 64 hexadecimal digits: `openssl x509 -fingerprint -sha256` shows it"
        )


def _check_redis_url(url: str) -> None:
    if url:
        parse_redis(url)


def _check_subprotocols(names: list[str]) -> None:
    for name in names:
        if name.startswith(TOKEN_SUBPROTOCOL):
            raise ValueError(f"rename {name!r}: what begins with {TOKEN_SUBPROTOCOL} carries a client's token")
        if not _TOKEN.match(name):
            raise ValueError(f"{name!r} is not a subprotocol: write one word without spaces, commas and quotes")


def _check_static(folder: str) -> None:
    if not folder.isprintable():
        raise ValueError("the name of a folder cannot contain control characters")


def _check_emulation(path: str) -> None:
    if not path.startswith("/") or not path.isprintable() or any(char in path for char in "?#{} "):
        raise ValueError(f'{path!r} is not a path: write one such as "/emulation"')


def _check_mode(mode: str) -> None:
    if mode and not re.fullmatch("0?[0-7]{3}", mode):
        raise ValueError(f'{mode!r} is not a file mode: write three octal digits, such as "660"')


def _check_owner(owner: str) -> None:
    if owner and not re.fullmatch(r"[^\s:]+(?::[^\s:]+)?|:[^\s:]+", owner):
        raise ValueError(f'{owner!r} is not an owner: write "user", "user:group" or ":group"')


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one endpoint. `[server]` sets them for all, and an endpoint's own table replaces single ones."""

    origins: Annotated[
        list[str],
        Help(
            'Pages of other sites that may connect: "https://example.org", "https://*.example.org" for all hosts below '
            'a domain, what an app shell sends ("file://", "capacitor://localhost"), "null", or "*" for all.'
        ),
    ] = []
    subprotocols: Annotated[
        list[str],
        Help("Subprotocols on offer. The server selects the first one that the client asks for."),
        Check(_check_subprotocols),
    ] = []
    positions: Annotated[
        bool,
        Help(
            "Whether publications of channels with history arrive with their position, as a JSON object: "
            '{"channel":"lobby","epoch":"x","offset":7,"message":…}. A client can resume from a position.'
        ),
    ] = False
    protocol: Annotated[
        Literal["raw", "centrifuge"],
        Help(
            "What clients speak: raw, so that a message is what the client sent, or centrifuge, the protocol of "
            "Centrifugo's SDKs."
        ),
    ] = "raw"
    transports: Annotated[
        list[Transport],
        Help(
            "What may carry clients: websocket; sse (server-sent events); http_stream, for the protocol centrifuge. "
            "If empty, websocket for raw and all three for centrifuge."
        ),
    ] = []
    compression: Annotated[
        bool, Help("Whether to compress messages (permessage-deflate, RFC 7692) for clients that support it.")
    ] = False

    @property
    def carriers(self) -> Sequence[Transport]:
        """The transports that may carry clients."""
        return self.transports or _CARRIERS[self.protocol]


class Server(Settings, frozen=True, kw_only=True):
    """The whole server: where it listens, and which proxies are in front of it."""

    listen: Annotated[
        str,
        Help(
            'Where to listen: "host:port", "[IPv6]:port", ":port" for all IPv4 interfaces, "[::]:port" for all '
            'interfaces, or "unix:/path".'
        ),
        Check(parse_listen),
    ] = f"127.0.0.1:{DEFAULT_PORT}"
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_WORKERS)] | Literal["auto"],
        Help('Number of worker processes; "auto" for one per core. More than one need [redis] url.'),
    ] = 1
    socket_mode: Annotated[
        str,
        Help('Permissions of a UNIX socket\'s file, in octal, such as "660". If empty, the umask decides.'),
        Check(_check_mode),
    ] = ""
    socket_owner: Annotated[
        str,
        Help('Owner of that file: "user", "user:group" or ":group". If empty, the user who runs fws.'),
        Check(_check_owner),
    ] = ""
    trusted_proxies: Annotated[
        list[str],
        Help(
            'Networks of the proxies in front, such as "10.0.0.0/8"; "unix:" for connections over a UNIX socket. '
            "X-Forwarded-For, -Proto and -Host are used only in requests from these."
        ),
        Check(parse_networks),
    ] = []
    proxy_protocol: Annotated[
        bool, Help("Whether trusted proxies begin each connection with a PROXY protocol header, version 1 or 2.")
    ] = False
    emulation: Annotated[
        str,
        Help("Path at which clients of the protocol centrifuge over sse and http_stream send their commands."),
        Check(_check_emulation),
    ] = "/emulation"
    static: Annotated[
        str,
        Help("Folder of files that plain HTTP serves, relative to the TOML file's folder. If empty, none are served."),
        Check(_check_static),
    ] = ""
    # Platforms kill a process 30 s after they asked it to stop.
    drain: Annotated[Seconds, Help("At shutdown, how long clients have to leave.")] = 25


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS. File names are relative to the TOML file's folder. Changed files are loaded for new connections."""

    cert: Annotated[
        str, Meta(min_length=1), Help("File of the certificate, followed by the intermediate certificates (PEM).")
    ]
    key: Annotated[str, Help("File of its private key, not encrypted (PEM). If empty, the key is in `cert`.")] = ""
    client_ca: Annotated[
        str,
        Help(
            "File of the certificate authorities that sign clients' certificates. Clients without a certificate are "
            "refused. If empty, client certificates are not requested."
        ),
    ] = ""
    min_version: Annotated[Literal["1.2", "1.3"], Help("The oldest accepted version of TLS.")] = "1.2"


class Redis(msgspec.Struct, frozen=True, kw_only=True):
    """The Redis server that connects several processes."""

    url: Annotated[
        str,
        Help(
            "Its address: redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster:// (rediss+… for "
            "TLS), such as redis://:password@host:6379/0. If empty, the server is one process on its own."
        ),
        Check(_check_redis_url),
    ] = ""
    ca: Annotated[
        str,
        Help(
            "For TLS, file of the certificate authorities that sign Redis's certificate, relative to the TOML file's "
            "folder. If empty, those that the machine trusts."
        ),
    ] = ""
    verify: Annotated[
        Literal["full", "ca", "none"],
        Help(
            "For TLS, what is verified: the certificate and its host name, the certificate alone (ca), or nothing "
            "(none), which lets an attacker on the network read and forge everything."
        ),
    ] = "full"
    fingerprint: Annotated[
        str,
        Help(
            "For TLS, the SHA-256 fingerprint of Redis's certificate, in hexadecimal. The certificate must be this "
            "one, and nothing else is verified: for a self-signed certificate of a single server."
        ),
        Check(_check_fingerprint),
    ] = ""
    cert: Annotated[str, Help("For TLS, file of the client certificate that Redis asks for (PEM).")] = ""
    key: Annotated[str, Help("File of its private key (PEM). If empty, the key is in `cert`.")] = ""
    sentinel_user: Annotated[str, Help("User for the Sentinels themselves, where they ask for one.")] = ""
    sentinel_password: Annotated[
        str, Help("Password for the Sentinels themselves, where they ask for one."), Secret()
    ] = ""
    prefix: Annotated[
        str,
        Meta(min_length=1, max_length=50),
        Help("What the names of channels begin with in Redis: fws:lobby for lobby."),
        Check(_check_redis_name),
    ] = "fws:"
    subscribe: Annotated[
        list[str],
        Help(
            "Channels of other applications in Redis, without the prefix; names with *, ? or [ are patterns, such as "
            "orders.*"
        ),
        Check(_check_redis_names),
    ] = []
    buffer: Annotated[
        Size,
        Meta(ge=1),
        Help("Size of the publications that wait while Redis is away. Above it the oldest are dropped."),
    ] = 1024**2
    max_message: Annotated[
        Size,
        Meta(ge=1024, le=256 * 1024**2),
        Help("The largest message that is sent to Redis or accepted from it."),
    ] = 16 * 1024**2


class TranscriptTable(msgspec.Struct, frozen=True, kw_only=True):
    """One test: a conversation with the server, which `fws test` plays without a network."""

    name: Annotated[str, Meta(min_length=1), Help("What the test shows, as a sentence.")]
    script: Annotated[str, Help("The transcript, one statement per line; docs/testing.md has its language.")]
    env: Annotated[dict[str, str], Help("Variables of the environment for this test, such as a token.")] = {}


class Section(msgspec.Struct, frozen=True):
    """One section of a TOML file.

    Attributes:
        name: as in its header; `server.tls` for a table inside `[server]`.
        help: a sentence for the reference.
        example: the section as one would write it.
        options: the class whose fields are the keys of the section. None where the keys are events, paths or names.
        shared: the base of `options` whose keys an endpoint may have as well.
        key: what the section's tables are named by, where it holds one table of `options` for each name.
        optional: whether a file without the section has None in its place, and not the defaults.
        many: whether the section may occur several times, with a header in double brackets.
        attribute: the name of the section's attribute in `Config`, if it is not made of the section's own.
    """

    name: str
    help: str
    example: str
    options: type[msgspec.Struct] | None = None
    shared: type[msgspec.Struct] | None = None
    key: str = ""
    optional: bool = False
    many: bool = False
    attribute: str = ""

    @property
    def field(self) -> str:
        """The name of the section's attribute in `Config`."""
        return self.attribute or self.name.rpartition(".")[2] + ("s" if self.many else "")

    @property
    def title(self) -> str:
        """The header in TOML: `[channels."pattern"]`."""
        if self.many:
            return f"[[{self.name}]]"
        if self.key.isupper():
            return f"[{self.name}.{self.key}]"
        return f'[{self.name}."{self.key}"]' if self.key else f"[{self.name}]"


SECTIONS: Final = (
    Section(
        "server",
        "Where the process listens, what is in front of it, and the settings of every path.",
        '[server]\nlisten = ":9000"\norigins = ["https://example.org"]',
        options=Server,
        shared=Settings,
    ),
    Section(
        "server.tls",
        "Certificate and private key of TLS. Without this section there is no TLS.",
        '[server.tls]\ncert = "cert.pem"\nkey = "key.pem"',
        options=Tls,
        optional=True,
    ),
    Section(
        "limits",
        "Limits of each process. Zero does not switch a limit off. The brackets name software with the same or a "
        "similar default.",
        '[limits]\nmax_message = "64KiB"\nmessages = "20/s"',
        options=Limits,
        shared=Bounds,
    ),
    Section(
        "redis",
        "The Redis server that connects several processes.",
        '[redis]\nurl = "${REDIS_URL:-}"',
        options=Redis,
    ),
    Section(
        "pipelines",
        "The pipelines of every path that no endpoint claims: a list of stages for each event.",
        '[pipelines]\nconnect = ["join lobby"]\nmessage = ["rate_limit 20/s", "broadcast lobby"]',
    ),
    Section(
        "endpoints",
        "Paths with pipelines and settings of their own.",
        '[endpoints."/chat/{room}"]\norigins = ["https://example.org"]\nconnect = ["join {room}"]',
    ),
    Section(
        "chains",
        "Lists of stages, used by their name like a filter.",
        '[chains]\nguard = ["rate_limit 20/s", "json"]',
    ),
    Section(
        "filters",
        "Named filters, for options that are too long for one line.",
        '[filters.by_type]\nuse = "switch"\nkey = "type"\ncase = { chat = ["broadcast lobby"] }',
    ),
    Section(
        "channels",
        "Settings of the channels that a pattern matches.",
        '[channels."chat:*"]\nhistory = 100',
        options=Channel,
        key="pattern",
    ),
    Section(
        "schedules",
        "Pipelines of the event `tick`, which run at certain times, without a client. Write either `every` or `cron`.",
        '[schedules.price]\nevery = "1s"\nrun = ["set type=tick", "publish ticks"]',
        options=Schedule,
        key="NAME",
    ),
    Section(
        "sources",
        "What brings publications in from elsewhere, each with a name of your choice.",
        '[sources.orders]\nuse = "stream"\nkey = "orders"\nchannel = "orders"',
    ),
    Section(
        "admin",
        "A second address, for operators and back ends: the HTTP API, its page, `/metrics`, `/healthz` and `/readyz`.",
        '[admin]\nlisten = "127.0.0.1:9100"',
        options=Admin,
    ),
    Section(
        "api",
        "The HTTP API for back ends. Without this section there is none.",
        '[api]\nkey = "${FWS_API_KEY}"\npath = "/api"',
        options=Api,
        optional=True,
    ),
    Section(
        "api.keys",
        "Further keys of the HTTP API, each with a name of your choice, which the log shows.",
        '[api]\nkey = "${FWS_API_KEY}"\npath = "/api"\n\n'
        '[api.keys."shop"]\nkey = "${SHOP_API_KEY}"\npublish = ["orders:*"]',
        options=ApiKey,
        key="NAME",
        attribute="api_keys",
    ),
    Section(
        "traces",
        "Traces of connections, messages and deliveries for OpenTelemetry. Without this section there are none.",
        '[traces]\nratio = 0.01\nendpoint = "http://localhost:4318"',
        options=Traces,
        optional=True,
    ),
    Section(
        "test",
        "Tests of the pipelines, for `fws test`. They may also be in a file NAME_test.toml beside NAME.toml.",
        "[[test]]\nname = \"a message comes back\"\nscript = '''\nann> connect /\nann> hello\nann< hello\n'''",
        options=TranscriptTable,
        many=True,
    ),
)
BY_NAME: Final = {section.name: section for section in SECTIONS}
SHARED: Final = tuple(section.shared for section in SECTIONS if section.shared is not None)
"""The classes whose options an endpoint may set for itself."""


def section_with(option: str) -> str:
    """The first section that has an option of this name, such as `server.tls` for `cert`; empty for none."""
    for section in SECTIONS:
        if (
            section.options is not None
            and not section.key
            and not section.many
            and option in section.options.__struct_fields__
        ):
            return section.name
    return ""
