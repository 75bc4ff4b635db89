"""What a filter reads from a file of its own, read again when the file changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from fws.base.files import FileWatch

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Followed(Generic[T]):
    """The content of a file. If a new version of it is wrong, that is logged, and the former content stays.

    The filter looks for itself, because a reload keeps a filter whose options have not changed.

    Args:
        read: reads the file. Raises OSError or ValueError.
        clock: monotonic seconds.
        also: the further files that the content was read from.

    Raises:
        ValueError: the file cannot be used at the start.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[], T],
        clock: Callable[[], float],
        also: Callable[[T], Iterable[Path]] = lambda _: (),
    ) -> None:
        self._path = path
        self._read = read
        try:
            self._content = read()
        except OSError as error:
            raise ValueError(f"{path.name}: {error.strerror}") from None
        self._watch = FileWatch(path, self._load, self._failed, clock, lambda: also(self._content))

    def content(self) -> T:
        """What the file contained within the last second."""
        self._watch.update()
        return self._content

    def _load(self) -> None:
        self._content = self._read()

    def _failed(self, reason: str) -> None:
        logger.error("the new %s cannot be used, and the former one stays: %s", self._path.name, reason)
