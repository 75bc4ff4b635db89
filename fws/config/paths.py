"""The paths of endpoints: literal segments, parameters, and a rest that takes whatever follows.

    /chat/{room}        one segment, which is not empty:  /chat/tea
    /files/{rest...}    any number of segments:           /files/, /files/a, /files/a/b

Of two paths that match, the one with a literal segment where the other has a parameter wins, and a parameter wins over
a rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)(\.\.\.)?\}\Z")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
# Parameters as other routers write them: `:room` and `:room?` (Express, Rails), `<room>` and `<str:room>` (Flask,
# Django), `{room:int}` (Starlette, aiohttp), `{*rest}` and `*rest` (Axum, Gin). What each means here is in `_advice`.
_OTHERS = re.compile(
    r"""
    :(?P<colon>[A-Za-z_]\w*)(?P<many>[*+])?\??
    | <(?:(?P<type>\w+):)?(?P<angle>\w+)>
    | \{(?P<brace>\w+)(?P<suffix>[:*?].*)\}
    | \{?\*{1,2}(?P<star>\w*)\}?
    """,
    re.VERBOSE,
)
# A regular expression: what no literal path has.
_REGEX = re.compile(r"[\^$\\]|\(\?|[.\])][*+]|\[\^|\(\.|\*")

LITERAL, PARAMETER, REST = range(3)


class PathPattern(msgspec.Struct, frozen=True):
    """One endpoint's path, read.

    Attributes:
        segments: what each segment is (`LITERAL`, `PARAMETER` or `REST`) and its text or name.
    """

    segments: tuple[tuple[int, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return tuple(name for kind, name in self.segments if kind != LITERAL)

    @property
    def shape(self) -> tuple[str | int, ...]:
        """Equal for paths that match the same requests."""
        return tuple(text if kind == LITERAL else kind for kind, text in self.segments)

    @property
    def order(self) -> tuple[int, ...]:
        """Sorts paths: the more specific one comes first."""
        return tuple(kind for kind, _ in self.segments)

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The parameters' values if the decoded segments of a request's path match, else None.

        The value of a rest joins its segments with slashes.
        """
        if len(segments) != len(self.segments) and not (
            self.segments[-1][0] == REST and len(segments) >= len(self.segments)
        ):
            return None
        params = {}
        for number, (kind, text) in enumerate(self.segments):
            segment = segments[number]
            if kind == LITERAL:
                if segment != text:
                    return None
            elif kind == PARAMETER:
                if not segment:
                    return None
                params[text] = segment
            else:
                params[text] = "/".join(segments[number:])
        return params


def parse_path(path: str) -> tuple[PathPattern, list[tuple[str, str]]]:
    """Read an endpoint's path.

    Returns:
        The pattern, and every problem as a message and a hint. With problems the pattern must not be used for requests;
        it only has the names of the parameters that were probably meant.
    """
    problems = []
    if not path.startswith("/"):
        problems.append(("an endpoint's path begins with a slash", f'write "/{path}"'))
    if "?" in path.replace("(?", "").rstrip("?") or "#" in path or _ESCAPED.search(path):
        hint = "paths are compared after decoding, without the query: write the characters themselves"
        problems.append(("no request has this path", hint))
    segments: list[tuple[int, str]] = []
    parts = path.split("/")
    for number, part in enumerate(parts):
        match = _PARAMETER.match(part)
        if match is None:
            if problem := _problem_of(part):
                problems.append(problem)
            meant = _meant(part)
            segments.append((PARAMETER, meant) if problem and meant else (LITERAL, part))
            continue
        name, rest = match[1], match[2] is not None
        if any(kind != LITERAL and text == name for kind, text in segments):
            problems.append((f"the parameter {{{name}}} occurs twice", ""))
        if rest and number < len(parts) - 1:
            problems.append((f"{part} is not at the end of the path", "a rest takes all segments that follow"))
        segments.append((REST if rest else PARAMETER, name))
    return PathPattern(tuple(segments)), problems


def _problem_of(part: str) -> tuple[str, str] | None:
    """What is wrong with a segment that is not a parameter, and what would be right; None for a literal."""
    other = _OTHERS.fullmatch(part)
    if other is not None:
        return (f"{part!r} is how other routers write a parameter: here it would match itself alone", _advice(other))
    if "{" in part or "}" in part:
        hint = "a parameter is all between two slashes, with a name of a-z, 0-9 and _, such as /{room}/"
        return (f"{part!r} is not a parameter", hint)
    if _REGEX.search(part):
        hint = "write /{name}/ for one segment, or /{rest...} at the end for any number of them"
        return (f"{part!r} looks like a regular expression: paths have none", hint)
    return None


def _meant(part: str) -> str:
    """The name of the parameter that a segment of another router stands for; empty without one."""
    other = _OTHERS.fullmatch(part)
    return "" if other is None else _name_of(other)


def _name_of(other: re.Match[str]) -> str:
    return (other["colon"] or other["angle"] or other["brace"] or other["star"] or "rest").lower()


def _advice(other: re.Match[str]) -> str:
    star, suffix, name = other["star"], other["suffix"] or "", _name_of(other)
    many = (
        star is not None or other["many"] or other["type"] == "path" or suffix.startswith(("*", ":path", ":*", ":.*"))
    )
    hint = f'write "{{{name}...}}"' if many else f'write "{{{name}}}"'
    if star == "":
        hint += "; the pipelines below [pipelines] serve every path that no endpoint claims"
    return hint
