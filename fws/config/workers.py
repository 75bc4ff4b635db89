"""How many worker processes serve, and who has the say on it."""

from __future__ import annotations

import re
from typing import Literal

MAX_WORKERS = 256


def effective_workers(
    config_workers: int | Literal["auto"], *, flag: str | None, variable: str | None, cores: int
) -> int:
    """The number of worker processes: the flag wins over the variable `WEB_CONCURRENCY`, and that over the file.

    Args:
        config_workers: `[server] workers`.
        flag: `--workers`, None when not given.
        variable: `WEB_CONCURRENCY` of the environment, None or empty when not set.
        cores: what `auto` stands for.

    Raises:
        ValueError: which of them is wrong, and what would be right.
    """
    for name, text in (("--workers", flag), ("the variable WEB_CONCURRENCY", variable)):
        if text is None or (not text and name != "--workers"):
            continue
        if text == "auto":
            return cores
        if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_WORKERS:
            raise ValueError(
                f"{name}: {text!r} is no number of workers: write 1 to {MAX_WORKERS}, or auto for one a core"
            )
        return int(text)
    return cores if config_workers == "auto" else config_workers
