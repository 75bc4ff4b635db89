from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pytest

from fws import DROP
from fws.base.errors import ConfigError, Reject
from fws.clients.client import Client
from fws.filters.http import Http
from fws.testing.suite import Suite
from tests.http.services import Asked, Service, response
from tests.support import Harness, build

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def service() -> Iterator[Service]:
    with Service().running() as service:
        service.answer = lambda asked: response(status="204 No Content")
        yield service
    gevent.sleep(0.01)  # gevent closes some sockets in the next round of its loop


def serving(tmp_path: Path, service: Service, events: str, options: str = "", more: str = "") -> Harness:
    """A server with the filter in the pipelines of these events, and `echo` behind it on `message`."""
    stage = f"http {service.url} timeout=2s {options}"
    lines = [f"{event} = {[stage, *['echo'] * (event == 'message')]}" for event in events.split()]
    return asking(build("\n".join(["[pipelines]", *lines, more]), tmp_path))


def asking(server: Harness) -> Harness:
    """The server, whose clients may wait for the service."""
    server.patience = 10.0
    return server


def says(service: Service, answer: Any, status: str = "200 OK") -> None:
    service.answer = lambda asked: response(msgspec.json.encode(answer), status)


def refused(server: Harness) -> tuple[int, str]:
    with pytest.raises(Reject) as error:
        server.connect()
    return error.value.status, error.value.reason


# What the service is asked.


def test_it_is_asked_about_a_message(tmp_path: Path, service: Service) -> None:
    server = serving(tmp_path, service, "message", "headers=X-Key,cookie")
    client = server.connect("/a%20b?token=secret", headers={"X-Key": "1", "Cookie": "a=b", "X-Other": "private"})
    client.identity = {"user": '"ann"\n'}
    server.client_says(client, '{"a":1}')
    (asked,) = service.asked
    assert asked.line == "POST /ask?a=1 HTTP/1.1"
    assert asked.headers["content-type"] == "application/json"
    assert (asked.headers["x-key"], asked.headers["cookie"]) == ("1", "a=b")
    assert "x-other" not in asked.headers
    assert asked.json == {
        "event": "message",
        "client": client.id,
        "address": "192.0.2.1",
        "path": "/a b",
        "identity": {"user": '"ann"\n'},
        "channel": None,
        "message": '{"a":1}',
    }
    assert server.sent(client) == ['{"a":1}'], "204: unchanged"


def test_a_binary_message_is_in_base64(tmp_path: Path, service: Service) -> None:
    server = serving(tmp_path, service, "message")
    client = server.connect()
    server.client_says(client, b"\x00\xff")
    assert service.asked[0].json["b64data"] == "AP8="
    assert service.asked[0].json["message"] is None
    assert server.sent(client) == [b"\x00\xff"]


def test_it_is_asked_about_clients_and_subscriptions_and_calls(tmp_path: Path, service: Service) -> None:
    channels = '[channels."{name}"]\nsubscribe = "client.id != null"\npublish = "client.id != null"'
    server = serving(tmp_path, service, "connect subscribe message", more=channels)
    client = server.connect()
    client.subscribe("tea")
    asked = [asked.json for asked in service.asked]
    assert [(one["event"], one["channel"], one["message"]) for one in asked] == [
        ("connect", None, None),
        ("subscribe", "tea", None),
    ]


CENTRIFUGE = """
[endpoints."/ws"]
protocol = "centrifuge"
message = ["http {url} timeout=2s on_failure=close"]
[channels.tea]
subscribe = "client.id != null"
publish = "client.id != null"
"""


