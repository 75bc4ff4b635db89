"""fws, a WebSocket server put together like a Unix pipeline: `cat server_event | filter_a | filter_b`.

This is the façade: all that a filter needs is imported from here. It loads nothing that gevent's patching
would come too late for.
"""

from fws.condition import Condition
from fws.errors import Close, FwsError, Reject, StorageError
from fws.filter import DROP, Filter, Several
from fws.options import Help, Secret, Takes
from fws.pipeline import Pipeline
from fws.publication import Publication
from fws.units import Duration, Rate, Size

__all__ = [
    "DROP",
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
    "Several",
    "Size",
    "StorageError",
    "Takes",
]

__version__ = "0.1.0"
