from __future__ import annotations

import hmac
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import jwt
import pytest

from fws.auth.claims import Trusted
from fws.base.errors import ConfigError, Reject
from fws.clients.client import Client
from fws.filters.jwt import Jwt
from fws.storages.memory import MemoryStorage
from tests.auth.pairs import NOW, SECRET, jwk, pem, private, public, signed
from tests.support import Harness, build

# The order of the curve's group (FIPS 186-5).
P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
STAGE = "jwt HS256 ${KEY} audience=chat"


def serving(tmp_path: Path, stage: str = STAGE, **environ: str) -> Harness:
    connect = f"connect = ['{stage}', 'join user:{{identity.user}}']"
    toml = f"[limits]\nping_interval = '1d'\n[pipelines]\n{connect}\nmessage = ['echo']"
    return build(toml, tmp_path, environ={"KEY": SECRET} | environ)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def connect(server: Harness, **claims: Any) -> Client:
    return server.connect(headers=bearer(signed(**({"aud": "chat"} | claims))))


def test_claims_become_the_identity(tmp_path: Path) -> None:
    client = connect(serving(tmp_path), roles=["editor"])
    assert client.identity is not None
    assert client.identity["user"] == "ann"
    assert client.identity["roles"] == ["editor"]
    assert client.channels == {"user:ann"}
    other = connect(serving(tmp_path, STAGE + " user=email"), email="a@b.c")
    assert other.channels == {"user:a@b.c"}


def test_a_client_without_a_valid_token_is_refused_and_the_cause_counted(tmp_path: Path) -> None:
    server = serving(tmp_path, STAGE + " from=header")
    for headers in ({}, bearer(signed()), bearer("x.y.z"), bearer(signed("HS512", aud="chat"))):
        with pytest.raises(Reject) as refused:
            server.connect(headers=headers)
        assert refused.value.status == 401
    assert server.counted("logins_refused_") == {"missing": 1, "audience": 1, "malformed": 1, "algorithm": 1}
    assert server.faults == 0


# The end.


def test_the_connection_ends_at_exp_after_a_warning(tmp_path: Path) -> None:
    server = serving(tmp_path)
    client = connect(server, exp=NOW + 60)
    server.pass_time(29)
    assert server.sent(client) == []
    server.pass_time(1.5)
    assert [json.loads(text) for text in server.sent(client)] == [{"type": "token_expires", "seconds": 30}]
    server.pass_time(29)
    assert server.closed(client) is None
    server.pass_time(0.5)
    assert server.closed(client) == (4401, "the token has expired")
    server.leave(client)
    assert server.counted("logins_") == {"expired": 1}


def test_a_fresh_token_before_it_goes_on_and_no_filter_sees_it(tmp_path: Path) -> None:
    server = serving(tmp_path)
    client = connect(server, exp=NOW + 60)
    server.client_says(client, json.dumps({"token": signed(aud="chat", exp=NOW + 600, roles=["new"])}))
    assert server.sent(client) == []
    assert client.identity is not None
    assert client.identity["roles"] == ["new"]
    server.pass_time(100)
    assert server.sent(client) == []
    assert server.closed(client) is None
    server.pass_time(500)
    assert (server.closed(client) or (0,))[0] == 4401


@pytest.mark.parametrize(
    ("claims", "cause"), [({"sub": "eve"}, "other_user"), ({"exp": NOW - 1}, "expired"), ({"aud": "x"}, "audience")]
)
def test_an_invalid_new_token_ends_the_connection(tmp_path: Path, claims: Any, cause: str) -> None:
    server = serving(tmp_path)
    client = connect(server)
    server.client_says(client, json.dumps({"token": signed(**({"aud": "chat"} | claims))}))
    assert (server.closed(client) or (0,))[0] == 4401
    assert server.counted("logins_refused_") == {cause: 1}


