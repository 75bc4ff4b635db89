from __future__ import annotations

import os
import re
from pathlib import Path

import gevent
import pytest

from fws.auth.credential import Denied
from fws.base.errors import ConfigError, Reject
from fws.cli.show import pipelines_of
from fws.storages.memory import MemoryStorage
from tests.support import Harness, build

ANN = "PiRLiGpWQZ1F2QhxJ8Cw"
BOB = "mAOgrTxl4gkGxVbhz9Qe"
LIST = f"""
[endpoints."/{{room}}"]
connect = ["who", "join {{room}}"]
message = ["reply 'you are {{identity.user}}'"]
disconnect = ["publish left {{client.id}}"]
[filters.who]
use = "token"
tokens = ["ann:{ANN}", "bob:{BOB}"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Harness:
    return build(LIST, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {ANN}"},
        {"Authorization": f"bearer  {ANN}"},
        {"Cookie": f"a=b; token={ANN}"},
        {"Sec-WebSocket-Protocol": f"chat, fws.token.{ANN}"},
    ],
)
def test_a_token_lets_in_wherever_it_stands(server: Harness, headers: dict[str, str]) -> None:
    client = server.connect("/tea", headers=headers)
    assert client.identity == {"user": "ann"}
    assert server.hub.members("tea") == [client]
    server.client_says(client, "who am I?")
    assert server.sent(client) == ["you are ann"]


@pytest.mark.parametrize(
    ("headers", "cause"),
    [
        ({"Authorization": f"Bearer {ANN}x"}, "unknown"),
        ({"Authorization": f"Bearer {ANN[:-1]}"}, "unknown"),
        ({"Authorization": f"Bearer ann:{ANN}"}, "malformed"),
        ({"Cookie": f"token=ann:{ANN}"}, "unknown"),
        ({"Authorization": "Bearer"}, "malformed"),
        ({"Authorization": f"Bearer {ANN} {ANN}"}, "malformed"),
        ({"Cookie": "token="}, "malformed"),
        ({"Cookie": "token=ann"}, "unknown"),
        ({"Sec-WebSocket-Protocol": "fws.token."}, "malformed"),
    ],
)
def test_a_wrong_token_is_refused_and_counted(server: Harness, headers: dict[str, str], cause: str) -> None:
    """The first place with a token decides, so that a client cannot try several tokens in one request."""
    with pytest.raises(Reject) as refused:
        server.connect("/tea", headers=headers)
    assert refused.value.status == 401
    assert ("WWW-Authenticate", "Bearer") in refused.value.headers
    assert server.counted("logins_refused_") == {cause: 1}
    assert server.faults == 0
    assert server.hub.members("tea") == []


def test_the_order_is_the_configured_one_and_the_query_counts_only_when_asked_for(tmp_path: Path) -> None:
    server = build(
        f'[endpoints."/a"]\nconnect = ["token ann:{ANN} from=query,header"]\n'
        f'[endpoints."/b"]\nconnect = ["token ann:{ANN} from=header,query"]\n'
        f'[endpoints."/c"]\nconnect = ["token ann:{ANN} from=header"]\n',
        tmp_path,
    )
    good, bad = {"Authorization": f"Bearer {ANN}"}, {"Authorization": f"Bearer {BOB}"}
    assert server.connect(f"/a?token={ANN}", headers=bad).identity
    assert server.connect("/b?token=wrong", headers=good).identity
    for target, headers in ((f"/b?token={ANN}", bad), (f"/c?token={ANN}", {}), ("/a?token=wrong", good)):
        with pytest.raises(Reject):
            server.connect(target, headers=headers)
    assert server.counted("logins_refused_") == {"unknown": 2, "missing": 1}


# The first message.


def test_the_first_message_decides_and_nothing_is_served_before(tmp_path: Path) -> None:
    server = build(LIST.replace('["who", "join {room}"]', '["join early", "who", "join {room}"]'), tmp_path)
    client = server.connect("/tea")
    server.channels.publish("tea", "secret")
    server.channels.publish("early", "secret")
    server.channels.broadcast("secret")
    assert server.sent(client) == []
    assert client.identity is None
    assert client.id not in server.hub.clients
    server.client_says(client, ANN)
    assert client.identity == {"user": "ann"}
    assert server.sent(client) == []
    assert sorted(client.channels) == ["early", "tea"]
    server.channels.publish("tea", "hello")
    server.client_says(client, "who am I?")
    assert server.sent(client) == ["hello", "you are ann"]


def test_messages_right_behind_the_token_are_served_after_it(server: Harness) -> None:
    client = server.connect("/tea")
    peer = server.peers[client]
    server.arrive(client, peer.frame(f'{{"token": "{BOB}"}}') + peer.frame("one") + peer.frame(BOB))
    assert server.sent(client) == ["you are bob"] * 2


@pytest.mark.parametrize("message", [ANN, f'{{"token": "{ANN}"}}'])
def test_a_token_message_after_a_cookie_login_reaches_no_other_filter(tmp_path: Path, message: str) -> None:
    """Fault: a page that always sends the token does not know of the cookie, and the whole channel got the token."""
    server = build(f"[pipelines]\nconnect = ['token {ANN}']\nmessage = ['echo']", tmp_path)
    client = server.connect(headers={"Cookie": f"token={ANN}"})
    server.client_says(client, message, "hello", BOB)
    assert server.sent(client) == ["hello", BOB]
    other = server.connect(headers={"Cookie": f"token={ANN}"})
    server.client_says(other, "hello", f'{{"token": "{BOB}"}}')
    assert server.sent(other) == ["hello", f'{{"token": "{BOB}"}}']


@pytest.mark.parametrize("message", ["hello", "", "x" * 9000, b"bytes", f'{{"token": "{ANN}", "more": 1}}', "{}", "["])
def test_another_first_message_ends_the_connection(server: Harness, message: str | bytes) -> None:
    client = server.connect("/tea")
    left = server.connect("/left", headers={"Authorization": f"Bearer {BOB}"})
    peer = server.peers[client]
    server.arrive(client, peer.frame(message) + peer.frame(ANN))
    assert server.sent(client) == []
    code, _ = server.closed(client) or (0, "")
    assert code == 4401
    server.leave(client)
    assert server.hub.members("tea") == []
    assert server.sent(left) == [], "who was never in does not leave either"
    assert sum(server.counted("logins_refused_").values()) == 1
    assert server.faults == 0


def test_a_refusal_after_the_handshake_is_in_the_log(server: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """Fault: a wrong token as the first message closed with 4401, and at the default level the log had no line."""
    caplog.set_level("INFO")
    for _ in range(3):
        client = server.connect("/tea")
        server.client_says(client, "wrong")
        code, reason = server.closed(client) or (0, "")
        assert code == 4401
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("refused ")]
    assert lines == [f"refused {client.address}: 401 {reason} (connected to /tea)"]
    assert server.counted("refused_401")[""] == 3


def test_a_client_that_sends_nothing_is_closed_after_auth_timeout(
    server: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    client = server.connect("/tea")
    server.pass_time(9.9)
    assert server.closed(client) is None
    server.pass_time(0.2)
    assert server.closed(client) == (4401, "No token in time.")
    assert f"refused {client.address}: 401 No token in time. (connected to /tea)" in caplog.messages
    server.leave(client)
    assert server.hub.busy == 0
    assert len(server.node.context.timers) == 0
    other = server.connect("/tea")
    server.client_says(other, ANN)
    server.pass_time(20)
    assert server.closed(other) is None


def test_a_fault_behind_the_token_closes_too(tmp_path: Path) -> None:
    source = "from fws import Filter\nclass Bad(Filter):\n    def connect(self, client):\n        1 / 0\n"
    server = build(f'[pipelines]\nconnect = ["token {ANN}", "bad"]', tmp_path, pipelines={"bad": source})
    client = server.connect()
    server.client_says(client, ANN)
    assert server.closed(client) == (4500, "A filter failed.")
    server.leave(client)
    assert server.hub.busy == 0, "a drain would wait for it"
    assert server.faults == 1


WAIT = """
import gevent
from fws import Filter, Reject
class Wait(Filter):
    def connect(self, client):
        client.send("before")
        self.hub.publish("lobby", "secret")
        gevent.sleep(0.02)
        if not client.identity.get("user"):
            raise Reject(403, "not you")
