"""The views of filters and settings: complete, escaped, and consistent with the loader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from fws import Duration, Filter, Help, Size, Takes
from fws.compiler.registry import Found, Registry
from fws.config import Admin, Api, ApiKey, Channel, Limits, Redis, Server, Tls, Traces
from fws.config.schedules import Schedule
from fws.config.sections import TranscriptTable
from fws.pipeline.events import EVENTS
from fws.pipeline.filter import hooks_of
from fws.pipeline.options import options_of
from fws.pipeline.pipeline import Pipeline
from fws.reference.pages import (
    Doc,
    default_of,
    doc_of,
    filter_json,
    filter_markdown,
    filter_text,
    named,
    reference_markdown,
    settings_markdown,
)

ROOT = Path(__file__).parents[2]
REGISTRY = Registry()
BUILT_IN = [found for found in REGISTRY.all() if isinstance(found, Found)]


class Sample(Filter):
    """Do a thing that takes
    two lines to sum up.

    Then it does more: `a | b`.

    Example:
        message = ["sample 5s"]

        [chains]
    """

    pause: Annotated[Duration, Help("Wait | sleep.")]
    size: Annotated[Size | None, Help("Bytes.")] = 65536
    how: Annotated[Literal["soft", "hard"], Help("Manner.")] = "soft"
    names: Annotated[list[str], Help("Whom.")] = msgspec.field(default_factory=list)
    fields: Annotated[dict[str, Any], Help("What."), Takes("named")] = msgspec.field(default_factory=dict)
    into: Annotated[Pipeline | None, Help("Where to.")] = None

    def message(self, client: Any, message: Any) -> Any: ...

    def disconnect(self, client: Any) -> None: ...


SAMPLE = Found("sample", Sample, "project")


def test_a_docstring_has_three_parts() -> None:
    assert doc_of(Sample) == Doc(
        "Do a thing that takes two lines to sum up.",
        "Then it does more: `a | b`.",
        'message = ["sample 5s"]\n\n[chains]',
    )


def test_a_filter_without_docstring_does_not_show_that_of_its_base() -> None:
    class Bare(Filter):
        def message(self, client: Any, message: Any) -> Any: ...

    assert doc_of(Bare) == Doc("", "", "")
    assert filter_text(Found("bare", Bare, "project")) == "bare\n\nServes message. Origin: project."


def test_text_tells_all_of_a_filter() -> None:
    assert filter_text(SAMPLE) == (
        "sample: Do a thing that takes two lines to sum up.\n"
        "\n"
        "Serves message, disconnect. Origin: project.\n"
        "\n"
        "Then it does more: `a | b`.\n"
        "\n"
        "Example:\n"
        '    message = ["sample 5s"]\n'
        "\n"
        "    [chains]\n"
        "\n"
        "Options, in the order of a stage's arguments:\n"
        "  pause   duration; required\n"
        "          Wait | sleep.\n"
        '  size    size or nothing; default "64KiB"\n'
        "          Bytes.\n"
        '  how     one of: soft, hard; default "soft"\n'
        "          Manner.\n"
        "  names   list of text; default []\n"
        "          Whom. Takes all remaining positional arguments.\n"
        "  fields  table of anything; default {}\n"
        "          What. Takes every key=value whose key is not another option.\n"
        "  into    pipeline or nothing\n"
        "          Where to."
    )


def test_markdown_keeps_the_table_whole() -> None:
    """A vertical bar in a help text would begin another column."""
    lines = filter_markdown(SAMPLE).split("\n")
    assert "```toml" in lines
    assert r"| `pause` | duration | required | Wait \| sleep. |" in lines
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_json_tells_all_of_a_filter() -> None:
    view = filter_json(SAMPLE)
    assert msgspec.json.decode(msgspec.json.encode(view)) == view
    assert view["events"] == ["message", "disconnect"]
    assert view["options"][0] == {
        "name": "pause", "type": "duration", "required": True, "default": None, "takes": "one", "help": "Wait | sleep."
    }  # fmt: skip
    assert [option["default"] for option in view["options"]] == [None, "64KiB", "soft", [], {}, None]


def test_defaults_can_be_read_by_their_option() -> None:
    classes: list[type] = [Server, Redis, Channel, *(found.cls for found in BUILT_IN)]
    for cls in classes:
        for option in options_of(cls):
            default = default_of(option)
            if default is not None:
                converted = option.convert(default, lambda kind, text: kind.parse(text))
                assert converted == option.default, f"{cls.__name__}.{option.name}"


def test_a_name_of_two_origins_is_shown_as_stages_must_write_it() -> None:
    other = Found("sample", Sample, "fws")
    assert [name for name, _ in named([SAMPLE, other])] == ["project:sample", "fws:sample"]
    assert [name for name, _ in named([SAMPLE])] == ["sample"]


def slug(heading: str) -> str:
    """The anchor that code hosts give a heading."""
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")


def test_the_page_lists_each_filter_under_each_event_it_serves() -> None:
    page = reference_markdown(Registry(ROOT))
    founds = [found for found in Registry(ROOT).all() if isinstance(found, Found)]
    rows = {row.split("`")[1]: row for row in page.split("\n") if re.match(r"\| `\w+` \| [A-Z]", row)}
    for event in EVENTS:
        linked = re.findall(r"\[([\w.]+)\]\(#", rows[event])
        assert linked == sorted(found.name for found in founds if event in hooks_of(found.cls))
    filters, _, sources = page.partition("\n## Sources\n")
    headings = {slug(heading) for heading in re.findall(r"^### (.+)$", filters, re.MULTILINE)}
    assert re.findall(r"^### (.+)$", sources, re.MULTILINE) == ["stream"]
    assert set(re.findall(r"\]\(#([^)]+)\)", filters)) == headings
    assert "### chat.commands" in page


def test_the_page_of_settings_has_every_setting_once() -> None:
    page = settings_markdown()
    wanted = [
        option.name
        for cls in (Server, Limits, Tls, Redis, Channel, Schedule, Admin, Api, ApiKey, Traces, TranscriptTable)
        for option in options_of(cls)
    ]
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(wanted)
    assert page.index("## [limits]\n") < page.index("`ping_interval`") < page.index("`max_message`")
    assert '| `ping_interval` | duration | `"25s"` |' in page
