"""The plugin for pytest: it collects the `[[test]]` sections of TOML files, one test for each.

pytest imports it in every project of the environment. It therefore imports only the façade of fws, and
neither gevent nor `fws.testing`, before it has found a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_TEST = re.compile(rb"^\s*\[\[\s*test\s*\]\]", re.MULTILINE)
# What a configuration of fws or a transcript has, and a file of another program that calls something `test` has not.
_OURS = re.compile(rb"^\s*\[?\s*(pipelines|endpoints)\b|^\s*\w+(@\w+)?>\s+connect\b", re.MULTILINE)
# A larger file is not one of fws.
_MAX_FILE = 256 * 1024


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a TOML file that has `[[test]]` sections and belongs to fws."""
    if file_path.suffix != ".toml" or file_path.name == "pyproject.toml":
        return None
    try:
        if file_path.stat().st_size > _MAX_FILE or not _TEST.search(text := file_path.read_bytes()):
            return None
        beside = file_path.with_name(file_path.stem.removesuffix("_test") + file_path.suffix)
        if not _OURS.search(text) and not (beside.is_file() and _OURS.search(beside.read_bytes())):
            return None
    except OSError:
        return None
    file: pytest.Collector = TranscriptFile.from_parent(parent, path=file_path)
    return file


class TranscriptFile(pytest.File):
    """A configuration, or the file of tests beside it. Each is collected for its own sections."""

    def collect(self) -> Iterator[pytest.Item]:
        from fws.base.errors import ConfigError
        from fws.testing.suite import Suite

        try:
            suite = Suite(self.path)
        except ConfigError as error:
            raise self.CollectError(str(error)) from None
        for transcript in suite.transcripts:
            if Path(transcript.place.file).name == self.path.name:
                yield TranscriptItem.from_parent(self, name=transcript.name, suite=suite, transcript=transcript)


class TranscriptItem(pytest.Item):
    """One transcript."""

    def __init__(self, *, suite: Any, transcript: Any, **further: Any) -> None:
        super().__init__(**further)
        self._suite = suite
        self._transcript = transcript

    def runtest(self) -> None:
        result = self._suite.play(self._transcript)
        if result.failure is not None:
            raise _Failed(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What the transcript expected and got. A Python traceback would say nothing about it."""
        from fws.base.errors import ConfigError
        from fws.testing.report import explanation

        error = excinfo.value
        if isinstance(error, _Failed):
            place = error.result.place
            return "\n".join([f"{place.file}:{place.line}", *explanation(error.result)])
        if isinstance(error, ConfigError):
            return str(error)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, max(0, self._transcript.place.line - 1), self.name


class _Failed(Exception):
    """A transcript goes differently."""

    def __init__(self, result: Any) -> None:
        super().__init__(result.transcript.name)
        self.result = result
