"""The server of five lines.

    from fws.classic.server import *
    from fws.classic.filters import broadcast_message_filter

    parser = default_parser()
    build_reactor(parser.parse_args(sys.argv[1:]))
    reactor.run()

Importing this module patches the standard library, as the program `fws` does at its start, so that filters may use
blocking calls. It must therefore be the first import of a script.
"""

from gevent import monkey

if not monkey.is_module_patched("socket"):
    monkey.patch_all()

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fws.base.errors import ConfigError, FwsError
from fws.base.log import set_up
from fws.classic.filters import base
from fws.classic.filters.base import FilterBase, FilterMeta
from fws.classic.instance import Shared, share
from fws.classic.redis_storage import RedisStorageObject
from fws.classic.storage import DefaultStorageObject
from fws.compiler.compile import generation_of
from fws.config import Tcp, parse
from fws.runtime.scheduler import takes_a_line
from fws.server.certificates import CertificateStore
from fws.server.server import Server

__all__ = [
    "DefaultStorageObject",
    "FilterBase",
    "FilterMeta",
    "RedisPubSubListener",
    "RedisStorageObject",
    "build_reactor",
    "config_deserializer",
    "default_parser",
    "reactor",
    "redis_parser",
    "sys",
]

logger = logging.getLogger("fws")
_CHAINS = {
    "data": base.WebSocketDataFilter,
    "message": base.WebSocketMessageFilter,
    "disconnect": base.WebSocketDisconnectFilter,
    "publication": base.WebSocketConsumerFilter,
}


def default_parser() -> argparse.ArgumentParser:
    """The options of a server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-p", "--port", type=_port, default=9000, help="The listening port.")
    parser.add_argument("-c", "--config", help="A JSON config file.")
    parser.add_argument("-f", "--filters", nargs="*", help="Filters to import at runtime.")
    parser.add_argument("-key", help="A key file (ssl).")
    parser.add_argument("-cert", help="A certificate file (ssl).")
    parser.add_argument("-token", help="Set a default token.")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: write a number up to 65535, or 0 for any free port")
    return int(text)


class _OfRedis(argparse.Action):
    """An option that makes sense with Redis only. Giving it turns Redis on."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, values)
        namespace.redis = True


def redis_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options for Redis. The attribute `redis` is set if one of them was given."""
    parser.add_argument("--redis", action="store_true", help="Store in Redis. The other Redis options imply this one.")
    add = partial(parser.add_argument, action=_OfRedis)
    add("--redis_host", default="localhost", help="Host of the Redis server.")
    add("--redis_port", type=_port, default=6379, help="Port of the Redis server.")
    add("--redis_key", default="fws", help="Goes before the name of each set, followed by a colon.")
    add("--redis_channels", nargs="*", default=["global"], help="Channels to listen to; the default is global.")
    return parser


def config_deserializer(file: str) -> list[str]:
    """A JSON config file as command-line arguments: `{"port": 22, "flags": ["redis"]}` as `--port 22 --redis`.

    Lines that begin with # are ignored.

    Raises:
        ValueError: the file does not hold a JSON object.
    """
    text = "".join(line for line in Path(file).read_text().splitlines(True) if not line.startswith("#"))
    read = json.loads(text)
    if not isinstance(read, dict):
        raise ValueError(f"{file}: a JSON object is expected")
    arguments: list[str] = []
    for key, value in read.items():
        if key == "flags":
            arguments += [f"--{flag}" for flag in value]
            continue
        arguments.append(f"-{key}" if key in ("key", "cert", "token") else f"--{key}")
        arguments += [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return arguments


class RedisPubSubListener:
    """The channels of Redis that a server listens to.

    Args:
        storage: names the Redis server.
        channels: names or patterns as in Redis; None for `global` only.
    """

    def __init__(self, storage: RedisStorageObject, channels: Sequence[str] | None = None) -> None:
        self.url = storage.url
        self.channels = ["global"] if channels is None else list(channels)


class Reactor:
    """Runs the server that `build_reactor` has described until a signal arrives."""

    def __init__(self) -> None:
        self._options: Any = None
        self._shared = Shared()
        self._subscriber: RedisPubSubListener | None = None
        self._server: Server | None = None

    def build(self, options: Any, shared: Shared, subscriber: RedisPubSubListener | None) -> None:
        self._options, self._shared, self._subscriber = options, shared, subscriber

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises SystemExit with a sentence if the server cannot start."""
        if self._options is None:
            raise SystemExit("nothing to run: call build_reactor(options) first")
        log = set_up("text", "info", ready=takes_a_line)
        try:
            generation = generation_of(parse(self._toml(), "the classic server"), {})
            settings = generation.config.tls
            tls = CertificateStore(settings, Path()) if settings is not None else None
            server = self._server = Server(generation, Tcp("", self._options.port), log, tls=tls)
            share(server.node.generation.services, self._shared)
            server.start()
        except (ConfigError, FwsError) as error:
            raise SystemExit(str(error)) from None
        scheme = "wss" if self._options.key else "ws"
        print(f"serving {scheme}://127.0.0.1:{getattr(server.address, 'port', 0)}/", flush=True)
        server.serve_until_signal()

    def stop(self) -> None:
        """Make `run` drain and return. From any greenlet or filter."""
        if self._server is not None:
            self._server.stop()

    def _toml(self) -> str:
        """The server as a configuration: one stage on each event that has filters."""
        lines = ["[server]", 'origins = ["*"]']  # the older server did not check origins
        if self._options.key and self._options.cert:
            files = {name: json.dumps(str(Path(getattr(self._options, name)).resolve())) for name in ("cert", "key")}
            lines += ["[server.tls]", f"cert = {files['cert']}", f"key = {files['key']}"]
        elif self._options.key or self._options.cert:
            raise FwsError("-key and -cert go together")
        if self._subscriber is not None:
            lines += ["[redis]", f"url = {json.dumps(self._subscriber.url)}"]
            lines += [f"subscribe = {json.dumps(self._subscriber.channels)}"]
        lines += ["[pipelines]", *(f'{event} = ["fws:classic"]' for event, chain in _CHAINS.items() if chain.chain)]
        if not any(chain.chain for chain in _CHAINS.values()):
            lines.append('message = ["drop"]')
        return "\n".join(lines) + "\n"


reactor = Reactor()


def build_reactor(options: Any, **extra: Any) -> Shared:
    """Describe the server that `reactor.run()` runs.

    Args:
        options: the result of `default_parser`. The modules in its `filters` are imported.
        extra: `storage_object`, instead of one in memory, and `subscriber`, a `RedisPubSubListener`.

    Returns:
        The object that all instances share: `users`, `queue`, `storage_object`, `token`.
    """
    if getattr(options, "config", None):
        parser = redis_parser(default_parser())
        options = parser.parse_args(config_deserializer(options.config))
    shared = Shared(extra.get("storage_object"), options.token)
    if "" not in sys.path:
        sys.path.append("")  # so that `-f` can name modules of the current folder
    for module in options.filters or []:
        importlib.import_module(module)
    reactor.build(options, shared, extra.get("subscriber"))
    return shared
