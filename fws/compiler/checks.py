"""Named checks of a compiled file, in a row. Each one is a function that gives problems or warnings.

A new check is a function and one entry in `PROBLEMS` or `WARNINGS`. Mistakes in stages and options are found earlier,
while these are compiled.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Final

import msgspec

from fws.base.problem import Path, Problem
from fws.compiler.endpoint import Endpoint
from fws.config import Config, Settings
from fws.config.redis import FINGERPRINT_OF_ONE, parse_redis
from fws.pipeline.filter import Filter, misnamed_hooks
from fws.pipeline.pipeline import Pipeline, Step
from fws.pipeline.source import Source
from fws.pipeline.templated import Templated
from fws.wire.handshake import parse_origins

# Shorter keys are words of people.
MIN_API_KEY = 16
# What the extra `otel` installs.
OTEL = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


class Compiled(msgspec.Struct, frozen=True):
    """What the checks look at.

    Attributes:
        config: the file.
        unused: the chains and filters that no pipeline uses, as `("chains", "guard")`.
        endpoints: all endpoints, that of every other path included.
        filters: the classes of filters that pipelines use.
        others: the pipelines of events without a client.
        sources: by their names in the file.
    """

    config: Config
    unused: Sequence[tuple[str, str]]
    endpoints: Sequence[Endpoint] = ()
    filters: Sequence[type[Filter]] = ()
    others: Sequence[Pipeline] = ()
    sources: Mapping[str, Source] = {}

    def steps(self) -> Iterator[Step]:
        """The steps of all pipelines."""
        for endpoint in self.endpoints:
            for pipeline in endpoint.pipelines():
                yield from pipeline.walk()
        for pipeline in self.others:
            yield from pipeline.walk()


Check = Callable[[Compiled], Iterable[Problem]]


def valid_origins(origins: Iterable[str]) -> list[str]:
    """The origins that can be read."""
    return [origin for origin in origins if not _origin_mistake(origin)]


def _origin_mistake(origin: str) -> str:
    """What is wrong with an origin; empty if nothing is."""
    try:
        parse_origins([origin])
    except ValueError as error:
        return str(error)
    return ""


def _origins(config: Config) -> Iterator[tuple[Path, list[str]]]:
    """Each list of origins with its place. Endpoints without a list of their own have that of [server]."""
    yield ("server", "origins"), config.server.origins
    for table in config.endpoints:
        if table.settings.origins is not config.server.origins:
            yield ("endpoints", table.path, "origins"), table.settings.origins


def invalid_origins(compiled: Compiled) -> Iterator[Problem]:
    for path, origins in _origins(compiled.config):
        for index, origin in enumerate(origins):
            if mistake := _origin_mistake(origin):
                yield Problem(mistake, (*path, index))


def missing_files(compiled: Compiled) -> Iterator[Problem]:
    """Files and folders that sections name and that do not exist."""
    config = compiled.config
    hint = "it is relative to the folder of the TOML file"
    static = config.server.static
    if static and not (config.folder / static).is_dir():
        yield Problem(f"there is no folder {static!r}", ("server", "static"), hint=hint)
    files: dict[Path, str] = {("redis", name): getattr(config.redis, name) for name in ("ca", "cert", "key")}
    if config.tls is not None:
        files |= {("server", "tls", name): getattr(config.tls, name) for name in ("cert", "key", "client_ca")}
    for path, file in files.items():
        if file and not (config.folder / file).is_file():
            yield Problem(f"there is no file {file!r}", path, hint=hint)


def fingerprint_of_several(compiled: Compiled) -> Iterator[Problem]:
    redis = compiled.config.redis
    if redis.fingerprint and "+" in redis.url.partition("://")[0]:
        yield Problem(FINGERPRINT_OF_ONE, ("redis", "fingerprint"))


def impossible_transports(compiled: Compiled) -> Iterator[Problem]:
    """HTTP streaming is a transport of SDKs: nobody could follow an endpoint without their protocol."""
    tables: list[tuple[Path, Settings]] = [(("server", "transports"), compiled.config.server)]
    tables += [(("endpoints", table.path, "transports"), table.settings) for table in compiled.config.endpoints]
    for path, settings in tables:
        if settings.protocol == "raw" and "http_stream" in settings.transports:
            hint = 'write protocol = "centrifuge", or "sse" for an EventSource or curl'
            yield Problem("http_stream is for the protocol centrifuge", path, hint=hint)


def patterns_in_a_cluster(compiled: Compiled) -> Iterator[Problem]:
    """Sharded channels of a Cluster cannot be subscribed by pattern."""
    redis = compiled.config.redis
    if redis.url and parse_redis(redis.url).kind == "cluster":
        for rule in compiled.config.channels.all:
            if rule.settings.subscribe_patterns:
                hint = "use one Redis or Sentinel, or let clients subscribe to single channels"
                path: Path = ("channels", rule.pattern.text, "subscribe_patterns")
                yield Problem("a Redis Cluster cannot be subscribed by pattern", path, hint=hint)


def without_redis(compiled: Compiled) -> Iterator[Problem]:
    hint = "write its url into [redis]"
    if not compiled.config.redis.url:
        for step in compiled.steps():
            if step.cls.needs_redis:
                yield Problem(f"{step.text}: there is no Redis", step.path, hint=hint)
        for name, source in compiled.sources.items():
            if source.needs_redis:
                yield Problem(f"{name}: there is no Redis", ("sources", name), hint=hint, key=True)


def open_keys(compiled: Compiled) -> Iterator[Problem]:
    """Keys of Redis that a client completes, where they could be those of fws itself."""
    prefix = compiled.config.redis.prefix
    for step in compiled.steps():
        if step.cls.needs_redis and isinstance(step.templated, Templated):
            key = step.templated.template_of("key")
            if key is not None and prefix.startswith(key.head):
                hint = f"{prefix} is the prefix of [redis]: begin the key with another name"
                yield Problem(f"{step.text}: a client could choose any key of fws", step.path, hint=hint)


def traces_without_the_extra(compiled: Compiled) -> Iterator[Problem]:
    if compiled.config.traces is not None and not all(map(_is_installed, OTEL)):
        hint = "pip install fws[otel]"
        yield Problem("[traces] needs OpenTelemetry, which is not installed", ("traces",), hint=hint, key=True)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # nor is the package around it
        return False


def unverified_redis(compiled: Compiled) -> Iterator[Problem]:
    redis = compiled.config.redis
    if not redis.url or redis.fingerprint:
        return
    address = parse_redis(redis.url)
    if address.tls and (address.verify or redis.verify) == "none":
        hint = 'write its fingerprint, or ca = "FILE" and verify = "ca", where you can'
        yield Problem("anybody on the network path to Redis can read and forge everything", ("redis",), hint=hint)


def open_origins(compiled: Compiled) -> Iterator[Problem]:
    for path, origins in _origins(compiled.config):
        if "*" in origins:
            yield Problem("every web page may connect", path, hint='origins = ["*"] turns the origin check off')


def short_api_keys(compiled: Compiled) -> Iterator[Problem]:
    api = compiled.config.api
    hint = "make one with `openssl rand -hex 32`"
    keys: dict[Path, str] = {("api",): api.key} if api is not None else {}
    keys |= {("api", "keys", name): key.key for name, key in compiled.config.api_keys.items()}
    for path, key in keys.items():
        if len(key) < MIN_API_KEY:
            message = f"an API key of fewer than {MIN_API_KEY} characters can be guessed"
            yield Problem(message, (*path, "key"), hint=hint, hidden=True)


def skippable_logins(compiled: Compiled) -> Iterator[Problem]:
    """Authentication behind a filter that may end `connect`: a client that it stops is admitted without."""
    for endpoint in compiled.endpoints:
        skipping = ""
        for step in endpoint.connect.walk():
            if skipping and step.cls.guards:
                at = f" at {endpoint.path}" if endpoint.path is not None else ""
                hint = (
                    f"where {skipping} ends the pipeline the client is admitted: put {step.text} first, or use require"
                )
                yield Problem(f"{step.text} can be skipped{at}", step.path, hint=hint)
                break
            if step.cls.skips:
                skipping = skipping or step.text


def open_channels(compiled: Compiled) -> Iterator[Problem]:
    """Channels that a message names, where nothing decides who may: a client could choose any channel."""
    for endpoint in compiled.endpoints:
        decided = False
        for step in endpoint.message.walk():
            if step.open_channel and not decided:
                hint = "give it allow='CONDITION', or put `when` or `require` before it"
                yield Problem(f"{step.text}: a client can name any channel", step.path, hint=hint)
            decided = decided or step.cls.guards or step.cls.skips


def misnamed_methods(compiled: Compiled) -> Iterator[Problem]:
    """Methods that look like hooks of other libraries, next to hooks with the right names."""
    for cls in compiled.filters:
        for wrong, right in misnamed_hooks(cls).items():
            yield Problem(
                f"{cls.__module__}.{cls.__qualname__}.{wrong} is never called", hint=f"a hook is named {right}"
            )


def process_pools(compiled: Compiled) -> Iterator[Problem]:
    """Modules of filters that use process pools, whose own threads wait for ever once gevent has patched them."""
    for name in sorted({cls.__module__ for cls in compiled.filters if not cls.__module__.startswith("fws.")}):
        for value in vars(sys.modules.get(name, sys)).values():
            owner = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
            origin = str(owner or type(value).__module__)
            if origin.startswith(("multiprocessing", "concurrent.futures.process")):
                hint = "gevent has replaced what they wait with: compute with self.offload(function, …)"
                yield Problem(f"{name} uses multiprocessing: a pool of processes never answers here", hint=hint)
                break


def unused_names(compiled: Compiled) -> Iterator[Problem]:
    for section, name in compiled.unused:
        yield Problem(f"nothing uses {name}", (section, name), key=True)


PROBLEMS: Final[tuple[Check, ...]] = (
    invalid_origins,
    missing_files,
    impossible_transports,
    fingerprint_of_several,
    patterns_in_a_cluster,
    without_redis,
    open_keys,
    traces_without_the_extra,
)
WARNINGS: Final[tuple[Check, ...]] = (
    open_origins,
    unverified_redis,
    short_api_keys,
    skippable_logins,
    open_channels,
    misnamed_methods,
    process_pools,
    unused_names,
)
