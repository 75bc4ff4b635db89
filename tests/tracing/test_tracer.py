"""Which spans there are, what they say, and what they are parts of, as OpenTelemetry's exporter in memory gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from fws.live.observation import Observation, Tap
from tests.filters.timing import got, say
from tests.tracing.traced import (
    NOT_SAMPLED,
    SAMPLED,
    SPAN,
    TRACE,
    TracedSimulation,
    header_of,
    ids,
    of,
    parent_of,
    stages,
    trace_of,
)

CHAT = """
[endpoints."/chat/{room}"]
connect = ["join {room}"]
message = ["json", "by_type"]
[filters.by_type]
use = "switch"
key = "type"
default = ["drop"]
[filters.by_type.case]
say = ["set seen=true", "broadcast lobby"]
"""
BROKEN = "from fws import Filter\nclass Broken(Filter):\n    def message(self, client, message):\n        {}\n"


def sent(headers: str) -> list[tuple[str, str]]:
    return [("traceparent", headers)] if headers else []


def test_a_connection_is_a_span_with_the_attributes_of_its_handshake(tmp_path: Path) -> None:
    with TracedSimulation(tmp_path, CHAT) as run:
        run.connect("ann", "/chat/lobby?token=secret", headers=[("User-Agent", "tests/1 \xfc")])
        span = run.one("connect")
        assert (span.name, span.kind, span.parent) == ("connect /chat/{room}", SpanKind.SERVER, None)
        assert dict(span.attributes or {}) == {
            "fws.event": "connect",
            "fws.client": "ann",
            "fws.protocol": "raw",
            "fws.transport": "websocket",
            "client.address": "192.0.2.1",
            "http.request.method": "GET",
            "http.route": "/chat/{room}",
            "http.response.status_code": 101,
            "url.path": "/chat/lobby",
            "user_agent.original": "tests/1 \xfc",
        }
        assert stages(span) == [("/chat/{room} connect join", "pass")]
        assert "secret" not in span.to_json()


def test_a_message_is_a_trace_of_its_own_linked_to_its_connection(tmp_path: Path) -> None:
    with TracedSimulation(tmp_path, CHAT) as run:
        ann = run.connect("ann", "/chat/lobby")
        say(run, ann, {"type": "say", "text": "hi"}, {"type": "hm"})
        first, second = run.spans("message")
        assert (first.name, first.kind, first.parent) == ("message /chat/{room}", SpanKind.CONSUMER, None)
        assert trace_of(first) != trace_of(second)
        linked = [(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in first.links]
        assert linked == [ids(run.one("connect"))]
        assert of(first, "messaging.system") == "fws"
        assert of(first, "messaging.operation.type") == "process"
        assert of(first, "messaging.destination.name") == "/chat/lobby"
        assert of(first, "messaging.message.body.size") == len('{"type":"say","text":"hi"}')
        # The stages of branches, too, and each with the time that it took.
        assert stages(first) == [
            ("/chat/{room} message json", "pass"),
            ("/chat/{room} message by_type/case.say/set", "pass"),
            ("/chat/{room} message by_type/case.say/broadcast", "pass"),
            ("/chat/{room} message by_type", "pass"),
        ]
        assert stages(second)[-2:] == [
            ("/chat/{room} message by_type/default/drop", "drop"),
            ("/chat/{room} message by_type", "drop"),
        ]
        assert all(0 <= (event.attributes or {})["fws.duration_us"] < 1e6 for event in first.events)  # type: ignore[operator]


def test_a_delivery_on_another_node_is_a_child_of_the_message(tmp_path: Path) -> None:
    conf = CHAT + '[pipelines]\npublication = ["log"]\n'
    with TracedSimulation(tmp_path, conf, nodes=("one", "two")) as run:
        ann = run.connect("ann", "/chat/lobby", node="one")
        bob = run.connect("bob", "/chat/lobby", node="two")
        run.settle()
        say(run, ann, {"type": "say"})
        assert got(bob) == ['{"type":"say","seen":true}']
        message = run.one("message")
        for event in ("delivery", "publication"):
            spans = run.spans(event)
            assert {of(span, "fws.origin") for span in spans} == {"here", "node"}
            assert [parent_of(span) for span in spans] == [header_of(message)] * 2
            assert {of(span, "messaging.destination.name") for span in spans} == {"lobby"}
        assert [of(span, "fws.members") for span in run.spans("delivery")] == [1, 1]
        assert stages(run.spans("publication")[0]) == [("* publication log", "pass")]


def test_what_a_history_keeps_keeps_its_trace(tmp_path: Path) -> None:
    conf = CHAT + '[channels.lobby]\nhistory = 10\n[redis]\nurl = "redis://unused"\n'
    with TracedSimulation(tmp_path, conf, nodes=("one", "two")) as run:
        ann = run.connect("ann", "/chat/lobby", node="one")
        run.connect("bob", "/chat/lobby", node="two")
        run.settle()
        say(run, ann, {"type": "say"})
        assert [parent_of(span) for span in run.spans("delivery")] == [header_of(run.one("message"))] * 2


def test_a_fault_is_an_error_with_its_exception_and_the_client_stays(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "broken.py").write_text(BROKEN.format("raise LookupError('\\ud800 no such thing')"))
    with TracedSimulation(tmp_path, '[pipelines]\nmessage = ["echo", "broken"]\n') as run:
        ann = run.connect("ann")
        say(run, ann, "hi")
        assert got(ann) == ["hi"]
        span = run.one("message")
        assert (span.name, span.status.status_code) == ("message", StatusCode.ERROR)
        assert (span.status.description, of(span, "error.type")) == ("LookupError: ? no such thing", "LookupError")
        [exception] = [event.attributes or {} for event in span.events if event.name == "exception"]
        assert "broken.py" in str(exception["exception.stacktrace"])
        assert stages(span) == [("* message echo", "pass"), ("* message broken", "error")]


@pytest.mark.parametrize(
    ("event", "stage", "expected"),
    [
        ("connect", "reject 403 Banned.", {"http.response.status_code": 403, "fws.reason": "Banned."}),
        ("message", "close 4001 bye", {"fws.close.code": 4001, "fws.close.reason": "bye"}),
    ],
)
def test_a_refusal_is_no_error(tmp_path: Path, event: str, stage: str, expected: dict[str, Any]) -> None:
    with TracedSimulation(tmp_path, f"[pipelines]\n{event} = ['{stage}']\n") as run:
        ann = run.connect("ann")
        if event == "message":
            say(run, ann, "hi")
        span = run.one(event)
        assert span.status.status_code is StatusCode.UNSET
        assert of(span, "http.response.status_code") == expected.get("http.response.status_code")
        assert expected.items() <= dict(span.attributes or {}).items()


@pytest.mark.parametrize(
    ("header", "settings", "trace"),
    [
        (SAMPLED, {}, TRACE),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-bring", {}, TRACE),
        (NOT_SAMPLED, {"ratio": 1.0}, ""),
        (SAMPLED, {"follow": 0}, ""),
        (f"{SAMPLED}, {SAMPLED}", {}, ""),
        (SAMPLED.upper(), {}, ""),
        (f"00-{'0' * 32}-{SPAN}-01", {}, ""),
        ("x" * 5000, {}, ""),
    ],
)
def test_a_sampled_context_of_the_handshake_is_followed(
    tmp_path: Path, header: str, settings: dict[str, Any], trace: str
) -> None:
    with TracedSimulation(tmp_path, CHAT, **({"ratio": 0.0} | settings)) as run:
        run.connect("ann", "/chat/lobby", headers=sent(header))
        assert [trace_of(span) for span in run.spans()] == ([trace] if trace else [])
        assert [parent_of(span) for span in run.spans()] == ([f"00-{TRACE}-{SPAN}-01"] if trace else [])


def test_a_client_cannot_have_its_messages_traced(tmp_path: Path) -> None:
    """Fault to guard against: whoever sends a sampled context would have each message sampled."""
    with TracedSimulation(tmp_path, CHAT, ratio=0.0, follow=3) as run:
        for number in range(20):
            ann = run.connect(f"ann{number}", "/chat/lobby", headers=sent(SAMPLED))
            say(run, ann, {"type": "say"})
        assert [of(span, "fws.event") for span in run.spans()] == ["connect"] * 3
        run.advance(1)
        run.connect("bob", "/chat/lobby", headers=sent(SAMPLED))
        assert len(run.spans()) == 4


def test_spans_are_bounded_and_those_left_out_are_counted(tmp_path: Path) -> None:
    with TracedSimulation(tmp_path, '[pipelines]\nmessage = ["echo"]\n', most=5) as run:
        ann = run.connect("ann")
        say(run, ann, *map(str, range(20)))
        assert len(got(ann)) == 20
        assert len(run.spans()) == 5
        assert run.nodes[""].context.metrics["traces_over_limit"] == 16


def test_a_message_that_flows_on_later_stays_in_its_trace(tmp_path: Path) -> None:
    conf = '[pipelines]\nconnect = ["join lobby"]\nmessage = ["delay 2s", "broadcast lobby"]\n'
    with TracedSimulation(tmp_path, conf) as run:
        ann = run.connect("ann")
        say(run, ann, "hi")
        first = run.one("message")
        assert stages(first) == [("* message delay", "later")]
        run.advance(2.1)
        assert got(ann) == ["hi"]
        [later] = [span for span in run.spans("message") if of(span, "fws.resumed")]
        assert stages(later) == [("* message broadcast", "pass")]
        assert parent_of(later) == header_of(first)
        assert parent_of(run.one("delivery")) == header_of(later)


def test_a_tick_is_a_trace(tmp_path: Path) -> None:
    conf = (
        '[pipelines]\nconnect = ["join lobby"]\n'
        '[schedules.price]\nevery = "1s"\nrun = ["set type=tick", "publish lobby"]\n'
    )
    with TracedSimulation(tmp_path, conf) as run:
        run.connect("ann")
        run.nodes[""].schedules.apply({}, {})
        run.nodes[""].serve()
        run.advance(1.1)
        span = run.spans("tick")[0]
        assert (span.name, span.parent) == ("tick price", None)
        assert parent_of(run.spans("delivery")[0]) == header_of(span)


def test_what_a_call_publishes_is_a_part_of_its_trace(tmp_path: Path) -> None:
    conf = """
