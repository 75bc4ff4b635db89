"""The settings for connections: TLS, trusted proxies, and the file of a UNIX socket."""

from __future__ import annotations

import pytest

from fws.config import Config, Tls, parse, read

ECHO = '\n[pipelines]\nmessage = ["echo"]\n'


def reading(toml: str) -> tuple[Config, list[str]]:
    config, problems = read(parse(toml + ECHO, "test.toml"), {})
    return config, [f"{problem.message} | {problem.hint}" for problem in problems]


def test_tls_is_off_without_a_section() -> None:
    assert reading("")[0].tls is None


def test_a_certificate_is_enough() -> None:
    config, problems = reading('[server.tls]\ncert = "both.pem"')
    assert not problems
    assert config.tls == Tls(cert="both.pem")
    assert config.tls.min_version == "1.2"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[server.tls]\nkey = "a.key"', "[server.tls] has no 'cert'"),
        ('[server.tls]\ncert = ""', "expected text, not ''"),
        ('[server.tls]\ncert = "a.pem"\nmin_version = "1.1"', "one of: 1.2, 1.3"),
        ('[server.tls]\ncert = "a.pem"\nmin_version = 1.2', "one of: 1.2, 1.3"),
        ('[server.tls]\ncert = "a.pem"\nkeys = "b"', "did you mean 'key'"),
        ("[server]\ntls = true", "write [server.tls] and its keys below"),
        ('[server]\ntrusted_proxies = ["10.0.0.1/8"]', 'write "10.0.0.0/8"'),
        ("[server]\nproxy_protocol = true", "name the proxies"),
        ('[server]\nsocket_mode = "rw"', "three octal digits"),
        ('[server]\nsocket_mode = "888"', "three octal digits"),
        ('[server]\nsocket_owner = "a:b:c"', '"user:group"'),
    ],
)
def test_each_mistake_is_reported_with_a_correction(toml: str, message: str) -> None:
    _, problems = reading(toml)
    assert len(problems) == 1
    assert message in problems[0]
