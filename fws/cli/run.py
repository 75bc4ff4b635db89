"""`fws run`: serve a configuration until a signal."""

from __future__ import annotations

import logging
import os
import sys

import click

from fws.cli.show import pipelines_of, problems_of
from fws.compiler import load_generation
from fws.config import Tcp, Unix, effective_listen
from fws.errors import ConfigError
from fws.generation import Generation
from fws.log import FORMATS, set_up
from fws.loop import takes_a_line
from fws.server import Server, StartError

# sysexits.h: EX_CONFIG. A supervisor can tell a configuration that never works from a crash.
EXIT_CONFIG = 78


@click.command()
@click.argument("conf", type=click.Path())
@click.option("--listen", metavar="ADDRESS", help="HOST, HOST:PORT, [IPv6]:PORT or unix:PATH, in place of the file's.")
@click.option("--log-format", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def run(conf: str, listen: str | None, log_format: str, log_level: str) -> None:
    """Serve the configuration CONF until SIGTERM or SIGINT."""
    log = set_up(log_format, log_level, ready=takes_a_line)
    try:
        generation = load_generation(conf)
    except ConfigError as error:
        click.echo(problems_of(error), err=True)
        sys.exit(EXIT_CONFIG)
    try:
        address = effective_listen(generation.config.server.listen, flag=listen, port_variable=os.environ.get("PORT"))
    except ValueError as error:
        click.echo(f"fws: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    server = Server(generation, address, log)
    try:
        server.start()
    except StartError as error:
        click.echo(f"fws: {error}", err=True)
        sys.exit(1)
    if log_format == "text":
        try:
            click.echo(banner(generation, server.address))
        except OSError as error:  # a full disk must not keep the server from serving
            logging.getLogger("fws").warning("standard output cannot be written: %s", error.strerror)
            # Else what Python still holds of the banner would fail once more at the exit, and make its status 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        logging.getLogger("fws").info("listening on %s", server.address)
    server.serve_until_signal()


def banner(generation: Generation, address: Tcp | Unix) -> str:
    """What a person wants to see first: the address to open or connect to, and each pipeline."""
    lines = [f"fws serves {generation.config.file}", ""]
    if isinstance(address, Unix):
        lines.append(f"  listens   {address}")
    elif generation.config.server.static:
        lines.append(f"  open      http://{local(address)}/")
    else:
        paths = [endpoint.path or "" for endpoint in generation.endpoints]
        lines.append(f"  connect   ws://{local(address)}{'/' if generation.default is not None else paths[0]}")
    for problem in generation.warnings:
        lines.append(f"  warning   {problem.message}" + (f" ({problem.hint})" if problem.hint else ""))
    return "\n".join([*lines, "", pipelines_of(generation), ""])


def local(address: Tcp) -> str:
    """Host and port as they work on this machine."""
    host = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(address.host, address.host)
    return f"{f'[{host}]' if ':' in host else host}:{address.port}"