[endpoints."/connection/websocket"]
protocol = "centrifuge"
connect = ["join lobby"]
[channels.lobby]
publish = "channel == 'lobby'"
"""
    with TracedSimulation(tmp_path, conf) as run:
        ann = run.connect("ann", "/connection/websocket")
        say(run, ann, {"id": 1, "connect": {}}, {"id": 2, "publish": {"channel": "lobby", "data": {"a": 1}}})
        message = run.one("message")
        assert (of(message, "fws.call.kind"), of(message, "fws.channel")) == ("publish", "lobby")
        assert parent_of(run.one("delivery")) == header_of(message)


def test_events_that_are_not_traced_run_the_plain_hooks(tmp_path: Path) -> None:
    with TracedSimulation(tmp_path, CHAT, ratio=0.0) as run:
        endpoint = run.nodes[""].generation.endpoints[0]
        assert endpoint.message._hooks == tuple(step.hook for step in endpoint.message.steps)
        [branch, _] = [branch for step in endpoint.message.steps for _, branch in step.branches]
        assert branch._hooks == tuple(step.hook for step in branch.steps)
        ann = run.connect("ann", "/chat/lobby")
        say(run, ann, {"type": "say"})
        assert run.spans() == []


def test_while_a_traced_message_waits_others_are_not_taken_for_it(tmp_path: Path) -> None:
    """Fault to guard against: what is current in one greenlet is not in another one."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "slow.py").write_text(
        "import gevent\nfrom fws import Filter\nclass Slow(Filter):\n"
        "    def message(self, client, message):\n        gevent.sleep(0.05 if message['slow'] else 0)\n"
    )
    conf = CHAT.replace('"set seen=true"', '"slow", "set seen=true"')
    with TracedSimulation(tmp_path, conf) as run:
        ann, bob = run.connect("ann", "/chat/lobby"), run.connect("bob", "/chat/lobby")
        ann.peer.say('{"type":"say","slow":true}')
        bob.peer.say('{"type":"say","slow":false}')
        run.settle()
        bob_s, ann_s = run.spans("message")
        assert [of(span, "fws.client") for span in (bob_s, ann_s)] == ["bob", "ann"]
        assert len(stages(bob_s)) == len(stages(ann_s)) == 5
        assert bob_s.end_time is not None
        assert ann_s.end_time is not None
        assert bob_s.end_time < ann_s.end_time
        endpoint = run.nodes[""].generation.endpoints[0]
        [branch, _] = [branch for step in endpoint.message.steps for _, branch in step.branches]
        assert branch._hooks == tuple(step.hook for step in branch.steps)


