"""Standard output, as the filters write to it whose purpose is to be watched."""

from __future__ import annotations

import sys

from fws.base.log import escape

# Of one message: enough to see what it is, little enough that nobody waits for it.
MAX_SHOWN = 4096


def write(title: str, text: str) -> None:
    """Print a title and one line below it, with control characters escaped. A closed output is no fault."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(f"--{title}--\n{escape(text)}\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        pass
