"""The compiled functions of `_native.c`. Each is None if they were not built, or if `FWS_PURE` is set.

Each caller has an equivalent Python implementation, and the tests run both.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

_module: Any = None
if not os.environ.get("FWS_PURE"):
    try:
        _module = importlib.import_module("fws._native")
    except ImportError:
        pass

compiled = _module is not None
"""Whether the compiled functions are in use."""

receive: Callable[[int, int], bytes | None] | None = getattr(_module, "receive", None)
decode: Callable[[bytes, int, int, list[Any]], int] | None = getattr(_module, "decode", None)
frame: Callable[[Any], bytes | None] | None = getattr(_module, "frame", None)
send_each: Callable[[list[Any], int, int, bytes, object], list[tuple[Any, int]]] | None = getattr(
    _module, "send_each", None
)