def test_taps_see_traced_events(tmp_path: Path) -> None:
    with TracedSimulation(tmp_path, CHAT) as run:
        node = run.nodes[""]
        observation, tap = Observation(lambda: node.generation, node.hub), Tap(lambda: 0.0)
        observation.add(tap)
        say(run, run.connect("ann", "/chat/lobby"), {"type": "say"})
        assert len(stages(run.one("message"))) == 4
        seen = sorted(f"{line['path']} {line['stage'].replace('/', ' ', 1)}" for line in tap.take(0))
        assert seen == sorted(name for span in run.spans() for name, _ in stages(span))
        observation.remove(tap)
        say(run, run.connect("bob", "/chat/lobby"), {"type": "say"})
        assert tap.take(0) == []
        assert len(stages(run.spans("message")[1])) == 4


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_stages_of_traced_events_are_counted_like_others(tmp_path: Path, ratio: float) -> None:
    """Fault to guard against: the second tuple of hooks would have counts of its own."""
    with TracedSimulation(tmp_path, CHAT, ratio=ratio) as run:
        say(run, run.connect("ann", "/chat/lobby"), {"type": "say"}, {"type": "hm"}, "no JSON")
        endpoint = run.nodes[""].generation.endpoints[0]
        counted = {str(id): (counts.runs, counts.drops) for id, counts in endpoint.message.counts()}
        assert counted == {"/chat/{room} message json": (3, 1), "/chat/{room} message by_type": (2, 1)}


