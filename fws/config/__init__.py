"""The configuration: a TOML file, checked, with the place of everything in it."""

from fws.config.address import Tcp, Unix, parse_listen
from fws.config.api import DEFAULT_PATH, Admin, Api, ApiKey
from fws.config.channels import Channel, ChannelRules
from fws.config.limits import Bounds, Limits
from fws.config.loader import Document, load, parse
from fws.config.overrides import effective_listen, effective_workers
from fws.config.reader import Config, EndpointTable, read
from fws.config.sections import Redis, Server, Settings, Tls
from fws.config.source import Source, place_problems
from fws.config.tests import Transcript, beside, load_tests
from fws.config.traces import Traces

__all__ = [
    "DEFAULT_PATH",
    "Admin",
    "Api",
    "ApiKey",
    "Bounds",
    "Channel",
    "ChannelRules",
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
    "Traces",
    "Transcript",
    "Unix",
    "beside",
    "effective_listen",
    "effective_workers",
    "load",
    "load_tests",
    "parse",
    "parse_listen",
    "place_problems",
    "read",
]
