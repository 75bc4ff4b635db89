from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fws.base.errors import ConfigError
from fws.filters.template import Template
from fws.pipeline.component import Setting
from tests.support import Harness, build


def server_of(folder: Path, template: str, event: str = "message", options: str = "") -> Harness:
    table = f'[filters.made]\nuse = "template"\ntext = {msgspec.json.encode(template).decode()}\n{options}\n'
    pipelines = {"message": '["json", "broadcast lobby"]', "connect": '["join lobby"]'}
    pipelines[event] = '["json", "made", "echo"]' if event == "message" else '["made"]'
    lines = "\n".join(f"{name} = {stages}" for name, stages in pipelines.items())
    return build(f"[pipelines]\n{lines}\n{table}", folder)


def made(folder: Path, template: str, *messages: Any, options: str = "") -> list[str | bytes]:
    server = server_of(folder, template, options=options)
    client = server.connect()
    client.identity = {"user": "ann"}
    client.state["nick"] = "Ann"
    server.client_says(client, *map(json.dumps, messages))
    assert server.faults == 0
    return server.sent(client)


def test_a_stage_is_the_template_itself(tmp_path: Path) -> None:
    stage = "template {{ message.text|upper }}, {client.id} {{ client.path }}"
    server = build(f'[pipelines]\nmessage = ["json", "{stage}", "echo"]', tmp_path)
    client = server.connect("/tea")
    server.client_says(client, '{"text":"hi"}')
    assert server.sent(client) == ["HI, {client.id} /tea"]


@pytest.mark.parametrize(
    ("template", "message", "text"),
    [
        ("{{ message.a }} {{ message['b c'] }} {{ message.l[0] }}", {"a": 1, "b c": "x", "l": [2.5]}, "1 x 2.5"),
        ("{{ identity.user }} {{ state.nick }} {{ call.kind }}", {}, "ann Ann message"),
        ("{{ message.n }}|{{ message.t }}|{{ message.d }}", {"n": None, "t": True, "d": {"a": [1]}}, '|true|{"a":[1]}'),
        (
            "{% for x in message.items %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% endfor %}",
            {"items": ["a", "b"]},
            "1a,2b",
        ),
        ("{% if message.keys %}yes{% else %}no{% endif %}", {}, "no"),
        ("{{ message.values }}", {"values": 1}, "1"),
        ("{{ message.name|default('nobody') }}", {}, "nobody"),
        (
            "{{ message.a + 1 }} {{ message.a * 2 }} {{ 2 ** 3 }} {{ message.b + '!' }} {{ message.b ~ 1 }}",
            {"a": 1, "b": "x"},
            "2 2 8 x! x1",
        ),
        ("{{ message|tojson }}", {"a": "<é>"}, '{"a":"<é>"}'),
        ("{{ message.a|round(2) }} {{ message.a|round }}", {"a": 1.256}, "1.26 1"),
        ("{{ message|map(attribute='a.b')|join(', ') }}", [{"a": {"b": 1}}, {"a": {"b": 2}}], "1, 2"),
        ("{{ message.text }}", {"text": "<b>{{ 7*7 }}"}, "<b>{{ 7*7 }}"),
        ("{{ message|sort(attribute='a')|map(attribute='a')|select('in', [1, 2])|sum }}", [{"a": 2}, {"a": 1}], "3"),
        ("{{ message[1:] ~ 1 ~ none }} {{ 1 < 2 in [2] }} {{ message|trim('a') }}", "abc", "bc1None true bc"),
        ("{% set x = message.a %}{% with y = 2 %}{{ x + y }}{% endwith %}", {"a": 1}, "3"),
    ],
)
def test_values_become_text(tmp_path: Path, template: str, message: Any, text: str) -> None:
    assert made(tmp_path, template, message) == [text]


