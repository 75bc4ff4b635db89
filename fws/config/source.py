"""Finds places in a TOML file: the line and column of the value at a path.

`tomllib` gives values without places, so a small scanner walks over the text that `tomllib` has accepted. It does not
check the text again. For text that is not TOML its results are undefined, but it always ends.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import msgspec

from fws.base.problem import Path, Place, Problem

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*+")
_SPACE = re.compile(r"[ \t]*+")
_KEY = re.compile(r""""(?:[^"\\\n]|\\.)*+"|'[^'\n]*'|[A-Za-z0-9_-]+""")
# A multi-line string may end in up to five quotes: two of its own and the three that close it.
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}|\'\'\'(?:[^']|'(?!\'\'))*+'{3,5}|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*\'''',
    re.DOTALL,
)
_OTHER = re.compile(r"\d{4}-\d\d-\d\d \d[^\s,#\]}]*|[^\s,#\]}]+")
# One piece of a string literal, which stands for no character (a continued line) or one (an escape).
_CONTINUED = re.compile(r"\\[ \t]*\r?\n[ \t\r\n]*")
_ESCAPE = re.compile(r"\\(?:u.{4}|U.{8}|.)")


class Statement(NamedTuple):
    """The start and end, in the text, of a key with its value or of a table's header."""

    start: int
    end: int
    header: bool


class _Entry(NamedTuple):
    """Where the key and the value of one path begin. For an item of a list, which has no key, both are the same."""

    key: int
    value: int


class Source:
    """A TOML text and the places in it.

    Args:
        file: the name to show.
        text: the content of the file, with its own line ends.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text

    def at(self, position: int) -> Place:
        """The place of the character at `position`; beyond the end, the place after the last character."""
        position = min(position, len(self.text))
        line = bisect_right(self._starts, position) - 1
        return self.line(line + 1, position - self._starts[line] + 1)

    def line(self, number: int, column: int) -> Place:
        """The place with this line and column, both counted from 1."""
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return Place(self.file, number, column, self.text[self._starts[number - 1] : end].rstrip("\r"))

    def place(self, path: Path, offset: int = 0, *, key: bool = False) -> Place:
        """The place of the value at `path`, or of the nearest enclosing value that exists.

        Args:
            path: table keys and list positions; empty for the file as a whole, which has no line.
            offset: characters into the value if it is a string. An escape counts as the character it stands for.
            key: whether to return the place of the key instead of its value.
        """
        if not path:
            return Place(self.file)
        entries = self._scan.entries
        found = path
        while found and found not in entries:
            found = found[:-1]
        if not found:
            return Place(self.file)
        entry = entries[found]
        if found != path or key:
            return self.at(entry.key)
        # The first line of a text that begins on the line after its quotes is that line.
        inside = offset or self.text.startswith(('"""\n', "'''\n"), entry.value)
        return self.at(self._inside(entry.value, offset) if inside else entry.value)

    def statements(self) -> list[Statement]:
        """The statements of the file, in order. A table's header and each of its keys are separate statements."""
        return self._scan.statements

    def depth(self) -> int:
        """How deep lists and inline tables are nested."""
        return self._scan.deepest

    @cached_property
    def _starts(self) -> list[int]:
        """The position at which each line begins."""
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    @cached_property
    def _scan(self) -> _Scanner:
        return _Scanner(self.text)

    def _inside(self, start: int, offset: int) -> int:
        """The position of the character number `offset` of the string whose literal begins at `start`."""
        text = self.text
        match = _STRING.match(text, start)
        if match is None:
            return start
        quote, end = text[start], match.end()
        position = start + 1
        if text.startswith(quote * 3, start):
            position = start + 3
            position += len("\r\n") if text.startswith("\r\n", position) else text.startswith("\n", position)
        while offset > 0 and position < end:
            if text.startswith("\r\n", position):
                position += 1
            elif quote == '"' and text[position] == "\\":
                continued = _CONTINUED.match(text, position)
                if continued is not None:
                    position = continued.end()
                    continue
                escape = _ESCAPE.match(text, position)
                position = escape.end() - 1 if escape else position
            position += 1
            offset -= 1
        return min(position, end - 1)


