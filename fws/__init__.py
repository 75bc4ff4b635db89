"""fws, a WebSocket server that is composed like a Unix pipeline: `cat server_event | filter_a | filter_b`.

This is the façade: filters import everything that they need from here. It imports no module that must be imported after
gevent has patched the standard library.
"""

from fws.base.errors import Close, FwsError, OffloadError, Reject, StorageError
from fws.base.trace import traceparent
from fws.base.units import Duration, Rate, Size
from fws.pipeline.component import Setting
from fws.pipeline.condition import Condition
from fws.pipeline.filter import Filter
from fws.pipeline.interfaces import Client, Hub
from fws.pipeline.options import Formerly, Help, Secret, Takes, Verbatim
from fws.pipeline.outcomes import DROP, Ask, Later, Several
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.publication import Publication
from fws.pipeline.services import Services
from fws.pipeline.source import Source
from fws.pipeline.storage import Storage

__all__ = [
    "DROP",
    "Ask",
    "Client",
    "Close",
    "Condition",
    "Duration",
    "Filter",
    "Formerly",
    "FwsError",
    "Help",
    "Hub",
    "Later",
    "OffloadError",
    "Pipeline",
    "Publication",
    "Rate",
    "Reject",
    "Secret",
    "Services",
    "Setting",
    "Several",
    "Size",
    "Source",
    "Storage",
    "StorageError",
    "Takes",
    "Verbatim",
    "traceparent",
]

__version__ = "0.1.0"
