"""Every pipeline with every stage, and what was measured there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fws.compiler.compile import load_generation
from fws.live.picture import picture
from fws.pipeline.services import Services

TOML = """
[chains]
guard = ["set a=1", "json"]
[endpoints."/chat/{room}"]
connect = ["join {room}"]
message = ["guard", "by", "echo"]
[pipelines]
message = ["echo"]
publication = ["log"]
[filters.by]
use = "switch"
key = "type"
default = []
[filters.by.case]
"a.b" = ["guard", "drop"]
[schedules.price]
every = "1s"
run = ["guard", "publish ticks"]
"""


def shape(stages: list[dict[str, Any]]) -> list[Any]:
    return [
        [one["stage"], one["chain"], *[(branch["label"], shape(branch["stages"])) for branch in one["branches"]]]
        for one in stages
    ]


def test_every_stage_is_there_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML)
    generation = load_generation(tmp_path / "a.toml", Services(), {})
    row = {"rate": 2.0, "drop": 1.0, "error": 0.0, "close": 0.0, "refuse": 0.0, "p50": 3.0, "p99": 4.0}
    rows = [
        {"path": "/chat/{room}", "stage": "message/echo", **row},
        {"path": "*", "stage": "message/of another generation", **row},
    ]
    found = picture(generation, rows, lambda step: "a.toml:1")
    assert [(one["title"], one["path"], one["event"]) for one in found] == [
        ("/chat/{room}", "/chat/{room}", "connect"),
        ("/chat/{room}", "/chat/{room}", "message"),
        ("every other path", "*", "message"),
        ("all channels", "*", "publication"),
        ("schedule price", "*", "tick"),
    ]
    branch = [
        ["message/by/case.a.b/guard/set", "guard"],
        ["message/by/case.a.b/guard/json", "guard"],
        ["message/by/case.a.b/drop", ""],
    ]
    assert shape(found[1]["stages"]) == [
        ["message/guard/set", "guard"],
        ["message/guard/json", "guard"],
        ["message/by", "", ("a.b", branch), ("else", [])],
        ["message/echo", ""],
    ]
    assert [(one["chain"], one["text"]) for one in found[4]["stages"]] == [
        ("guard", "set a=1"),
        ("guard", "json"),
        ("", "publish ticks"),
    ]
    # The stage of the same name at another path has no traffic.
    assert (found[1]["stages"][-1]["rate"], found[1]["stages"][-1]["p99"]) == (2.0, 4.0)
    assert (found[2]["stages"][0]["rate"], found[2]["stages"][0]["place"]) == (0.0, "a.toml:1")
