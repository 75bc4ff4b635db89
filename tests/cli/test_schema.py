"""`fws schema`: valid JSON on standard output, with the filters of the current project."""

from __future__ import annotations

import json
from pathlib import Path

from fws.compiler.registry import Registry
from fws.reference.json_schema import json_schema
from tests.cli.command import fws


def test_prints_the_schema(tmp_path: Path) -> None:
    done = fws("schema", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json_schema(Registry())


def test_knows_the_filters_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "own.py").write_text(
        "from fws import Filter\n\nclass Own(Filter):\n    depth: int\n    def message(self, client, message): ...\n"
    )
    table = json.loads(fws("schema", cwd=tmp_path).stdout)["properties"]["filters"]["additionalProperties"]
    own = next(case["then"] for case in table["allOf"] if "own" in case["if"]["properties"]["use"]["enum"])
    assert own["properties"]["depth"]["anyOf"][0] == {"type": "integer"}
    assert own["required"] == ["depth"]
