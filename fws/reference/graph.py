"""Draws the pipelines of a generation: as text, for Mermaid and Graphviz, and as SVG.

Paths, cases and stages are what a user wrote, so each format escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final
from unicodedata import east_asian_width

import msgspec

from fws.compiler.generation import Generation
from fws.pipeline.events import SERVER_EVENTS
from fws.pipeline.labels import branch_name
from fws.pipeline.pipeline import Pipeline, Step

# The most characters of a stage, and of the label of a branch.
MAX_STAGE = 48
# Measures of the SVG in pixels: the width of a character, the height of a box, and the gaps between boxes.
CHAR, HEIGHT, GAP, MARGIN = 7.3, 26, 28, 16


class Node(msgspec.Struct, frozen=True):
    """One stage, with the branches that its filter runs itself, each with its label."""

    text: str
    branches: tuple[tuple[str, tuple[Node, ...]], ...] = ()


# Stands for a branch without stages, so that its label has a place.
NOTHING: Final = (Node("(nothing)"),)


class Row(msgspec.Struct, frozen=True):
    """One pipeline: the name of its event and its stages."""

    event: str
    stages: tuple[Node, ...]


class Group(msgspec.Struct, frozen=True):
    """The pipelines of one endpoint, or those without a client."""

    title: str
    rows: tuple[Row, ...]


def groups_of(generation: Generation) -> list[Group]:
    """What is drawn: each endpoint, every other path, and what concerns all channels."""
    groups = [Group(endpoint.path or "", _rows(endpoint.pipelines())) for endpoint in generation.endpoints]
    if generation.default is not None:
        title = "every other path" if generation.endpoints else "every path"
        groups.append(Group(title, _rows(generation.default.pipelines())))
    own = [pipeline for event in SERVER_EVENTS if (pipeline := getattr(generation, event))]
    if own:
        groups.append(Group("all channels", _rows(iter(own))))
    groups += [Group(f"schedule {name}", _rows(iter([one]))) for name, one in generation.schedules.items()]
    return groups


def _rows(pipelines: Iterator[Pipeline]) -> tuple[Row, ...]:
    return tuple(Row(pipeline.event, _nodes(pipeline)) for pipeline in pipelines)


def _nodes(pipeline: Pipeline) -> tuple[Node, ...]:
    return tuple(_node(step) for step in pipeline.steps)


def _node(step: Step) -> Node:
    branches = tuple((_short(branch_name(label)), _nodes(one)) for label, one in step.branches)
    return Node(_short(step.text), branches)


def _short(text: str) -> str:
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= MAX_STAGE else text[: MAX_STAGE - 1] + "…"


# Text.


def text(groups: Sequence[Group]) -> str:
    """For a terminal. A branching stage ends its line, and its branches are below one another."""
    lines = []
    for group in groups:
        lines.append(_printable(group.title))
        for number, row in enumerate(group.rows, 1):
            corner, bar = ("└", " ") if number == len(group.rows) else ("├", "│")
            first, *more = _text_lines(row.stages)
            lines.append(f" {corner} {row.event:12}{first}")
            lines += [f" {bar} {'':12}{line}" for line in more]
    return "\n".join(lines)


def _text_lines(stages: Sequence[Node]) -> list[str]:
    """The lines of some stages in a row. What follows a branching stage begins on a line of its own."""
    lines: list[str] = []
    line = ""
    for node in stages:
        line += f"{' → ' if line not in ('', '→ ') else ''}{node.text}"
        if node.branches:
            lines += _branch_lines(line, node)
            line = "→ "
    return lines if line in ("", "→ ") else [*lines, line]


def _branch_lines(line: str, node: Node) -> list[str]:
    """A line that ends in a branching stage, and the branches."""
    lines = []
    indent = " " * (len(line) + 1)
    width = max(len(label) for label, _ in node.branches) + 2
    for number, (label, branch) in enumerate(node.branches):
        last = number == len(node.branches) - 1
        mark = "─" if len(node.branches) == 1 else "┬" if number == 0 else "└" if last else "├"
        first, *more = _text_lines(branch or NOTHING)
        lines.append(f"{f'{line} ' if number == 0 else indent}{mark} {_printable(label):{width}}{first}")
        lines += [f"{indent}{' ' if last else '│'} {'':{width}}{further}" for further in more]
    return lines


def _printable(label: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in label)


# Mermaid and Graphviz.


class _Edges:
    """Numbers the stages of all groups, and collects boxes and arrows."""

    def __init__(self, box: Callable[[str, str], str], arrow: Callable[[str, str, str], str]) -> None:
        self._box = box
        self._arrow = arrow
        self._count = 0
        self.boxes: list[str] = []
        self.arrows: list[str] = []

    def add(self, label: str) -> str:
        self._count += 1
        name = f"n{self._count}"
        self.boxes.append(self._box(name, label))
        return name

    def chain(self, ends: list[tuple[str, str]], stages: Sequence[Node]) -> list[tuple[str, str]]:
        """Draw stages after some ends, each with the label of the arrow. Returns the new ends."""
        for node in stages:
            name = self.add(node.text)
            self.arrows += [self._arrow(end, name, label) for end, label in ends]
            ends = [(name, "")]
            if node.branches:
                ends = [
                    end for label, branch in node.branches for end in self.chain([(name, label)], branch or NOTHING)
                ]
        return ends


def mermaid(groups: Sequence[Group]) -> str:
    """A flow chart for Mermaid, as GitHub and many editors draw it."""
    lines = ["flowchart LR"]
    edges = _Edges(
        lambda name, label: f'    {name}["{_entity(label)}"]',
        lambda one, other, label: f'  {one} -->|"{_entity(label)}"| {other}' if label else f"  {one} --> {other}",
    )
    for number, group in enumerate(groups):
        edges.boxes = []
        for row in group.rows:
            edges.chain([(edges.add(row.event), "")], row.stages)
        lines += [f'  subgraph g{number}["{_entity(group.title)}"]', *edges.boxes, "  end"]
    return "\n".join([*lines, *edges.arrows])


def _entity(label: str) -> str:
    """Text between quotes in Mermaid, where letters, digits, blanks and a few marks stand for themselves."""
    plain = " _-.,=/:"
    return "".join(char if char.isalnum() or char in plain else f"#{ord(char)};" for char in label)


def dot(groups: Sequence[Group]) -> str:
    """A graph for Graphviz: `fws graph CONF --format dot | dot -Tpng`."""
    lines = ["digraph fws {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif", fontsize=11];']
    edges = _Edges(
        lambda name, label: f"    {name} [label={_dot(label)}];",
        lambda one, other, label: f"  {one} -> {other}" + (f" [label={_dot(label)}]" if label else "") + ";",
    )
    for number, group in enumerate(groups):
        edges.boxes = []
        for row in group.rows:
            edges.chain([(edges.add(row.event), "")], row.stages)
        lines += [f"  subgraph cluster_{number} {{", f"    label={_dot(group.title)};", *edges.boxes, "  }"]
    return "\n".join([*lines, *edges.arrows, "}"])


def _dot(label: str) -> str:
    # Graphviz would read `&lt;` in a label as `<`.
    escaped = _printable(label).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{escaped}"'


# SVG.


def svg(groups: Sequence[Group]) -> str:
    """A picture of its own, in the colour of the text around it."""
    canvas = _Canvas()
    y = float(MARGIN)
    for group in groups:
        canvas.text(MARGIN, y + 16, group.title, "title")
        y += HEIGHT
        for row in group.rows:
            canvas.text(MARGIN * 2, y + 17, row.event, "event")
            y = canvas.row(row.stages, MARGIN * 2 + 100, y, (MARGIN * 2 + 80, y + HEIGHT / 2))[1] + 8
        y += 12
    return canvas.document(y)


class _Canvas:
    """Collects the elements of an SVG, and how much room they take."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._width = 0.0

    def put(self, element: str) -> None:
        self._parts.append(element)

    def row(
        self, stages: Sequence[Node], x: float, y: float, come_from: tuple[float, float], label: str = ""
    ) -> tuple[list[tuple[float, float]], float]:
        """Draw stages from left to right. Returns where arrows go on, and the y below everything."""
        ends, bottom = [come_from], y + HEIGHT
        for node in stages:
            if label:
                # The label stands above the end of its arrow.
                self.text(x, y + HEIGHT / 2 - 4, label, "label")
                self._arrow(come_from, (x, y + HEIGHT / 2), head="")
                ends = [(x, y + HEIGHT / 2)]
                x += _length(label) * 0.85 + 12
            width = _length(node.text) + 16
            for right, middle in ends:
                # Before the gap in which the arrows of branches meet, each keeps to its own row, where nothing is.
                near = max(right, x - GAP)
                if near > right + 1:
                    self._arrow((right, middle), (near, middle), head="")
                self._arrow((near, middle), (x, y + HEIGHT / 2))
            self.put(f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{HEIGHT}" rx="5"/>')
            self.text(x + 8, y + 17, node.text, "stage")
            ends, label = [(x + width, y + HEIGHT / 2)], ""
            self._width = max(self._width, x + width)
            x += width + GAP
            if node.branches:
                begin, ends, right, below = ends[0], [], x, y
                for name, branch in node.branches:
                    found, below = self.row(branch or NOTHING, x, below, begin, name)
                    right = max([right, *(end[0] + GAP for end in found)])
                    ends += found
                    below += 8
                x, bottom = right, max(bottom, below - 8)
        return ends, bottom

    def text(self, x: float, y: float, content: str, kind: str) -> None:
        self._width = max(self._width, x + _length(content))
        self.put(f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(_xml(content))}</text>')

    def _arrow(
        self, start: tuple[float, float], end: tuple[float, float], head: str = ' marker-end="url(#fws-arrow)"'
    ) -> None:
        middle = (start[0] + end[0]) / 2
        points = (start, (middle, start[1]), (middle, end[1]), end)
        one, *others = (f"{x:.0f} {y:.0f}" for x, y in points)
        way = f"M{one} C{' '.join(others)}"
        self.put(f'<path d="{way}"{head}/>')

    def document(self, height: float) -> str:
        width = self._width + MARGIN
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" class="fws-graph" role="img" aria-labelledby="fws-graph-title">'
        )
        return "\n".join([head, '<title id="fws-graph-title">Pipelines</title>', _STYLE, *self._parts, "</svg>"])


# Every rule names our class, because the style of an SVG inside a page is also that of the page.
_STYLE: Final = """<style>
.fws-graph { color: #222; background: #fff }
@media (prefers-color-scheme: dark) { .fws-graph { color: #ddd; background: #1b1b1f } }
.fws-graph text { font: 12px ui-monospace, monospace; fill: currentColor }
.fws-graph .title { font-weight: bold }
.fws-graph .event, .fws-graph .label { opacity: .7 }
.fws-graph .label { font-size: 10px }
.fws-graph rect, .fws-graph path { fill: none; stroke: currentColor }
.fws-graph path { opacity: .6 }
</style>
<defs><marker id="fws-arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 8 4 0 8" /></marker></defs>"""


def _length(label: str) -> float:
    """The width of some text in pixels, where an emoji or a Chinese character takes two places."""
    return sum(CHAR * (2 if east_asian_width(char) in "WF" else 1) for char in label)


def _xml(label: str) -> str:
    """Text without the characters that XML cannot have."""
    return "".join(char if char.isprintable() else "?" for char in label)


FORMATS: Final[dict[str, Callable[[Sequence[Group]], str]]] = {"text": text, "mermaid": mermaid, "dot": dot, "svg": svg}
