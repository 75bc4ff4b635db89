"""Sources: how a file names them, and the life of one of a project."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.compiler.compile import load_generation
from fws.pipeline.source import Source

CLOCK = """
from typing import Annotated
from fws import Help, Source


class Clock(Source):
    '''Publish on request of a test.'''

    channel: Annotated[str, Help("Channel.")] = "time"
    log = []

    def start(self):
        self.log.append(("start", self.channel))

    def stop(self):
        self.log.append(("stop", self.channel))
"""
TOML = '[pipelines]\nmessage = ["echo"]\n'


def conf(folder: Path, text: str, source: str = CLOCK) -> str:
    (folder / "pipelines").mkdir(exist_ok=True)
    (folder / "pipelines" / "clock.py").write_text(source)
    file = folder / "app.toml"
    file.write_text(TOML + text)
    return str(file)


def problems(file: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_generation(file, environ={})
    return str(error.value)


def test_a_source_of_the_project_starts_and_stops_with_the_server(tmp_path: Path) -> None:
    generation = load_generation(conf(tmp_path, '[sources.wall]\nuse = "clock"\nchannel = "now"\n'), environ={})
    (source,) = generation.sources
    assert isinstance(source, Source)
    generation.start()
    generation.stop()
    assert source.log == [("start", "now"), ("stop", "now")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('[sources.a]\nuse = "clok"\n', 4, "did you mean 'clock'"),
        ('[sources.a]\nuse = "echo"\n', 4, "there is no source 'echo'"),
        ('[sources.a]\nchannel = "x"\n', 3, "has no 'use'"),
        ('[sources.a]\nuse = "clock"\nchanel = "x"\n', 5, "did you mean 'channel'"),
        ('[sources.a]\nuse = "clock"\nchannel = "{room}"\n', 5, "nothing fills {room}"),
        ('[sources.a]\nuse = "clock"\nchannel = "{client.id}"\n', 3, "before a client exists"),
        ('[sources.a]\nuse = "stream"\nkey = "orders"\n', 3, "there is no Redis"),
        ('[sources.a]\nuse = "stream"\n', 3, "needs its option 'key'"),
        ('[sources]\na = "clock"\n', 4, "expected a table"),
        ('[sources.A]\nuse = "clock"\n', 3, "cannot be used"),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, text: str, line: int, why: str) -> None:
    found = problems(conf(tmp_path, text))
    assert why in found
    assert f":{line}:" in found


def test_a_module_may_have_filters_and_sources(tmp_path: Path) -> None:
    both = CLOCK + "\nfrom fws import Filter\nclass Show(Filter):\n    def message(self, client, message): ...\n"
    file = conf(tmp_path, '[sources.a]\nuse = "clock"\n[endpoints."/x"]\nmessage = ["clock"]\n', both)
    generation = load_generation(file, environ={})
    assert type(generation.sources[0]).__name__ == "Clock"
    assert generation.endpoints[0].message.steps[0].cls.__name__ == "Show"
    del generation
    gc.collect()


def test_names_of_methods_are_a_sources_own_business(tmp_path: Path) -> None:
    """Fault: `publish` and `close` of a source looked like misspelt hooks of a filter."""
    source = CLOCK + "\n    def receive(self): ...\n\n    def close(self): ...\n"
    assert not load_generation(conf(tmp_path, '[sources.a]\nuse = "clock"\n', source), environ={}).warnings
