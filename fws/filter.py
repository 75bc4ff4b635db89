"""The import path of filters for fws 0.1.0. New filters import these names from `fws`."""

from fws.pipeline.component import Setting
from fws.pipeline.filter import Filter
from fws.pipeline.outcomes import DROP, Ask, Several
from fws.pipeline.services import Services

__all__ = ["DROP", "Ask", "Filter", "Services", "Setting", "Several"]