def test_a_call_is_described_and_can_be_refused(tmp_path: Path, service: Service) -> None:
    server = asking(build(CENTRIFUGE.format(url=service.url), tmp_path))
    client = server.connect("/ws")
    server.client_says(client, '{"id":1,"connect":{}}')
    server.client_says(client, '{"id":2,"publish":{"channel":"tea","data":{"a":1}}}')
    assert service.asked[0].json["channel"] == "tea"
    assert service.asked[0].json["call"] == {"kind": "publish", "channel": "tea", "method": None}
    assert service.asked[0].json["message"] == {"a": 1}
    says(service, {"message": {"pong": 1}})
    server.client_says(client, '{"id":3,"rpc":{"method":"ping","data":{}}}')
    assert service.asked[1].json["call"] == {"kind": "rpc", "channel": None, "method": "ping"}
    says(service, {}, "403 Forbidden")
    server.client_says(client, '{"id":4,"rpc":{"method":"ping","data":{}}}')
    says(service, {"reject": {"status": 429, "reason": "Slower."}})
    server.client_says(client, '{"id":5,"rpc":{"method":"ping","data":{}}}')
    replies = [msgspec.json.decode(text) for text in server.sent(client)]
    assert replies[1] == {"id": 2, "publish": {}}
    assert replies[2] == {"id": 3, "rpc": {"data": {"pong": 1}}}
    assert replies[3]["error"]["code"] == 103
    assert "Slower." in str(replies[4]["error"])


def test_the_standards_libraries_can_verify_the_request(tmp_path: Path, service: Service) -> None:
    server = serving(tmp_path, service, "message", f"secret={SECRET} headers=webhook-signature")
    server.wall.now = 1614265330.5
    client = server.connect(headers={"Webhook-Signature": "v1,forged"})
    server.client_says(client, "a", "a")
    first, second = service.asked
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = f"{first.headers['webhook-id']}.1614265330.".encode() + first.body
    signature = base64.b64encode(hmac.digest(key, content, sha256)).decode()
    assert first.headers["webhook-timestamp"] == "1614265330"
    assert first.headers["webhook-signature"] == f"v1,{signature}"
    assert first.headers["webhook-id"] != second.headers["webhook-id"]


# What becomes of the event.


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        ({}, ["hi"]),
        ({"message": "ho"}, ["ho"]),
        ({"message": {"a": [1]}}, ['{"a":[1]}']),
        ({"drop": True}, []),
        ({"reply": "no", "drop": True}, ["no"]),
        ({"reply": {"no": 1}}, ['{"no":1}', "hi"]),
        ({"join": ["tea"], "publish": {"channel": "tea", "message": "in"}, "drop": True}, ["in"]),
    ],
)
def test_the_answer_decides_about_a_message(tmp_path: Path, service: Service, answer: Any, sent: list[str]) -> None:
    server = serving(tmp_path, service, "message")
    says(service, answer)
    client = server.connect()
    server.client_says(client, "hi")
    assert sorted(server.sent(client)) == sorted(sent)
    assert server.counted("http_") == {}


def test_the_answer_can_end_the_connection(tmp_path: Path, service: Service) -> None:
    server = serving(tmp_path, service, "message")
    says(service, {"reply": "bye", "close": {"code": 4000, "reason": "enough"}})
    client = server.connect()
    server.client_says(client, "hi")
    assert server.sent(client) == ["bye"]
    assert server.closed(client) == (4000, "enough")


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_refused_message_is_dropped(tmp_path: Path, service: Service, status: str) -> None:
    server = serving(tmp_path, service, "message", "failures=1")
    says(service, {}, status)
    client = server.connect()
    server.client_says(client, "a", "b")
    assert (server.sent(client), server.closed(client)) == ([], None)
    assert server.counted("http_") == {"refused": 2}


