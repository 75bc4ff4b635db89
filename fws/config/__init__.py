"""The configuration: a TOML file, checked, with the place of everything in it."""

from fws.config.address import Tcp, Unix, parse_listen
from fws.config.limits import Bounds, Limits
from fws.config.loader import Document, load, parse
from fws.config.overrides import effective_listen, effective_workers
from fws.config.reader import Config, EndpointTable, place_problems, read
from fws.config.sections import Channel, Redis, Server, Settings, Tls
from fws.config.source import Source

__all__ = [
    "Bounds",
    "Channel",
    "Config",
    "Document",
    "EndpointTable",
    "Limits",
    "Redis",
    "Server",
    "Settings",
    "Source",
    "Tcp",
    "Tls",
    "Unix",
    "effective_listen",
    "effective_workers",
    "load",
    "parse",
    "parse_listen",
    "place_problems",
    "read",
]
