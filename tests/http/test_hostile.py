"""Services that hang, drip, redirect, flood, or do not speak HTTP: what fws asks ends in time, and others go on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import pytest

from fws.http.error import HttpError
from fws.http.service import Service
from fws.http.url import Url
from tests.http.hostile import INVALID, LATE, TOO_LONG, hostile

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with hostile() as port:
        yield port


@pytest.fixture(autouse=True)
def others() -> Iterator[list[float]]:
    """How long another greenlet has waited for its turns."""
    waits: list[float] = []

    def tick() -> None:
        while True:
            before = time.monotonic()
            gevent.sleep(0.005)
            waits.append(time.monotonic() - before)

    ticking = gevent.spawn(tick)
    yield waits
    ticking.kill()
    gevent.sleep(0.01)  # gevent closes some sockets in the next round of its loop


def failure(port: int, behaviour: str, timeout: float) -> str:
    service = Service(Url.parse(f"http://127.0.0.1:{port}/{behaviour}"), timeout=timeout, limit=100_000, at_once=1)
    with pytest.raises(HttpError) as error:
        service.ask("POST", {}, b"{}")
    assert not service.busy
    assert not service._idle, "the connection is not used again"
    return str(error.value)


@pytest.mark.parametrize("behaviour", LATE)
def test_an_answer_that_is_late_ends_in_time(port: int, behaviour: str) -> None:
    """Fault: urllib3's time limit begins anew with each byte."""
    began = time.monotonic()
    assert failure(port, behaviour, 0.15) == "no answer within 0.15 s"
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("behaviour", TOO_LONG)
def test_an_answer_that_is_too_long_is_not_read_and_delays_nobody(
    port: int, behaviour: str, others: list[float]
) -> None:
    """Fault: http.client reads interim responses and trailers for ever, and never waits while they keep coming."""
    assert failure(port, behaviour, 10) in (
        "the answer has more than 100000 bytes",
        "the answer is too long",
        "the answer is not valid HTTP",
    )
    assert max(others, default=0) < 0.5


@pytest.mark.parametrize("behaviour", INVALID)
def test_an_answer_that_is_invalid_is_none(port: int, behaviour: str) -> None:
    assert failure(port, behaviour, 5) in (
        "the connection was closed without an answer",
        "the answer was cut short",
        "the answer is not valid HTTP",
        "the answer is compressed, which was not asked for",
        "status 103",
        "status 101",
    )
