from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fws.cli import main
from tests.auth.pairs import SECRET, pem, private, public

CONF = """
[endpoints."/shared"]
connect = ["token file=tokens.txt"]
[endpoints."/listed"]
connect = ["token ann:aaaaaaaa"]
[endpoints."/secret"]
connect = ["rate_limit 5/s by=address", "jwt HS256 ${KEY} audience=chat issuer=https://id.example"]
[endpoints."/pair"]
connect = ["jwt ES256 key_file=public.pem user=name"]
[endpoints."/open"]
message = ["echo"]
"""


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tokens.txt").write_text("bob:bbbbbbbb")
    (tmp_path / "public.pem").write_text(public("ES256"))
    (tmp_path / "private.pem").write_text(pem(private("ES256")))
    (tmp_path / "other.pem").write_text(pem(private("ES256", 1)))
    (tmp_path / "test.toml").write_text(CONF)
    monkeypatch.setenv("KEY", SECRET)
    return tmp_path / "test.toml"


def fws(command: str, conf: Path, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["token", command, str(conf), *arguments], input=stdin)


def made(conf: Path, *arguments: str) -> str:
    done = fws("make", conf, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "identity"),
    [
        (["--path", "/shared", "--user", "ann"], {"user": "ann"}),
        (["--path", "/shared"], {}),
        (["--path", "/secret", "--user", "ann", "--claim", 'roles=["editor"]', "--claim", "nick=Ann"],
         {"user": "ann", "sub": "ann", "roles": ["editor"], "nick": "Ann", "aud": "chat", "iss": "https://id.example"}),
        (["--path", "/pair", "--user", "ann", "--key-file", "private.pem"], {"user": "ann", "name": "ann"}),
    ],
)  # fmt: skip
def test_a_new_token_is_accepted(
    conf: Path, arguments: list[str], identity: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(conf.parent)
    token = made(conf, *arguments)
    done = fws("check", conf, *arguments[:2], stdin=token)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {name: found[name] for name in found if name not in ("iat", "exp", "jti")} == identity
    assert token.strip() not in done.output


def test_a_token_for_a_list_comes_with_a_note(conf: Path) -> None:
    done = fws("make", conf, "--path", "/listed", "--user", "eve")
    token = done.stdout.strip()
    assert done.stderr == "to use this TOKEN, add to the tokens eve:TOKEN\n"
    assert fws("check", conf, "--path", "/listed", stdin=token).exit_code == 1
    assert json.loads(fws("check", conf, "--path", "/listed", stdin="aaaaaaaa").stdout) == {"user": "ann"}


def test_the_first_token_is_made_before_the_variable_is_set(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: making the first token required a token."""
    conf.write_text("[pipelines]\nconnect = ['token']")
    monkeypatch.delenv("FWS_TOKEN", raising=False)
    done = fws("make", conf, "--user", "ann")
    token = done.stdout.strip()
    assert done.stderr == "to use this TOKEN, set the variable FWS_TOKEN to ann:TOKEN\n"
    assert fws("check", conf, stdin=token).exit_code == 1
    monkeypatch.setenv("FWS_TOKEN", f"ann:{token}")
    assert json.loads(fws("check", conf, stdin=token).stdout) == {"user": "ann"}


@pytest.mark.parametrize(
    "toml",
    [
        '[endpoints."/"]\nmessage = ["echo"]\n[endpoints."/chat/{room}"]\nconnect = ["jwt HS256 ${KEY}"]',
        '[pipelines]\nconnect = ["chain"]\n[endpoints."/a"]\ndata = []\n[chains]\nchain = ["jwt HS256 ${KEY}"]',
        '[endpoints."/a"]\nconnect = ["jwt HS256 ${KEY}"]\n[endpoints."/b"]\nconnect = ["jwt HS256 ${KEY}"]',
    ],
)
def test_the_only_stage_that_takes_tokens_is_found_without_a_path(toml: str, conf: Path) -> None:
    """Fault: without --path the endpoint / was used, even if it does not ask for tokens."""
    conf.write_text(toml)
    assert json.loads(fws("check", conf, stdin=made(conf, "--user", "ann")).stdout)["user"] == "ann"


def test_endpoints_that_ask_for_different_tokens_need_a_path(conf: Path) -> None:
    done = fws("make", conf)
    assert done.exit_code == 1
    assert "endpoints ask for different tokens: choose one with --path (" in done.stderr
    assert all(path in done.stderr for path in ("/shared", "/listed", "/secret", "/pair"))
    assert "/open" not in done.stderr


def test_other_paths_are_not_called_by_the_name_of_an_endpoint(conf: Path) -> None:
    """Fault: `[pipelines]` and `[endpoints."/"]` were both shown as /."""
    conf.write_text('[pipelines]\nconnect = ["token a:aaaaaaaa"]\n[endpoints."/"]\nconnect = ["token b:bbbbbbbb"]')
    assert "choose one with --path (/, any other path)" in fws("make", conf).stderr


def test_a_file_without_tokens(conf: Path) -> None:
    conf.write_text('[pipelines]\nmessage = ["echo"]')
    assert "nothing in this file asks for a token" in fws("make", conf).stderr


@pytest.mark.parametrize(
    ("path", "token", "cause"),
    [("/shared", "wrong", "unknown"), ("/shared", "", "malformed"), ("/secret", "a.b.c", "malformed")],
)
def test_a_bad_token_is_refused_with_its_cause(conf: Path, path: str, token: str, cause: str) -> None:
    done = fws("check", conf, "--path", path, stdin=token)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"fws: {cause}: ")


def test_an_expired_token_is_refused_as_expired(conf: Path) -> None:
    token = made(conf, "--path", "/secret", "--claim", "exp=1000000000")
    assert "expired" in fws("check", conf, "--path", "/secret", stdin=token).stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--path", "/pair"], "requires the private key"),
        (["--path", "/pair", "--key-file", "public.pem"], "requires the private key"),
        (["--path", "/pair", "--key-file", "none.pem"], "No such file"),
        (["--path", "/open"], "nothing asks for a token at /open"),
        (["--path", "/none"], "no endpoint at /none"),
        (["--path", "/secret", "--claim", "x"], "write NAME=VALUE"),
        (["--path", "/secret", "--for", "soon"], "duration"),
    ],
)
def test_a_token_that_cannot_be_made(
    conf: Path, arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(conf.parent)
    done = fws("make", conf, *arguments)
    assert done.exit_code == 1
    assert reason in done.stderr