def renew(server: Harness, client: Client, **claims: Any) -> tuple[int, str] | None:
    """Send a new token. Returns how the connection ended; None if it did not."""
    shown: dict[str, Any] = {"aud": "chat", "exp": NOW + 600} | claims
    server.client_says(client, json.dumps({"token": signed(**shown)}))
    return server.closed(client)


def test_a_new_token_does_not_replace_the_identity_of_another_filter(tmp_path: Path) -> None:
    """Fault: it was compared with the user of the other filter, and its claims replaced those of the other filter."""
    source = """
from fws import Filter
class Who(Filter):
    def connect(self, client):
        client.identity = {"user": "7", "role": "guest"}
"""
    toml = f"[pipelines]\nconnect = ['{STAGE}', 'who']\nmessage = ['echo']"
    server = build(toml, tmp_path, pipelines={"who": source}, environ={"KEY": SECRET})
    client = connect(server, exp=NOW + 60)
    assert renew(server, client, role="admin") is None
    assert client.identity == {"user": "7", "role": "guest"}
    server.pass_time(100)
    assert server.closed(client) is None, "it goes on"
    assert renew(server, client, sub="7") == (4401, "The new token is for another user.")


@pytest.mark.parametrize(
    ("stage", "closed"),
    [
        ("require 'staff' in identity.roles", "You may not connect here."),
        ("join staff allow='\"staff\" in identity.roles'", "This channel is not for you."),
    ],
)
def test_under_a_fresh_token_the_conditions_hold_or_the_connection_ends(
    tmp_path: Path, stage: str, closed: str
) -> None:
    """Fault: a client that was staff once stayed staff permanently."""
    toml = f'[pipelines]\nconnect = ["{STAGE}", {json.dumps(stage)}]\nmessage = ["echo"]'
    server = build(toml, tmp_path, environ={"KEY": SECRET})
    client = connect(server, roles=["staff"])
    assert renew(server, client, roles=["staff", "more"]) is None
    assert renew(server, client, roles=["guest"]) == (4403, closed)
    first = server.connect()
    server.client_says(first, signed(aud="chat", roles=["staff"]))
    assert renew(server, first, roles=[]) == (4403, closed)


def test_an_error_while_a_new_token_is_judged_ends_the_connection(tmp_path: Path) -> None:
    """Fault: the client stayed with the new claims, and the checks after the error were skipped."""
    server = serving(tmp_path)
    client = connect(server)

    def fail(client: object) -> None:
        raise KeyError("role")

    client.when_renewed(fail)
    assert renew(server, client) == (4500, "A filter failed.")
    assert server.metrics["filter_faults"] == 1


@pytest.mark.parametrize("sub", [None, "", True, 1.5, ["ann"], 10**100])
def test_a_claim_named_user_makes_nobody_a_user(tmp_path: Path, sub: Any) -> None:
    server = build(f"[pipelines]\nconnect = ['{STAGE}']", tmp_path, environ={"KEY": SECRET})
    client = connect(server, sub=sub, user="admin", roles=["a"])
    assert client.identity is not None
    assert "user" not in client.identity
    assert client.identity["roles"] == ["a"]


def test_a_fresh_token_may_wait_for_its_key(tmp_path: Path) -> None:
    """Fault: if no filter of `message` blocks, messages are served in the event loop, and the token was lost in an
    error.
    """
    server = serving(tmp_path, "jwt RS256 jwks=https://127.0.0.1:1/")

    class Away:
        def find(self, kid: str | None) -> Any:
            gevent.sleep(0.01)
            return [public("RS256")]

    jwt_filter: Any = next(one for one in server.generation.filters if isinstance(one, Jwt))
    jwt_filter._trusted = [Trusted("RS256", Away())]
    client = server.connect(headers=bearer(signed("RS256", exp=NOW + 60)))
    server.client_says(client, json.dumps({"token": signed("RS256", exp=NOW + 600)}), "hello")
    assert server.sent(client) == ["hello"]
    server.pass_time(100)
    assert server.faults == 0
    assert server.closed(client) is None


