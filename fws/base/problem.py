"""A problem of a configuration: what is wrong, where, and what would be right. It prints like a compiler's errors."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

import msgspec

# The password of a URL. A line with any kind of mistake may contain one, and lines are written to logs.
_PASSWORD = re.compile(r"""(://[^\s"':]*:)([^\s"']+)(?=@)""")

# The path to a value in the TOML tree: table keys and list positions.
Path = tuple[str | int, ...]


class Place(msgspec.Struct, frozen=True):
    """A position in a file; `line` and `column` count from 1, `text` is the whole line."""

    file: str
    line: int = 0
    column: int = 0
    text: str = ""

    @property
    def short(self) -> str:
        """The name of the file without its folder, and the line: `chat.toml:7`. Empty without a line."""
        return f"{os.path.basename(self.file)}:{self.line}" if self.line else ""


class Problem(msgspec.Struct, frozen=True):
    """One problem. It has a `path` first, and a `place` once the file is known.

    Args:
        message: what is wrong, as one sentence without a full stop.
        path: where it is in the TOML tree; empty for the file as a whole.
        offset: the character of the string at `path` at which the mistake begins.
        hint: what would be right; may be empty.
        key: whether the key at `path` is wrong, and not its value.
        hidden: whether the line may not be shown, because it may contain a secret.
    """

    message: str
    path: Path = ()
    offset: int = 0
    hint: str = ""
    place: Place | None = None
    key: bool = False
    hidden: bool = False

    def __str__(self) -> str:
        place = self.place
        if place is None:
            head = f"{dotted(self.path)}: {self.message}" if self.path else self.message
        elif not place.line:
            head = f"{place.file}: {self.message}"
        else:
            head = f"{place.file}:{place.line}:{place.column}: {self.message}"
        lines = [_masked(head)]
        if place is not None and place.line and not self.hidden:
            lines += _excerpt(place)
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    """Text of a file for a terminal: control characters, which could change its state, are shown as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def _masked(line: str) -> str:
    """Replace the password of a URL by stars, one per character, so that a caret below stays in its place."""
    return _PASSWORD.sub(lambda match: match[1] + "*" * len(match[2]), line)


def without(secrets: Iterable[str], problem: Problem) -> Problem:
    """The problem with the secrets in its line replaced by stars."""
    if problem.place is None:
        return problem
    text = problem.place.text
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, "*" * len(secret))
    return msgspec.structs.replace(problem, place=msgspec.structs.replace(problem.place, text=text))


def _excerpt(place: Place, width: int = 100) -> list[str]:
    """The line with a caret below the column. A very long line is cut around the column."""
    text = "".join(char if char.isprintable() else " " for char in _masked(place.text))
    column = min(place.column - 1, len(text))
    start = max(0, column - width // 2) if len(text) > width else 0
    shown = text[start : start + width]
    return [f"    {shown}", "    " + " " * (column - start) + "^"]


def dotted(path: Path) -> str:
    """`("endpoints", "/a", "message", 2)` as `endpoints."/a".message[3]`; list positions count from 1."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step + 1}]")
        else:
            name = step if step.replace("_", "a").replace("-", "a").isalnum() and step.isascii() else f'"{step}"'
            parts.append(f".{name}" if parts else name)
    return "".join(parts)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like `word`; empty if none is similar."""
    return next(iter(difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)), "")


def suggestion(name: str) -> str:
    """A hint that names the word that was probably meant; empty without one."""
    return f"did you mean {name!r}?" if name else ""


def known_names(known: Iterable[str]) -> str:
    """A hint that lists all known words; empty if there are none or more than twelve."""
    names = sorted(set(known))
    return "known: " + ", ".join(names) if 0 < len(names) <= 12 else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known word, or all known words if they are few.

    Decisions must not depend on this text; use `nearest` for them.
    """
    known = list(known)
    return suggestion(nearest(word, known)) or known_names(known)
