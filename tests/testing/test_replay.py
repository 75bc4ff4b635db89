"""Recorded traffic on an edited file: what would be dropped, changed or answered differently."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fws.config import load
from fws.live.observation import Observation
from fws.live.recorder import Recorded, Recorder
from fws.testing.replay import Comparison, RecordingError, read_recording, replay, text_of
from tests.auth import pairs as pair
from tests.live.site import LiveSite

CONF = """
[pipelines]
connect = ["join lobby"]
message = ["rate_limit 3/s", "json", "set at={time}", "broadcast lobby"]
"""


@pytest.fixture
def recorded(tmp_path: Path) -> list[Recorded]:
    """Ann says five things at once, one of which is not JSON; Bob was there before the recording began."""
    site = LiveSite(CONF, tmp_path)
    bob = site.harness.connect("/bob")
    recorder = Recorder(site.harness.wall)
    observation = Observation(lambda: site.generation, site.harness.hub)
    observation.add(recorder)
    ann = site.harness.connect("/ann?x=1", identity={"user": "ann"})
    site.harness.client_says(ann, '{"n":1}', '{"n":2}')
    site.harness.pass_time(1)
    site.harness.client_says(bob, "bad", '{"n":3}')
    site.harness.client_says(ann, *['{"n":4}'] * 4)
    return sorted(recorder.take(last=True), key=lambda event: (event.at, event.number))


def replayed(recorded: list[Recorded], toml: str, folder: Path) -> Comparison:
    conf = folder / "edited.toml"
    conf.write_text(toml)
    return replay(recorded, load(conf), {})


def test_the_same_file_does_the_same(recorded: list[Recorded], tmp_path: Path) -> None:
    result = replayed(recorded, CONF, tmp_path)
    assert (result.differences, result.unreplayed, result.same) == ([], {}, 9)


def test_tokens_are_made_anew_and_clients_without_one_are_counted(recorded: list[Recorded], tmp_path: Path) -> None:
    login = CONF.replace('"join lobby"', '"jwt HS256 0123456789abcdef0123456789abcdef", "join lobby"')
    result = replayed(recorded, login, tmp_path)
    bob = next(event.client for event in recorded if event.event == "present")
    assert {one.before.client for one in result.differences if one.before is not None} == {bob}, "he has no token"
    public = login.replace("HS256 0123456789abcdef0123456789abcdef", "ES256 key_file=public.pem")
    (tmp_path / "public.pem").write_text(pair.public("ES256"))
    assert list(replayed(recorded, public, tmp_path).unreplayed.values()) == [1]


@pytest.mark.parametrize(
    ("old", "new", "kind", "stage", "count"),
    [
        ("rate_limit 3/s", "rate_limit 1/s", "now dropped", "* message/rate_limit", 4),
        ("rate_limit 3/s", "rate_limit 9/s", "no longer dropped", "* message/rate_limit", 1),
        ('"json"', '"json on_error=reply"', "answered differently", "* message/json", 1),
        ("set at={time}", "set at={time} by=x", "published differently", "* message/broadcast", 6),
        ('"json", "set at={time}"', '"json", "require n < 4", "set at={time}"', "now dropped", "* message/require", 3),
        ('"join lobby"', '"reject 403"', "now refused", "* connect/reject", 1),
    ],
)
def test_differences_are_found_by_stage(
    recorded: list[Recorded], tmp_path: Path, old: str, new: str, kind: str, stage: str, count: int
) -> None:
    assert old in CONF
    result = replayed(recorded, CONF.replace(old, new), tmp_path)
    found = [one for one in result.differences if (one.kind, one.stage) == (kind, stage)]
    assert len(found) == count, text_of(result, {})
    assert f"{count:6}  {kind}  {stage}" in text_of(result, {})


def test_times_in_messages_are_not_differences(recorded: list[Recorded], tmp_path: Path) -> None:
    shifted = [msgspec.structs.replace(event, at=event.at + 0.004) for event in recorded]
    assert replayed(shifted, CONF, tmp_path).differences == []


def test_a_recording_is_read_and_damage_is_named(recorded: list[Recorded], tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    body = b"\n".join(msgspec.json.encode(event) for event in recorded)
    file.write_bytes(b'{"recording":1}\n' + body + b'\n{"at":1.0,"ev')
    assert read_recording(file) == recorded, "the last line is cut off"
    file.write_bytes(b'{"recording":1}\nnonsense\n' + body)
    with pytest.raises(RecordingError, match=r"r\.jsonl:2"):
        read_recording(file)
    file.write_bytes(b"[[test]]")
    with pytest.raises(RecordingError, match="is not a recording"):
        read_recording(file)