"""


@pytest.mark.parametrize(("token", "sent", "closed"), [(BOB, [], (4403, "not you")), (ANN, ["before", "secret"], None)])
def test_a_client_that_may_still_be_refused_gets_nothing(
    tmp_path: Path, token: str, sent: list[str], closed: tuple[int, str] | None
) -> None:
    """Fault: if a later filter refused a member after a while, the channel's messages had already been sent to it."""
    toml = f"[pipelines]\nconnect = ['token ann:{ANN} {BOB}', 'join lobby', 'wait']\nmessage = ['echo']"
    server = build(toml, tmp_path, pipelines={"wait": WAIT})
    client = server.connect()
    peer = server.peers[client]
    server.arrive(client, peer.frame(token))
    gevent.sleep(0.1)
    assert sorted(server.sent(client)) == sent
    assert server.closed(client) == closed
    if closed is None:
        server.client_says(client, "hello")
        assert server.sent(client) == ["hello"]
    server.leave(client)
    assert server.hub.members("lobby") == []


# Where tokens come from.


def test_the_variable_is_used_when_nothing_else_is_given(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["token"]', tmp_path, environ={"FWS_TOKEN": f"ann:{ANN}"})
    assert server.connect(headers={"Authorization": f"Bearer {ANN}"}).identity == {"user": "ann"}


@pytest.mark.parametrize("stage", ["token", "token ${EMPTY}", 'token "a b"', "token {room}", "token file=none.txt"])
def test_a_token_stage_that_admits_everybody_or_nobody_is_a_problem_of_the_file(tmp_path: Path, stage: str) -> None:
    with pytest.raises(ConfigError):
        build(f"[endpoints.'/{{room}}']\nconnect = ['{stage}']", tmp_path, environ={"EMPTY": ""})


def test_a_file_is_read_again_and_a_token_taken_away_ends_its_connections(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text(f"# who may come in\nann:{ANN}\n\n{BOB}\n")
    server = build('[pipelines]\nconnect = ["token file=tokens.txt"]', tmp_path)
    ann = server.connect(headers={"Authorization": f"Bearer {ANN}"})
    bob = server.connect(headers={"Authorization": f"Bearer {BOB}"})
    assert (ann.identity, bob.identity) == ({"user": "ann"}, {})
    file.write_text(f"eve:{ANN}\n{BOB}\nnew\n")
    os.utime(file, ns=(1, 1))
    server.pass_time(2)
    assert server.closed(ann) == (4401, "access was revoked"), "the token is somebody else's now"
    assert server.closed(bob) is None
    assert server.connect(headers={"Authorization": "Bearer new"}).identity == {}


def test_while_the_file_is_unreadable_new_clients_are_refused_and_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text(ANN)
    server = build('[pipelines]\nconnect = ["token file=tokens.txt"]', tmp_path)
    ann = server.connect(headers={"Authorization": f"Bearer {ANN}"})
    for change in (lambda: file.write_text("two words"), file.unlink):
        change()
        server.pass_time(2)
        with pytest.raises(Reject) as refused:
            server.connect(headers={"Authorization": f"Bearer {ANN}"})
        assert refused.value.status == 503
    assert server.closed(ann) is None
    file.write_text(ANN)
    server.pass_time(2)
    server.connect(headers={"Authorization": f"Bearer {ANN}"})


# Secrets stay secret.


def test_no_list_and_no_error_shows_a_token(tmp_path: Path) -> None:
    server = build(f"[pipelines]\nconnect = ['token ann:{ANN} ${{BOB}} cookie=t']", tmp_path, environ={"BOB": BOB})
    for text in (pipelines_of(server.generation), pipelines_of(server.generation, options=True)):
        assert not re.search(f"{ANN}|{BOB}", text)
        assert "token … ${BOB} cookie=t" in text
    assert ANN not in repr(server.generation.filters)
    with pytest.raises(ConfigError) as error:
        build(f"[pipelines]\nconnect = ['token {ANN}é']", tmp_path)
    assert ANN not in str(error.value)


@pytest.mark.parametrize(
    "toml",
    [
        f"connect = ['token {ANN} ann:{BOB}', 'jion lobby']",
        f"connect = ['token {ANN} fil=x', 'jwt HS256 {BOB}']",
        f"connect = ['token {ANN}==']",
        f"connect = ['tokn {ANN} ann:{BOB}']",
        f"connect = ['token {ANN[:9]}={BOB}']",
        f"connect = ['jwt HS256 {ANN}{BOB} audiences=chat', 'join ${{NOPE}}']",
        f"connect = [\"token '{ANN}\", 'join ${{NOPE}}']",
        f"connect = ['token ${{UNSET:-{ANN}}} x=y', 'join ${{NOPE}}']",
        f"connect = ['who']\n[filters]\nwho = {{use = 'token', tokens = ['{ANN}'], fiel = 'x'}}",
    ],
)
def test_no_problem_shows_a_token_that_stands_in_its_line(tmp_path: Path, toml: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(f"[pipelines]\n{toml}", tmp_path)
    assert "*****" in str(error.value)
    for secret in (ANN, BOB, ANN[:9]):
        assert secret not in str(error.value)


def test_the_name_of_a_variable_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"HS256 \$\{JWT_KEY\}"):
        build("[pipelines]\nconnect = ['jwt HS256 ${JWT_KEY}']", tmp_path)


def test_the_default_of_a_variable_is_a_secret_too(tmp_path: Path) -> None:
    server = build(f"[pipelines]\nconnect = ['token ${{ANN:-{ANN}}} ${{BOB}}']", tmp_path, environ={"BOB": BOB})
    assert "token … ${BOB}" in pipelines_of(server.generation)


# Tokens in the storage.

STORED = "[limits]\nping_interval = '1d'\n[pipelines]\nconnect = ['token {}', 'join lobby']"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_another_application_hands_tokens_out_and_takes_them_back(tmp_path: Path) -> None:
    server = build(STORED.format("storage=tokens users=token_users"), tmp_path)
    server.storage.add("tokens", ANN)
    server.storage.set_field("token_users", BOB, "bob")
    ann, bob = server.connect(headers=bearer(ANN)), server.connect(headers=bearer(BOB))
    assert (ann.identity, bob.identity) == ({}, {"user": "bob"})
    with pytest.raises(Reject):
        server.connect(headers=bearer("other"))
    server.storage.remove("tokens", ANN)
    server.storage.set_field("token_users", BOB, "eve")
    server.pass_time(2)
    assert [server.closed(client) for client in (ann, bob)] == [(4401, "access was revoked")] * 2
    assert server.counted("logins_revoked") == {"": 2}


def test_a_stored_token_may_be_the_first_message(tmp_path: Path) -> None:
    server = build(STORED.format("storage=tokens"), tmp_path)
    server.storage.add("tokens", ANN)
    client = server.connect()
    server.client_says(client, ANN)
    assert client.channels == {"lobby"}
    server.storage.delete("tokens")
    server.pass_time(2)
    assert server.closed(client) == (4401, "access was revoked")


def refused(server: Harness, token: str) -> tuple[int, str]:
    with pytest.raises(Reject) as caught:
        server.connect(headers=bearer(token))
    return caught.value.status, caught.value.cause


@pytest.mark.parametrize("once", ["once", "one_time"])
def test_a_token_of_the_storage_is_accepted_a_single_time(tmp_path: Path, once: str) -> None:
    server = build(STORED.format(f"storage=tokens users=token_users {once}=true"), tmp_path)
    server.storage.add("tokens", ANN)
    server.storage.set_field("token_users", BOB, "bob")
    clients = [server.connect(headers=bearer(token)) for token in (ANN, BOB)]
    assert (server.storage.members("tokens"), server.storage.fields("token_users")) == (set(), {})
    for token in (ANN, BOB):
        assert refused(server, token) == (401, "unknown")
    server.pass_time(10)
    assert [server.closed(client) for client in clients] == [None, None]


def test_a_token_in_a_set_and_in_a_map_is_one_token(tmp_path: Path) -> None:
    """Fault: it was removed from the set only, and accepted a second time as that of a user."""
    server = build(STORED.format("storage=tokens users=token_users once=true"), tmp_path)
    server.storage.add("tokens", ANN)
    server.storage.set_field("token_users", ANN, "ann")
    server.connect(headers=bearer(ANN))
    assert refused(server, ANN)[0] == 401
    # Nor does a node that has seen it before it was removed accept it.
    server.storage.add("tokens", ANN)
    assert refused(server, ANN) == (401, "used")


def test_a_listed_token_and_one_of_a_file_are_accepted_a_single_time(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text(f"bob:{BOB}")
    toml = f"[pipelines]\nconnect = ['token {ANN} file=tokens.txt once=true']"
    server, other = build(toml, tmp_path), build(toml, tmp_path)
    other.generation.services.storage = server.storage
    server.connect(headers=bearer(ANN))
    bob = server.connect()
    server.client_says(bob, BOB)
    assert bob.identity == {"user": "bob"}
    server.clock.advance(1e9)
    for token in (ANN, BOB):
        assert (refused(server, token), refused(other, token)) == ((401, "used"), (401, "used")), "for ever"
    late = other.connect()
    other.client_says(late, BOB)
    assert other.closed(late) == (4401, "This token has been used.")
    assert other.counted("logins_refused_") == {"used": 3}
    assert not any(token in key for key in server.storage._entries for token in (ANN, BOB))
    # An end of access still ends the connection.
    (tmp_path / "tokens.txt").write_text("")
    server.pass_time(2)
    assert server.closed(bob) == (4401, "access was revoked")


def test_a_check_does_not_use_a_token_up(tmp_path: Path) -> None:
    server = build(f"[pipelines]\nconnect = ['token ann:{ANN} once=true']", tmp_path)
    login = server.generation.all_endpoints()[0].login()
    assert login is not None
    for _ in range(2):
        assert login.check(ANN) == {"user": "ann"}
    server.connect(headers=bearer(ANN))
    with pytest.raises(Denied, match="has been used"):
        login.check(ANN)


def test_the_token_again_on_the_live_connection_is_no_second_use(tmp_path: Path) -> None:
    server = build(f"[pipelines]\nconnect = ['token {ANN} once=true']\nmessage = ['echo']", tmp_path)
    client = server.connect(headers={"Cookie": f"token={ANN}"})
    server.client_says(client, ANN, "hello")
    assert server.sent(client) == ["hello"]


def test_whoever_cannot_be_found_used_or_unused_is_refused(tmp_path: Path) -> None:
    server = build(f"[pipelines]\nconnect = ['token {ANN} once=true']", tmp_path)
    server.generation.services.storage = MemoryStorage(server.clock, most=0)
    assert refused(server, ANN)[0] == 503


def test_the_former_name_of_an_option_is_accepted_with_a_warning(tmp_path: Path) -> None:
    toml = (
        "[pipelines]\nconnect = ['token storage=t one_time=true', 'who']\n[filters.who]\nuse = 'token'\nusers = 'u'\n"
    )
    server = build(toml + "one_time = true", tmp_path)
    warnings = [str(warning) for warning in server.generation.warnings]
    assert [text.partition("test.toml:")[2].splitlines()[0] for text in warnings] == [
        "2:29: token: the option one_time is called once now",
        "6:1: who: the option one_time is called once now",
    ]
    for twice in ("'token storage=t once=true one_time=true'", "'who'"):
        with pytest.raises(ConfigError, match="'once' is given twice"):
            build(toml.replace("'who'", twice) + "one_time = true\nonce = true", tmp_path)


def test_a_map_of_users_for_each_room(tmp_path: Path) -> None:
    server = build("[endpoints.'/{room}']\nconnect = ['token storage=t users={room}']", tmp_path)
    server.storage.set_field("tea", BOB, "bob")
    assert server.connect("/tea", headers=bearer(BOB)).identity == {"user": "bob"}
    with pytest.raises(Reject):
        server.connect("/gin", headers=bearer(BOB))


def test_while_the_storage_is_unavailable_new_clients_are_refused_and_others_stay(tmp_path: Path) -> None:
    server = build(STORED.format("storage=tokens"), tmp_path)
    server.storage.add("tokens", ANN)
    ann, waiting = server.connect(headers=bearer(ANN)), server.connect()
    server.storage.delete("tokens")
    server.storage.set("tokens", "of another kind")
    server.pass_time(2)
    with pytest.raises(Reject) as refused:
        server.connect(headers=bearer(ANN))
    assert refused.value.status == 503
    server.client_says(waiting, ANN)
    assert (server.closed(waiting) or (0,))[0] == 4503
    assert server.closed(ann) is None
    server.storage.delete("tokens")
    server.pass_time(2)
    assert server.closed(ann) == (4401, "access was revoked"), "what was taken away meanwhile"
