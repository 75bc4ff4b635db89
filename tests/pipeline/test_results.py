"""Results of hooks: a value that can never be right is blamed on the filter that returned it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from fws import DROP, Ask, Close, Filter, Publication, Reject, Several
from fws.pipeline.events import EVENTS
from fws.pipeline.pipeline import Pipeline, Step
from fws.pipeline.results import HookResultError, check_nothing
from tests.support import Harness, build

PUBLICATION = Publication("room", "hello", "")


# No hook here returns several messages or messages for later.
NOBODY: Any = None


class Returns(Filter):
    """A filter whose hooks all return the same value."""

    value: Any = None

    def connect(self, client: Any) -> Any:
        return self.value

    def data(self, client: Any, data: Any) -> Any:
        return self.value

    def subscribe(self, client: Any, channel: Any) -> Any:
        return self.value

    def message(self, client: Any, message: Any) -> Any:
        return self.value

    def unsubscribe(self, client: Any, channel: Any) -> Any:
        return self.value

    def publication(self, publication: Any) -> Any:
        return self.value

    def deliver(self, client: Any, publication: Any) -> Any:
        return self.value

    def disconnect(self, client: Any) -> Any:
        return self.value

    def tick(self, message: Any) -> Any:
        return self.value


def run(event: str, value: Any) -> Any:
    pipeline = Pipeline(event, [Step(getattr(Returns(value=value), event), "returns", "")])
    if event in ("connect", "disconnect"):
        return pipeline.happen(None)
    if event in ("subscribe", "unsubscribe"):
        return pipeline.happen(None, 0, "room")
    if event == "tick":
        return pipeline.tick(NOBODY, None)
    return pipeline.publish(PUBLICATION) if event == "publication" else pipeline.run(None, None)


async def coroutine() -> None: ...


def generator() -> Any:
    yield


NEVER: dict[str, Callable[[], Any]] = {
    "an exception": lambda: Reject(403),
    "an exception class": lambda: Close,
    "a coroutine": coroutine,
    "a generator": generator,
    "NotImplemented": lambda: NotImplemented,
    "a function": lambda: len,
    "a class": lambda: Filter,
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("make", NEVER.values(), ids=NEVER)
def test_an_invalid_result_is_blamed_on_the_hook_that_returned_it(event: str, make: Callable[[], Any]) -> None:
    with pytest.raises(HookResultError) as caught:
        run(event, make())
    line = getattr(Returns, event).__code__.co_firstlineno
    assert caught.value.where == f"{__name__}.Returns.{event} (test_results.py:{line})"
    gc.collect()  # a coroutine that nobody awaited would warn here, and warnings are errors


@pytest.mark.parametrize("event", EVENTS)
def test_none_and_drop_are_right_everywhere(event: str) -> None:
    run(event, None)
    run(event, DROP)


@pytest.mark.parametrize("value", [True, False, 0, "", "no", b"", {}, [], Several([1]), PUBLICATION])
@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_where_nothing_flows_a_value_is_wrong(event: str, value: Any) -> None:
    """Fault: `return False` in `connect` admitted everybody."""
    with pytest.raises(HookResultError, match="it returned "):
        run(event, value)


@pytest.mark.parametrize(
    ("event", "value"),
    [
        ("data", "text"),
        ("data", 1),
        ("data", {}),
        ("publication", "text"),
        ("deliver", "text"),
        ("deliver", {}),
        ("data", Several([b""])),
        ("deliver", Several([PUBLICATION])),
        ("publication", Several([PUBLICATION])),
        ("message", Ask(print, 1.0)),
        ("disconnect", Ask(print, 1.0)),
        ("message", PUBLICATION),
    ],
)
def test_results_have_the_type_of_the_event(event: str, value: Any) -> None:
    """Fault: a `deliver` filter that returned only the text made publications disappear silently."""
    with pytest.raises(HookResultError):
        run(event, value)


@pytest.mark.parametrize("value", ["text", b"bytes", {}, [], (), 1, 1.5, False, object(), memoryview(b"")])
def test_any_value_may_flow_as_a_message(value: Any) -> None:
    assert run("message", value) is value


def test_subclasses_of_the_right_types_are_right() -> None:
    class Bytes(bytes): ...

    assert run("data", Bytes(b"a")) == b"a"


def test_an_answer_decides_by_raising_alone() -> None:
    def answer(client: Any, message: Any) -> bool:
        return False

    check_nothing(answer, None)
    with pytest.raises(HookResultError, match=r"it returned False, not None: .* `raise Reject\(403\)`"):
        check_nothing(answer, answer(None, None))


def test_the_place_of_a_decorated_hook_is_that_of_the_hook() -> None:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*arguments: Any) -> Any:
            return function(*arguments)

        return wrapper

    class Decorated(Filter):
        @decorate
        def connect(self, client: Any) -> Any:
            return False

    with pytest.raises(HookResultError) as caught:
        Pipeline("connect", [Step(Decorated().connect, "decorated", "")]).happen(None)
    assert caught.value.where.startswith(f"{__name__}.test_the_place_of_a_decorated_hook_is_that_of_the_hook")
    assert "Decorated.connect (test_results.py:" in caught.value.where


# In a server.

GUARDS = {
    "False": "return False",
    "True": "return True",
    "Reject, returned": "return Reject(403)",
    "Reject, the class": "return Reject",
    "Close, returned": "return Close(4003)",
    "a coroutine": "return self._decide()",
    "a generator": "return (one for one in ())",
}
GUARD = """
from fws import Close, Filter, Reject

