"""The `[[test]]` sections of a file and of the file of tests beside it."""

from __future__ import annotations

import os
from pathlib import Path as FilePath
from typing import Any

import msgspec

from fws.base.errors import ConfigError
from fws.base.problem import Path, Place, Problem, did_you_mean
from fws.config.loader import TESTS, Document, load
from fws.config.sections import TranscriptTable
from fws.config.source import Source, place_problems
from fws.pipeline.options import options_of
from fws.transcripts.language import Statement, parse_script

_SUFFIX = "_test"


class Transcript(msgspec.Struct, frozen=True):
    """One test, read and checked.

    Attributes:
        name: as written.
        statements: the statements of its script.
        env: variables of the environment that it sets.
        file: the file that has it.
        place: where it begins.
        source, path: of its script, to find the place of a line.
    """

    name: str
    statements: tuple[Statement, ...]
    env: dict[str, str]
    place: Place
    script: str
    source: Source
    path: Path

    def place_of(self, line: int) -> Place:
        """The place in the file of a line of the script, counted from 1."""
        return self.source.place(self.path, _offset(self.script, line))


def read_tests(tables: Any, source: Source) -> tuple[list[Transcript], list[Problem]]:
    """The transcripts of a file's `test` key, and every problem in them."""
    problems: list[Problem] = []
    found: list[Transcript] = []
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.append(Problem("expected tests", (TESTS,), hint="write [[test]] and its keys below", key=True))
        return found, problems
    names: set[str] = set()
    for index, table in enumerate(tables):
        path: Path = (TESTS, index)
        test = _test(table, path, problems)
        script = table.get("script")
        if not isinstance(script, str):
            continue
        statements, errors = parse_script(script)
        where: Path = (*path, "script")
        for error in errors:
            problems.append(Problem(error.message, where, _offset(script, error.line), error.hint))
        if not statements and not errors:
            problems.append(Problem("an empty transcript", where, hint="write `ann> connect /` and what follows"))
        if test is None:
            continue
        if test.name in names:
            problems.append(Problem(f"another test is called {test.name!r} too", (*path, "name"), hint="rename one"))
        names.add(test.name)
        place = source.place((*path, "name"))
        found.append(Transcript(test.name, tuple(statements), test.env, place, test.script, source, where))
    return found, problems


def load_tests(conf: str | os.PathLike[str]) -> list[Transcript]:
    """The transcripts in the file of tests beside a configuration, if there is one.

    Raises:
        ConfigError: has every problem of the file of tests.
    """
    file = beside(conf)
    if not file.exists():
        return []
    document = load(file)
    tree = document.tree
    found, problems = read_tests(tree.get(TESTS, []), document.source)
    for name in tree:
        if name != TESTS:
            hint = f"{file.name} holds [[test]] sections only"
            problems.append(Problem(f"unknown key {name!r}", (name,), hint=hint, key=True))
    if problems:
        raise ConfigError(place_problems(problems, document.source))
    return found


def transcripts_of(document: Document) -> list[Transcript]:
    """The tests in a configuration, then those in the file beside it.

    Raises:
        ConfigError: has every problem of the tests.
    """
    own, problems = read_tests(document.tree.get(TESTS, []), document.source)
    placed = place_problems(problems, document.source)
    further: list[Transcript] = []
    try:
        further = load_tests(document.source.file)
    except ConfigError as error:
        placed += error.problems
    if placed:
        raise ConfigError(placed)
    return [*own, *further]


def beside(conf: str | os.PathLike[str]) -> FilePath:
    """The file of tests of a configuration: `conf/chat_test.toml` for `conf/chat.toml`."""
    path = FilePath(conf)
    return path.with_name(f"{path.stem}{_SUFFIX}{path.suffix}")


def configuration_of(path: FilePath) -> FilePath:
    """The configuration to which a file belongs: `chat.toml` for `chat_test.toml`, if there is such a file."""
    if path.stem.endswith(_SUFFIX):
        candidate = path.with_name(path.stem.removesuffix(_SUFFIX) + path.suffix)
        if candidate.exists() and beside(candidate) == path:
            return candidate
    return path


def _test(table: dict[str, Any], path: Path, problems: list[Problem]) -> TranscriptTable | None:
    known = {option.name: option for option in options_of(TranscriptTable)}
    values: dict[str, Any] = {}
    before = len(problems)
    for key, value in table.items():
        if key not in known:
            problems.append(Problem(f"unknown key {key!r}", (*path, key), hint=did_you_mean(key, known), key=True))
            continue
        try:
            # A transcript is taken as it is: in JSON, ${…} is text.
            values[key] = known[key].convert(value)
        except ValueError as error:
            problems.append(Problem(str(error), (*path, key), hint=known[key].help))
    for option in known.values():
        if option.required and option.name not in table:
            problems.append(Problem(f"[[test]] has no {option.name!r}", path, hint=option.help, key=True))
    return TranscriptTable(**values) if len(problems) == before else None


def _offset(script: str, line: int) -> int:
    """The position of the first character of a line that is not blank."""
    lines = script.split("\n")
    start = sum(len(text) + 1 for text in lines[: line - 1])
    return start + len(lines[line - 1]) - len(lines[line - 1].lstrip()) if lines[line - 1].strip() else start
