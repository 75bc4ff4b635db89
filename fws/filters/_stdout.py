"""Standard output, for the filters that print what happens."""

from __future__ import annotations

import sys

from fws.base.log import escape

# The most characters of a message that are printed. This is enough to recognize it, and little enough to print at once.
MAX_SHOWN = 4096


def write(title: str, text: str) -> None:
    """Print a title and one line below it, with control characters escaped. A closed output is ignored."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(f"--{title}--\n{escape(text)}\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        pass
