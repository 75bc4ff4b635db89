from __future__ import annotations

from pathlib import Path

import pytest

from fws.auth.credential import fingerprint
from fws.base.errors import ConfigError, Reject
from fws.clients.client import Client
from tests.support import Harness, build

TOKENS = {"ann": "aaaaaaaa", "bob": "bbbbbbbb"}
BANNED = """
[limits]
ping_interval = "1d"
[pipelines]
connect = ["ban", "token ann:aaaaaaaa bob:bbbbbbbb", "ban"]
message = ["json", "by_type"]
[filters.by_type]
use = "switch"
key = "type"
default = ["echo"]
[filters.by_type.case]
spam = ["ban user for=1h"]
flood = ["ban address for=1h"]
leak = ["ban token"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Harness:
    return build(BANNED, tmp_path)


def connect(server: Harness, user: str, address: str = "192.0.2.1") -> Client:
    return server.connect(headers={"Authorization": f"Bearer {TOKENS[user]}"}, address=address)


def status(server: Harness, user: str, address: str = "192.0.2.1") -> int:
    with pytest.raises(Reject) as refused:
        connect(server, user, address)
    return refused.value.status


@pytest.mark.parametrize(
    ("field", "ann", "bob", "elsewhere"),
    [
        ("user:ann", 403, 0, 403),
        ("address:192.0.2.1", 403, 403, 0),
        (f"token:{fingerprint('aaaaaaaa')}", 403, 0, 403),
        ("user:Ann", 0, 0, 0),
    ],
)
def test_a_banned_client_is_refused(server: Harness, field: str, ann: int, bob: int, elsewhere: int) -> None:
    server.storage.set_field("bans", field, "")
    for user, address, expected in (
        ("ann", "192.0.2.1", ann),
        ("bob", "192.0.2.1", bob),
        ("ann", "192.0.2.9", elsewhere),
    ):
        if expected:
            assert status(server, user, address) == expected
        else:
            connect(server, user, address)
    assert server.faults == 0


def test_a_connected_client_that_is_banned_elsewhere_is_disconnected(server: Harness) -> None:
    ann, bob, waiting = connect(server, "ann"), connect(server, "bob"), server.connect()
    server.storage.set_field("bans", "user:ann", "")
    server.pass_time(2)
    assert server.closed(ann) == (4403, "access was revoked")
    assert server.closed(bob) is None
    server.client_says(waiting, TOKENS["ann"])
    assert server.closed(waiting) == (4403, "You may not connect here.")
    assert server.counted("logins_refused_") == {"banned": 1}


@pytest.mark.parametrize(
    ("until", "lasts"), [("1767323105", 60), ("1767323105.5", 61), ("never", 10**8), ("nan", 10**8), ("", 10**8)]
)
def test_a_ban_ends_when_it_says_and_in_doubt_never(server: Harness, until: str, lasts: float) -> None:
    server.storage.set_field("bans", "user:ann", until)
    server.pass_time(lasts - 1)
    assert status(server, "ann") == 403
    server.pass_time(1)
    if lasts < 100:
        connect(server, "ann")
        server.pass_time(24 * 3600)
        server.pass_time(2)
        assert server.storage.fields("bans") == {}, "what is long over is forgotten"
    else:
        assert status(server, "ann") == 403


def test_a_message_bans_its_client(server: Harness) -> None:
    ann = connect(server, "ann")
    server.client_says(ann, '{"type":"hello"}', '{"type":"spam"}')
    assert server.sent(ann) == ['{"type":"hello"}']
    assert server.closed(ann) == (4403, "banned")
    assert server.storage.fields("bans") == {"user:ann": "1767326645"}
    assert status(server, "ann", "192.0.2.7") == 403
    bob = connect(server, "bob", "2001:db8:1:2:3::4")
    server.client_says(bob, '{"type":"flood"}')
    assert status(server, "bob", "2001:db8:1:2::9") == 403
    server.pass_time(3600)
    other = connect(server, "ann")
    server.client_says(other, '{"type":"leak"}')
    assert status(server, "ann") == 403


def test_a_client_without_a_user_is_banned_by_its_address(tmp_path: Path) -> None:
    server = build("[pipelines]\nconnect = ['ban']\nmessage = ['ban']", tmp_path)
    client = server.connect(address="192.0.2.5")
    server.client_says(client, "x")
    assert server.storage.fields("bans") == {"address:192.0.2.5": ""}


def test_at_a_unix_socket_nobody_is_banned_for_somebody_else(tmp_path: Path) -> None:
    """Fault: all clients of a UNIX socket have the same empty address, so that a ban of one refused all."""
    server = build("[pipelines]\nconnect = ['ban']\nmessage = ['ban']", tmp_path)
    client, other = server.connect(address=""), server.connect(address="")
    server.client_says(client, "x")
    assert server.closed(client) == (4403, "banned")
    server.pass_time(2)
    assert server.closed(other) is None
    server.connect(address="")


def test_a_single_address_of_ipv6_can_be_banned_and_its_network(server: Harness) -> None:
    """Fault: `address:2001:db8::7`, which an operator would write, banned nobody."""
    server.storage.set_field("bans", "address:2001:db8::7", "")
    assert status(server, "ann", "2001:db8::7") == 403
    connect(server, "ann", "2001:db8::8")
    server.storage.set_field("bans", "address:2001:db8:0:1::", "")
    assert status(server, "ann", "2001:db8:0:1::9") == 403


def test_a_name_that_no_storage_can_carry_does_not_keep_the_others_in(tmp_path: Path) -> None:
    source = """
