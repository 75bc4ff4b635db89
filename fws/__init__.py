"""fws, a WebSocket server put together like a Unix pipeline: `cat server_event | filter_a | filter_b`.

This is the façade: all that a filter needs is imported from here. It loads nothing that gevent's patching
would come too late for.
"""

from fws.base.errors import Close, FwsError, Reject, StorageError
from fws.base.units import Duration, Rate, Size
from fws.pipeline.condition import Condition
from fws.pipeline.filter import Filter, Services, Setting
from fws.pipeline.options import Help, Secret, Takes
from fws.pipeline.outcomes import DROP, Ask, Several
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.publication import Publication

__all__ = [
    "DROP",
    "Ask",
    "Close",
    "Condition",
    "Duration",
    "Filter",
    "FwsError",
    "Help",
    "Pipeline",
    "Publication",
    "Rate",
    "Reject",
    "Secret",
    "Services",
    "Setting",
    "Several",
    "Size",
    "StorageError",
    "Takes",
]

__version__ = "0.1.0"
