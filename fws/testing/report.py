"""Results of tests as text for a terminal, as JUnit's XML, and as annotations of GitHub's workflows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

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


def junit(results: Sequence[Result], file: str) -> str:
    """The results of one file as a test suite in JUnit's XML, which CI systems read."""
    cases = []
    for result in results:
        name = _attribute(result.transcript.name)
        head = f'<testcase classname={_attribute(file)} name={name} time="{result.seconds:.3f}"'
        if result.failure is None:
            cases.append(f"  {head}/>")
        else:
            text = "\n".join(explanation(result))
            message = f"expected {result.failure.expected}, got {result.failure.got}"
            cases.append(
                f"  {head}>\n    <failure message={_attribute(message)}>{_text(text)}</failure>\n  </testcase>"
            )
    failed = sum(result.failure is not None for result in results)
    seconds = sum(result.seconds for result in results)
    head = f'<testsuite name={_attribute(file)} tests="{len(results)}" failures="{failed}" time="{seconds:.3f}">'
    return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', head, *cases, "</testsuite>"])


def github(results: Iterable[Result]) -> str:
    """An annotation for each failing test, as GitHub's workflows read them from the log."""
    lines = []
    for result in results:
        if result.failure is not None:
            text = "\n".join(line.strip() for line in explanation(result))
            title = _data(result.transcript.name).replace(":", "%3A").replace(",", "%2C")
            file = _data(result.place.file).replace(":", "%3A").replace(",", "%2C")
            lines.append(f"::error file={file},line={result.place.line},title={title}::{_data(text)}")
    return "\n".join(lines)


def _at(place: Place) -> str:
    return f"{place.file}:{place.line}" if place.line else place.file


def _attribute(text: str) -> str:
    return quoteattr(_NO_XML.sub("?", text))


def _text(text: str) -> str:
    return escape(_NO_XML.sub("?", text))


def _data(text: str) -> str:
    """Text in a workflow command, whose line ends and percent signs have a meaning of their own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
