from __future__ import annotations

import base64
import contextlib
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fws.base.errors import ConfigError
from fws.config import load
from fws.http.signature import secret_key, signed
from fws.pipeline.publication import Publication
from fws.testing.simulation import Simulation
from fws.webhooks.courier import FAILURES, LONGEST_PAUSE, PAUSE, retry_after
from fws.webhooks.queue import LONGEST
from tests.certificates import Authority
from tests.live.site import LiveSite
from tests.support import Harness, build
from tests.webhooks.receiver import KEY, SECRET, Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def serving(tmp_path: Path, receiver: Receiver, options: str = "", events: str = "message") -> Harness:
    stage = f'["webhook {receiver.url} {SECRET} {options}"]'
    return build("[pipelines]\n" + "".join(f"{event} = {stage}\n" for event in events.split()), tmp_path)


def say(server: Harness, *messages: str | bytes) -> None:
    client = server.connect()
    server.client_says(client, *messages)


def test_each_event_is_told_in_the_form_of_the_specification(tmp_path: Path, receiver: Receiver) -> None:
    server = serving(tmp_path, receiver, events="connect message disconnect publication")
    client = server.connect("/chat?token=secret", identity={"user": "ann"})
    server.client_says(client, "hello", b"\x00\xff")
    server.channels.publish("tea", {"n": 1}, sender=client.id)
    server.settle()
    server.leave(client)
    server.settle()
    about = {"client": client.id, "address": "192.0.2.1", "path": "/chat", "identity": {"user": "ann"}}
    told = {event["type"]: event["data"] for event in receiver.events}
    assert [event["type"] for event in receiver.events if event["type"] != "channel.publication"] == [
        "client.connect",
        "client.message",
        "client.message",
        "client.disconnect",
    ]
    assert told["client.connect"] == about
    assert receiver.events[1]["data"] == about | {"message": "hello"}
    assert receiver.events[2]["data"] == about | {"b64data": base64.b64encode(b"\x00\xff").decode()}
    assert told["channel.publication"] == {"client": client.id, "channel": "tea", "message": {"n": 1}}
    assert told["client.disconnect"] == about | {"code": 1006}
    assert {event["timestamp"] for event in receiver.events} == {"2026-01-02T03:04:05.000Z"}
    assert [request.id for request in receiver.requests] == [event["id"] for event in receiver.events]
    assert len({request.id for request in receiver.requests}) == 5
    assert receiver.requests[0].headers["content-type"] == "application/json"
    assert receiver.requests[0].headers["webhook-timestamp"] == "1767323045"
    assert receiver.signed
    assert (server.metrics["webhooks_delivered"], server.faults) == (5, 0)


def test_a_publication_is_told_by_the_node_on_which_it_was_published(tmp_path: Path, receiver: Receiver) -> None:
    server = serving(tmp_path, receiver, events="publication")
    instance: Any = server.generation.filters[0]
    for origin in ("here", "node", "outside"):
        instance.publication(Publication("tea", origin, origin=origin))
    server.settle()
    assert receiver.messages == ["here"]


def test_tests_and_trials_tell_nobody(tmp_path: Path, receiver: Receiver) -> None:
    """Fault: a reload runs the file's tests, and each reload would have told the service of clients that never were."""
    conf = tmp_path / "test.toml"
    conf.write_text(f'[pipelines]\nmessage = ["webhook {receiver.url}", "echo"]')
    with Simulation(load(conf), {}) as simulation:
        ann = simulation.connect("ann")
        ann.peer.say("hello")
        simulation.settle()
        simulation.advance(60)
        assert [one.message for one in ann.received] == ["hello"]
    assert receiver.requests == []


def test_over_https_fws_verifies_the_service_and_identifies_itself(tmp_path: Path, receiver: Receiver) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign())
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    cert, key = authority.sign()
    stage = f"webhook https://localhost:{receiver.server_port}/ cert={cert} key={key}"
    for file, messages in ((other.file, []), (authority.file, ["hello"])):
        server = build(f'[pipelines]\nmessage = ["{stage} ca={file}"]', tmp_path)
        say(server, "hello")
        assert receiver.messages == messages
        assert server.metrics["webhooks_retried"] == 1 - len(messages)


