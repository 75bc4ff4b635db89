"""What the command line and the environment override in a file: the address to listen on and the number of workers.

The order is the same for both: the flag wins over the environment variable, and the variable wins over the file.
"""

from __future__ import annotations

import re
from typing import Literal

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
    if port_variable:
        try:
            port = parse_port(port_variable)
        except ValueError as error:
            raise ValueError(f"the variable PORT: {error}") from None
    return Tcp(host, DEFAULT_PORT if port is None else port)


def effective_workers(
    config_workers: int | Literal["auto"], *, flag: str | None, variable: str | None, cores: int
) -> int:
    """The number of worker processes, from the flag `--workers`, the variable `WEB_CONCURRENCY` and the file.

    Args:
        config_workers: `[server] workers`.
        flag: `--workers`; None when it was not given.
        variable: `WEB_CONCURRENCY` of the environment; None or empty when it is not set.
        cores: the number that `auto` means.

    Raises:
        ValueError: one of them is invalid; the message says which, and what would be right.
    """
    for name, text in (("--workers", flag), ("the variable WEB_CONCURRENCY", variable)):
        if text is None or (not text and name != "--workers"):
            continue
        if text == "auto":
            return cores
        if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_WORKERS:
            raise ValueError(
                f"{name}: {text!r} is not a number of workers: write 1 to {MAX_WORKERS}, or auto for one per core"
            )
        return int(text)
    return cores if config_workers == "auto" else config_workers