class _Scanner:
    """One walk over the text: the entry of every path, and the spans of the statements."""

    def __init__(self, text: str) -> None:
        self.entries: dict[Path, _Entry] = {}
        self.statements: list[Statement] = []
        self.deepest = 0
        self._text = text
        # The number of tables that each array of tables has so far.
        self._tables: dict[Path, int] = {}
        table: Path = ()
        position = self._blank(0)
        while position < len(text):
            start = position
            header = text[position] == "["
            if header:
                table, position = self._header(position)
            else:
                position = self._pair(table, position, 0)
            position = max(position, start + 1)
            self.statements.append(Statement(start, position, header))
            position = self._blank(position)

    def _blank(self, position: int) -> int:
        match = _BLANK.match(self._text, position)
        return match.end() if match else position

    def _space(self, position: int) -> int:
        match = _SPACE.match(self._text, position)
        return match.end() if match else position

    def _header(self, start: int) -> tuple[Path, int]:
        several = self._text.startswith("[[", start)
        keys, position = self._keys(start + (2 if several else 1))
        path: Path = ()
        for name, at in keys[:-1]:
            path = self._current((*path, name), at)
        if keys:
            name, at = keys[-1]
            path = (*path, name)
            if several:
                self.entries.setdefault(path, _Entry(at, start))
                number = self._tables.get(path, 0)
                self._tables[path] = number + 1
                path = (*path, number)
            self.entries[path] = _Entry(at, start)
        return path, position + (2 if several else 1)

    def _current(self, path: Path, at: int) -> Path:
        """The table that `path` means in a header; for an array of tables, its last table."""
        self.entries.setdefault(path, _Entry(at, at))
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _keys(self, position: int) -> tuple[list[tuple[str, int]], int]:
        """The parts of a dotted key with their positions, and the position after the key."""
        keys: list[tuple[str, int]] = []
        while True:
            position = self._space(position)
            match = _KEY.match(self._text, position)
            if match is None:
                return keys, position
            keys.append((_name(match[0]), position))
            position = self._space(match.end())
            if not self._text.startswith(".", position):
                return keys, position
            position += 1

    def _pair(self, table: Path, position: int, depth: int) -> int:
        """Read a key with its value. Returns the end of the value."""
        keys, position = self._keys(position)
        value = self._space(position + len("="))
        path = table
        for index, (name, at) in enumerate(keys):
            path = (*path, name)
            if index < len(keys) - 1:
                self.entries.setdefault(path, _Entry(at, at))
            else:
                self.entries[path] = _Entry(at, value)
        return self._value(path, value, depth)

    def _value(self, path: Path, position: int, depth: int) -> int:
        opening = self._text[position : position + 1]
        if opening in ("[", "{"):
            self.deepest = max(self.deepest, depth + 1)
            return self._items(path, position + 1, "]" if opening == "[" else "}", depth + 1)
        match = (_STRING if opening in ('"', "'") else _OTHER).match(self._text, position)
        return match.end() if match else position

    def _items(self, path: Path, position: int, closing: str, depth: int) -> int:
        """Read the items between brackets. Returns the position after the closing bracket."""
        number = 0
        while (position := self._blank(position)) < len(self._text):
            char = self._text[position]
            if char == closing:
                return position + 1
            before = position
            if char == ",":
                position += 1
            elif closing == "]":
                item = (*path, number)
                self.entries[item] = _Entry(position, position)
                position = self._value(item, position, depth)
                number += 1
            else:
                position = self._pair(path, position, depth)
            if position == before:
                break
        return position


def _name(literal: str) -> str:
    if literal[0] == '"' and "\\" in literal:
        try:
            return str(tomllib.loads(f"name = {literal}")["name"])
        except tomllib.TOMLDecodeError:
            pass
    return literal[1:-1] if literal[0] in ('"', "'") else literal


def place_problems(problems: Iterable[Problem], source: Source) -> list[Problem]:
    """Give each problem its place in the file, sort them by place, and remove duplicates."""
    placed = (
        msgspec.structs.replace(
            problem, place=problem.place or source.place(problem.path, problem.offset, key=problem.key)
        )
        for problem in problems
    )

    def order(problem: Problem) -> tuple[int, int]:
        return (problem.place.line, problem.place.column) if problem.place else (0, 0)

    return sorted(dict.fromkeys(placed), key=order)
