from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from fws.base.breaker import Breaker
from fws.http import service as module
from fws.http.error import HttpError
from fws.http.service import Service
from fws.http.tls import trust
from fws.http.url import Url
from tests import support
from tests.certificates import Authority
from tests.http import services
from tests.http.services import Asked, response


@pytest.fixture
def there() -> Iterator[services.Service]:
    with services.Service().running() as running:
        yield running
    gevent.sleep(0.01)  # gevent closes some sockets in the next round of its loop


def asking(there: services.Service, timeout: float = 5, at_once: int = 10, breaker: Breaker | None = None) -> Service:
    return Service(Url.parse(there.url), timeout=timeout, limit=1000, at_once=at_once, breaker=breaker)


def test_it_sends_what_it_is_given_and_returns_what_it_gets(there: services.Service) -> None:
    there.answer = lambda asked: response(b"teapot", "418 I'm a teapot", "X-A: 1", "Set-Cookie: a=b")
    service = asking(there)
    answer = service.ask("POST", {"x-b": "é", "content-type": "text/plain"}, b"\x00body")
    assert (answer.status, answer.headers["x-a"], answer.body) == (418, "1", b"teapot")
    service.ask("GET")
    service.close()
    posted, got = there.asked
    assert posted.line == "POST /ask?a=1 HTTP/1.1"
    assert posted.body == b"\x00body"
    assert posted.headers == {
        "host": f"localhost:{there.port}",
        "content-length": "5",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "fws",
        "content-type": "text/plain",
        "x-b": "é",
    }
    assert got.line == "GET /ask?a=1 HTTP/1.1"
    assert "cookie" not in got.headers
    assert not got.body


def test_a_connection_is_used_again(there: services.Service) -> None:
    service = asking(there)
    for _ in range(5):
        service.ask("POST", {}, b"{}")
    service.close()
    assert (there.connections, len(there.asked)) == (1, 5)
    assert there.closed.wait(1)


def test_a_connection_that_the_service_has_closed_is_not_used(there: services.Service) -> None:
    """Fault: after a restart of the service, the first requests on kept connections failed."""
    service = asking(there)
    service.ask("POST")
    there.hang_up()
    time.sleep(0.05)
    service.ask("POST")
    service.close()
    assert there.connections == 2


def test_a_connection_that_the_service_announces_to_close_is_not_kept(there: services.Service) -> None:
    there.answer = lambda asked: response(b"", "200 OK", "Connection: close")
    service = asking(there)
    assert [service.ask("POST").status for _ in range(2)] == [200, 200]
    assert not service._idle


def test_bytes_that_nobody_asked_for_are_not_an_answer(there: services.Service) -> None:
    """Fault: what follows an answer on a kept connection would be taken for the answer to the next request."""
    there.answer = lambda asked: response(b"1") + response(b"2")
    service = asking(there)
    assert [service.ask("POST").body for _ in range(2)] == [b"1", b"1"]
    service.close()


