"""The address and the number of workers: the flag wins over the variable, the variable over the file."""

from __future__ import annotations

from typing import Any

import pytest

from fws.config import effective_listen, effective_workers


@pytest.mark.parametrize(
    ("file", "variable", "flag", "expected"),
    [
        (1, None, None, 1),
        (3, None, None, 3),
        (3, "", None, 3),
        (3, "2", None, 2),
        (3, "2", "4", 4),
        ("auto", None, None, 8),
        (3, "auto", None, 8),
        (3, "2", "auto", 8),
        ("auto", "2", "1", 1),
        (1, "nonsense", "2", 2),
    ],
)
def test_precedence_of_workers(file: Any, variable: str | None, flag: str | None, expected: int) -> None:
    assert effective_workers(file, flag=flag, variable=variable, cores=8, redis=True) == (expected, "")


@pytest.mark.parametrize("text", ["0", "-1", "257", "two", "1.5", " 2", "²", ""])
def test_an_invalid_number_of_workers(text: str) -> None:
    with pytest.raises(ValueError, match=r"--workers: .* is not a number of workers: write 1 to 256, or auto"):
        effective_workers(1, flag=text, variable=None, cores=2, redis=True)


@pytest.mark.parametrize("text", ["0", "-1", "257", "two", "1.5", "²"])
def test_a_wish_of_the_environment_that_cannot_be_read_is_a_warning(text: str) -> None:
    """Fault: the server did not start, although no number of workers was set."""
    count, warning = effective_workers(3, flag=None, variable=text, cores=2, redis=True)
    assert count == 3
    assert warning == f"WEB_CONCURRENCY={text!r} is ignored: write 1 to 256, or auto for one per core"


def test_without_redis_the_environments_number_is_a_hint_and_the_others_are_strict() -> None:
    """Fault: Heroku sets WEB_CONCURRENCY=2 by itself, and the server ended with status 78."""
    count, warning = effective_workers(1, flag=None, variable="2", cores=2, redis=False)
    assert count == 1
    assert warning.startswith("WEB_CONCURRENCY=2 is ignored, and one worker serves: 2 workers need Redis")
    for file, flag in ((2, None), (1, "2")):
        with pytest.raises(ValueError, match="2 workers need Redis"):
            effective_workers(file, flag=flag, variable=None, cores=2, redis=False)
    assert effective_workers(1, flag=None, variable=" 2 ", cores=2, redis=True) == (2, "")


@pytest.mark.parametrize(
    ("config", "flag", "port", "address"),
    [
        ("127.0.0.1:9000", None, None, "127.0.0.1:9000"),
        ("127.0.0.1:9000", None, "8000", "127.0.0.1:8000"),
        ("127.0.0.1:9000", None, "", "127.0.0.1:9000"),
        ("127.0.0.1:9000", None, "0", "127.0.0.1:0"),
        ("127.0.0.1", None, None, "127.0.0.1:9000"),
        ("127.0.0.1:9000", "0.0.0.0:7000", "8000", "0.0.0.0:7000"),
        ("127.0.0.1:9000", "0.0.0.0:0", "8000", "0.0.0.0:0"),
        ("127.0.0.1:9001", "0.0.0.0", "8000", "0.0.0.0:8000"),
        ("127.0.0.1:9001", "0.0.0.0", None, "0.0.0.0:9001"),
        ("127.0.0.1:9001", "[::]", None, "[::]:9001"),
        ("127.0.0.1:9001", ":7000", "oops", ":7000"),
        ("127.0.0.1:9000", "unix:/a", "8000", "unix:/a"),
        ("unix:/a", None, "8000", "unix:/a"),
        ("unix:/a", None, "oops", "unix:/a"),
        ("unix:/a", "localhost", None, "localhost:9000"),
        ("unix:/a", "localhost", "8000", "localhost:8000"),
    ],
)
def test_the_flag_wins_over_port_and_port_over_the_file(
    config: str, flag: str | None, port: str | None, address: str
) -> None:
    assert str(effective_listen(config, flag=flag, port_variable=port)) == address


def test_an_error_names_the_source_of_the_address() -> None:
    with pytest.raises(ValueError, match="the variable PORT: 'oops' is not a port"):
        effective_listen("127.0.0.1:9000", flag=None, port_variable="oops")
    with pytest.raises(ValueError, match="--listen: 'a b' is not an address"):
        effective_listen("127.0.0.1:9000", flag="a b", port_variable=None)
