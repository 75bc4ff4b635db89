"""Many wrong credentials, and a service that is slow to decide which clients may connect."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.auth.pairs import SECRET, jwk, private
from tests.hostile.attack import ECHO, meanwhile, repeat, status
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Running, Serve
from tests.integration.raw import TEXT, Raw

TOKEN = "PiRLiGpWQZ1F2QhxJ8Cw"
PLACES = f"""
{ECHO}
[endpoints."/shared"]
connect = ["token ann:{TOKEN}"]
[endpoints."/signed"]
connect = ["jwt HS256 {SECRET}"]
[endpoints."/pair"]
connect = ["jwt RS256 jwks=keys.json"]
"""


def issued(algorithm: str = "HS256", **claims: Any) -> str:
    key = SECRET if algorithm == "HS256" else private(algorithm)
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + 60} | claims, key, algorithm)


def forged(token: str) -> str:
    """The same token with a wrong signature of the same form."""
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{signature[:10][::-1]}{signature[10:]}"


@pytest.fixture(scope="module")
def server(shared: dict[bool, Serve], tmp_path_factory: pytest.TempPathFactory) -> Running:
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    keys.write_text(json.dumps({"keys": [jwk("RS256")]}))
    return shared[False](PLACES.replace("keys.json", str(keys)))


MANY: dict[str, Any] = {f"claim{number}": [number] * 20 for number in range(60)}
BAD = {
    "a token": ("/shared", "wrong"),
    "a long token": ("/shared", "x" * 7000),
    "a wrong signature": ("/signed", forged(issued())),
    "an expired one": ("/signed", issued(exp=1)),
    "many claims": ("/signed", forged(issued(**MANY))),
    "dots": ("/signed", "." * 7000),
    "brackets": ("/signed", "eyJhbGciOiJIUzI1NiJ9." + "W1tb" * 1700 + ".x"),
    "RSA with a wrong signature": ("/pair", forged(issued("RS256"))),
    "an unknown key": ("/pair", jwt.encode({"exp": 9e9}, private("RS256", 1), "RS256", {"kid": "other"})),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_flood_of(server: Running, kind: str) -> None:
    path, token = BAD[kind]

    def come() -> None:
        assert status(server, f"Authorization: Bearer {token}", path=path) == 401

    with Bystander(server):
        assert repeat(come, hands=4) > 20
    assert "Traceback" not in server.output


def test_a_flood_of_wrong_tokens_as_messages(server: Running) -> None:
    def come() -> None:
        for path, token in (("/shared", "wrong"), ("/signed", forged(issued())), ("/signed", "x" * 100_000)):
            with server.connect() as sock:
                raw = Raw(sock, path)
                raw.send(TEXT, token.encode())
                assert raw.close_code()[0] == 4401

    with Bystander(server):
        assert repeat(come, hands=4) > 8
    assert "Traceback" not in server.output


def test_a_client_that_guesses_tokens_is_slowed_down(serve: Serve) -> None:
    toml = '[limits]\nexempt = []\nfailed_logins = "20/min"\nconnections_per_address = "10000/s"\n'
    server = serve(toml + PLACES.replace('[endpoints."/pair"]\nconnect = ["jwt RS256 jwks=keys.json"]', ""))
    seen: Counter[int] = Counter()

    def guess() -> None:
        seen[status(server, "Authorization: Bearer wrong", path="/shared")] += 1
        with server.connect() as sock, contextlib.suppress(AssertionError, ConnectionError):
            raw = Raw(sock, "/signed")
            raw.send(TEXT, b"wrong")
            seen[raw.close_code()[0]] += 1

    with Bystander(server):
        repeat(guess, hands=4)
        # Also who has the right one now: an address that guesses is not believed.
        assert status(server, f"Authorization: Bearer {TOKEN}", path="/shared") == 429
    # Four may have been let in to say it before the twentieth guess; and a slow machine takes a few seconds.
    assert 20 <= seen[401] + seen[4401] <= 26
    assert seen[429] > 20


class Slow(http.server.BaseHTTPRequestHandler):
    """A slow service."""

    def do_GET(self) -> None:
        time.sleep(1)
        body = json.dumps({"keys": [jwk("RS256")], "user": "ann"}).encode()
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Service(http.server.ThreadingHTTPServer):
    request_queue_size = 200


@pytest.fixture
def slow() -> Iterator[int]:
    with Service(("127.0.0.1", 0), Slow) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        yield service.server_port
        service.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("stage", "most"),
    [("http_auth {url} timeout=5s at_once=20", 20), ("jwt RS256 jwks={url}", 60)],
    ids=["http", "jwks"],
)
def test_a_client_that_waits_for_a_service_delays_nobody(serve: Serve, slow: int, stage: str, most: int) -> None:
    """Sixty clients connect at once. As many as may wait are admitted, and the others get 503."""
    stage = stage.format(url=f"http://127.0.0.1:{slow}/")
    server = serve(f"[endpoints.'/slow']\nconnect = ['{stage}']{ECHO}")
    bearer = f"Authorization: Bearer {issued('RS256')}"
    seen: Counter[int] = Counter()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.enter_context(Bystander(server))
        for _ in range(60):
            stack.enter_context(meanwhile(lambda _: seen.update([status(server, bearer, path="/slow")])))
    assert seen == Counter({101: most, 503: 60 - most}), seen
    assert time.monotonic() - began > 0.9
    assert "Traceback" not in server.output