def test_a_ban_of_a_token_holds_for_every_way_to_sign_it(tmp_path: Path) -> None:
    """Anybody can make a second valid signature from one on an elliptic curve."""
    (tmp_path / "key.pem").write_text(public("ES256"))
    server = build("[pipelines]\nconnect = ['jwt ES256 key_file=key.pem', 'ban']\nmessage = ['ban token']", tmp_path)
    token = signed("ES256")
    said, _, signature = token.rpartition(".")
    both = jwt.utils.base64url_decode(signature)
    s = P256 - int.from_bytes(both[32:])
    other = f"{said}.{jwt.utils.base64url_encode(both[:32] + s.to_bytes(32)).decode()}"
    assert server.connect(headers=bearer(other)).identity
    server.client_says(server.connect(headers=bearer(token)), "x")
    for written in (token, other):
        with pytest.raises(Reject) as refused:
            server.connect(headers=bearer(written))
        assert refused.value.status == 403


# A single time.

ONCE = STAGE + " once=true"


def refused(server: Harness, token: str) -> tuple[int, str]:
    with pytest.raises(Reject) as caught:
        server.connect(headers=bearer(token))
    return caught.value.status, caught.value.cause


def test_a_token_is_accepted_a_single_time_on_all_nodes(tmp_path: Path) -> None:
    server, other = serving(tmp_path, ONCE), serving(tmp_path, ONCE)
    other.generation.services.storage = server.storage
    token = signed(aud="chat", exp=NOW + 60)
    client = server.connect(headers=bearer(token))
    server.leave(client)
    assert (refused(server, token), refused(other, token)) == ((401, "used"), (401, "used"))
    assert not any(token in key for key in server.storage._entries)
    server.connect(headers=bearer(signed(aud="chat", exp=NOW + 61)))
    server.clock.advance(121)
    server.storage.set("any", "change")
    assert [key for key in server.storage._entries if key.startswith("used:")] == [], "no longer than until its end"


def test_a_jti_identifies_a_token_of_its_issuer(tmp_path: Path) -> None:
    server = serving(tmp_path, ONCE)
    server.connect(headers=bearer(signed(aud="chat", jti="one")))
    assert refused(server, signed(aud="chat", jti="one", exp=NOW + 900)) == (401, "used")
    server.connect(headers=bearer(signed(aud="chat", jti="one", iss="another")))
    server.connect(headers=bearer(signed(aud="chat", jti="two")))


def test_a_token_signed_in_another_way_is_the_same_token(tmp_path: Path) -> None:
    """Whoever has a signature of ES256 can compute a second one, without the key."""
    server = serving(tmp_path, "jwt ES256 ${PUBLIC} audience=chat once=true", PUBLIC=public("ES256"))
    token = signed("ES256", aud="chat")
    head, _, signature = token.rpartition(".")
    numbers = jwt.utils.base64url_decode(signature)
    r, s = numbers[:32], int.from_bytes(numbers[32:])
    twin = f"{head}.{jwt.utils.base64url_encode(r + (P256 - s).to_bytes(32)).decode()}"
    server.connect(headers=bearer(token))
    assert refused(server, twin) == (401, "used")


def test_a_new_token_on_the_live_connection_is_used_up_and_the_present_one_is_no_second_use(tmp_path: Path) -> None:
    server = serving(tmp_path, ONCE)
    first, second = signed(aud="chat", exp=NOW + 100), signed(aud="chat", exp=NOW + 200)
    client = server.connect(headers=bearer(first))
    for token in (first, second, second):
        server.client_says(client, json.dumps({"token": token}))
    assert server.closed(client) is None
    assert [refused(server, token) for token in (first, second)] == [(401, "used")] * 2
    # One that somebody else has used is no new token.
    other = server.connect(headers=bearer(signed(aud="chat", exp=NOW + 300)))
    server.client_says(other, json.dumps({"token": second}))
    assert server.closed(other) == (4401, "This token has been used.")


