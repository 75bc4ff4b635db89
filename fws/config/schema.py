"""What a TOML file may hold: the sections with their options, declared once, and the reader that checks a file's tree.

The options of a section are the fields of its class; the reference, the JSON Schema and the messages are views of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from fws.base.problem import Path, Problem, did_you_mean, dotted
from fws.base.units import Size
from fws.base.variables import VariableError, fill_variables
from fws.config.address import DEFAULT_PORT, parse_listen
from fws.config.limits import Bounds, Limits, Seconds
from fws.config.loader import Document
from fws.config.overrides import MAX_WORKERS
from fws.config.redis import parse_redis
from fws.config.source import Source
from fws.pipeline.events import CLIENT_EVENTS, EVENTS, SERVER_EVENTS
from fws.pipeline.options import Help, Option, options_of
from fws.wire.handshake import TOKEN_SUBPROTOCOL
from fws.wire.proxy import parse_networks

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)\}\Z")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
# RFC 6455 11.3.4: a subprotocol's name is a token of RFC 7230 3.2.6.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_STAGES = 'a list of stages, each a string, such as ["json", "echo"]'


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one endpoint. `[server]` sets it for all; an endpoint's own table replaces single options."""

    origins: Annotated[
        list[str], Help('Pages of other sites that may connect, such as "https://example.org"; "*" for all.')
    ] = []
    subprotocols: Annotated[list[str], Help("Subprotocols on offer; the first that the client asks for is taken.")] = []
    compression: Annotated[bool, Help("Compress messages (permessage-deflate, RFC 7692) when the client can.")] = False


class Server(Settings, frozen=True, kw_only=True):
    """The whole server: where it listens, who is in front of it."""

    listen: Annotated[
        str,
        Help(
            'Where to listen: "host:port" or "[IPv6]:port", ":port" for all IPv4 interfaces, "[::]:port" for those of '
            'IPv6 too, or "unix:/path".'
        ),
    ] = f"127.0.0.1:{DEFAULT_PORT}"
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_WORKERS)] | Literal["auto"],
        Help('Processes that serve, "auto" for one a core; more than one need [redis] url.'),
    ] = 1
    socket_mode: Annotated[
        str, Help('Rights on the file of a UNIX socket, in octal, such as "660"; empty: as the umask says.')
    ] = ""
    socket_owner: Annotated[str, Help('Owner of that file, "user", "user:group" or ":group"; empty: who runs fws.')] = (
        ""
    )
    trusted_proxies: Annotated[
        list[str],
        Help(
            'Networks of the proxies in front, such as "10.0.0.0/8"; "unix:" for who comes over a UNIX socket. From '
            "them alone X-Forwarded-For, -Proto and -Host are believed."
        ),
    ] = []
    proxy_protocol: Annotated[
        bool, Help("Trusted proxies begin each connection with a PROXY protocol header, version 1 or 2.")
    ] = False
    static: Annotated[str, Help("Folder of files for plain HTTP, relative to the TOML file's; empty for none.")] = ""
    # Platforms kill what is still there 30 s after they asked for the end.
    drain: Annotated[Seconds, Help("At shutdown, the time that clients have to leave.")] = 25


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS at the door. Files are relative to the TOML file's folder; changed ones are loaded for new connections."""

    cert: Annotated[str, Meta(min_length=1), Help("File of the certificate with those between it and the root (PEM).")]
    key: Annotated[str, Help("File of its key, not encrypted (PEM); empty when it is in that of the certificate.")] = ""
    client_ca: Annotated[
        str,
        Help(
            "File of those who may sign clients' certificates; clients without one are refused. Empty: none is asked."
        ),
    ] = ""
    min_version: Annotated[Literal["1.2", "1.3"], Help("The oldest version of TLS that is spoken.")] = "1.2"


