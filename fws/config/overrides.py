"""What the command line and the environment override in a file: the address to listen on and the number of workers.

The order is the same for both: the flag wins over the environment variable, and the variable wins over the file.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from fws.config.address import DEFAULT_PORT, Tcp, Unix, parse_port, split_listen

MAX_WORKERS = 256


def effective_listen(config_listen: str, *, flag: str | None, port_variable: str | None) -> Tcp | Unix:
    """Where to listen, from the flag `--listen`, the variable `PORT` and the file.

    A port in the flag wins over `PORT`, and `PORT` wins over the file's port. A flag that is only a host keeps the port
    from `PORT` or the file. `PORT` does not affect a UNIX socket.

    Args:
        config_listen: `[server] listen`, its variables filled in.
        flag: `--listen`; None when it was not given.
        port_variable: `PORT` of the environment; None or empty when it is not set.

    Raises:
        ValueError: one of them is invalid; the message says which, and what would be right.
    """
    address = split_listen(config_listen)
    if flag is not None:
        try:
            given = split_listen(flag)
        except ValueError as error:
            raise ValueError(f"--listen: {error}") from None
        if isinstance(given, Unix):
            return given
        host, port = given
        if port is not None:
            return Tcp(host, port)
        address = (host, None if isinstance(address, Unix) else address[1])
    if isinstance(address, Unix):
        return address
    host, port = address
    if port_variable and port_variable.strip():
        try:
            port = parse_port(port_variable.strip())
        except ValueError as error:
            raise ValueError(f"the variable PORT: {error}") from None
    return Tcp(host, DEFAULT_PORT if port is None else port)


class Workers(NamedTuple):
    """How many processes serve.

    Attributes:
        number: the number of processes.
        warning: why the environment's wish was not followed; empty where it was.
    """

    number: int
    warning: str = ""


def effective_workers(
    config_workers: int | Literal["auto"], *, flag: str | None, variable: str | None, cores: int, redis: bool
) -> Workers:
    """The number of worker processes, from the flag `--workers`, the variable `WEB_CONCURRENCY` and the file.

    The flag's and the file's number are strict. The variable is a hint: platforms such as Heroku set it without being
    asked. What cannot be followed is a warning, and the server starts.

    Args:
        config_workers: `[server] workers`.
        flag: `--workers`; None when it was not given.
        variable: `WEB_CONCURRENCY` of the environment; None or empty when it is not set.
        cores: the number that `auto` means.
        redis: whether there is a Redis, through which several processes reach one another's clients.

    Raises:
        ValueError: the flag is invalid, or several workers are asked for without Redis; says what would be right.
    """
    if flag is not None:
        number = _workers(flag, cores)
        if number is None:
            raise ValueError(f"--workers: {flag!r} is not a number of workers: {_NUMBER}")
        return _strict(number, redis)
    strict = cores if config_workers == "auto" else config_workers
    hint = (variable or "").strip()
    if not hint:
        return _strict(strict, redis)
    number = _workers(hint, cores)
    if number is None:
        kept = _strict(strict, redis)
        return Workers(kept.number, f"WEB_CONCURRENCY={hint[:20]!r} is ignored: {_NUMBER}")
    if number > 1 and not redis:
        return Workers(1, f"WEB_CONCURRENCY={hint} is ignored, and one worker serves: {_NEED.format(number)}")
    return Workers(number)


_NUMBER = f"write 1 to {MAX_WORKERS}, or auto for one per core"
_NEED = (
    "{} workers need Redis to reach one another's clients: set [redis] url, such as redis://localhost:6379/0, "
    "or serve with one, --workers 1"
)


def _workers(text: str, cores: int) -> int | None:
    """The number that a text means; None for none."""
    if text == "auto":
        return cores
    number = int(text) if re.fullmatch(r"[0-9]{1,3}", text) else 0
    return number if 1 <= number <= MAX_WORKERS else None


def _strict(count: int, redis: bool) -> Workers:
    if count > 1 and not redis:
        raise ValueError(_NEED.format(count))
    return Workers(count)
