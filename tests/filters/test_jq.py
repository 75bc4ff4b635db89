from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pytest

from fws.base.errors import ConfigError
from fws.filters._jq import JqProcess
from fws.filters.jq import Jq
from fws.pipeline.outcomes import DROP, Several
from tests.support import Harness, build

pytestmark = pytest.mark.process


class Project:
    """Servers whose processes of jq end with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: list[Harness] = []

    def build(self, stage: str, event: str = "message") -> Harness:
        stages = {"message": '["json", "echo"]'} if event != "message" else {}
        text = msgspec.json.encode(stage).decode()
        stages[event] = f'["json", {text}, "echo"]' if event == "message" else f"[{text}]"
        toml = "[pipelines]\n" + "\n".join(f"{name} = {value}" for name, value in stages.items())
        server = build(toml, self.folder)
        server.patience = 10.0
        self.servers.append(server)
        return server

    def answers(self, stage: str, *messages: str) -> list[Any]:
        server = self.build(stage)
        client = server.connect()
        server.client_says(client, *messages)
        assert server.faults == 0
        return [
            msgspec.json.decode(one) if one[:1] in '{["0123456789-tfn' else one for one in map(str, server.sent(client))
        ]

    def stop(self) -> None:
        for server in self.servers:
            for instance in server.generation.filters:
                if isinstance(instance, Jq):
                    instance.stop()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    project.stop()


def test_a_message_becomes_the_result(project: Project) -> None:
    """The braces and quotes are those of jq: `{text}` is no placeholder."""
    program = 'jq {text, id, "a b": .n, client: "{client.id}"} | select(.text != "")'
    said = project.answers(program, '{"text":"hi","id":5,"n":[1.5],"x":0}', '{"text":""}')
    assert said == [{"text": "hi", "id": 5, "a b": [1.5], "client": "{client.id}"}]


@pytest.mark.parametrize(
    ("program", "message", "flowing"),
    [
        (".[]", "[1, null, [2], null, {}]", [1, [2], {}]),
        (".[]", "[]", []),
        ("empty", "1", []),
        (".a", "{}", []),
        (".", '"plain"', ["plain"]),
        ("false", "1", [False]),
        (".", "9007199254740993", [9007199254740992]),
        (".", "18446744073709551617", [18446744073709551616]),
        ("[55357] | implode", "1", ["\ufffd"]),
        ("nan", "1", []),
        ("1e1000", "1", [1.7976931348623157e308]),
        ('. + "\\u0000y"', '"x"', ["x\x00y"]),
        ("[limit(3; repeat(1))]", "1", [[1, 1, 1]]),
    ],
)
def test_results_are_messages(project: Project, program: str, message: str, flowing: list[Any]) -> None:
    assert project.answers(f"jq {program}", message) == flowing


@pytest.mark.parametrize(
    ("program", "message", "reason"),
    [
        (".a.b", '{"a":"x"}', 'Cannot index string with string ("b")'),
        ('error("write a text")', "1", "write a text"),
        ("1, error", '"later"', "later"),
        ("range(1e12)", "1", "a message has at most 100 results"),
        ("fromjson", f'"{"[" * 5000}{"]" * 5000}"', "the result is nested too deep"),
        ("[range(30000)|[]]", "1", "the result is too large or nested too deep"),
        ("input", "1", "No more inputs"),
        ('error("x" * 5000)', "1", "x" * 200),
    ],
)
def test_a_failure_is_told_in_short(project: Project, program: str, message: str, reason: str) -> None:
    (answer,) = project.answers(f"jq on_error=reply {program}", message)
    if program == "input":
        assert set(answer) == {"error"}
    else:
        assert answer == {"error": reason}
    assert project.servers[0].metrics["jq_refused"] == 1


def test_it_drops_or_closes(project: Project) -> None:
    assert project.answers('jq error("no")', "1") == []
    server = project.build('jq on_error=close error("no")')
    client = server.connect()
    server.client_says(client, "1")
    assert server.closed(client) == (1007, "no")


def test_a_message_that_is_too_large_never_gets_there(project: Project) -> None:
    assert project.answers("jq max_size=10B on_error=reply .", '"a2345678"', '"123456789"') == [
        "a2345678",
        {"error": "this message is too large"},
    ]


def test_a_publication_has_one_result(project: Project) -> None:
    toml = """
    [pipelines]
    connect = ["join lobby"]
    message = ["json", "broadcast lobby"]
    publication = ["jq .[]"]
    """
    server = build(toml, project.folder)
    project.servers.append(server)
    client = server.connect()
    server.client_says(client, "[1]", "[1,2]", "[]", '["x"]', "5")
    assert server.sent(client) == ["1", "x"]
    assert server.metrics["jq_refused"] == 2


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (".a |", r"syntax error, unexpected end of file \(line 1, column 4\)"),
        ("foo(1)", r"foo/1 is not defined \(line 1, column 1\)"),
        ("$x", r"\$x is not defined"),
        ('import "x" as x; .', "module not found: x"),
        ("{a: }", "unexpected '}'"),
    ],
)
def test_a_wrong_program_is_a_problem_of_the_file(project: Project, program: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        project.build(f"jq {program}")
    (problem,) = error.value.problems
    assert problem.place is not None
    assert "\n" not in problem.message


def test_only_a_message_has_a_client_that_can_be_told(project: Project) -> None:
    with pytest.raises(ConfigError, match="on publication there is nobody"):
        project.build("jq on_error=reply .", "publication")


def test_a_program_sees_no_secrets_and_no_files(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FWS_TOKEN", "secret")
    assert project.answers("jq [env.FWS_TOKEN, $ENV.FWS_TOKEN, env.HOME, input_filename]", "1") == [[None] * 4]


@pytest.mark.parametrize(
    "program", ["[range(.)] | length", "last(repeat(.))", "def f: f; f", '"a" * 20000 | gsub("a"; "b")']
)
def test_what_takes_too_long_is_ended_and_the_next_message_is_served(project: Project, program: str) -> None:
    """Fault: one message of such a program would hold up everybody for ever."""
    server = project.build(f"jq timeout=300ms on_error=reply if . == 1 then 1 else {program} end")
    client = server.connect()
    server.client_says(client, "1")
    begin = time.monotonic()
    server.client_says(client, "1000000000")
    assert time.monotonic() - begin < 5
    server.client_says(client, "1")
    assert server.sent(client) == ["1", '{"error":"this takes too long"}', "1"]


def test_results_have_a_limit_of_size_together(project: Project) -> None:
    """Fault: a program could make a message of 16 MiB, and everybody waited while it was decoded."""
    program = 'jq on_error=reply if . < 9 then [range(400000) | 1] else "xxxxxxxx" * . end'
    server = project.build(program)
    client = server.connect()
    server.client_says(client, "100000", "1", "200000")
    sent = [str(one) for one in server.sent(client)]
    assert [len(one) for one in sent[:2]] == [800_000, 800_001]
    assert sent[2] == '{"error":"the result is too large"}'
    (instance,) = [one for one in server.generation.filters if isinstance(one, Jq)]
    assert instance._process._process is not None, "the process is not to blame"


def test_a_message_does_not_wait_for_its_turn_for_ever() -> None:
    """Fault: of many messages that take long, the last one waited for a hundred times `timeout`."""
    process = JqProcess("last(range(.))", 1, 0.3)
    try:
        process.results(b"1")
        begin = time.monotonic()
        asked = [gevent.spawn(process.results, b"1000000000") for _ in range(8)]
        gevent.joinall(asked)
        assert time.monotonic() - begin < 1.8, "eight turns would take 2.4 s"
        assert {str(one.exception) for one in asked} == {"this takes too long"}
    finally:
        process.end()


def test_a_program_that_needs_all_memory_is_ended(project: Project) -> None:
    said = project.answers(
        'jq on_error=reply timeout=20s if . == 1 then 1 else "xxxxxxxx" * . | length end', "1e8", "1"
    )
    assert said == [{"error": "this cannot be computed"}, 1]


def ended(pid: int) -> None:
    """Wait until a process is gone."""
    until = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until
        gevent.sleep(0.02)


def test_the_process_ends_with_the_filter(project: Project) -> None:
    server = project.build("jq .")
    client = server.connect()
    server.client_says(client, "1")
    (instance,) = [one for one in server.generation.filters if isinstance(one, Jq)]
    process = instance._process._process
    assert process is not None
    assert process.usable
    instance.stop()
    ended(process.pid)
    server.client_says(client, "2")
    assert server.sent(client) == ["1", "2"]


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    code = "from fws.filters._jq import JqProcess; p = JqProcess('.', 1, 9.0); p.results(b'1'); print(p._process.pid)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ended(int(out))


def test_a_tick_becomes_the_results(project: Project) -> None:
    (instance,) = [one for one in project.build("jq .[] + 1").generation.filters if isinstance(one, Jq)]
    assert instance.tick([1]) == 2
    several = instance.tick([1, 2])
    assert isinstance(several, Several)
    assert several.items == [2, 3]
    assert instance.tick([]) is instance.tick("x") is DROP