def test_the_signature_is_that_of_the_published_test_vector() -> None:
    """The key, the id, the time and the body of the tests of the reference implementation."""
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.0, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_with_two_secrets_each_request_has_two_signatures(tmp_path: Path, receiver: Receiver) -> None:
    other = "whsec_" + base64.b64encode(b"another key of enough bytes").decode()
    server = build(f'[pipelines]\nmessage = ["webhook {receiver.url} {other} {SECRET}"]', tmp_path)
    say(server, "hello")
    assert receiver.signed
    assert receiver.requests[0].headers["webhook-signature"].count("v1,") == 2


def test_without_a_secret_there_is_an_id_and_no_signature(tmp_path: Path, receiver: Receiver) -> None:
    say(build(f'[pipelines]\nmessage = ["webhook {receiver.url}"]', tmp_path), "hello")
    assert receiver.requests[0].id == receiver.events[0]["id"]
    assert "webhook-signature" not in receiver.requests[0].headers


def test_the_message_flows_on_at_once_whatever_the_service_does(tmp_path: Path, receiver: Receiver) -> None:
    over = threading.Event()
    receiver.answers = [lambda answer: over.wait(10)]
    stages = f'["webhook {receiver.url}", "echo"]'
    server = build(f"[pipelines]\nmessage = {stages}", tmp_path)
    assert not server.generation.all_endpoints()[0].message.waits
    client = server.connect()
    server.peers[client].arrive(server.peers[client].frame("hello"))
    server.peers[client].poll()
    assert server.peers[client].read() == ["hello"]
    over.set()


def test_a_service_that_fails_gets_the_same_request_again_until_it_is_well(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500, 503, 429]
    server = serving(tmp_path, receiver)
    say(server, "hello")
    for seconds in (1, 2, 4):
        server.pass_time(seconds)
    assert receiver.messages == ["hello"] * 4
    assert len({request.id for request in receiver.requests}) == 1
    stamps = [int(request.headers["webhook-timestamp"]) for request in receiver.requests]
    assert stamps == sorted(stamps)
    assert stamps[-1] > stamps[0], "the time is that of the attempt"
    assert receiver.signed
    assert server.counted("webhooks_") == {"retried": 3, "delivered": 1}


@pytest.mark.parametrize("status", [302, 400, 404, 410])
def test_what_the_service_refuses_is_given_up(tmp_path: Path, receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"Location": receiver.url})]
    server = serving(tmp_path, receiver)
    say(server, "one", "two")
    server.pass_time(LONGEST)
    assert receiver.messages == ["one", "two"]
    assert server.counted("webhooks_") == {"failed": 1, "delivered": 1}


def test_what_the_service_says_besides_its_status_does_not_matter(tmp_path: Path, receiver: Receiver) -> None:
    """Fault: events were sent again, and the service was left alone, if it answered with more than 64 KiB."""

    def answers_much(answer: Any) -> None:
        answer.send_response(200)
        answer.send_header("Content-Length", "100000")
        answer.end_headers()
        with contextlib.suppress(OSError):
            answer.wfile.write(bytes(100_000))

    receiver.answers = [answers_much] * FAILURES
    server = serving(tmp_path, receiver)
    say(server, *"abcdef")
    server.pass_time(LONGEST)
    assert receiver.messages == list("abcdef")
    assert server.counted("webhooks_") == {"delivered": 6}


def test_no_answer_in_time_is_a_failure(tmp_path: Path, receiver: Receiver) -> None:
    over = threading.Event()
    receiver.answers = [lambda answer: over.wait(10)]
    server = serving(tmp_path, receiver, "timeout=700ms")
    say(server, "hello")
    server.pass_time(1)
    over.set()
    assert receiver.messages == ["hello", "hello"]
    assert server.counted("webhooks_") == {"retried": 1, "delivered": 1}


