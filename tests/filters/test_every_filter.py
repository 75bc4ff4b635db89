"""What every built-in filter guarantees."""

from __future__ import annotations

import contextlib
import inspect
import shutil
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fws.filters
from fws.base.errors import Close, MessageFillError
from fws.clients.client import Client
from fws.compiler.registry import Found, Registry
from fws.pipeline.events import EVENTS
from fws.pipeline.filter import hooks_of
from fws.pipeline.options import options_of
from tests.support import Harness, build

BUILT_IN = [
    "ack",
    "ban",
    "broadcast",
    "broadcast_by_token",
    "cache",
    "classic",
    "close",
    "count",
    "debounce",
    "dedupe",
    "delay",
    "drop",
    "echo",
    "exec",
    "http",
    "http_auth",
    "join",
    "jq",
    "json",
    "jwt",
    "leave",
    "load",
    "log",
    "max_message",
    "omit",
    "once",
    "pick",
    "presence",
    "publish",
    "rate_limit",
    "redact",
    "redis",
    "reject",
    "reply",
    "require",
    "schema",
    "set",
    "skip_sender",
    "split",
    "stdout_messages",
    "stdout_publications",
    "stdout_rawdata",
    "store",
    "subscribe",
    "switch",
    "template",
    "text",
    "throttle",
    "token",
    "unsubscribe",
    "webhook",
    "when",
]

# What the examples take from the environment.
ENVIRON = {"FWS_TOKEN": "t" * 32, "JWT_KEY": "k" * 32, "WEBHOOK_SECRET": "whsec_" + "k" * 32}

# Stages that serve `message`, with the options of most consequence.
STAGES = [
    "echo",
    "broadcast",
    "broadcast lobby to=others",
    "publish lobby",
    "publish lobby text",
    "join lobby",
    "join {state.room}",
    "leave lobby",
    "reply hello",
    "drop",
    "close 4000",
    "log",
    "stdout_messages",
    "json",
    "json on_error=reply",
    "json on_error=close",
    "text",
    "rate_limit 1/s on_excess=reply",
    "rate_limit 1/s by=address on_excess=close",
    "max_message 10B",
    "max_message 10B on_excess=reply",
    "set from={client.id} n=5",
    "pick a b",
    "omit a b",
    "when a == 'x' or len(message) > 3",
    "by_a",
    "split",
    "split a max_items=2 on_excess=reply",
    "store said",
    "store fields field=a value=b",
    "load said into=a of=set",
    "count messages into=n",
    "dedupe a",
    "throttle 1s by=message.a",
    "debounce 1s by=client,message.a",
    "delay 1s most=2 on_excess=reply",
    "once by=message",
    "remember",
    "broadcast_by_token",
    "webhook http://127.0.0.1:9/",
    "template {{ message.a }} {% for x in message.items %}{{ x }}{% endfor %}",
    "redact a find=email,card",
    "redact pattern=[a-z]++ max_text=100",
]

HOSTILE = f"""
[pipelines]
connect = ["join lobby"]
[filters.by_a]
use = "switch"
key = "a"
default = ["json", "echo"]
[filters.by_a.case]
x = ["omit a", "echo"]
5 = ["close"]
[filters.remember]
use = "cache"
expire = "1s"
by = "message.a"
run = ["pick a"]
[endpoints."/each"]
message = {msgspec.json.encode(STAGES).decode()}
"""


def built_in() -> list[Found]:
    found = [one for one in Registry(Path(tempfile.gettempdir()) / "no project").all() if isinstance(one, Found)]
    return [one for one in found if one.origin == "fws"]


FILTERS = {found.name: found.cls for found in built_in()}


def test_they_are_all_there_and_each_is_its_module() -> None:
    assert sorted(FILTERS) == sorted(BUILT_IN)
    assert all(cls.__module__ == f"{fws.filters.__name__}.{name}" for name, cls in FILTERS.items())


@pytest.mark.parametrize("name", BUILT_IN)
def test_its_docstring_is_a_reference(name: str) -> None:
    cls = FILTERS[name]
    summary, blank, *rest = (inspect.getdoc(cls) or "").splitlines()
    assert summary.endswith(".")
    assert blank == ""
    text = "\n".join(rest).partition("Example:")[0]
    for event in hooks_of(cls):
        assert f"`{event}`" in text or "every event" in text, f"{name} does not say what it does on {event}"


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_has_a_help_and_every_filter_an_event(name: str) -> None:
    assert hooks_of(FILTERS[name])
    assert set(hooks_of(FILTERS[name])) <= set(EVENTS)
    for option in options_of(FILTERS[name]):
        assert option.help.endswith("."), f"{name}: {option.name}"


@pytest.mark.parametrize("name", BUILT_IN)
def test_its_example_compiles_and_uses_it(name: str, tmp_path: Path) -> None:
    doc = inspect.getdoc(FILTERS[name]) or ""
    example = textwrap.dedent(doc.partition("Example:\n")[2])
    shutil.copytree(Path(__file__).parents[2] / "conf" / "shapes", tmp_path / "shapes")
    server = build(f"[pipelines]\n{example}", tmp_path, environ=ENVIRON)
    assert any(isinstance(instance, FILTERS[name]) for instance in server.generation.filters) or "{" in example


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "type"]), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = (
    JSON
    | JSON.map(lambda value: msgspec.json.encode(value).decode())
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.sampled_from(["x" * 1_000_000, "é" * 300_000, b"\xff" * 300_000, "[" * 300_000, '{"a":' * 90 + "1" + "}" * 90])
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Harness, Client]:
    server = build(HOSTILE, tmp_path_factory.mktemp("hostile"))
    client = server.connect("/each")
    client.state["room"] = "x" * 300
    return server, client


@pytest.mark.slow
@pytest.mark.parametrize("position", range(len(STAGES)), ids=STAGES)
@settings(max_examples=25, deadline=None)
@given(message=MESSAGES)
def test_no_message_makes_it_raise_anything_but_close(
    hostile: tuple[Harness, Client], position: int, message: Any
) -> None:
    server, client = hostile
    hook = client.endpoint.message.steps[position].hook
    with contextlib.suppress(Close, MessageFillError):
        hook(client, message)
    server.sent(client)


ROW = """
[pipelines]
message = ["rate_limit 99/s", "max_message 1KiB on_excess=drop", "json on_error=reply", "split", "pick a b",
           "set id={id}", "text", "broadcast"]
"""


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> tuple[Harness, Client]:
    server = build(ROW, tmp_path_factory.mktemp("row"))
    return server, server.connect()


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(messages=st.lists(MESSAGES, max_size=4))
def test_a_row_of_filters_takes_any_messages_from_the_wire(row: tuple[Harness, Client], messages: list[Any]) -> None:
    server, client = row
    server.clock.advance(1)
    server.client_says(client, *(message for message in messages if isinstance(message, str | bytes)))
    for sent in server.sent(client):
        assert msgspec.json.decode(sent).keys() <= {"a", "b", "id", "error"}
    assert server.faults == 0
    assert server.closed(client) is None
