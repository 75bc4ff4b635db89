"""The servers that are measured (fws, the C limits and the peers), and how each is installed and started."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "bench"
PEERS_PYTHON = BUILD / "peers" / "bin" / "python"
NODE_MODULES = BUILD / "node" / "node_modules"

# The certificate for TLS, created if it is missing.
CERTIFICATE, KEY = BUILD / "cert.pem", BUILD / "key.pem"

# What a measure may need from a server:
# * ECHO: `/echo` sends each message back.
# * CHANNEL: any other path is a channel. All its clients receive what one of them sends.
# * CONNECTION: handshakes and memory are measured. Variants of another server leave this out.
# * COMPRESSION: permessage-deflate.
# * TLS: connections over TLS.
# * FILTERS: the endpoints of bench.toml.
ECHO, CHANNEL, CONNECTION, COMPRESSION, TLS, FILTERS = (
    "echo",
    "channel",
    "connection",
    "compression",
    "tls",
    "filters",
)

PLAIN = frozenset({ECHO, CHANNEL, CONNECTION})


@dataclass(frozen=True)
class Server:
    """One server. `{port}` in the command stands for the port, `{path}` in `url` for the path of the measure."""

    name: str
    about: str
    command: tuple[str, ...]
    offers: frozenset[str] = PLAIN
    python: tuple[str, ...] = ()  # PyPI packages to install in the peers' environment
    node: tuple[str, ...] = ()  # npm packages
    debian: tuple[str, ...] = ()  # Debian packages; `shown_by` is a file that exists if they are installed
    shown_by: str = ""
    url: str = "{path}"
    load: tuple[str, ...] = field(default=())  # additional arguments for the load generator
    compressed_url: str = "{path}"
    compressed_arguments: tuple[str, ...] = ("compressed",)
    tls_arguments: tuple[str, ...] = ("tls", str(CERTIFICATE), str(KEY))

    def argv(self, port: int, *, compressed: bool = False, tls: bool = False) -> list[str]:
        """The command line for this port."""
        words = [word.replace("{port}", str(port)) for word in self.command]
        return [*words, *(self.compressed_arguments if compressed else ()), *(self.tls_arguments if tls else ())]

    def path(self, path: str, compressed: bool) -> str:
        return (self.compressed_url if compressed else self.url).replace("{path}", path)


def peer(name: str, about: str, script: str, *arguments: str, **rest: Any) -> Server:
    """A peer that runs as a Python script."""
    command = (str(PEERS_PYTHON), str(HERE / "peers" / script), "{port}", *arguments)
    return Server(name, about, command, **rest)


NODE = ("node", str(HERE / "peers" / "node_ws_server.js"), "{port}")
LIMIT = (str(BUILD / "wslimit"), "{port}")

ALL = (
    Server(
        "fws",
        "this project: `python -m fws run bench/bench.toml`, default settings",
        (sys.executable, "-m", "fws", "run", str(HERE / "bench.toml"), "--listen", "127.0.0.1:{port}"),
        offers=PLAIN | {COMPRESSION, TLS, FILTERS},
        compressed_url="/compressed{path}",
        compressed_arguments=(),
        tls_arguments=("--cert", str(CERTIFICATE), "--key", str(KEY)),
    ),
    Server("c-limit", "C, epoll, one `send` for each client and message: what the machine can do", LIMIT),
    Server(
        "c-coalesce",
        "the same, but everything that one `epoll_wait` returned goes to each client in one `send`",
        (*LIMIT, "coalesce"),
        offers=frozenset({CHANNEL}),
    ),
    peer(
        "gevent-websocket",
        "gevent-websocket with wsaccel",
        "gevent_websocket_server.py",
        offers=PLAIN | {TLS},
        python=("gevent", "gevent-websocket", "wsaccel"),
    ),
    peer(
        "websockets",
        "websockets on uvloop",
        "websockets_server.py",
        python=("websockets", "uvloop"),
        offers=PLAIN | {COMPRESSION, TLS},
    ),
    peer(
        "aiohttp",
        "aiohttp on uvloop",
        "aiohttp_server.py",
        python=("aiohttp", "uvloop"),
        offers=PLAIN | {COMPRESSION, TLS},
    ),
    peer("tornado", "tornado on asyncio", "tornado_server.py", python=("tornado",)),
    peer("picows", "picows (Cython) on uvloop", "picows_server.py", python=("picows", "uvloop")),
    peer("socketify", "socketify (uWebSockets, C++)", "socketify_server.py", python=("socketify",)),
    peer(
        "engine.io",
        "python-engineio on gevent",
        "engineio_server.py",
        python=("python-engineio", "gevent", "gevent-websocket"),
        url="/engine.io/?EIO=4&transport=websocket&path={path}",
        load=("--payload-prefix", "4", "--eio"),
    ),
    Server(
        "node-ws",
        "node `ws` with bufferutil",
        NODE,
        offers=PLAIN | {COMPRESSION, TLS},
        node=("ws", "bufferutil"),
    ),
    Server(
        "node-ws-encoded",
        "the same, but a broadcast is encoded only once, by hand",
        (*NODE, "encoded"),
        offers=frozenset({CHANNEL}),
        node=("ws", "bufferutil"),
    ),
    Server(
        "nchan",
        "nginx with nchan",
        ("/usr/sbin/nginx", "-p", "{folder}", "-c", "{folder}/nginx.conf"),
        offers=frozenset({CHANNEL, CONNECTION}),
        debian=("nginx-light", "libnginx-mod-nchan"),
        shown_by="/usr/lib/nginx/modules/ngx_nchan_module.so",
    ),
)
BY_NAME = {server.name: server for server in ALL}
LIMITS = ("c-limit", "c-coalesce")