def test_html_is_escaped_if_asked(tmp_path: Path) -> None:
    message = {"a": "<b a='1'>&", "l": ["<", ">"]}
    template = "<p>{{ message.a }} {{ message.l|join('<') }} {{ message.l }} {{ message|tojson }}"
    (text,) = made(tmp_path, template, message, options="html = true")
    assert isinstance(text, str)
    assert text.startswith("<p>&lt;b a=&#39;1&#39;&gt;&amp; &lt;&lt;&gt; [")
    assert set(text[3:]) & set("<>'\"") == {'"'}
    assert made(tmp_path, "{{ message.a }}", message) == ["<b a='1'>&"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ message.none }}",
        "{{ message.a.b.c }}",
        "{{ message[5] }}",
        "{{ message.a|first }}",
        "{{ 1 / message.zero }}",
        "{{ message.a < 1 }}",
    ],
)
def test_what_is_not_there_ends_the_event(tmp_path: Path, template: str) -> None:
    server = server_of(tmp_path, template)
    client = server.connect()
    server.client_says(client, '{"a":"","zero":0}', "[]", '"text"')
    assert server.sent(client) == []
    assert (server.metrics["messages_unfilled"], server.faults) == (3, 0)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("one\n{{ message. }}", "line 2: "),
        ("{% if message %}", "line 1: "),
        ("{{ message|nope }}", "line 1: No filter named 'nope'"),
        ("{{ mesage.text }}", "there is no 'mesage': use message, channel"),
        ("{{ text }}", "a field is message.text"),
        ("{{ message.text.upper() }}", "line 1: a template of fws cannot contain call"),
        ("{{ range(5) }}", "cannot contain call"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot contain call"),
        ("{% include 'secret' %}", "cannot contain include"),
        ("{% import 'x' as x %}", "cannot contain import"),
        ("{% extends 'x' %}", "cannot contain extends"),
        ("{% macro f() %}{% endmacro %}", "cannot contain macro"),
        ("{% block a %}{% endblock %}", "cannot contain block"),
        ("{{ message|attr('x') }}", "No filter named 'attr'"),
        ("{{ message|center(1000000000) }}", "No filter named 'center'"),
        ("{{ message|sum(start=[]) }}", "sum takes no start"),
        ("{{ message|sum('a', []) }}", "sum takes no start"),
        ("{{ message|sort(attribute=message.x) }}", "write out what sort is to use"),
        ("{{ message|map(message.x) }}", "write out what map is to use"),
        ("{{ message.a|trim(message.b) }}", "write out what trim is to use"),
        ("{{ message|join(',', attribute=message.b) }}", "write out what join is to use"),
        ("{{ self }}", "there is no 'self'"),
        ("{{ _rounds }}", "there is no '_rounds'"),
    ],
)
def test_a_wrong_template_is_a_problem_of_the_file(tmp_path: Path, template: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        server_of(tmp_path, template)
    (problem,) = error.value.problems
    assert said in problem.message
    assert problem.place is not None


def test_there_is_no_client_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no 'client' on publication: use message, channel"):
        server_of(tmp_path, "{{ client.id }}", "publication")
    with pytest.raises(ConfigError, match="there is no 'call' on deliver"):
        server_of(tmp_path, "{{ call.kind }}", "deliver")


@pytest.mark.parametrize("event", ["publication", "deliver"])
def test_publications_and_deliveries(tmp_path: Path, event: str) -> None:
    server = server_of(tmp_path, "{{ channel }}: {{ message.text }}", event)
    ann, bob = server.connect(), server.connect()
    server.client_says(ann, '{"text":"hi"}', "{}")
    assert server.sent(ann) == server.sent(bob) == ["lobby: hi"]


def test_python_is_out_of_reach(tmp_path: Path) -> None:
    for way in ("__class__", "__init__", "__globals__", "items", "get"):
        assert made(tmp_path, "{{ message." + way + " is defined }}", {}, "text", [1], 5) == ["false"] * 4
        assert made(tmp_path, "{{ state." + way + " is defined }}", {}) == ["false"]


HOSTILE = [
    ("{{ message.text * message.n }}", {"text": "x", "n": 10**9}),
    ("{{ message.n ** message.n }}", {"n": 10**6}),
    ("{{ message.text % message.n }}", {"text": "%1000000000d", "n": 1}),
    ("{{ message.text|replace('a', message.text) }}", {"text": "a" * 30_000}),
    ("{{ message.items|join(message.by) }}", {"items": [1] * 15_000, "by": "x" * 30_000}),
    ("{% for a in message.items %}{% for b in message.items %}{% endfor %}{% endfor %}", {"items": [1] * 30_000}),
    ("{% for a in message.items %}{{ message.text }}{% endfor %}", {"items": [1] * 9_000, "text": "x" * 30_000}),
    ("{% set a = message.text + message.text %}" + "{% set a = a + a %}" * 30 + "{{ a }}", {"text": "x" * 30_000}),
    ("{{ message.n|round(message.n) }}", {"n": -(10**9)}),
    ("{{ message }}", {"text": "é" * 40_000}),
    ("{{ message.text|int }}", {"text": "9" * 60_000}),
    ("{{ message|tojson|upper|truncate(message.n) }}", {"n": 10**12, "text": "x" * 60_000}),
    # Faults: each of these took seconds, or all memory.
    ("{{ message.l|sum|length }}", {"l": [[1]] * 30_000}),
    ("{{ ((message.n ** 64) ** 64) ** 64 % 7 }}", {"n": 12345678901234}),
    ("{% set a = message.n %}" + "{% set a = a * a %}" * 24 + "{{ a % 7 }}", {"n": 12345678901234}),
    ("{% set a = message.text %}" + "{% set a = a ~ a %}" * 30 + "{{ a|length }}", {"text": "x" * 30_000}),
    ("{{ message.l|map('replace', 'a', message.text)|list|length }}", {"l": ["a"] * 10_000, "text": "x" * 20_000}),
    ("{{ message.l|select('in', message.l)|list|length }}", {"l": list(range(10_000))}),
    ("{% for x in message.l %}{% if x + 0.5 in message.l %}1{% endif %}{% endfor %}", {"l": list(range(9_000))}),
    ("{% for x in message.l %}{% if message|tojson %}{% endif %}{% endfor %}", {"l": [1] * 9_000, "t": "x" * 40_000}),
    ("{% for x in message.l %}{% if message.l[1:] %}{% endif %}{% endfor %}", {"l": [1] * 9_000}),
    ("{{ message.l|map('map', 'upper')|map('list')|list|length }}", {"l": [["a"] * 10] * 1500}),
    ("{{ message.text|truncate(1, true, message.text) }}", {"text": "x" * 60_000}),
]


@pytest.mark.parametrize(("template", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_no_message_makes_much_of_little(tmp_path: Path, template: str, message: Any) -> None:
    server = server_of(tmp_path, template)
    client = server.connect()
    before = time.process_time()
    server.client_says(client, json.dumps(message, ensure_ascii=False))
    assert time.process_time() - before < 0.25
    assert sum(len(sent) for sent in server.sent(client)) <= 64 * 1024
    assert server.faults == 0


def test_the_text_has_a_limit(tmp_path: Path) -> None:
    assert made(tmp_path, "{{ message }}", "éé", "ééé", options='limit = "5B"') == ["éé"]


def test_a_file_is_read_again_and_a_wrong_one_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "hello.txt"
    file.write_text("Hello {{ message }}, ${HOME}!\n")
    server = build('[pipelines]\nmessage = ["json", "template file=hello.txt", "echo"]', tmp_path)
    client = server.connect()
    for text in ("Hello {{ message }", "Bye {{ message }}"):
        server.client_says(client, '"ann"')
        file.write_text(text)
        server.clock.advance(1.1)
    server.client_says(client, '"ann"')
    assert server.sent(client) == ["Hello ann, ${HOME}!", "Hello ann, ${HOME}!", "Bye ann"]
    assert "hello.txt: line 1: " in caplog.text


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("template", "give one of text and file"),
        ("template file=a.txt hi", "give one of text and file"),
        ("template file=none.txt", r"none\.txt: No such file"),
        ("template file=bad.txt", r"bad\.txt: line 2: "),
        ("template file=deep.txt", r"deep\.txt: it is nested too deep"),
    ],
)
def test_one_template_is_needed(tmp_path: Path, stage: str, said: str) -> None:
    (tmp_path / "bad.txt").write_text("\n{{")
    (tmp_path / "deep.txt").write_text("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}")
    with pytest.raises(ConfigError, match=said):
        build(f'[pipelines]\nmessage = ["{stage}"]', tmp_path)


def test_a_tick_has_a_message_and_no_client(tmp_path: Path) -> None:
    made = Template(text="{{ message.n + 1 }}")
    made.prepare(Setting(tmp_path, {}))
    assert made.tick({"n": 1}) == "2"
    with pytest.raises(ValueError, match="there is no 'client' on tick: use message"):
        Template.check_event("tick", {"text": "{{ client.id }}"})