def test_a_connection_is_kept_for_a_moment_only(there: services.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service closes connections after a while, and what is sent at that moment is lost."""
    monkeypatch.setattr(module, "KEPT", 0.05)
    service = asking(there)
    service.ask("POST")
    gevent.sleep(0.2)
    assert there.closed.wait(1), "without another request, too"
    service.ask("POST")
    service.close()
    assert there.connections == 2


def test_a_request_is_never_sent_twice(there: services.Service) -> None:
    """A kept connection that is closed upon a request: nobody can tell whether the service has seen it."""
    service = asking(there)
    service.ask("POST")
    there.answer = lambda asked: None
    with pytest.raises(HttpError, match="the connection was closed without an answer"):
        service.ask("POST")
    assert (there.connections, len(there.asked)) == (1, 2)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_an_answer_and_is_not_followed(there: services.Service, status: str) -> None:
    there.answer = lambda asked: response(b"", status, "Location: http://169.254.169.254/")
    service = asking(there)
    assert service.ask("POST").status == int(status[:3])
    service.close()
    assert len(there.asked) == 1


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\n", "\r\n\r\nGET / HTTP/1.1", "\N{SNOWMAN}"])
def test_a_value_cannot_add_to_the_request(there: services.Service, value: str) -> None:
    service = asking(there)
    with pytest.raises(HttpError):
        service.ask("POST", {"x-a": value})
    assert not there.asked
    assert not service.busy


def test_proxies_of_the_environment_are_not_used(there: services.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    service = asking(there)
    assert service.ask("GET").status == 200
    service.close()


def test_requests_above_the_limit_wait(there: services.Service) -> None:
    under_way, most = 0, 0

    def slowly(asked: Asked) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.02)
        under_way -= 1
        return response(asked.body)

    there.answer = slowly
    service = asking(there, at_once=2)
    asked = [gevent.spawn(service.ask, "POST", {}, str(number).encode()) for number in range(6)]
    gevent.joinall(asked)
    service.close()
    assert [one.get().body for one in asked] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert (most, there.connections) == (2, 2)


def test_a_wait_for_others_is_part_of_the_time(there: services.Service) -> None:
    def slowly(asked: Asked) -> bytes:
        time.sleep(0.3)
        return response()

    there.answer = slowly
    service = asking(there, timeout=0.15, at_once=1)
    first = gevent.spawn(service.ask, "POST")
    gevent.sleep(0.05)
    second = gevent.spawn(service.ask, "POST")
    assert service.busy
    errors = []
    for one in (first, second):
        one.join()
        errors.append((one.exception.cause, str(one.exception)))
    # The second one had what the first one left, and did not get its answer.
    assert errors == [("unavailable", "no answer within 0.15 s"), ("unavailable", "no answer within 0.15 s")]
    there.answer = lambda asked: response()
    service.ask("POST")
    service.close()


def test_those_who_only_waited_are_told_that_it_is_busy(there: services.Service) -> None:
    there.answer = lambda asked: time.sleep(0.3)
    breaker = Breaker(1, 10, time.monotonic)
    slow, service = asking(there, timeout=0.3, at_once=1), asking(there, timeout=0.1, at_once=1, breaker=breaker)
    service._turns = slow._turns
    first = gevent.spawn(slow.ask, "POST")
    gevent.sleep(0.05)
    with pytest.raises(HttpError) as error:
        service.ask("POST")
    assert error.value.cause == "busy"
    assert breaker.allows(), "that was not a failure of the service"
    first.join()


def test_a_service_that_fails_is_not_asked(there: services.Service) -> None:
    clock = support.Clock()
    there.answer = lambda asked: response(b"", "500 Oops")
    service = asking(there, breaker=Breaker(2, 10, clock))
    assert [service.ask("POST").status for _ in range(2)] == [500, 500]
    with pytest.raises(HttpError) as error:
        service.ask("POST")
    assert error.value.cause == "paused"
    assert len(there.asked) == 2
    clock.advance(10)
    there.answer = lambda asked: response(b"", "400 No")
    assert [service.ask("POST").status for _ in range(4)] == [400] * 4, "a 400 may be one client's fault"
    service.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNUSABLE = {
    "too large": response(b"x" * 1001),
    "too large, in chunks": CHUNKED + b"1\r\nx\r\n" * 1001 + b"0\r\n\r\n",
    "compressed": response(b"x", "200 OK", "Content-Encoding: gzip"),
    "no chunks": CHUNKED + b"hello\r\n",
    "too large, with another status": response(b"x" * 1001, "400 No"),
}


@pytest.mark.parametrize("answer", UNUSABLE)
def test_an_answer_that_cannot_be_used_is_not_a_service_that_fails(there: services.Service, answer: str) -> None:
    """Fault: where a service echoes what it gets, large messages of one client suspended the requests for everybody."""
    breaker = Breaker(2, 10, support.Clock())
    service = asking(there, breaker=breaker)
    there.answer = lambda asked: UNUSABLE[answer]
    for _ in range(3):
        with pytest.raises(HttpError) as error:
            service.ask("POST")
        assert error.value.cause == "invalid"
    assert breaker.allows()
    assert not service._idle, "such a connection is not used again"


FAILING = {
    "an error that is too large": (response(b"x" * 1001, "500 Oops"), "the answer has more than 1000 bytes"),
    "a head that is too large": (response(b"", "200 OK", *[f"X-A: {'x' * 1000}"] * 70), "the answer is too long"),
    "a body that never ends": (CHUNKED + b"1\r\nx\r\n", "no answer within 0.1 s"),
    "no HTTP": (b"hello\r\n\r\n", "the answer is not valid HTTP"),
    "nothing": (None, "the connection was closed without an answer"),
}


@pytest.mark.parametrize("failing", FAILING)
def test_no_answer_in_time_is_a_service_that_fails(there: services.Service, failing: str) -> None:
    breaker = Breaker(2, 10, support.Clock())
    service = asking(there, breaker=breaker, timeout=0.1)
    answer, reason = FAILING[failing]
    there.answer = lambda asked: answer
    for _ in range(2):
        with pytest.raises(HttpError, match=reason) as error:
            service.ask("POST")
        assert error.value.cause == "unavailable"
    assert not breaker.allows()


def test_the_next_address_is_tried() -> None:
    """localhost is ::1 first on most machines, where nobody listens."""
    with services.Service().running() as there:
        service = asking(there)
        assert service.ask("GET").status == 200
        service.close()
    gevent.sleep(0.01)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{closed}/", "refused"),
        ("http://name.invalid/", "[Nn]ame|resolution|No address"),
        (f"http://{'a' * 70}.example/", "Error|[Nn]ame"),
    ],
)
def test_nobody_there_is_said_in_a_few_words(url: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    service = Service(Url.parse(url.format(closed=port)), timeout=5, limit=10)
    with pytest.raises(HttpError, match=reason) as error:
        service.ask("GET")
    assert len(str(error.value)) < 60
    gevent.sleep(0.01)


# TLS.


def secure(authority: Authority, *, clients: Authority | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign())
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_client_and_service_know_each_other_by_certificates(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    cert, key = other.sign("client")
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    with services.Service(secure(authority, clients=other)).running() as there:
        url = Url.parse(there.url)

        def ask(*files: Path | None) -> int:
            service = Service(url, timeout=5, limit=100, trusted=trust(url, *files))
            status = [service.ask("POST", {}, b"{}").status for _ in range(3)][-1]
            service.close()
            return status

        assert ask(authority.file, cert, key) == 200
        assert there.connections == 1, "a connection with TLS is used again"
        assert ask(authority.file, both) == 200
        wrong = (authority.file,), (other.file, cert, key), (None, cert, key), (authority.file, *authority.sign())
        for files in wrong:
            with pytest.raises(HttpError, match=r"TLS: |Connection reset"):
                ask(*files)
    gevent.sleep(0.01)


def test_renewed_certificates_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Certificates of clients often live for a day. A half of a renewal leaves the former ones in use."""
    authority, unknown = Authority(tmp_path), Authority(tmp_path, "unknown")
    former, renewed = unknown.sign("former"), authority.sign("renewed")
    used = tmp_path / "used.pem", tmp_path / "used.key"
    for source, target in zip(former, used, strict=True):
        target.write_bytes(source.read_bytes())
    with services.Service(secure(authority, clients=authority)).running() as there:
        url = Url.parse(there.url)
        service = Service(url, timeout=5, limit=100, trusted=trust(url, authority.file, *used))
        for source, target, problem in zip(renewed, used, ("cert: certificate and key in PEM", ""), strict=True):
            with pytest.raises(HttpError):
                service.ask("GET")
            caplog.clear()
            target.write_bytes(source.read_bytes() + b"\n")
            if problem:
                with pytest.raises(HttpError):
                    service.ask("GET")
                assert problem in caplog.text
        assert service.ask("GET").status == 200
        service.close()
    gevent.sleep(0.01)


def test_a_certificate_for_another_host_is_none(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with services.Service(secure(authority)).running() as there:
        url = Url.parse(there.url.replace("localhost", "127.0.0.2"))
        with pytest.raises(HttpError, match=r"TLS: |refused"):
            Service(url, timeout=5, limit=100, trusted=trust(url, authority.file)).ask("GET")
    gevent.sleep(0.01)


def test_a_handshake_that_hangs_ends_in_time(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = Url.parse(f"https://localhost:{silent.getsockname()[1]}/")
        began = time.monotonic()
        with pytest.raises(HttpError, match=r"no answer within 0.1 s"):
            Service(url, timeout=0.1, limit=100, trusted=trust(url, authority.file)).ask("GET")
        assert time.monotonic() - began < 2
    gevent.sleep(0.01)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.sign()
    _, locked = authority.sign("locked", password=b"secret")
    _, foreign = authority.sign("foreign")
    absent = tmp_path / "absent.pem"
    plain, url = Url.parse("http://a/"), Url.parse("https://a/")
    for arguments, reason in {
        (plain, authority.file): "ca: plain HTTP",
        (plain, None, cert, key): "cert: plain HTTP",
        (plain, None, None, key): "key: there is no certificate",
        (url, absent): "ca: No such file",
        (url, key): "ca: the file has no certificates in PEM",
        (url, None, absent, key): "cert: No such file",
        (url, None, cert, absent): "key: No such file",
        (url, None, cert): "cert: certificate and key in PEM are needed",
        (url, None, cert, foreign): "cert: certificate and key in PEM are needed, and must belong together",
        (url, None, cert, locked): "key: it is encrypted",
    }.items():
        with pytest.raises(ValueError, match=reason):
            trust(*arguments)  # type: ignore[arg-type]
