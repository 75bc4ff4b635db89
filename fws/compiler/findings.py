"""What the compiler finds in a file: problems, warnings, and the words that are secrets."""

from __future__ import annotations

from collections.abc import Iterable

from fws.base.problem import Path, Problem
from fws.pipeline.stage import StageError


class Findings:
    """Collects everything that is found in one file. No part of the compiler raises a problem of the file.

    Attributes:
        problems: each once, although a chain is compiled wherever it is used.
        warnings: what does not keep the file from being used.
        reported: how many problems were added, with repetitions. It grows while something invalid is compiled.
        secrets: words of the file that may not be shown. They are hidden in every line that a problem quotes.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.reported = 0
        self.secrets: set[str] = set()
        self._seen: set[tuple[Path, int, str]] = set()

    def problem(self, message: str, path: Path, offset: int = 0, hint: str = "", *, hidden: bool = False) -> None:
        """Add a problem. The arguments are those of `Problem`."""
        self.add([Problem(message, path, offset, hint, hidden=hidden)])

    def warning(self, message: str, path: Path, offset: int = 0, hint: str = "", *, key: bool = False) -> None:
        """Add a warning, once for each place. The arguments are those of `Problem`."""
        warning = Problem(message, path, offset, hint, key=key)
        if warning not in self.warnings:
            self.warnings.append(warning)

    def mistake(self, error: StageError, path: Path) -> None:
        """Add the problem of the stage or value at `path`."""
        self.problem(error.message, path, error.offset, error.hint)

    def add(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.reported += 1
            key = (problem.path, problem.offset, problem.message)
            if key not in self._seen:
                self._seen.add(key)
                self.problems.append(problem)
