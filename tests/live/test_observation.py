"""Taps, statistics and recordings of pipelines without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fws.live.observation import MAX_WAITING, Observation, Tap
from fws.live.recorder import Recorder
from fws.live.table import merged, text_of
from tests.live.site import LiveSite

CONF = """
[pipelines]
connect = ["join all"]
message = ["rate_limit 3/s", "json", "sw", "broadcast all"]
[filters.sw]
use = "switch"
key = "type"
case = { no = ["drop"], bye = ["close 4001 bye"] }
"""


class Watched:
    def __init__(self, folder: Path) -> None:
        self.site = LiveSite(CONF, folder)
        self.harness = self.site.harness
        self.observation = Observation(lambda: self.site.generation, self.harness.hub)

    def tap(self, **options: Any) -> Tap:
        tap = Tap(self.harness.wall, **options)
        self.observation.add(tap)
        return tap


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def lines(tap: Tap) -> list[tuple[str, str]]:
    return [(line["stage"], line["outcome"]) for line in tap.take(0) if "stage" in line]


def test_a_tap_shows_what_enters_and_leaves_each_stage(watched: Watched) -> None:
    tap = watched.tap()
    client = watched.harness.connect()
    watched.harness.client_says(client, '{"type":"hi","password":"x"}', '{"type":"no"}', '{"type":"bye"}', "x")
    shown = tap.take(0)
    assert [(line["stage"], line["outcome"]) for line in shown] == [
        ("connect/join", "pass"),
        ("message/rate_limit", "pass"),
        ("message/json", "pass"),
        ("message/sw", "pass"),
        ("message/broadcast", "pass"),
        ("message/rate_limit", "pass"),
        ("message/json", "pass"),
        ("message/sw/case.no/drop", "drop"),
        ("message/sw", "drop"),
        ("message/rate_limit", "pass"),
        ("message/json", "pass"),
        ("message/sw/case.bye/close", "close"),
        ("message/sw", "close"),
    ]
    assert shown[2]["in"] == '{"type":"hi","password":"***"}'
    assert shown[2]["out"] == '{"type":"hi","password":"***"}'
    assert shown[-1]["why"] == "4001 bye"


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        ({"pattern": "message/json"}, ["message/json"] * 3),
        ({"pattern": "message/sw"}, ["message/sw", "message/sw/case.no/drop", "message/sw"]),
        ({"pattern": "* connect/*"}, ["connect/join"]),
        (
            {"pattern": "message/*o*", "outcomes": frozenset(["error", "drop"])},
            ["message/sw/case.no/drop", "message/json"],
        ),
        ({"user": "ann"}, []),
        ({"channel": "other"}, []),
        ({"outcomes": frozenset(["drop"])}, ["message/sw/case.no/drop", "message/sw", "message/json"]),
    ],
)
def test_a_tap_shows_only_what_is_wanted(watched: Watched, options: dict[str, Any], stages: list[str]) -> None:
    tap = watched.tap(**options)
    client = watched.harness.connect()
    watched.harness.client_says(client, '{"type":"hi"}', '{"type":"no"}', "bad")
    assert [stage for stage, _ in lines(tap)] == stages


def test_one_client_or_user_or_channel(watched: Watched) -> None:
    ann = watched.harness.connect(identity={"user": "ann"})
    bob = watched.harness.connect()
    taps = [watched.tap(client=bob.id[:6]), watched.tap(user="ann"), watched.tap(channel="all")]
    for client in (ann, bob):
        watched.harness.client_says(client, "1")
    assert [len(tap.take(0)) for tap in taps] == [4, 4, 8]


def test_a_slow_terminal_loses_lines_and_is_told_how_many(watched: Watched) -> None:
    limited, slow = watched.tap(rate=2, pattern="message/json"), watched.tap(rate=1e9, pattern="message/rate_limit")
    client = watched.harness.connect()
    watched.harness.client_says(client, *["1"] * 3)
    assert limited.take(0)[-1] == {"skipped": 1}
    watched.harness.client_says(client, *["1"] * (MAX_WAITING + 7))
    assert slow.take(0)[-1] == {"skipped": 10}


def test_pipelines_that_nobody_watches_have_their_plain_hooks(watched: Watched) -> None:
    endpoint = watched.site.generation.default
    assert endpoint is not None
    plain = endpoint.message._hooks
    tap = watched.tap()
    assert endpoint.message._hooks != plain
    watched.observation.remove(tap)
    assert endpoint.message._hooks == plain
    assert watched.harness.hub.listener is None


def test_a_tap_survives_a_reload(watched: Watched) -> None:
    tap = watched.tap()
    client = watched.harness.connect()
    watched.site.edit(CONF.replace('"json", ', '"json", "log", '))
    watched.observation.renew()
    watched.harness.client_says(client, "1")
    assert ("message/log", "pass") in lines(tap)


def test_the_statistics_of_workers_are_put_together() -> None:
    stage: dict[str, Any] = {
        "id": "x",
        "path": "*",
        "stage": "message/json",
        "text": "json",
        "place": "a.toml:1",
        "drop": 1,
    }
    stage |= {"error": 0, "close": 0, "refuse": 0, "count": 10}
    one: dict[str, Any] = {
        "seconds": 2.0,
        "clients": 3,
        "in": 10,
        "out": 4,
        "lag": 0.001,
        "generation": 2,
        "generation_age": 5.0,
    }
    one |= {"refused": "", "file": "a.toml", "counters": {"bans": 1}}
    answers = [{**one, "stages": [{**stage, "times": {"0": 9, "40": 1}}]} for _ in range(2)]
    together = merged(answers)
    assert (together["clients"], together["in"], together["counters"]) == (6, 10.0, {"bans": 2})
    row = together["stages"][0]
    assert (row["rate"], row["drop"]) == (10.0, 1.0)
    assert row["p50"] < 2 < 1000 < row["p99"]
    assert "message/json" in text_of(together, "1.0")
    # Fault: the numbers of a stage with a long name, as in a branch, stood beside their columns.
    together["stages"].append({**row, "path": "/chat/{room}", "stage": "message/by_type/case.say/broadcast"})
    head, short, long = text_of(together, "1.0").splitlines()[1:4]
    assert head.index("FILE") == short.index("a.toml:1") == long.index("a.toml:1")
    assert "no event has reached a stage" in text_of(merged([{**one, "stages": []}]), "1.0")


def test_a_recording_has_whole_events_and_what_they_caused(watched: Watched) -> None:
    known = watched.harness.connect("/early?x=1")
    recorder = Recorder(watched.harness.wall)
    watched.observation.add(recorder)
    client = watched.harness.connect("/late", identity={"user": "ann", "token": "t"})
    watched.harness.client_says(known, '{"type":"no"}', '{"a":1}')
    watched.harness.client_says(client, "bad")
    events = sorted(recorder.take(last=True), key=lambda event: event.event)
    assert [(event.event, event.client, event.target) for event in events] == [
        ("connect", client.id, "/late"),
        ("message", known.id, ""),
        ("message", known.id, ""),
        ("message", client.id, ""),
        ("present", known.id, "/early?x=1"),
    ]
    assert events[0].identity == {"user": "ann", "token": "***"}
    dropped, published, bad = events[1:4]
    assert dropped.stages[-2:] == [("* message/sw/case.no/drop", "drop"), ("* message/sw", "drop")]
    assert published.published == [("all", {"a": 1})]
    assert bad.stages[-1] == ("* message/json", "drop")