@pytest.mark.parametrize("event", ["message", "connect", "subscribe"])
def test_a_channel_that_cannot_be_joined_is_a_refusal(
    tmp_path: Path, service: Service, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: on `message` it was logged and counted as a fault of the filter."""

    def full(*_: object) -> None:
        raise Reject(429, "Too many channels.")

    channels = '[channels."{name}"]\nsubscribe = "client.id != null"'
    server = serving(tmp_path, service, event, more=channels)
    says(service, {"join": "tea"})
    monkeypatch.setattr(Client, "join", full)
    if event == "connect":
        assert refused(server) == (429, "Too many channels.")
    else:
        client = server.connect()
        if event == "message":
            server.client_says(client, "hi")
            assert server.counted("http_") == {"refused": 1}
            assert (server.sent(client), server.closed(client)) == ([], None)
        else:
            with pytest.raises(Reject, match="Too many channels"):
                client.subscribe("news")
    assert server.faults == 0


def test_messages_of_a_client_stay_in_order_and_others_do_not_wait(tmp_path: Path, service: Service) -> None:
    def answer(asked: Asked) -> bytes:
        if asked.json["message"] == "slow":
            time.sleep(0.2)
        return response(status="204 No Content")

    service.answer = answer
    server = serving(tmp_path, service, "message")
    ann, bob = server.connect(), server.connect()
    server.arrive_now(ann, "slow")
    server.arrive_now(ann, "fast")
    server.arrive_now(bob, "hi")
    until = time.monotonic() + 0.15
    while not (heard := server.sent(bob)) and time.monotonic() < until:
        gevent.sleep(0.005)
        server.turn()
    assert heard == ["hi"]
    while len(heard := [*heard, *server.sent(ann)]) < 3:
        gevent.sleep(0.005)
        server.turn()
    assert heard == ["hi", "slow", "fast"]


def test_a_client_that_is_admitted_gets_identity_channels_and_a_greeting(tmp_path: Path, service: Service) -> None:
    server = serving(tmp_path, service, "connect")
    says(service, {"identity": {"user": "ann"}, "join": ["tea", "user:ann"], "reply": {"hello": "ann"}})
    client = server.connect()
    assert client.identity == {"user": "ann"}
    assert client.channels == {"tea", "user:ann"}
    assert server.sent(client) == ['{"hello":"ann"}']


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        ({}, "401 Unauthorized", (401, "You may not connect here.")),
        ({}, "403 Forbidden", (403, "You may not connect here.")),
        ({"reject": {"status": 429, "reason": "Too many."}}, "200 OK", (429, "Too many.")),
        ({"reject": 403, "join": "tea"}, "200 OK", (403, "You may not connect here.")),
    ],
)
def test_a_client_can_be_refused(
    tmp_path: Path, service: Service, answer: Any, status: str, expected: tuple[int, str]
) -> None:
    server = serving(tmp_path, service, "connect")
    says(service, answer, status)
    assert refused(server) == expected
    assert server.counted("logins_refused_") == {"denied": 1}
    assert server.counted("failed_logins") == ({"": 1} if expected[0] in (401, 403) else {})


def test_a_subscription_can_be_refused(tmp_path: Path, service: Service) -> None:
    channels = '[channels."{name}"]\nsubscribe = "client.id != null"'
    server = serving(tmp_path, service, "subscribe", more=channels)
    client = server.connect()
    for answer, status, expected in (
        ({}, "403 Forbidden", 403),
        ({"reject": {"status": 429, "reason": "Later."}}, "200 OK", 429),
        ({}, "500 Oops", 503),
        ({"message": 1}, "200 OK", 503),
    ):
        says(service, answer, status)
        with pytest.raises(Reject) as error:
            client.subscribe("tea")
        assert error.value.status == expected
    says(service, {})
    client.subscribe("tea")
    assert client.channels == {"tea"}


# Failures.

FAULTS: dict[str, bytes | None] = {
    "an error": response(b"", "500 Oops"),
    "not found": response(b"", "404 Not Found"),
    "a redirect": response(b"", "302 Found", "Location: /"),
    "an interim response": response(b"", "103 Early Hints"),
    "no JSON": response(b"<html>"),
    "a list": response(b"[]"),
    "deep": response(b"[" * 60_000),
    "a word that is not known": response(b'{"massage": "hi"}'),
    "a word for another event": response(b'{"identity": {}}'),
    "a value that is none": response(b'{"message": null}'),
    "a channel that is none": response(b'{"publish": {"channel": "", "message": 1}}'),
    "too much": response(b'{"message": "%s"}' % (b"x" * 70_000)),
    "nothing": None,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_none_drops_the_message(tmp_path: Path, service: Service, fault: str) -> None:
    service.answer = lambda asked: FAULTS[fault]
    server = serving(tmp_path, service, "message")
    client = server.connect()
    server.client_says(client, "hi")
    assert (server.sent(client), server.closed(client)) == ([], None)
    assert sum(server.counted("http_failures_").values()) == 1
    assert len(service.asked) == 1
    assert server.faults == 0


@pytest.mark.parametrize(
    ("on_failure", "sent", "closed"),
    [
        ("drop", [], None),
        ("pass", ["hi"], None),
        ("reply", ['{"error":"the service is not available"}'], None),
        ("close", [], (1013, "the service is not available")),
    ],
)
def test_a_failure_is_treated_as_the_file_says(
    tmp_path: Path, service: Service, on_failure: str, sent: list[str], closed: Any
) -> None:
    says(service, {}, "500 Oops")
    server = serving(tmp_path, service, "message", f"on_failure={on_failure}")
    client = server.connect()
    server.client_says(client, "hi")
    assert (server.sent(client), server.closed(client)) == (sent, closed)


@pytest.mark.parametrize("options", ["", "on_failure=close"])
def test_a_client_is_refused_if_it_cannot_be_decided(tmp_path: Path, service: Service, options: str) -> None:
    says(service, {}, "500 Oops")
    server = serving(tmp_path, service, "connect", options)
    assert refused(server)[0] == 503
    assert server.counted("logins_refused_") == {"unavailable": 1}


def test_no_client_can_have_the_service_left_alone(tmp_path: Path, service: Service) -> None:
    """Fault: where the service echoes what it gets, five messages of 70 kB suspended it for everybody."""
    service.answer = lambda asked: response(msgspec.json.encode({"message": asked.json["message"]}))
    server = serving(tmp_path, service, "message", "failures=2")
    eve, ann = server.connect(), server.connect()
    server.client_says(eve, *["x" * 70_000] * 5)
    server.client_says(ann, "hi")
    assert (server.sent(eve), server.sent(ann)) == ([], ["hi"])
    assert server.counted("http_failures_") == {"invalid": 5}


def test_an_invalid_answer_about_a_client_is_counted_like_none(tmp_path: Path, service: Service) -> None:
    """Fault: it was counted as `logins_refused_invalid`, which reads like an invalid token."""
    says(service, {"message": "on connect there is none"})
    server = serving(tmp_path, service, "connect")
    assert refused(server)[0] == 503
    assert server.counted("logins_refused_") == {"unavailable": 1}
    assert server.counted("http_failures_") == {"invalid": 1}


def test_a_service_that_fails_is_left_alone_for_a_while(tmp_path: Path, service: Service) -> None:
    says(service, {}, "500 Oops")
    server = serving(tmp_path, service, "message", "failures=2 pause=10s")
    client = server.connect()
    server.client_says(client, *"abcde")
    assert len(service.asked) == 2
    assert server.counted("http_failures_") == {"unavailable": 2, "paused": 3}
    says(service, {})
    server.pass_time(10)
    server.client_says(client, "f")
    assert server.sent(client) == ["f"]


def test_a_client_cannot_have_the_service_left_alone(tmp_path: Path, service: Service) -> None:
    """Fault: five messages that the service cannot read would have dropped those of all clients."""
    says(service, {}, "400 Bad Request")
    server = serving(tmp_path, service, "message", "failures=2")
    client = server.connect()
    server.client_says(client, *"abcde")
    assert len(service.asked) == 5


def test_the_log_says_why_and_does_not_repeat_it(
    tmp_path: Path, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    says(service, {"massage": "hi"})
    server = serving(tmp_path, service, "message")
    client = server.connect()
    server.client_says(client, "a", "b")
    lines = [record.getMessage() for record in caplog.records if "the service at" in record.getMessage()]
    url = service.url.partition("?")[0]
    assert lines == [f"the service at {url}: an answer has no 'massage' here: did you mean 'message'?"]


# Problems of the file.


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("http", "url"),
        ("http ftp://a/", "expected a URL"),
        ("http http://{id}.example/", "url"),
        ("http http://a/{id}", "url"),
        ("http http://a/ headers=host", "host is about one connection"),
        ("http http://a/ headers=Transfer-Encoding", "transfer-encoding is about one connection"),
        ("http http://a/ headers='a b'", "not the name of a header"),
        ("http http://a/ secret=s3cret", "secret: write whsec_"),
        ("http http://a/ ca=a.pem", "ca: plain HTTP"),
        ("http https://a/ key=a.pem", "key: there is no certificate"),
        ("http http://a/ timeout=0s", "timeout"),
        ("http http://a/ on_failure=maybe", "on_failure"),
        ("http http://a/ whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a secret is written as secret=whsec_"),
    ],
)
def test_what_cannot_work_is_a_problem_of_the_file(tmp_path: Path, stage: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        build(f'[pipelines]\nmessage = ["{stage}"]', tmp_path)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("event", ["disconnect", "unsubscribe", "publication", "deliver", "data"])
def test_where_an_answer_is_of_no_use_it_is_not_asked(tmp_path: Path, event: str) -> None:
    with pytest.raises(ConfigError):
        build(f'[pipelines]\n{event} = ["http http://a/"]', tmp_path)


# In tests of a configuration.


def test_a_test_of_a_configuration_asks_the_service_that_its_environment_names(
    tmp_path: Path, service: Service
) -> None:
    """docs/http.md and docs/testing.md say so: the service may have to be another one than that of `fws run`."""
    script = f"""[pipelines]
message = ["http ${{SERVICE_URL:-http://127.0.0.1:1/}}", "echo"]
[[test]]
name = "the service decides"
env = {{ SERVICE_URL = "{service.url}" }}
script = '''
ann> connect /
ann> hi
ann< hello
'''
"""
    says(service, {"message": "hello"})
    (tmp_path / "app.toml").write_text(script)
    assert [result.failure for result in Suite(tmp_path / "app.toml", {}).run()] == [None]
    assert [asked.json["client"] for asked in service.asked] == ["ann"]


# Without a client.


def test_a_schedule_can_ask(tmp_path: Path, service: Service) -> None:
    server = serving(tmp_path, service, "message", "headers=cookie", 'connect = ["join news"]')
    client = server.connect()
    (asking,) = (one for one in server.generation.filters if isinstance(one, Http))
    says(service, {"message": {"n": 2}, "publish": {"channel": "news", "message": "tick"}})
    assert asking.tick({"n": 1}) == {"n": 2}
    assert service.asked[0].json == {
        "event": "tick",
        "client": None,
        "identity": None,
        "channel": None,
        "message": {"n": 1},
    }
    server.settle()
    assert server.sent(client) == ["tick"]
    for answer, status in (({"reply": "there is no client"}, "200 OK"), ({}, "500 Oops"), ({}, "403 Forbidden")):
        says(service, answer, status)
        assert asking.tick({"n": 1}) is DROP


def test_a_failure_cannot_be_passed_where_access_is_decided(tmp_path: Path) -> None:
    """Fault: on_failure=pass was accepted on `connect`, where a failure refuses."""
    with pytest.raises(ConfigError, match="on connect a failure always refuses"):
        build('[pipelines]\nconnect = ["http http://127.0.0.1:1/ on_failure=pass"]', tmp_path)
