"""Show a result as Markdown: the requirements, then one table for each measure.

    python bench/report.py [bench/results/latest.json]          prints it
    python bench/report.py FILE --into docs/performance.md      writes it between the two marks of that page

`make bench` does the latter with the result of a full run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import musts
import servers
import subjects
from measure import Measure, Subject
from result import Figure, Result, better

LATEST = Path(__file__).parent / "results" / "latest.json"
BEGIN, END = "<!-- bench/report.py writes below -->", "<!-- bench/report.py wrote above -->"


def number(value: float) -> str:
    """About three significant digits, with commas between thousands."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f} M"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(figure: Figure | None) -> str:
    """The median and, if the rounds differ, their range. A leading `~` marks a noisy figure."""
    if figure is None:
        return ""
    mark = "~" if figure.noisy else ""
    if figure.low == figure.high:
        return f"{mark}{number(figure.median)}"
    return f"{mark}{number(figure.median)} ({number(figure.low)}..{number(figure.high)})"


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def head(*cells: str) -> Iterator[str]:
    yield row(*cells)
    yield row("---", *("---:" for _ in cells[1:]))


def report(result: Result) -> str:
    """The generated part of the page."""
    lines = [*about(result), "", *required(result)]
    for subject in subjects.ALL:
        measured = [measure for measure in subject.measures if result.servers(measure.name)]
        if measured:
            lines += ["", f"### {subject.name}", "", subject.about, *tables(result, subject, measured)]
    if result.failures:
        lines += ["", "### Failed measurements", "", *(f"* {failure}" for failure in result.failures)]
    return "\n".join(lines) + "\n"


def about(result: Result) -> Iterator[str]:
    about = result.about
    machine = about["machine"]
    yield (
        f"Commit {about['commit']}, {about['date']}, {about['rounds']} rounds of {about['seconds']:g} s. "
        f"{machine['processor']}, {machine['processors']} processors, {machine['memory']}, {machine['system']}, "
        f"{machine['python']}. The server and the load generator each have a processor of their own. "
        f"Figures are medians of the rounds, with the lowest and the highest round in brackets. A ~ marks a figure "
        f"that was disturbed by other programs."
    )
    yield ""
    yield "Versions: " + "; ".join(f"{name}: {parts}" for name, parts in about["versions"].items()) + "."


def required(result: Result) -> Iterator[str]:
    yield "### Requirements"
    yield ""
    yield (
        "Most requirements compare fws with another server, as a ratio of their rates in the same round. The last "
        "column has the same ratio by processor time."
    )
    yield ""
    yield from head("measure", "required", "measured", "met", "by processor time")
    for verdict in musts.judge(result):
        got = f"{spread(verdict.got)} {verdict.must.unit}" if verdict.got else "not measured"
        answer = {True: "yes", False: "**no**", None: ""}[verdict.met]
        by_cpu = f"{spread(verdict.by_cpu)} ×" if verdict.by_cpu else ""
        yield row(verdict.must.measure, verdict.must.required, got, answer, by_cpu)


def tables(result: Result, subject: Subject, measured: list[Measure]) -> Iterator[str]:
    """One table for each measure, or one table for all measures of a subject that only fws can run."""
    if all(measure.needs == servers.FILTERS for measure in measured):
        yield ""
        yield from one_server(result, measured)
        return
    for measure in measured:
        yield ""
        yield f"**{measure.title}** (`{measure.name}`)"
        yield ""
        yield from compared(result, measure)


def one_server(result: Result, measured: list[Measure]) -> Iterator[str]:
    titles = {measure.name: measure.title for measure in measured}
    yield from head("fws", "per second", "CPU µs each", "µs added", "compared with")
    for measure in measured:
        above = musts.added(measure.name, measure.above)(result) if measure.above else None
        yield row(
            measure.title,
            spread(result.figure(measure.name, "fws")),
            spread(result.figure(measure.name, "fws", lambda sample: sample.cpu_us)),
            spread(above),
            titles.get(measure.above, "") if above else "",
        )


def compared(result: Result, measure: Measure) -> Iterator[str]:
    """The table of one measure, with the best server first."""
    figures = {server: result.figure(measure.name, server) for server in result.servers(measure.name)}
    ranked = sorted(
        ((figure, server) for server, figure in figures.items() if figure is not None),
        key=lambda pair: better(measure)(pair[0].median),
    )
    limits = [limit for limit in servers.LIMITS if limit in figures]
    timed = any(
        sample.p50_us is not None for _, server in ranked for sample in result.all_samples(measure.name, server)
    )
    cells = ["server", measure.unit, *(f"× {limit}" for limit in limits), "fws × this server"]
    yield from head(*cells, *(("CPU µs each", "µs p50 / p99", "faults") if timed else ()))
    for figure, server in ranked:
        cells = [f"**{server}**" if server == "fws" else server, spread(figure)]
        cells += [spread(result.ratio(measure.name, server, limit)) if server != limit else "1" for limit in limits]
        cells.append(spread(result.ratio(measure.name, "fws", server)) if server != "fws" else "1")
        if timed:
            cpu = result.figure(measure.name, server, lambda sample: sample.cpu_us)
            p50 = result.figure(measure.name, server, lambda sample: sample.p50_us)
            p99 = result.figure(measure.name, server, lambda sample: sample.p99_us)
            latency = f"{number(p50.median)} / {number(p99.median)}" if p50 and p99 else ""
            cells += [spread(cpu), latency, faults(result, measure, server)]
        yield row(*cells)


def faults(result: Result, measure: Measure, server: str) -> str:
    """Messages that were lost, duplicated or wrong: for each kind, the number in the worst round."""
    worst: dict[str, int] = {}
    for sample in result.all_samples(measure.name, server):
        for kind, count in sample.faults.items():
            worst[kind] = max(count, worst.get(kind, 0))
    return ", ".join(f"{count:,} {kind}" for kind, count in worst.items())


def put(text: str, page: Path) -> None:
    """Replace the text between the two marks of the page. Exits with a message if a mark is missing."""
    whole = page.read_text()
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page} lacks its marks: {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Show a result as Markdown.")
    parser.add_argument("file", type=Path, nargs="?", default=LATEST)
    parser.add_argument("--into", type=Path, metavar="PAGE", help="write it between the marks of this page")
    options = parser.parse_args()
    text = report(Result.load(options.file))
    if options.into:
        put(text, options.into)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
