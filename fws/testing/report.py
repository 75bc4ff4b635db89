"""Results of tests as text for a terminal, as JUnit's XML, and as annotations of GitHub's workflows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from fws.base.errors import ConfigError
from fws.base.problem import Place
from fws.testing.suite import Result

WIDTH = 78
# Characters that XML 1.0 cannot have at all.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def line_of(result: Result) -> str:
    """One test on the terminal: a line if it has passed, and an explanation if it has failed."""
    name = result.transcript.name
    if result.failure is None:
        return f"  ok    {name:{WIDTH - 8}} {result.seconds * 1000:5.0f} ms"
    return "\n".join([f"  FAIL  {name:{WIDTH - 8}} {_at(result.place)}", *explanation(result)])


def explanation(result: Result) -> list[str]:
    """What a failing test expected and got, by which stage and why, with the lines of the transcript."""
    failure = result.failure
    assert failure is not None
    shown = [failure.action] if failure.action.line == failure.statement.line else [failure.action, failure.statement]
    number = max(len(str(one.line)) for one in shown)
    lines = [f"        {one.line:{number}} | {one.text.strip()}" for one in shown]
    if failure.expected:
        lines.append(f"          expected {failure.expected}")
    lines.append(f"          got      {failure.got}")
    if failure.by is not None:
        where = f"   {_at(result.stage)}" if result.stage is not None else ""
        lines.append(f"          by       {failure.by.address}{where}")
    if failure.because:
        lines.append(f"          because  {failure.because}")
    return lines


def summary(results: Sequence[Result]) -> str:
    """The last line: `1 failed, 3 ok`."""
    failed = sum(result.failure is not None for result in results)
    ok = f"{len(results) - failed} ok"
    return f"{failed} failed, {ok}" if failed else ok


def junit(files: Mapping[str, Sequence[Result] | ConfigError]) -> str:
    """The results of all files in JUnit's XML, which CI systems read: one document with a suite for each file.

    A file with problems has one test with an error, so that no report shows it as a success.
    """
    suites = [line for file, results in files.items() for line in _suite(file, results)]
    return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', "<testsuites>", *suites, "</testsuites>"])


def _suite(file: str, results: Sequence[Result] | ConfigError) -> list[str]:
    name = _attribute(file)
    if isinstance(results, ConfigError):
        error = f"<error message={_attribute(results.problems[0].message)}>{_text(str(results))}</error>"
        case = f"    <testcase classname={name} name={name}>\n      {error}\n    </testcase>"
        return [f'  <testsuite name={name} tests="1" failures="0" errors="1">', case, "  </testsuite>"]
    failed = sum(result.failure is not None for result in results)
    seconds = sum(result.seconds for result in results)
    counts = f'tests="{len(results)}" failures="{failed}" errors="0" time="{seconds:.3f}"'
    return [f"  <testsuite name={name} {counts}>", *(_case(file, result) for result in results), "  </testsuite>"]


def _case(file: str, result: Result) -> str:
    name = _attribute(result.transcript.name)
    head = f'    <testcase classname={_attribute(file)} name={name} time="{result.seconds:.3f}"'
    if result.failure is None:
        return f"{head}/>"
    message = f"expected {result.failure.expected}, got {result.failure.got}"
    text = _text("\n".join(explanation(result)))
    return f"{head}>\n      <failure message={_attribute(message)}>{text}</failure>\n    </testcase>"


def github(results: Iterable[Result] | ConfigError) -> str:
    """An annotation for each failing test or each problem, as GitHub's workflows read them from the log."""
    if isinstance(results, ConfigError):
        placed = [(one.place or Place(""), one) for one in results.problems]
        return "\n".join(_annotation(place, one.message, one.hint or one.message) for place, one in placed)
    return "\n".join(
        _annotation(one.place, one.transcript.name, "\n".join(line.strip() for line in explanation(one)))
        for one in results
        if one.failure is not None
    )


def _annotation(place: Place, title: str, text: str) -> str:
    file, title = (_data(one).replace(":", "%3A").replace(",", "%2C") for one in (place.file, title))
    return f"::error file={file},line={place.line or 1},title={title}::{_data(text)}"


def _at(place: Place) -> str:
    return f"{place.file}:{place.line}" if place.line else place.file


def _attribute(text: str) -> str:
    return quoteattr(_NO_XML.sub("?", text))


def _text(text: str) -> str:
    return escape(_NO_XML.sub("?", text))


def _data(text: str) -> str:
    """Text in a workflow command, whose line ends and percent signs have a meaning of their own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