def test_a_renewal_while_the_storage_cannot_be_asked_ends_the_connection(tmp_path: Path) -> None:
    server = serving(tmp_path, ONCE)
    client = server.connect(headers=bearer(signed(aud="chat", exp=NOW + 100)))
    server.generation.services.storage = MemoryStorage(server.clock, most=0)
    server.client_says(client, json.dumps({"token": signed(aud="chat", exp=NOW + 200)}))
    assert (server.closed(client) or (0,))[0] == 4503
    assert refused(server, signed(aud="chat", exp=NOW + 300)) == (503, "unavailable")
    assert server.metrics["storage_faults"] == 1


def test_a_token_without_an_end_cannot_be_remembered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exp"):
        serving(tmp_path, ONCE + " required=sub")


def test_other_messages_are_left_alone(tmp_path: Path) -> None:
    server = serving(tmp_path)
    client = connect(server)
    messages: list[str | bytes] = ["hello", '{"token": 5}', '{"token": "a", "b": 1}', '["token"]', '{"token"', b"\x00"]
    server.client_says(client, *messages)
    assert server.sent(client) == messages


def test_it_ends_also_for_one_whose_token_was_the_first_message(tmp_path: Path) -> None:
    server = serving(tmp_path)
    client = server.connect()
    server.client_says(client, signed(aud="chat", exp=NOW + 40))
    assert client.channels == {"user:ann"}
    server.client_says(client, json.dumps({"token": signed(aud="chat", exp=NOW + 80)}))
    server.pass_time(41)
    assert server.closed(client) is None
    server.pass_time(41)
    assert (server.closed(client) or (0,))[0] == 4401


def test_a_client_that_leaves_has_no_timer_left(tmp_path: Path) -> None:
    server = serving(tmp_path)
    client = connect(server, exp=NOW + 10)
    server.leave(client)
    server.pass_time(20)
    assert server.counted("logins_") == {}
    assert server.faults == 0


