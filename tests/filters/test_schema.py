from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fws.base.errors import ConfigError, Reject
from fws.filters.schema import Schema
from fws.pipeline.call import Call
from fws.pipeline.outcomes import DROP
from tests.support import Harness, build

CHAT = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": 5}, "items": {"items": {"$ref": "item.json"}}},
    "required": ["text"],
    "additionalProperties": False,
}
ITEM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def server_of(folder: Path, schema: Any = CHAT, *, options: str = "on_error=reply", **files: Any) -> Harness:
    (folder / "schemas").mkdir(exist_ok=True)
    for name, content in {"chat": schema, "item": ITEM, **files}.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "schemas" / f"{name}.json").write_text(text)
    return build(f'[pipelines]\nmessage = ["json", "schema schemas/chat.json {options}", "echo"]', folder)


def answers(server: Harness, *messages: str) -> list[str | bytes]:
    client = server.connect()
    server.client_says(client, *messages)
    assert server.faults == 0
    return server.sent(client)


def problem(folder: Path, schema: Any = CHAT, **files: Any) -> str:
    with pytest.raises(ConfigError) as error:
        server_of(folder, schema, **files)
    (one,) = error.value.problems
    assert one.place is not None
    return one.message


def test_a_message_that_matches_flows_on(tmp_path: Path) -> None:
    server = server_of(tmp_path)
    assert answers(server, '{"text":"hi","items":[{"name":"x"}]}') == ['{"text":"hi","items":[{"name":"x"}]}']
    assert server.metrics["schema_refused"] == 0


@pytest.mark.parametrize(
    ("message", "error", "at"),
    [
        ('{"text":"hi","items":[{"name":5}]}', 'this value is not of type "string"', "/items/0/name"),
        ('{"text":"hi","items":[{}]}', '"name" is a required property', "/items/0"),
        ('{"text":"far too long"}', "this value is longer than 5 characters", "/text"),
        ("[]", 'this value is not of type "object"', ""),
        ('"text"', 'this value is not of type "object"', ""),
    ],
)
def test_the_client_is_told_what_is_wrong_and_where(tmp_path: Path, message: str, error: str, at: str) -> None:
    server = server_of(tmp_path)
    (answer,) = answers(server, message)
    assert msgspec.json.decode(answer) == ({"error": error, "at": at} if at else {"error": error})
    assert server.metrics["schema_refused"] == 1


def test_nothing_large_of_a_client_comes_back(tmp_path: Path) -> None:
    server = server_of(tmp_path)
    long = "k" * 50_000
    values = [{"text": long}, {"text": "hi", long: 1}, {"text": "hi", "items": [{"name": [long]}]}, long]
    for answer in answers(server, *map(json.dumps, values)):
        assert len(answer) < 500
    told = answers(server_of(tmp_path, {"additionalProperties": {"type": "null"}}), json.dumps({f"{long}/~": 1}))
    assert len(told[0]) < 500


def test_it_drops_or_closes(tmp_path: Path) -> None:
    assert answers(server_of(tmp_path, options=""), "{}") == []
    server = server_of(tmp_path, options="on_error=close")
    client = server.connect()
    server.client_says(client, '{"text":5}')
    assert server.closed(client) == (1007, '/text: this value is not of type "string"')


@pytest.mark.parametrize("options", ["", "on_error=reply"])
def test_a_call_fails_with_what_is_wrong_and_where(tmp_path: Path, options: str) -> None:
    server = server_of(tmp_path, options=options)
    (schema,) = [one for one in server.generation.filters if isinstance(one, Schema)]
    caller: Any = SimpleNamespace(call=Call("publish", channel="lobby"))
    with pytest.raises(Reject, match=r"400 /text: this value is longer than 5 characters"):
        schema.message(caller, {"text": "far too long"})


def test_publications_and_deliveries_that_do_not_match_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"type": "object", "required": ["a"]}')
    (tmp_path / "b.json").write_text('{"required": ["b"]}')
    toml = """
    [pipelines]
    connect = ["join lobby"]
    message = ["json", "broadcast lobby"]
    publication = ["schema s.json"]
    deliver = ["schema b.json"]
    """
    server = build(toml, tmp_path)
    client = server.connect()
    server.client_says(client, "[]", '{"a":1}', '{"b":1}', '{"a":1,"b":2}')
    assert server.sent(client) == ['{"a":1,"b":2}']
    assert server.metrics["schema_refused"] == 3


def test_only_a_message_has_a_client_that_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(ConfigError, match="on publication there is nobody"):
        build('[pipelines]\npublication = ["schema s.json on_error=reply"]\nmessage = ["echo"]', tmp_path)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ('{\n  "type": "object",,\n}', "schemas/chat.json, line 2, column 20: Expecting property name"),
        ({"properties": {"a": {"type": "strin"}}}, "schemas/chat.json, at /properties/a/type: "),
        ({"properties": {"a/b": {"minLength": -1}}}, "schemas/chat.json, at /properties/a~1b/minLength: "),
        (
            {"items": {"pattern": "(?=a)b"}},
            "schemas/chat.json, at /items/pattern: this is not a pattern, is too large, or",
        ),
        ({"format": "emial"}, "Unknown format: 'emial'"),
        ({"$ref": "#/$defs/none"}, "Pointer '/$defs/none' does not exist"),
        ([1], 'is not of types "boolean", "object"'),
        (b"\xff".decode("latin-1"), "line 1, column 1"),
        ("[" * 100_000, "nested too deep"),
        ({"$ref": "none.json"}, "$ref to schemas/none.json: No such file"),
        ({"$ref": "bad.json"}, "schemas/bad.json, line 1, column 2"),
        ({"$ref": "../../../../etc/passwd"}, "$ref to etc/passwd: No such file"),
        ({"$ref": "%2e%2e/..%2f..%2fetc/passwd"}, "outside of the folder of the TOML file"),
        ({"$ref": "https://example.org/x.json"}, "$ref to https://example.org/x.json: schemas are read from files"),
        ({"$id": "https://example.org/a/", "$ref": "item.json"}, "$ref to https://example.org/a/item.json"),
        ({"$schema": "https://example.org/meta"}, "the dialect https://example.org/meta is not known"),
        ({"$defs": {"a": {"$id": "b", "$schema": "http://127.0.0.1:9/meta"}}}, "the dialect http://127.0.0.1:9/meta"),
        ({"$ref": "file://host/etc/passwd"}, "schemas are read from files"),
    ],
)
def test_a_wrong_schema_is_a_problem_of_the_file_with_its_place(tmp_path: Path, schema: Any, said: str) -> None:
    found = problem(tmp_path, schema, bad="{,}")
    assert said in found


