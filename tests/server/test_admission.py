"""Admission: limits by address and user, and that nothing is remembered permanently."""

from __future__ import annotations

from typing import Any

import pytest

from fws.base.errors import Refusal
from fws.base.metrics import Metrics
from fws.config import Limits
from fws.server.admission import Admission, Lease
from tests.support import Clock


def admission(**limits: Any) -> tuple[Admission, Metrics, Clock]:
    metrics, clock = Metrics(), Clock(1000.0)
    return Admission(Limits(**limits), metrics, clock), metrics, clock


def refused(call: Any, *arguments: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call(*arguments)
    assert caught.value.status == 429
    assert dict(caught.value.headers)["Retry-After"]
    return caught.value


def test_an_address_has_a_limit_of_connections() -> None:
    door, metrics, _ = admission(clients_per_address=2)
    first, _ = door.enter("192.0.2.1"), door.enter("192.0.2.1")
    refused(door.enter, "192.0.2.1")
    door.enter("192.0.2.2")
    first.leave()
    first.leave()
    door.enter("192.0.2.1")
    refused(door.enter, "192.0.2.1")
    assert metrics["address_clients_over_limit"] == 2


def test_a_site_with_ipv6_is_one_address() -> None:
    door, _, _ = admission(clients_per_address=1)
    door.enter("2001:db8:0:1::1")
    refused(door.enter, "2001:db8:0:1:ffff::2")
    door.enter("2001:db8:0:2::1")


def test_ones_own_networks_and_unix_sockets_are_not_counted_unless_asked_for() -> None:
    door, _, _ = admission(clients_per_address=1)
    for address in ("127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd00::1", ""):
        door.enter(address)
        door.enter(address)
    strict, _, _ = admission(clients_per_address=1, exempt=[])
    strict.enter("127.0.0.1")
    refused(strict.enter, "127.0.0.1")


def test_connections_come_at_a_rate_with_a_seconds_worth_at_once() -> None:
    door, metrics, clock = admission(connections_per_address=5.0)
    for _ in range(5):
        door.enter("192.0.2.1").leave()
    refused(door.enter, "192.0.2.1")
    door.enter("192.0.2.2")
    clock.advance(0.2)
    door.enter("192.0.2.1")
    refused(door.enter, "192.0.2.1")
    assert metrics["address_connections_over_rate"] == 2


def test_failed_logins_shut_the_address_out_for_a_while() -> None:
    door, metrics, clock = admission(failed_logins=3 / 60)
    for _ in range(3):
        door.check_logins("192.0.2.1")
        door.login_failed("192.0.2.1")
    refused(door.check_logins, "192.0.2.1")
    door.check_logins("192.0.2.2")
    clock.advance(21)
    door.check_logins("192.0.2.1")
    assert (metrics["failed_logins"], metrics["failed_logins_over_rate"]) == (3, 1)


def test_a_user_has_a_limit_of_connections_from_all_addresses() -> None:
    door, metrics, _ = admission(clients_per_user=2)
    tickets = [door.enter(f"192.0.2.{number}") for number in range(3)]
    tickets[0].claim("ann")
    tickets[0].claim("ann")
    tickets[1].claim("ann")
    refused(tickets[2].claim, "ann")
    tickets[2].claim("bob")
    tickets[0].leave()
    door.enter("").claim("ann")
    assert metrics["user_clients_over_limit"] == 1


def test_nothing_is_left_when_all_have_gone() -> None:
    door, _, clock = admission()
    tickets: list[Lease] = []
    for number in range(500):
        tickets.append(door.enter(f"198.51.{number // 250}.{number % 250}"))
        tickets[-1].claim(f"user {number}")
    for ticket in tickets:
        ticket.leave()
    assert not door._addresses
    assert not door._users
    clock.advance(60)
    for _ in range(500):
        door.enter("192.0.2.1").leave()
        clock.advance(1)
    assert len(door._arrivals) <= 2