def test_retry_after_is_heeded_for_all_events(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [(503, {"Retry-After": "30"})]
    server = serving(tmp_path, receiver)
    say(server, "one")
    say(server, "two")
    server.pass_time(29)
    assert receiver.messages == ["one"]
    server.pass_time(1)
    assert sorted(receiver.messages) == ["one", "one", "two"]


def test_retry_after_is_a_number_or_a_date_and_has_a_bound() -> None:
    now = 1767323045.0
    assert retry_after("30", now) == 30
    assert retry_after("Fri, 02 Jan 2026 03:04:35 GMT", now) == 30
    assert retry_after("Fri, 02 Jan 2026 03:04:00 GMT", now) == 0
    assert retry_after("99999999", now) == LONGEST_PAUSE
    for text in ("", "soon", "-5", "1e9", "9" * 5000, "Fri, 99 Jan 2026 03:04:35 GMT", "\u0663"):
        assert retry_after(text, now) == 0


def test_a_dead_service_is_left_alone_and_what_waits_is_not_given_up(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [500] * FAILURES
    server = serving(tmp_path, receiver, "order=none tries=3")
    with caplog.at_level(logging.INFO, "fws.webhooks"):
        say(server, *map(str, range(20)))
        assert len(receiver.requests) == FAILURES
        server.pass_time(PAUSE / 2)
        assert len(receiver.requests) == FAILURES
        server.pass_time(PAUSE / 2)
        server.pass_time(LONGEST)
    assert sorted(map(int, receiver.messages[FAILURES:])) == list(range(20))
    assert server.counted("webhooks_") == {"retried": FAILURES, "delivered": 20}
    # Greenlets of other tests may still find that their services are gone.
    lines = [line for record in caplog.records if receiver.url in (line := record.getMessage())]
    assert len(lines) == 2, lines
    assert lines[0].endswith("does not take events: status 500")
    assert lines[1].endswith("takes events again")


def test_the_events_of_a_client_stay_in_order_and_other_clients_do_not_wait(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500]
    server = serving(tmp_path, receiver)
    say(server, "a1", "a2", "a3")
    say(server, "b1")
    assert receiver.messages == ["a1", "b1"]
    server.pass_time(1)
    assert receiver.messages == ["a1", "b1", "a1", "a2", "a3"]


def test_the_events_of_a_channel_stay_in_order_and_other_channels_do_not_wait(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answers = [500]
    server = serving(tmp_path, receiver, "order=channel", events="publication message")
    for channel, message in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        server.channels.publish(channel, message)
        server.settle()
    say(server, "of a client")
    assert receiver.messages == ["a1", "b1", "of a client"]
    server.pass_time(1)
    assert receiver.messages == ["a1", "b1", "of a client", "a1", "a2"]


def test_subscriptions_and_ticks_are_told(tmp_path: Path, receiver: Receiver) -> None:
    server = serving(tmp_path, receiver, events="message")
    instance: Any = server.generation.filters[0]
    client = server.connect()
    instance.subscribe(client, "tea")
    instance.unsubscribe(client, "tea")
    instance.tick({"schedule": "hourly"})
    server.settle()
    about = {"client": client.id, "address": "192.0.2.1", "path": "/", "channel": "tea"}
    assert {event["type"]: event["data"] for event in receiver.events} == {
        "client.subscribe": about,
        "client.unsubscribe": about,
        "schedule.tick": {"message": {"schedule": "hourly"}},
    }


def test_several_events_go_in_one_request(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500]
    server = serving(tmp_path, receiver, "batch=2 wait=1s")
    say(server, "one")
    say(server, "two")
    assert receiver.messages == ["one", "two"]
    server.pass_time(1)
    assert receiver.messages == ["one", "two"] * 2
    first, second = receiver.requests
    assert first.body == second.body
    assert first.id == second.id
    assert first.body["type"] == "batch"
    say(server, "three")
    assert len(receiver.requests) == 2
    server.pass_time(1)
    assert receiver.requests[2].body["type"] == "batch"
    assert receiver.messages[4:] == ["three"]
    assert receiver.signed


def test_too_many_events_are_dropped_and_counted(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [500]
    server = serving(tmp_path, receiver, "most=2")
    say(server, "one", "two", "three", "four")
    server.pass_time(1)
    assert receiver.messages == ["one", "one", "two"]
    assert server.counted("webhooks_") == {"dropped": 2, "retried": 1, "delivered": 2}
    assert "are dropped: 2 wait already" in caplog.text


def test_what_json_cannot_express_is_dropped_and_the_message_flows_on(tmp_path: Path, receiver: Receiver) -> None:
    module = (
        "from fws import Filter\nclass Odd(Filter):\n    def message(self, client, message):\n        return {1j}\n"
    )
    stages = f'["odd", "webhook {receiver.url}", "drop"]'
    server = build(f"[pipelines]\nmessage = {stages}", tmp_path, pipelines={"odd": module})
    say(server, "hello")
    assert receiver.requests == []
    assert (server.metrics["webhooks_dropped"], server.faults) == (1, 0)


def test_at_the_end_there_is_one_last_attempt(tmp_path: Path, receiver: Receiver) -> None:
    server = serving(tmp_path, receiver, "batch=10 wait=1min")
    say(server, "hello")
    assert receiver.requests == []
    assert server.generation.stop() == []
    server.settle()
    assert receiver.messages == ["hello"]


def test_the_end_does_not_wait_for_a_service_that_fails(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500]
    server = serving(tmp_path, receiver)
    say(server, "one", "two")
    began = time.monotonic()
    assert server.generation.stop() == []
    assert time.monotonic() - began < 2
    assert server.counted("webhooks_") == {"retried": 1, "dropped": 2}


@pytest.mark.parametrize("change", ["the options", "the address"])
def test_what_waits_survives_a_reload_that_changes(tmp_path: Path, receiver: Receiver, change: str) -> None:
    """Fault: a wrong address was corrected, and what had waited for it was lost."""
    receiver.answers = [503]
    toml = '[pipelines]\nmessage = ["webhook {} {}"]'
    with receiving() as other:
        site = LiveSite(toml.format(receiver.url, "order=channel"), tmp_path)
        server = site.harness
        client = server.connect()
        server.client_says(client, "one", "two")
        url = receiver.url if change == "the options" else other.url
        assert site.edit(toml.format(url, "tries=7")).status == "done"
        server.client_says(client, "three")
        server.settle()
        site.look()
        server.settle()
        if change == "the options":
            assert receiver.messages == ["one", "three", "one", "two"], "the former filter is stopped a little later"
        else:
            assert (receiver.messages, other.messages) == (["one"], ["three", "one", "two"])
    assert server.counted("webhooks_") == {"retried": 1, "delivered": 3}


def test_a_reload_of_one_of_two_stages_leaves_the_other_alone(tmp_path: Path, receiver: Receiver) -> None:
    """They have the same text, and therefore were one filter."""
    with receiving() as other:
        toml = '[pipelines]\nconnect = ["webhook {}"]\nmessage = ["webhook {}"]'
        site = LiveSite(toml.format(receiver.url, receiver.url), tmp_path)
        server = site.harness
        client = server.connect()
        assert site.edit(toml.format(other.url, receiver.url)).status == "done"
        site.look()
        server.client_says(client, "hello")
        server.connect()
        server.settle()
        assert [event["type"] for event in receiver.events] == ["client.connect", "client.message"]
        assert [event["type"] for event in other.events] == ["client.connect"]


WRONG = {
    "webhook http://127.0.0.1/ no-secret": "secret: write whsec_",
    "webhook http://127.0.0.1/ ca=nothing.pem": "ca: plain HTTP",
    "webhook nowhere": "expected a URL",
}


@pytest.mark.parametrize("stage", WRONG)
def test_what_is_wrong_is_a_problem_of_the_file(tmp_path: Path, stage: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[stage]):
        build(f'[pipelines]\nmessage = ["{stage}"]', tmp_path)


def test_the_secret_is_not_shown(tmp_path: Path, receiver: Receiver) -> None:
    server = serving(tmp_path, receiver)
    step = server.generation.all_endpoints()[0].message.steps[0]
    assert SECRET not in step.text + step.options
    assert KEY.decode() not in step.text
