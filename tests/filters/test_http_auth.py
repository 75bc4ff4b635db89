from __future__ import annotations

import _socket
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from fws.base.errors import ConfigError, Reject
from tests.certificates import Authority
from tests.support import Harness, build


class Service(http.server.ThreadingHTTPServer):
    """A service that answers as a test defines, and keeps the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status = 200
        self.body = b'{"user": "ann"}'
        self.write: Callable[[Any], None] | None = None
        self.asked: list[dict[str, list[str]]] = []

    def header(self, name: str) -> list[str]:
        """The values of a header in the last request."""
        return self.asked[-1].get(name, [])


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        service = self.server
        assert isinstance(service, Service)
        service.asked.append({name.lower(): self.headers.get_all(name) or [] for name in self.headers})
        try:
            if service.write is not None:
                service.write(self.wfile)
                return
            self.send_response(service.status)
            self.send_header("Location", f"http://127.0.0.1:{service.server_port}/")
            self.send_header("Content-Length", str(len(service.body)))
            self.end_headers()
            self.wfile.write(service.body)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    gevent.sleep(0.01)  # gevent closes some sockets in the next round of its loop


def serving(tmp_path: Path, service: Service, options: str = "timeout=300ms failures=100") -> Harness:
    url = f"http://127.0.0.1:{service.server_port}/who"
    return build(f'[pipelines]\nconnect = ["http_auth {url} {options}", "join user:{{identity.user}}"]', tmp_path)


def refused(server: Harness) -> int:
    with pytest.raises(Reject) as error:
        server.connect()
    return error.value.status


def test_the_answer_is_the_identity(tmp_path: Path, service: Service) -> None:
    headers = {"Authorization": "Bearer abc", "Cookie": "session=1", "X-Other": "private"}
    client = serving(tmp_path, service).connect("/a%20b%C3%A9?token=abc", headers=headers)
    assert client.identity == {"user": "ann"}
    assert client.channels == {"user:ann"}
    assert service.header("authorization") == ["Bearer abc"]
    assert service.header("cookie") == ["session=1"]
    assert service.header("x-original-uri") == ["/a%20b%C3%A9"]
    assert service.header("x-forwarded-for") == ["192.0.2.1"]
    assert not service.header("x-other")


def test_the_chosen_headers_are_passed_and_no_others(tmp_path: Path, service: Service) -> None:
    serving(tmp_path, service, "headers=X-Key").connect(headers={"x-key": "k", "Cookie": "session=1"})
    assert service.header("x-key") == ["k"]
    assert not service.header("cookie")


def test_headers_of_the_client_about_its_address_are_replaced(tmp_path: Path, service: Service) -> None:
    """Fault: the service got both, the client's header and ours."""
    server = serving(tmp_path, service, "headers=X-Forwarded-For,x-original-uri,accept")
    server.connect("/a", headers={"X-Forwarded-For": "127.0.0.1", "X-Original-URI": "/admin", "Accept": "text/html"})
    assert service.header("x-forwarded-for") == ["192.0.2.1"]
    assert service.header("x-original-uri") == ["/a"]
    assert service.header("accept") == ["text/html"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_no_is_a_no_and_no_failure(tmp_path: Path, service: Service, status: int) -> None:
    service.status = status
    server = serving(tmp_path, service, "failures=1")
    assert [refused(server), refused(server)] == [status, status]
    assert len(service.asked) == 2
    assert server.counted("logins_refused_") == {"denied": 2}


def test_a_403_counts_as_a_failed_login(tmp_path: Path, service: Service) -> None:
    """Many services answer 403 to a wrong password, and guessing must be limited."""
    service.status = 403
    server = serving(tmp_path, service)
    refused(server)
    assert server.counted("failed_logins") == {"": 1}


def drip(file: Any) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
        file.write(bytes([byte]))
        file.flush()
        time.sleep(0.05)


def sleep(_: Any) -> None:
    time.sleep(1)


FAULTS: dict[str, Any] = {
    "an error": {"status": 500},
    "a redirect": {"status": 302},
    "too many requests": {"status": 429},
    "no JSON": {"body": b"<html>"},
    "a list": {"body": b"[]"},
    "deep": {"body": b"[" * 60_000},
    "too much": {"body": b" " * 70_000},
    "garbage": {"write": lambda file: file.write(b"garbage\r\n\r\n")},
    "nothing": {"write": lambda file: None},
    "silence": {"write": sleep},
    "a head that is cut short": {"write": lambda file: file.write(b"HTTP/1.1 200 OK\r\nContent-")},
    "no body, and no word that there is none": {"write": lambda file: file.write(b"HTTP/1.1 200 OK\r\n\r\n")},
    "no body, where one should be": {"write": lambda file: file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")},
    "a body that is cut short": {"write": lambda file: file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")},
    "no chunk": {"write": lambda file: file.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_anything_else_refuses_with_503(tmp_path: Path, service: Service, fault: str) -> None:
    for name, value in FAULTS[fault].items():
        setattr(service, name, value)
    server = serving(tmp_path, service)
    assert refused(server) == 503
    assert len(service.asked) == 1, "nothing is asked twice"
    assert server.counted("logins_refused_") == {"unavailable": 1}
    assert server.faults == 0


def test_an_answer_that_is_too_large_suspends_nothing(tmp_path: Path, service: Service) -> None:
    """Fault: a client to whom the service gave a large answer could suspend the logins of all others."""
    service.body = b" " * 70_000
    server = serving(tmp_path, service, "failures=1")
    assert refused(server) == 503
    service.body = b'{"user": "ann"}'
    server.connect()
    assert server.counted("logins_refused_") == {"unavailable": 1}


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_slow_answer_does_not_take_longer_than_the_timeout(tmp_path: Path, service: Service, head: bytes) -> None:
    """Fault: each line and even each byte of the response head had the whole time."""

    def write(file: Any) -> None:
        file.write(head)
        drip(file)

    service.write = write
    began = time.monotonic()
    assert refused(serving(tmp_path, service)) == 503
    assert time.monotonic() - began < 2


def test_a_look_up_in_the_dns_does_not_take_longer_than_the_timeout(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, over, asked = _socket.getaddrinfo, threading.Event(), []

    def slowly(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        over.wait(5)
        return look_up(*arguments, **options)

    server = serving(tmp_path, service)
    monkeypatch.setattr(_socket, "getaddrinfo", slowly)  # gevent calls it in a native thread
    began = time.monotonic()
    assert [refused(server), refused(server)] == [503, 503]
    assert time.monotonic() - began < 2
    assert len(asked) == 1, "one thread of ten waits for the DNS, and not one for each request"
    over.set()


def test_a_service_that_fails_is_left_alone_for_a_while(tmp_path: Path, service: Service) -> None:
    service.status = 500
    server = serving(tmp_path, service, "failures=2 pause=10s")
    assert [refused(server) for _ in range(5)] == [503] * 5
    assert len(service.asked) == 2
    service.status = 200
    server.pass_time(10)
    assert server.connect().identity == {"user": "ann"}
    assert server.connect().identity
    assert server.counted("logins_refused_") == {"unavailable": 2, "paused": 3}


@pytest.mark.parametrize("status", [400, 431, 302])
def test_a_client_cannot_have_the_service_left_alone(tmp_path: Path, service: Service, status: int) -> None:
    """Fault: five requests with a header that the service rejects made all clients be refused."""
    service.status = status
    server = serving(tmp_path, service, "failures=2")
    assert [refused(server) for _ in range(5)] == [503] * 5
    assert server.counted("logins_refused_") == {"unavailable": 5}
    service.status = 200
    assert server.connect().identity == {"user": "ann"}


def test_over_https_the_certificate_of_the_service_is_verified(tmp_path: Path, service: Service) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign())
    service.socket = context.wrap_socket(service.socket, server_side=True)
    stage = f"http_auth https://localhost:{service.server_port}/"
    server = build(f"[pipelines]\nconnect = ['{stage} ca={authority.file.name}']", tmp_path)
    assert server.connect().identity == {"user": "ann"}
    for trusting in (f" ca={other.file.name}", ""):
        assert refused(build(f"[pipelines]\nconnect = ['{stage}{trusting}']", tmp_path)) == 503


@pytest.mark.parametrize("stage", ["https://a/ ca=none.pem", "https://a/ ca=test.toml", "http://a/ ca=test.toml"])
def test_certificates_that_cannot_be_used_are_a_problem_of_the_file(tmp_path: Path, stage: str) -> None:
    with pytest.raises(ConfigError, match="http_auth: ca: "):
        build(f"[pipelines]\nconnect = ['http_auth {stage}']", tmp_path)


def test_nobody_there_fails_closed(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        assert refused(build(f'[pipelines]\nconnect = ["http_auth {url}"]', tmp_path)) == 503


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_no_body_lets_in_without_an_identity(tmp_path: Path, service: Service, body: bytes) -> None:
    service.body = body
    url = f"http://127.0.0.1:{service.server_port}/"
    assert build(f'[pipelines]\nconnect = ["http_auth {url}"]', tmp_path).connect().identity == {}


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://", "https://a b/", "http://u:p@a/", "http://a:99999/", "http://a/{id}"]
)
def test_an_invalid_url_is_a_problem_of_the_file(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError):
        build(f"[pipelines]\nconnect = ['http_auth \"{url}\"']", tmp_path)