class Guard(Filter):
    channel: str = ""

    async def _decide(self): ...

    def connect(self, client):
        %s
"""


@pytest.mark.parametrize("stage", ["guard", "guard {name}", "chained", "named"])
@pytest.mark.parametrize("line", GUARDS.values(), ids=GUARDS)
def test_a_guard_that_does_not_raise_admits_nobody(
    line: str, stage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault: `connect` failed open. Everybody was admitted, without a message from the check or in the log."""
    server = build(
        f'[endpoints."/{{name}}"]\nconnect = ["{stage}"]\n'
        '[chains]\nchained = ["guard"]\n[filters.named]\nuse = "guard"\n',
        tmp_path,
        pipelines={"guard": GUARD % line},
    )
    with pytest.raises(Reject) as refused:
        server.connect("/ann")
    assert refused.value.status == 500
    assert not server.hub.clients
    assert server.metrics["filter_faults"] == 1
    (record,) = caplog.records
    assert "connect failed in pipelines.guard.Guard.connect (guard.py:9) for client" in record.message
    assert "it returned " in record.message


ASKING = """
from fws import Ask, Filter

class Asking(Filter):
    def connect(self, client):
        return Ask(self.answer, 10)

    def answer(self, client, message):
        return message == "sesame"
"""


def test_an_answer_that_does_not_raise_admits_nobody(tmp_path: Path) -> None:
    """Fault: an answer that returned False instead of raising Reject admitted the client."""
    server: Harness = build(
        '[pipelines]\nconnect = ["asking"]\nmessage = ["echo"]', tmp_path, pipelines={"asking": ASKING}
    )
    client = server.connect()
    server.client_says(client, "nothing")
    assert (client.close_code, server.hub.clients) == (4500, {})


def test_a_message_hook_is_blamed_and_not_the_next_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = "from fws import Filter, Reject\nclass Bad(Filter):\n    def message(self, c, m): return Reject(403)\n"
    server = build('[pipelines]\nmessage = ["bad", "echo"]', tmp_path, pipelines={"bad": source})
    client = server.connect()
    server.client_says(client, "hello")
    (record,) = caplog.records
    assert record.message == (
        f"message failed in pipelines.bad.Bad.message (bad.py:3) for client {client.id}: "
        "it returned Reject: raise it instead, `raise Reject(…)`"
    )
    assert (server.sent(client), client.id in server.hub.clients) == ([], True)