from fws import Filter
class Who(Filter):
    def connect(self, client):
        client.identity = {"user": client.request.query["user"].replace("_", chr(0xD800))}
"""
    server = build("[pipelines]\nconnect = ['ban', 'who', 'ban']", tmp_path, pipelines={"who": source})
    odd, ann = server.connect("/?user=_"), server.connect("/?user=ann")
    server.storage.set_field("bans", "user:ann", "")
    server.pass_time(2)
    assert server.closed(ann) == (4403, "access was revoked")
    assert server.closed(odd) is None


@pytest.mark.slow
def test_many_are_looked_at_in_slices(server: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: checking 20,000 clients in one step delayed everybody by 120 ms."""
    for number in range(600):
        server.connect(
            address=f"10.0.{number >> 8}.{number & 255}", headers={"Authorization": f"Bearer {TOKENS['ann']}"}
        )
    asked: list[int] = []
    get_fields = server.storage.get_fields

    def counted(key: str, *fields: str) -> dict[str, str]:
        asked.append(len(fields))
        return get_fields(key, *fields)

    monkeypatch.setattr(server.storage, "get_fields", counted)
    server.storage.set_field("bans", "address:10.0.2.80", "")
    server.pass_time(2)
    assert server.counted("logins_revoked") == {"": 1}
    assert max(asked) <= 4 * 250


def test_after_an_outage_it_is_asked_again_at_once(server: Harness) -> None:
    """Fault: the time to fail, 4 s with a hanging Redis, and the time to the next check were more than 5 s together."""
    ann = connect(server, "ann")
    server.storage.set("bans", "of another kind")
    server.pass_time(2)
    server.storage.delete("bans")
    server.storage.set_field("bans", "user:ann", "")
    server.pass_time(0.3)
    assert server.closed(ann) == (4403, "access was revoked")


def test_clients_are_refused_while_the_storage_is_unavailable(server: Harness) -> None:
    ann = connect(server, "ann")
    server.storage.set("bans", "of another kind")
    assert status(server, "bob") == 503
    server.pass_time(2)
    assert server.closed(ann) is None
    server.client_says(ann, '{"type":"spam"}')
    assert server.closed(ann) == (4403, "banned")


@pytest.mark.parametrize("stage", ["ban nobody", "ban for=0s", "ban for=1"])
def test_a_ban_that_bans_nobody_is_a_problem_of_the_file(tmp_path: Path, stage: str) -> None:
    with pytest.raises(ConfigError):
        build(f"[pipelines]\nmessage = ['{stage}']", tmp_path)
