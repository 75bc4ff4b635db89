"""Named checks of a compiled file, in a row. Each one is a function that gives problems or warnings.

A new check is a function and one entry in `PROBLEMS` or `WARNINGS`. Mistakes in stages and options are found earlier,
while these are compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from fws.base.problem import Path, Problem
from fws.config import Config
from fws.config.redis import FINGERPRINT_OF_ONE, parse_redis
from fws.wire.handshake import parse_origins


class Compiled(msgspec.Struct, frozen=True):
    """What the checks look at.

    Attributes:
        config: the file.
        unused: the chains and filters that no pipeline uses, as `("chains", "guard")`.
    """

    config: Config
    unused: Sequence[tuple[str, str]]


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


def unverified_redis(compiled: Compiled) -> Iterator[Problem]:
    redis = compiled.config.redis
    if not redis.url or redis.fingerprint:
        return
    address = parse_redis(redis.url)
    if address.tls and (address.verify or redis.verify) == "none":
        hint = 'write its fingerprint, or ca = "FILE" and verify = "ca", where you can'
        yield Problem("whoever is between this server and Redis can read and forge everything", ("redis",), hint=hint)


def open_origins(compiled: Compiled) -> Iterator[Problem]:
    for path, origins in _origins(compiled.config):
        if "*" in origins:
            yield Problem("every web page may connect", path, hint='origins = ["*"] turns the origin check off')


def unused_names(compiled: Compiled) -> Iterator[Problem]:
    for section, name in compiled.unused:
        yield Problem(f"nothing uses {name}", (section, name), key=True)


def options_without_effect(compiled: Compiled) -> Iterator[Problem]:
    """Options that this version reads and does not act on."""
    for name, channel in compiled.config.channels.items():
        if channel.history:
            yield Problem("history has no effect yet", ("channels", name, "history"))


PROBLEMS: Final[tuple[Check, ...]] = (invalid_origins, missing_files, fingerprint_of_several)
WARNINGS: Final[tuple[Check, ...]] = (open_origins, unverified_redis, unused_names, options_without_effect)
