"""`[schedules.NAME]`: mistakes are problems of the file, and times are the same on all nodes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base.errors import ConfigError
from fws.compiler.compile import load_generation
from fws.config.schedules import LEAST, Cron, Every


def problems(folder: Path, text: str) -> str:
    conf = folder / "app.toml"
    conf.write_text(f'[pipelines]\nmessage = ["echo"]\n{text}')
    with pytest.raises(ConfigError) as error:
        load_generation(str(conf), environ={})
    return str(error.value)


@pytest.mark.parametrize(
    ("table", "line", "why"),
    [
        ('run = ["drop"]', 3, "[schedules.beat] is never due"),
        ('every = "1s"\ncron = "* * * * *"\nrun = ["drop"]', 5, "both every and cron"),
        ('every = "1s"', 3, "has no 'run'"),
        ('every = "10ms"\nrun = ["drop"]', 4, "at least 100ms"),
        ('cron = "* * * *"\nrun = ["drop"]', 4, "five fields"),
        ('cron = "61 * * * *"\nrun = ["drop"]', 4, "Bad minute"),
        ('cron = "0 0 30 2 *"\nrun = ["drop"]', 4, "Bad day-of-month"),
        ('cron = "* * * * *"\ntimezone = "Mars/Olympus"\nrun = ["drop"]', 5, "there is no time zone 'Mars/Olympus'"),
        ('every = "1s"\ntimezone = "Europe/Berlin"\nrun = ["drop"]', 5, "for cron only"),
        ('every = "1s"\nrun = ["echo"]', 5, "echo does not serve tick"),
        ('every = "1s"\nrun = ["publish {room} hello"]', 5, "nothing fills {room}"),
        ('every = "1s"\nrun = ["publish {client.id} hello"]', 5, "a placeholder needs a client, and tick has none"),
        ('every = "1s"\nrun = ["when identity.user == \'ann\'", "drop"]', 5, "on tick"),
        ('every = "1s"\nrun = []', 5, "no stages"),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, table: str, line: int, why: str) -> None:
    text = problems(tmp_path, f"[schedules.beat]\n{table}\n")
    assert why in text
    assert f":{line}:" in text


def test_tick_is_not_an_event_of_pipelines(tmp_path: Path) -> None:
    conf = tmp_path / "app.toml"
    conf.write_text('[pipelines]\nmessage = ["echo"]\ntick = ["drop"]\n')
    with pytest.raises(ConfigError, match=r"\[schedules\.NAME\]"):
        load_generation(str(conf), environ={})


@given(st.floats(LEAST, 1e6).map(lambda number: round(number, 3)), st.floats(0, 4e9))
def test_intervals_have_no_holes_and_do_not_depend_on_when_one_asks(seconds: float, wall: float) -> None:
    times = Every(seconds)
    due = times.after(wall)
    assert wall < due <= wall + seconds + 1e-5
    assert times.after(due - LEAST / 4) == due or due - LEAST / 4 < wall
    assert times.after(due) > due


def test_cron_knows_the_time_zone_and_the_change_of_the_clock() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    times = Cron("30 2 * * *", "Europe/Berlin")
    saturday = datetime(2026, 3, 28, 12, tzinfo=berlin).timestamp()
    # On 29 March 2026 there is no 02:30 in Berlin.
    first = times.after(saturday)
    assert datetime.fromtimestamp(first, berlin).strftime("%d %H:%M") == "29 03:00"
    assert datetime.fromtimestamp(times.after(first), berlin).strftime("%d %H:%M") == "30 02:30"
    # On 25 October 2026 there are two.
    october = datetime(2026, 10, 25, 0, tzinfo=berlin).timestamp()
    once = times.after(october)
    assert datetime.fromtimestamp(times.after(once), berlin).strftime("%d %H:%M") == "26 02:30"
