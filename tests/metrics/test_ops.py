"""The dashboard and the alert rules of ops/: they name metrics that exist, and promtool understands them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fws.metrics.catalogue import METRICS

OPS = Path(__file__).parents[2] / "ops"
# Prometheus makes this one itself.
FOREIGN = {"up"}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panels(panel) if panel.get("panels") else ()


BOARD = json.loads((OPS / "grafana.json").read_text())
PANELS = list(panels(BOARD))
RULES = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"][0]["rules"]
SHOWN = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
SHOWN += [annotation["expr"] for annotation in BOARD["annotations"]["list"]]
ALERTED = [rule["expr"] for rule in RULES]


def filled(expression: str) -> str:
    """What Grafana makes of an expression."""
    return expression.replace("$__rate_interval", "5m").replace("$instance", "a|b")


def names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:fws|process)_\w+|\bup\b", re.sub(r'"[^"]*"', "", expression)))


def labels(expression: str) -> set[str]:
    """The labels that are used in matchers and groups."""
    grouped = re.findall(r"(?:by|without) \(([^)]*)\)", expression)
    return {label.strip() for group in grouped for label in group.split(",")} | set(
        re.findall(r"(\w+)(?:=~|!=|=)\"", expression)
    )


def settings_of_the_documentation() -> str:
    """The scrape configuration of docs/operations.md."""
    page = (OPS.parent / "docs" / "operations.md").read_text()
    [block] = re.findall(r"^```yaml\n(scrape_configs:.*?)^```", page, re.MULTILINE | re.DOTALL)
    return str(block)


def promtool(*arguments: str | Path, stdin: str = "") -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("expressions", [SHOWN, ALERTED], ids=["dashboard", "alerts"])
def test_every_metric_and_label_is_in_the_catalogue(expressions: list[str]) -> None:
    """A panel of a metric that was renamed stays empty, and its alert is silent."""
    assert expressions
    known = {f"{name}{end}" for name, m in METRICS.items() if m.kind == "histogram" for end in ("_bucket", "_sum")}
    known |= {name for name, m in METRICS.items() if m.kind != "histogram"} | FOREIGN
    for expression in expressions:
        found = names(expression)
        assert found, expression
        assert found <= known, expression
        own = {label for name in found for label in METRICS[_base(name)].labels} if found != FOREIGN else set()
        assert labels(expression) <= own | {"instance", "job", "le"}, expression


def _base(name: str) -> str:
    return re.sub(r"_(?:bucket|sum)$", "", name)


def test_every_legend_uses_labels_that_the_expression_keeps() -> None:
    for panel in PANELS:
        for target in panel.get("targets", []):
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                aggregated = re.search(r"\b(sum|min|max)\b", target["expr"])
                assert not aggregated or label in labels(target["expr"]), target


def test_panels_have_their_own_place_and_say_what_they_show() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert max(x for x, _ in cells) < 24
        assert panel["type"] == "row" or panel["description"].endswith(".")


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert len(rule["annotations"]["description"]) > 80
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]


@pytest.mark.process
def test_promtool_understands_the_rules_and_their_tests_pass() -> None:
    promtool("check", "rules", OPS / "alerts.yml")
    promtool("test", "rules", OPS / "alerts_test.yml")


@pytest.mark.process
def test_promtool_parses_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": filled(expr)} for number, expr in enumerate(SHOWN)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(SHOWN)} rules found" in promtool("check", "rules", file)


@pytest.mark.process
def test_the_scrape_configuration_of_the_documentation_is_valid(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(settings_of_the_documentation())
    (tmp_path / "alerts.yml").write_text((OPS / "alerts.yml").read_text())
    assert f"{len(RULES)} rules found" in promtool("check", "config", tmp_path / "prometheus.yml")
