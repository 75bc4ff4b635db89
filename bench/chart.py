"""The chart of docs/performance.md, as SVG: one panel for each measure, one bar for each server.

    python bench/chart.py [bench/results/latest.json] > docs/performance.svg

`make bench` does this with the result of a full run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

import report
import servers
import subjects
from measure import Measure
from result import Result, better

# The measures in the chart, two panels per row.
SHOWN = ("echo-64", "echo-deep", "fanout-1000", "fanout-1000-deep", "echo-64k", "churn", "memory")
COLUMNS = 2
PANEL, GAP, MARGIN = 440, 40, 20
LABEL, FIGURE = 120, 70  # pixels left and right of the bars
BAR, STEP, TITLE = 14, 20, 46

# The picture has no background of its own. These colours are readable on white and on black; a viewer that reports a
# dark colour scheme gets better ones.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; font-size: 13px; fill: #24292f }
.fws { font-weight: 700; fill: #24292f }
.number { text-anchor: end }
rect { fill: #8c959f } rect.fws { fill: #0969da } rect.limit { fill: #bf8700 }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 } .title, text.fws { fill: #f0f6fc }
  rect { fill: #656c76 } rect.fws { fill: #4493f8 } rect.limit { fill: #d29922 }
}
"""


def chart(result: Result) -> str:
    """The picture, without the measures that the result lacks."""
    shown = [subjects.MEASURES[name] for name in SHOWN if result.servers(name)]
    parts = []
    top = MARGIN
    for start in range(0, len(shown), COLUMNS):
        line = shown[start : start + COLUMNS]
        for column, measure in enumerate(line):
            parts.append(panel(result, measure, MARGIN + column * (PANEL + GAP), top))
        top += TITLE + STEP * max(len(result.servers(measure.name)) for measure in line) + GAP // 2
    width = 2 * MARGIN + COLUMNS * PANEL + (COLUMNS - 1) * GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" '
        f'role="img" aria-label="fws compared with the C limit and other servers">\n<style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def panel(result: Result, measure: Measure, left: int, top: int) -> str:
    """The panel of one measure, with the best server first."""
    values = {}
    for server in result.servers(measure.name):
        figure = result.figure(measure.name, server)
        if figure is not None:
            values[server] = figure.median
    longest = max(values.values())
    room = PANEL - LABEL - FIGURE
    subject = next(subject.name for subject in subjects.ALL if measure in subject.measures)
    parts = [
        f'<text class="title" x="{left}" y="{top + 14}">{escape(f"{subject}: {measure.title}")}</text>',
        f'<text x="{left}" y="{top + 31}">{escape(unit(measure))}</text>',
    ]
    for place, server in enumerate(sorted(values, key=lambda name: better(measure)(values[name]))):
        middle = top + TITLE + place * STEP
        kind = "fws" if server == "fws" else "limit" if server in servers.LIMITS else "peer"
        length = max(1.0, values[server] / longest * room)
        parts += [
            f'<text class="{kind}" x="{left}" y="{middle + 11}">{escape(server)}</text>',
            f'<rect class="{kind}" x="{left + LABEL}" y="{middle}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            f'<text class="{kind} number" x="{left + PANEL}" y="{middle + 11}">{report.number(values[server])}</text>',
        ]
    return "\n".join(parts)


def unit(measure: Measure) -> str:
    """The unit, and whether more or less is better."""
    return f"{measure.unit}, {'more' if measure.more_is_better else 'less'} is better"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else report.LATEST
    print(chart(Result.load(path)), end="")


if __name__ == "__main__":
    main()
