"""Patterns that clients subscribe to, found for the name of a channel in a time that depends on the parts of the name.

device:*:temperature     * is one part of a name:   device:7:temperature
device:*                 at the end, * is the rest: device:7, device:7:temperature
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")

_REST = "*"


def check_pattern(pattern: str) -> None:
    """Check a pattern. Raises ValueError that says what would be right."""
    parts = pattern.split(":")
    if any("*" in part and part != "*" for part in parts):
        raise ValueError("in a pattern, * stands for a whole part between two colons")
    if parts == ["*"]:
        raise ValueError("a pattern has at least one part that is not *")
    if not all(parts):
        raise ValueError("a pattern has no empty part")


class _Node(Generic[Value]):
    """The patterns that begin with the same parts.

    Attributes:
        parts: what follows, by the next part; `*` for any part.
        rest: the value of the pattern that ends here with `*`.
        value: the value of the pattern that ends here.
    """

    __slots__ = ("parts", "rest", "value")

    def __init__(self) -> None:
        self.parts: dict[str, _Node[Value]] = {}
        self.rest: Value | None = None
        self.value: Value | None = None

    @property
    def empty(self) -> bool:
        return not self.parts and self.rest is None and self.value is None


class Trie(Generic[Value]):
    """Values by pattern."""

    __slots__ = ("_root", "_size")

    def __init__(self) -> None:
        self._root: _Node[Value] = _Node()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def get(self, pattern: str) -> Value | None:
        """The value of a pattern."""
        node, rest = self._root, False
        for part in self._parts(pattern):
            found = node.parts.get(part)
            if found is None:
                return None
            node = found
        rest = pattern.endswith(_REST)
        return node.rest if rest else node.value

    def add(self, pattern: str, value: Value) -> None:
        """Set the value of a pattern that has none."""
        node = self._root
        for part in self._parts(pattern):
            node = node.parts.setdefault(part, _Node())
        if pattern.endswith(_REST):
            node.rest = value
        else:
            node.value = value
        self._size += 1

    def remove(self, pattern: str) -> None:
        """Remove a pattern that has a value."""
        path = [self._root]
        parts = self._parts(pattern)
        for part in parts:
            path.append(path[-1].parts[part])
        if pattern.endswith(_REST):
            path[-1].rest = None
        else:
            path[-1].value = None
        self._size -= 1
        for part, node, parent in zip(reversed(parts), reversed(path), reversed(path[:-1]), strict=False):
            if not node.empty:
                break
            del parent.parts[part]

    def match(self, name: str) -> Iterator[Value]:
        """The values of all patterns that match a name."""
        parts = name.split(":")
        nodes = [self._root]
        for part in parts:
            following: list[_Node[Value]] = []
            for node in nodes:
                if node.rest is not None:
                    yield node.rest
                if (found := node.parts.get(part)) is not None:
                    following.append(found)
                if part and (found := node.parts.get(_REST)) is not None:
                    following.append(found)
            nodes = following
            if not nodes:
                return
        for node in nodes:
            if node.value is not None:
                yield node.value

    @staticmethod
    def _parts(pattern: str) -> list[str]:
        """The parts, without the `*` at the end."""
        parts = pattern.split(":")
        return parts[:-1] if parts[-1] == _REST else parts
