"""What stages have done is counted over reloads."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from fws.live.tallies import Tallies
from tests.live.site import LiveSite

CONF = """
[pipelines]
message = ["rate_limit 3/s", "json", "sw"]
[filters.sw]
use = "switch"
key = "type"
case = { no = ["drop"] }
[endpoints."/empty"]
"""


class Counted:
    def __init__(self, folder: Path) -> None:
        self.site = LiveSite(CONF, folder)
        self.tallies = Tallies(self.site.harness.clock)
        self.tallies.renew(self.site.generation)

    def reload(self, toml: str) -> None:
        assert self.site.edit(toml).status == "done"
        self.tallies.renew(self.site.generation)

    def runs(self) -> dict[str, tuple[int, int]]:
        return {"/".join(id.stage): (counts.runs, counts.drops) for id, counts in self.tallies.all().items()}


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path)


def test_each_stage_has_its_counts_in_the_order_of_the_file(counted: Counted) -> None:
    client = counted.site.harness.connect()
    counted.site.harness.client_says(client, *['{"type":"no"}'] * 5)
    assert list(counted.runs().items()) == [
        ("rate_limit", (5, 2)),
        ("json", (3, 0)),
        ("sw", (3, 3)),
        ("sw/case.no/drop", (3, 3)),
    ]
    assert counted.tallies.messages() == {"*": 5, "/empty": 0}


def test_counts_outlive_a_reload_and_stages_that_are_gone_do_not(counted: Counted) -> None:
    harness = counted.site.harness
    client = harness.connect()
    harness.client_says(client, *['{"type":"no"}'] * 2)
    counted.reload(CONF.replace('"json", ', '"json", "log", ').replace('no = ["drop"]', 'no = ["log"]'))
    harness.client_says(client, '{"type":"no"}')
    gc.collect()
    runs = counted.runs()
    assert runs["rate_limit"] == (3, 0)
    assert runs["log"] == (1, 0)
    assert runs["sw/case.no/log"] == (1, 0)
    assert "sw/case.no/drop" not in runs
    assert counted.tallies.messages()["*"] == 3


def test_a_hundred_reloads_keep_nothing_of_former_generations(counted: Counted) -> None:
    for number in range(100):
        counted.reload(CONF.replace("3/s", f"{number + 4}/s"))
    gc.collect()
    counted.tallies.all()
    assert len(counted.tallies._running) <= 4
    assert len(counted.tallies._messages) <= 3