def test_a_reload_traces_the_new_pipelines_and_stops_former_filters(tmp_path: Path) -> None:
    from fws.live.retirement import Retirement
    from tests.filters.timing import written

    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "ends.py").write_text(
        "from fws import Filter, Later, DROP\nkept = []\nclass Ends(Filter):\n"
        "    def message(self, client, message):\n        return Later(kept.append)\n"
        "    def stop(self):\n        kept.clear()\n"
    )
    with TracedSimulation(tmp_path, '[pipelines]\nmessage = ["ends", "echo"]\n') as run:
        ann = run.connect("ann")
        say(run, ann, "hi")
        old = run.nodes[""].generation
        retirement_of = old
        run.reload(written(tmp_path, '[pipelines]\nmessage = ["echo"]\n'))
        retirement = Retirement(retirement_of, run.nodes[""].generation, 1e12)
        del old, retirement_of
        say(run, ann, "ho")
        assert stages(run.spans("message")[-1]) == [("* message echo", "pass")]
        # A message is kept back for the rest of the former pipeline.
        assert not retirement.look(0.0, lambda error: None)
        module = next(iter(retirement._filters)).__class__.__module__
        import sys

        sys.modules[module].kept.clear()
        retirement.look(0.0, lambda error: None)
        gevent.sleep(0)
        assert retirement.look(0.0, lambda error: None)


def test_the_log_has_the_trace_of_a_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "broken.py").write_text(BROKEN.format("raise LookupError('no such thing')"))
    with (
        TracedSimulation(tmp_path, '[pipelines]\nmessage = ["broken"]\n') as run,
        caplog.at_level("DEBUG", logger="fws"),
    ):
        ann = run.connect("ann")
        say(run, ann, "hi")
        [fault] = [record for record in caplog.records if record.name == "fws.filters"]
        assert (vars(fault)["client"], vars(fault)["event"]) == ("ann", "message")
        assert (vars(fault)["trace_id"], vars(fault)["span_id"]) == ids(run.one("message"))
        [connected] = [record for record in caplog.records if "connected to /" in record.message]
        assert vars(connected)["trace_id"] == trace_of(run.spans("connect")[0])