class Redis(msgspec.Struct, frozen=True, kw_only=True):
    """The Redis server that connects several processes."""

    url: Annotated[
        str,
        Help(
            "Its address: redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://, such as "
            "redis://:password@host:6379/0; empty: one process."
        ),
    ] = ""
    ca: Annotated[
        str,
        Help("For rediss://, file of the certificates that may sign Redis's, relative to the TOML file's folder."),
    ] = ""
    prefix: Annotated[
        str,
        Meta(min_length=1, max_length=50),
        Help("What the names of channels begin with in Redis; fws:lobby for lobby."),
    ] = "fws:"
    subscribe: Annotated[
        list[str],
        Help("Other applications' channels in Redis, by their own names; with *, ? or [ as patterns, such as orders.*"),
    ] = []
    buffer: Annotated[
        Size, Meta(ge=1), Help("What is published while Redis is away waits up to this size; the oldest is dropped.")
    ] = 1024**2
    max_message: Annotated[
        Size, Meta(ge=1024, le=256 * 1024**2), Help("The largest message that is sent to Redis or taken from it.")
    ] = 16 * 1024**2


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the channels whose names fit a pattern."""

    history: Annotated[int, Meta(ge=0), Help("Publications kept for clients that come later (no effect yet).")] = 0


class EndpointTable(msgspec.Struct, frozen=True):
    """One `[endpoints."…"]`: its path as written, the settings that hold for it, its own events."""

    path: str
    settings: Settings
    bounds: Bounds
    events: dict[str, list[str]]


class Config(msgspec.Struct, frozen=True):
    """A checked file. Stages and the tables of `[filters]` are as written: whoever compiles them fills their variables.

    Attributes:
        folder: of the file; what paths in it are relative to.
        filters: the raw tables; each has `use`, a string, but for those at fault, which are empty.
    """

    file: str
    folder: FilePath
    server: Server
    limits: Limits
    tls: Tls | None
    redis: Redis
    channels: dict[str, Channel]
    pipelines: dict[str, list[str]]
    endpoints: list[EndpointTable]
    chains: dict[str, list[str]]
    filters: dict[str, dict[str, Any]]
    source: Source


SECTIONS = ("server", "limits", "redis", "pipelines", "endpoints", "chains", "filters", "channels")


def _chosen(cls: type[_Struct], inherited: Mapping[str, Any], own: Mapping[str, Any]) -> _Struct:
    """Of all options those of `cls`, its own before inherited ones."""
    names = cls.__struct_fields__
    return cls(**{name: value for name, value in {**inherited, **own}.items() if name in names})


def _section_of(name: str) -> str:
    """The section that has an option of this name; empty for neither of the two."""
    if name in Server.__struct_fields__:
        return "server"
    return "limits" if name in Limits.__struct_fields__ else ""


def read(document: Document, environ: Mapping[str, str]) -> tuple[Config, list[Problem]]:
    """Check a file's tree and make a configuration of it.

    Args:
        environ: where `${NAME}` comes from.

    Returns:
        The configuration with what is sound of the file, so that its stages can be checked in the same run, and every
        problem found. A chain or filter at fault keeps its name, so that the stages that name it are not at fault too.
    """
    reader = _Reader(environ)
    return reader.config(document), reader.problems


def place_problems(problems: Iterable[Problem], source: Source) -> list[Problem]:
    """Give each problem its place in the file; sorted by place, and each told once."""
    placed = (
        msgspec.structs.replace(
            problem, place=problem.place or source.place(problem.path, problem.offset, key=problem.key)
        )
        for problem in problems
    )

    def order(problem: Problem) -> tuple[int, int]:
        return (problem.place.line, problem.place.column) if problem.place else (0, 0)

    return sorted(dict.fromkeys(placed), key=order)


class _Reader:
    """Reads one tree; `problems` fills up on the way."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._environ = environ

    def config(self, document: Document) -> Config:
        tree = {name: dict(self._section(name, document.tree)) for name in SECTIONS}
        self._unknown_sections(document.tree)
        tls = self._tls(tree["server"].pop("tls", None))
        server = self._options(Server, tree["server"], ("server",))
        if server.get("proxy_protocol") and not server.get("trusted_proxies"):
            hint = 'name who may use it, such as trusted_proxies = ["10.0.0.0/8"]'
            path: Path = ("server", "proxy_protocol")
            self._problem("the PROXY protocol is believed of trusted proxies only, and there are none", path, hint=hint)
        limits = self._options(Limits, tree["limits"], ("limits",))
        redis = self._options(Redis, tree["redis"], ("redis",))
        channels = {
            name: Channel(**self._options(Channel, table, ("channels", name)))
            for name, table in self._tables(tree["channels"], "channels")
        }
        pipelines = self._pipelines(tree["pipelines"])
        endpoints = self._endpoints(tree["endpoints"], server, limits)
        chains = self._chains(tree["chains"])
        filters = self._filters(tree["filters"], chains)
        if not self.problems and not pipelines and not endpoints:
            hint = 'write a section [pipelines] with a line such as message = ["echo"]'
            self._problem("neither [pipelines] nor [endpoints]: the server would accept nobody", (), hint=hint)
        file = document.source.file
        return Config(
            file=file,
            folder=FilePath(file).parent,
            server=Server(**server),
            limits=Limits(**limits),
            tls=tls,
            redis=Redis(**redis),
            channels=channels,
            pipelines=pipelines,
            endpoints=endpoints,
            chains=chains,
            filters=filters,
            source=document.source,
        )

    def _problem(self, message: str, path: Path, offset: int = 0, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(Problem(message, path, offset, hint, key=key))

    def _section(self, name: str, tree: dict[str, Any]) -> dict[str, Any]:
        section = tree.get(name, {})
        if isinstance(section, dict):
            return section
        self._problem("expected a section", (name,), hint=f"write [{name}] and its keys below", key=True)
        return {}

    def _unknown_sections(self, tree: dict[str, Any]) -> None:
        for name, value in tree.items():
            if name in SECTIONS:
                continue
            what = "section" if isinstance(value, dict) else "key"
            hint = did_you_mean(name, SECTIONS)
            if name in EVENTS:
                hint = f"write it below [pipelines], or [pipelines] {name} = […]"
            elif section := _section_of(name):
                hint = f"write it below [{section}]"
            self._problem(f"unknown {what} {name!r}", (name,), hint=hint, key=True)

    def _tables(self, section: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
        """The tables of a section that holds nothing else."""
        tables = []
        for key, table in section.items():
            if isinstance(table, dict):
                tables.append((key, table))
            else:
                hint = f"write [{dotted((name, key))}] and its keys below"
                self._problem("expected a table", (name, key), hint=hint, key=True)
        return tables

    def _options(self, cls: type[msgspec.Struct], table: dict[str, Any], path: Path) -> dict[str, Any]:
        """The values of a table whose keys are the options of `cls`, without those at fault."""
        known = {option.name: option for option in options_of(cls)}
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key not in known:
                self._unknown_key(key, known, path)
            else:
                self._option(known[key], value, (*path, key), values)
        return values

    def _tls(self, table: Any) -> Tls | None:
        path: Path = ("server", "tls")
        if table is None:
            return None
        if not isinstance(table, dict):
            self._problem("expected a table", path, hint="write [server.tls] and its keys below", key=True)
            return None
        values = self._options(Tls, table, path)
        if "cert" not in table:
            self._problem("[server.tls] has no 'cert'", path, hint='name the file: cert = "cert.pem"', key=True)
        return Tls(**values) if "cert" in values else None

    def _unknown_key(self, key: str, known: Iterable[str], path: Path) -> None:
        section = _section_of(key)
        hint = f"write it below [{section}]" if section else did_you_mean(key, known)
        self._problem(f"unknown key {key!r}", (*path, key), hint=hint, key=True)

    def _option(self, option: Option, value: Any, path: Path, values: dict[str, Any]) -> None:
        before = len(self.problems)
        filled = self._filled(value, path)
        if len(self.problems) > before:
            return
        try:
            converted = option.convert(filled)
            if (check := _CHECKS.get(option.name)) is not None:
                check(converted)
        except ValueError as error:
            self._problem(str(error), path, hint=option.help)
        else:
            values[option.name] = converted

    def _filled(self, value: Any, path: Path) -> Any:
        """`value` with the variables in its strings filled."""
        if isinstance(value, list):
            return [self._filled(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        try:
            return fill_variables(value, self._environ)
        except VariableError as error:
            self._problem(str(error), path, error.offset, error.hint)
            return value

    def _pipelines(self, table: dict[str, Any]) -> dict[str, list[str]]:
        pipelines = {}
        for event, value in table.items():
            if event in EVENTS:
                pipelines[event] = self._stages(value, ("pipelines", event))
            else:
                section = _section_of(event)
                hint = f"write it below [{section}]" if section else did_you_mean(event, EVENTS)
                self._problem(f"unknown event {event!r}", ("pipelines", event), hint=hint, key=True)
        return pipelines

    def _stages(self, value: Any, path: Path) -> list[str]:
        """A list of stages, as far as they are text; what is at fault is told."""
        if not isinstance(value, list):
            self._problem(f"expected {_STAGES}", path)
            return []
        sound = len(value)
        for index, stage in enumerate(value):
            if not isinstance(stage, str):
                hint = "give the table a name, [filters.NAME], and list that" if isinstance(stage, dict) else ""
                self._problem("expected a stage, which is a string", (*path, index), hint=hint)
                sound = min(sound, index)
            elif not stage.strip():
                self._problem("an empty stage", (*path, index), hint="write a filter's name, such as 'echo'")
        return value[:sound]

    def _endpoints(self, tables: dict[str, Any], server: dict[str, Any], limits: dict[str, Any]) -> list[EndpointTable]:
        endpoints = []
        shapes: dict[str, str] = {}
        settings = {option.name: option for cls in (Settings, Bounds) for option in options_of(cls)}
        for path, table in self._tables(tables, "endpoints"):
            where: Path = ("endpoints", path)
            sound = self._check_path(path, where, shapes)
            own: dict[str, Any] = {}
            events = {}
            for key, value in table.items():
                if key in settings:
                    self._option(settings[key], value, (*where, key), own)
                elif key in SERVER_EVENTS:
                    message = f"{key} runs once per process, not per endpoint"
                    self._problem(message, (*where, key), hint="write it below [pipelines]", key=True)
                elif key in CLIENT_EVENTS:
                    events[key] = self._stages(value, (*where, key))
                elif section := _section_of(key):
                    message = f"{key} is one for the whole server"
                    self._problem(message, (*where, key), hint=f"write it below [{section}]", key=True)
                else:
                    self._unknown_key(key, [*EVENTS, *settings], where)
            if sound:
                endpoints.append(
                    EndpointTable(path, _chosen(Settings, server, own), _chosen(Bounds, limits, own), events)
                )
        return endpoints

    def _check_path(self, path: str, where: Path, shapes: dict[str, str]) -> bool:
        """Whether requests can come to this path, and to no other endpoint.

        Args:
            shapes: the paths so far, by what they are when parameters have no names.
        """
        before = len(self.problems)
        names: list[str] = []
        segments = path.split("/")
        if not path.startswith("/"):
            self._problem("an endpoint's path begins with a slash", where, hint=f'write "/{path}"', key=True)
        if "?" in path or "#" in path or _ESCAPED.search(path):
            hint = "paths are compared after decoding, without the query: write the characters themselves"
            self._problem("no request has this path", where, hint=hint, key=True)
        for segment in segments:
            match = _PARAMETER.match(segment)
            if match is not None and match[1] in names:
                self._problem(f"the parameter {{{match[1]}}} is there twice", where, key=True)
            elif match is not None:
                names.append(match[1])
            elif "{" in segment or "}" in segment:
                hint = "a parameter is all between two slashes, with a name of a-z, 0-9 and _, such as /{room}/"
                self._problem(f"{segment!r} is no parameter", where, hint=hint, key=True)
        shape = "/".join("{}" if _PARAMETER.match(segment) else segment for segment in segments)
        other = shapes.setdefault(shape, path)
        if other != path:
            self._problem(f'this matches the same requests as "{other}"', where, hint="keep one of the two", key=True)
        return len(self.problems) == before

    def _chains(self, section: dict[str, Any]) -> dict[str, list[str]]:
        chains = {}
        for name, value in section.items():
            self._check_name(name, ("chains", name))
            chains[name] = self._stages(value, ("chains", name))
        return chains

    def _filters(self, section: dict[str, Any], chains: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        filters: dict[str, dict[str, Any]] = {name: {} for name in section}
        for name, table in self._tables(section, "filters"):
            path: Path = ("filters", name)
            self._check_name(name, path)
            if name in chains:
                hint = "a stage could mean either: rename one of them"
                self._problem(f"there is a chain {name!r} too", path, hint=hint, key=True)
            if "use" not in table:
                hint = 'name the filter that it configures: use = "switch"'
                self._problem(f"[filters.{name}] has no 'use'", path, hint=hint, key=True)
            elif not isinstance(table["use"], str) or not table["use"].strip():
                self._problem("expected a filter's name, in quotes", (*path, "use"))
            else:
                filters[name] = table
        return filters

    def _check_name(self, name: str, path: Path) -> None:
        if not _NAME.match(name):
            hint = "a name begins with a letter and has only a-z, 0-9 and _"
            self._problem(f"{name!r} cannot be used as a stage", path, hint=hint, key=True)


def _check_names(names: list[str]) -> None:
    for name in names:
        _check_redis_name(name)


def _check_redis_name(name: str) -> None:
    if not name or not name.isprintable():
        raise ValueError(f"{name!r} is no name in Redis here: give one that is not empty and has no control characters")


def _check_subprotocols(names: list[str]) -> None:
    for name in names:
        if name.startswith(TOKEN_SUBPROTOCOL):
            raise ValueError(f"{TOKEN_SUBPROTOCOL}… is how clients bring a token: no name of a subprotocol")
        if not _TOKEN.match(name):
            raise ValueError(f"{name!r} is no subprotocol: its name is a word without blanks, commas and quotes")


def _check_static(folder: str) -> None:
    if not folder.isprintable():
        raise ValueError("a folder's name has no control characters")


def _check_mode(mode: str) -> None:
    if mode and not re.fullmatch("0?[0-7]{3}", mode):
        raise ValueError(f'{mode!r} is no mode: write three octal digits, such as "660"')


def _check_owner(owner: str) -> None:
    if owner and not re.fullmatch(r"[^\s:]+(?::[^\s:]+)?|:[^\s:]+", owner):
        raise ValueError(f'{owner!r} is no owner: write "user", "user:group" or ":group"')


# What a type alone cannot say of an option.
_CHECKS: dict[str, Callable[[Any], object]] = {
    "listen": parse_listen,
    "socket_mode": _check_mode,
    "socket_owner": _check_owner,
    "trusted_proxies": parse_networks,
    "exempt": parse_networks,
    "static": _check_static,
    "prefix": _check_redis_name,
    "subscribe": _check_names,
    "url": lambda url: url and parse_redis(url),
    "subprotocols": _check_subprotocols,
}
