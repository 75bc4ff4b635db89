"""A service that takes webhooks: it keeps the requests, checks their signatures by hand, and answers as a test says."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

KEY = b"a key of more than 24 bytes"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Got(NamedTuple):
    """One request: its `webhook-id`, its headers in lower case, its body."""

    id: str
    headers: dict[str, str]
    body: Any

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in it, in either form."""
        return self.body["data"]["events"] if self.body["type"] == "batch" else [self.body]


class Receiver(http.server.ThreadingHTTPServer):
    """Answers with the next of `answers`, and with 204 when there are none left.

    Attributes:
        answers: a status, a status with headers, or a function that writes to the connection itself.
        requests: what has arrived, invalid signatures included.
        signed: whether each request so far had a valid signature.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers: list[int | tuple[int, dict[str, str]] | Callable[[Any], object]] = []
        self.requests: list[Got] = []
        self.signed = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/events"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.requests for event in request.events]

    @property
    def messages(self) -> list[Any]:
        """The messages of the events that have arrived."""
        return [event["data"].get("message") for event in self.events]

    def wait_for(self, number: int, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Wait until so many events have arrived, and return all of them."""
        until = time.monotonic() + seconds
        while len(self.events) < number:
            assert time.monotonic() < until, f"{len(self.events)} of {number} events have arrived: {self.events}"
            time.sleep(0.01)
        return self.events


class _Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        receiver = self.server
        assert isinstance(receiver, Receiver)
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.signed = receiver.signed and valid(headers, body)
        receiver.requests.append(Got(headers["webhook-id"], headers, msgspec.json.decode(body)))
        answer = receiver.answers.pop(0) if receiver.answers else 204
        if callable(answer):
            answer(self)
            return
        status, more = answer if isinstance(answer, tuple) else (answer, {})
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", "0")
        with contextlib.suppress(OSError):
            self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def valid(headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is right, according to the text of the Standard Webhooks specification."""
    content = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    right = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    return f"v1,{right}" in headers.get("webhook-signature", "").split(" ")


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