@pytest.mark.parametrize("way", ["root", "reference"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, way: str) -> None:
    (tmp_path / "secret.json").write_text("{}")
    folder = tmp_path / "conf"
    (folder / "schemas").mkdir(parents=True)
    (folder / "schemas" / "link.json").symlink_to(tmp_path / "secret.json")
    (folder / "schemas" / "chat.json").write_text('{"$ref": "link.json"}')
    file = "link" if way == "root" else "chat"
    with pytest.raises(ConfigError, match=r"link\.json is outside of the folder"):
        build(f'[pipelines]\nmessage = ["schema schemas/{file}.json"]', folder)
    with pytest.raises(ConfigError, match=r"secret\.json is outside of the folder"):
        build('[pipelines]\nmessage = ["schema ../secret.json"]', folder)


def test_a_missing_file_and_no_regular_file_are_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: No such file"):
        build('[pipelines]\nmessage = ["schema none.json"]', tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ConfigError, match="not a regular file"):
        build('[pipelines]\nmessage = ["schema pipe.json"]', tmp_path)


def test_a_client_never_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "{client.id}.json").write_text("{}")
    server = build('[pipelines]\nmessage = ["json", "schema {client.id}.json", "echo"]', tmp_path)
    assert answers(server, "1") == ["1"]


@pytest.mark.parametrize("changed", ["chat", "item"])
def test_a_changed_file_counts_within_a_second_and_a_wrong_one_does_not(
    tmp_path: Path, changed: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = server_of(tmp_path)
    message = '{"text":"hi","items":[{"name":"x"}]}'
    assert answers(server, message) == [message]
    (tmp_path / "schemas" / f"{changed}.json").write_text("{,}")
    server.clock.advance(1.1)
    assert answers(server, message, message) == [message] * 2
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert f"schemas/{changed}.json, line 1" in record.getMessage()
    (tmp_path / "schemas" / f"{changed}.json").write_text('{"type": "null", "$comment": "changed"}')
    server.clock.advance(1.1)
    assert "is not of type" in str(answers(server, message)[0])


TREE = {
    "oneOf": [
        {"properties": {"op": {"const": op}, "of": {"items": {"$ref": "#"}}}, "required": ["op", "of"]}
        for op in ("and", "or", "not")
    ]
}


def tree(depth: int) -> Any:
    return 5 if depth == 0 else {"op": "or", "of": [tree(depth - 1)]}


# Messages of about 64 KiB, with the schema for which each is worst.
HOSTILE: dict[str, tuple[Any, Any]] = {
    "errors everywhere": ({"items": {"required": ["a"]}}, [{}] * 15_000),
    "alternatives in alternatives": (TREE, tree(45)),
    "a wide tree": (TREE, {"op": "or", "of": [tree(10)] * 250}),
    "backtracking": ({"items": {"pattern": "^(a+)+$"}}, ["a" * 30_000 + "!", "a" * 30_000 + "!"]),
    "many patterns": ({"items": {"pattern": "^(\\w+\\s?)*$"}}, ["aaaaaaaa!"] * 5_000),
    "unknown fields": ({"additionalProperties": False}, {f"{n:05}": 1 for n in range(6_000)}),
    "unevaluated": (
        {"anyOf": [{"properties": {"a": {}}}] * 20, "unevaluatedProperties": False},
        {f"{n:05}": 1 for n in range(6_000)},
    ),
    "unique": ({"uniqueItems": True}, [x for n in range(3_000) for x in (n, [n], {"a": n}, str(n))]),
    "alternatives of many": ({"oneOf": [{"items": {"type": "string"}}] * 3}, [1] * 30_000),
    "formats": ({"items": {"format": "regex"}}, ["(a{1000}){99}"] * 4_000),
    "a long name": ({"format": "idn-hostname"}, "ü." * 10_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_message_of_64_kib_takes_long(tmp_path: Path, name: str) -> None:
    """Fault: the library lists the errors of all alternatives. Twenty levels of them took gigabytes, and minutes."""
    schema, value = HOSTILE[name]
    text = json.dumps(value)
    assert len(text) < 200_000
    server = server_of(tmp_path, schema)
    client = server.connect()
    server.client_says(client, "null")
    server.sent(client)
    before = time.process_time()
    server.client_says(client, text)
    spent = time.process_time() - before
    assert spent < 0.25
    assert len(str(server.sent(client))) < 500 or server.metrics["schema_refused"] == 0


def test_a_tick_that_does_not_match_is_dropped(tmp_path: Path) -> None:
    (schema,) = [one for one in server_of(tmp_path, options="").generation.filters if isinstance(one, Schema)]
    assert schema.tick({"text": "hi"}) is None
    assert schema.tick({"text": 5}) is DROP