# Keys.


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("jwt HS256", "give one of"),
        ("jwt HS256 ${KEY} key_file=x", "give one of"),
        ("jwt none ${KEY}", "one of: HS256"),
        ("jwt HS256 ${PUBLIC}", "takes a secret"),
        ("jwt RS256 ${KEY}", "public key in PEM"),
        ("jwt HS256 ${SHORT}", "at least 32 bytes"),
        ("jwt RS256 key_file=none.pem", "No such file"),
        ("jwt RS256 jwks=http://id.example/keys", "write https"),
        ("jwt HS256 {path}", "no placeholders"),
    ],
)
def test_an_unsuitable_key_is_refused_at_the_start(tmp_path: Path, stage: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as error:
        serving(tmp_path, stage, PUBLIC=public("RS256"), SHORT="short")
    assert SECRET not in str(error.value)
    assert "short" not in str(error.value).replace("${SHORT}", "")


def test_a_pem_in_one_line_of_a_variable(tmp_path: Path) -> None:
    server = serving(tmp_path, "jwt ES256 ${PEM}", PEM=public("ES256").replace("\n", "\\n"))
    assert server.connect(headers=bearer(signed("ES256"))).identity


def test_a_key_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(public("RS256"))
    server = serving(tmp_path, "jwt RS256 key_file=key.pem")
    assert server.connect(headers=bearer(signed("RS256"))).identity
    file.write_text(public("RS256", 1))
    os.utime(file, ns=(1, 1))
    server.pass_time(2)
    with pytest.raises(Reject):
        server.connect(headers=bearer(signed("RS256")))
    assert server.connect(headers=bearer(signed("RS256", 1))).identity
    file.write_text(pem(private("ES256")))
    server.pass_time(2)
    assert server.connect(headers=bearer(signed("RS256", 1))).identity, "a file at fault leaves the keys as they were"


class Provider(http.server.ThreadingHTTPServer):
    """Serves a JWK Set, and counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.keys: list[dict[str, Any]] = []
        self.body: bytes | None = None
        self.status = 200
        self.asked = 0


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        provider = self.server
        assert isinstance(provider, Provider)
        provider.asked += 1
        body = provider.body if provider.body is not None else json.dumps({"keys": provider.keys}).encode()
        self.send_response(provider.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_url_gives_keys_and_new_ones_when_a_token_names_one(tmp_path: Path, provider: Provider) -> None:
    provider.keys = [jwk("RS256", 0, kid="old")]
    server = serving(tmp_path, f"jwt RS256 jwks=http://127.0.0.1:{provider.server_port}/keys")
    old, new = (bearer(signed("RS256", n, headers={"kid": kid})) for n, kid in ((0, "old"), (1, "new")))
    assert server.connect(headers=old).identity
    assert server.connect(headers=old).identity
    assert provider.asked == 1
    provider.keys = [jwk("RS256", 1, kid="new")]
    with pytest.raises(Reject):
        server.connect(headers=new)
    assert provider.asked == 1, "unknown keys do not make the server ask all the time"
    server.pass_time(10)
    assert server.connect(headers=new).identity
    with pytest.raises(Reject) as refused:
        server.connect(headers=old)
    assert refused.value.status == 401


def test_a_revoked_key_is_refused_after_a_quiet_day(tmp_path: Path, provider: Provider) -> None:
    provider.keys = [jwk("RS256", 0, kid="a"), jwk("RS256", 1, kid="b")]
    server = serving(tmp_path, f"jwt RS256 jwks=http://127.0.0.1:{provider.server_port}/keys")
    token = bearer(signed("RS256", 0, headers={"kid": "a"}, exp=NOW + 10**6))
    server.connect(headers=token)
    provider.keys = provider.keys[1:]
    server.pass_time(3600)
    with pytest.raises(Reject):
        server.connect(headers=token)


@pytest.mark.parametrize("fault", ["redirect", "huge", "garbage", "gone"])
def test_clients_are_refused_without_keys_and_admitted_with_old_ones(
    tmp_path: Path, provider: Provider, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serving(tmp_path, f"jwt RS256 jwks=http://127.0.0.1:{provider.server_port}/keys")
    good = bearer(signed("RS256", exp=NOW + 10**6))

    def fail() -> None:
        provider.status = {"redirect": 302, "gone": 500}.get(fault, 200)
        provider.body = {"huge": b" " * 300_000, "garbage": b"<html>"}.get(fault, b"{}")

    fail()
    with pytest.raises(Reject) as refused:
        server.connect(headers=good)
    assert refused.value.status == 503
    provider.status, provider.body, provider.keys = 200, None, [jwk("RS256")]
    server.pass_time(11)
    assert server.connect(headers=good).identity
    fail()
    server.pass_time(3600)
    assert server.connect(headers=good).identity
    server.pass_time(24 * 3600)
    with pytest.raises(Reject) as refused:
        server.connect(headers=good)
    assert refused.value.status == 503
    assert "no keys from 127.0.0.1" in caplog.text


# Several keys.

OLD = "o" * 32


def also(tmp_path: Path, items: str, **environ: str) -> Harness:
    toml = f"""
    [pipelines]
    connect = ["login"]
    message = ["echo"]
    [filters.login]
    use = "jwt"
    algorithm = "HS256"
    key = "${{KEY}}"
    also = [{items}]
    """
    return build(toml, tmp_path, environ={"KEY": SECRET, "OLD": OLD} | environ)


def test_a_secret_is_rotated_and_an_algorithm_added(tmp_path: Path) -> None:
    """Fault: a stage accepted one key and one algorithm, so that neither could be changed without refusing clients."""
    (tmp_path / "new.pem").write_text(public("RS256"))
    server = also(tmp_path, '"HS256:${OLD}", "RS256:file:new.pem"')
    tokens = [
        signed(),
        jwt.encode({"sub": "ann", "exp": NOW + 60}, OLD, "HS256"),
        jwt.encode({"sub": "ann", "exp": NOW + 60}, private("RS256"), "RS256"),
    ]
    for token in tokens:
        assert server.connect(headers=bearer(token)).identity
    wrong = [
        jwt.encode({"sub": "ann", "exp": NOW + 60}, "x" * 32, "HS256"),
        jwt.encode({"sub": "ann", "exp": NOW + 60}, OLD * 2, "HS512"),
        jwt.encode({"sub": "ann", "exp": NOW + 60}, private("PS256"), "PS256"),
    ]
    for token in wrong:
        with pytest.raises(Reject):
            server.connect(headers=bearer(token))
    assert server.counted("logins_refused_") == {"signature": 1, "algorithm": 2}


def test_each_key_is_bound_to_its_algorithm(tmp_path: Path) -> None:
    """RFC 8725 2.1: a public key that is known to everybody must not verify as a secret."""
    key = public("RS256").encode()
    (tmp_path / "new.pem").write_bytes(key)
    server = also(tmp_path, '"RS256:file:new.pem"')
    head, _, _ = jwt.encode({"sub": "eve", "exp": NOW + 60}, SECRET, "HS256").partition(".")
    payload = jwt.encode({"sub": "eve", "exp": NOW + 60}, SECRET, "HS256").split(".")[1]
    forged = hmac.new(key, f"{head}.{payload}".encode(), "sha256").digest()
    token = f"{head}.{payload}.{jwt.utils.base64url_encode(forged).decode()}"
    with pytest.raises(Reject):
        server.connect(headers=bearer(token))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("s3cret", "an item begins with its algorithm"),
        ("none:s3cret", "an item begins with its algorithm"),
        ("HS256:s3cret", "takes a secret of at least 32 bytes"),
        ("RS256:file:missing.pem", "No such file"),
        ("RS256:jwks:http://keys.example.org/s3cret", "over plain HTTP"),
    ],
)
def test_a_further_key_that_is_wrong_is_named_and_not_shown(item: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        also(tmp_path, f'"{item}"')
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "application/jwt", "JOSE", "at+jwt", "application/AT+JWT"])
def test_the_types_of_the_rfcs_are_accepted(kind: str, tmp_path: Path) -> None:
    token = jwt.encode({"sub": "ann", "exp": NOW + 60}, SECRET, "HS256", {"typ": kind})
    assert also(tmp_path, "").connect(headers=bearer(token)).identity


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://127.0.0.1:1/jwks", True),
        ("http://10.0.0.5/jwks", True),
        ("http://keycloak:8080/jwks", True),
        ("http://auth.internal/jwks", True),
        ("http://keys.auth.svc.cluster.local/jwks", True),
        ("http://192.168.7.7/jwks", True),
        ("http://[fd12::7]/jwks", True),
        ("http://127.0.0.2/jwks", True),
        ("http://auth.example.org/jwks", False),
        ("http://8.8.8.8/jwks", False),
        ("http://134744072/jwks", False),  # the same address, as the resolver reads it
        ("http://0x08080808/jwks", False),
        ("http://192.0.2.7/jwks", False),
        ("http://0.0.0.0/jwks", False),
        ("http://169.254.169.254/jwks", False),
        ("http://[fe80::1]/jwks", False),
        ("http://[::ffff:8.8.8.8]/jwks", False),
    ],
)
def test_keys_over_http_inside_a_private_network(url: str, right: bool, tmp_path: Path) -> None:
    toml = f'[pipelines]\nconnect = ["jwt RS256 jwks={url}"]'
    if right:
        assert build(toml, tmp_path)
    else:
        with pytest.raises(ConfigError, match="over plain HTTP"):
            build(toml, tmp_path)


def test_a_condition_asks_for_one_word_of_a_scope(tmp_path: Path) -> None:
    toml = """
    [pipelines]
    connect = ["jwt HS256 ${KEY}", "require 'chat:write' in words(identity.scope)"]
    message = ["echo"]
    """
    server = build(toml, tmp_path, environ={"KEY": SECRET})
    assert server.connect(headers=bearer(signed(scope="profile chat:write")))
    for scope in ("chat:writer", "", None, 7):
        with pytest.raises(Reject):
            server.connect(headers=bearer(signed(scope=scope)))
