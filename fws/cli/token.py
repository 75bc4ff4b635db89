"""`fws token`: make and check tokens for a configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from fws.auth.credential import Denied, checked
from fws.auth.login import VARIABLE, Login, TokenRequest
from fws.base.errors import ConfigError, StorageError
from fws.base.units import parse_duration
from fws.cli.show import problems_of
from fws.compiler.compile import load_generation
from fws.compiler.generation import Generation
from fws.pipeline.options import options_of
from fws.server.node import storage_of

path_option = click.option(
    "--path", help="Path of the endpoint that the token is for. It is needed if endpoints ask for different tokens."
)
conf_argument = click.argument("conf", type=click.Path())


@click.group()
def token() -> None:
    """Make and check tokens and JWTs for the `token` and `jwt` stages of a configuration."""


@token.command()
@conf_argument
@path_option
@click.option("--user", default="", help="The user that the token is for.")
@click.option("--for", "lifetime", default="1h", show_default=True, help="How long a JWT is valid, such as 30m or 90d.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A further claim of a JWT; JSON or text.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Private key that signs, if another key verifies.")
@click.option("--kid", default="", help="Name of that key, for a JWK Set of several keys.")
def make(
    conf: str, path: str | None, user: str, lifetime: str, claims: tuple[str, ...], key_file: Path | None, kid: str
) -> None:
    """Print a token that CONF accepts. It is also written to the file or storage of tokens, if there is one."""
    # The variable may not be set yet, because this token is meant for it.
    environ = dict(os.environ)
    environ[VARIABLE] = environ.get(VARIABLE) or "none"
    login = _login_of(_load(conf, environ), path)
    try:
        request = TokenRequest(
            user=user,
            lifetime=parse_duration(lifetime),
            claims=dict(map(_claim, claims)),
            key=key_file.read_bytes() if key_file is not None else b"",
            kid=kid,
        )
        made = login.make(request)
    except OSError as error:
        _fail(f"{key_file}: {error.strerror}")
    except (ValueError, StorageError) as error:
        _fail(str(error))
    click.echo(made.token)
    if made.note:
        click.echo(made.note, err=True)


@token.command()
@conf_argument
@path_option
@click.argument("extra", nargs=-1, metavar="")
def check(conf: str, path: str | None, extra: tuple[str, ...]) -> None:
    """Read a token from standard input and print its identity in CONF. Exit with 0 if it is accepted, else with 1."""
    if extra:  # click would quote it in its error
        _fail("the token is read from standard input: fws token check CONF < FILE")
    login = _login_of(_load(conf, os.environ), path)
    # Not as an argument, because all users of the machine can see arguments.
    given = click.prompt("token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    try:
        identity = login.check(checked(given.strip()))
    except StorageError as error:
        _fail(str(error))
    except Denied as denied:
        _fail(f"{denied.cause}: {denied.text}")
    click.echo(json.dumps(identity, ensure_ascii=False))


def _load(conf: str, environ: Mapping[str, str]) -> Generation:
    try:
        generation = load_generation(conf, environ=environ)
    except ConfigError as error:
        click.echo(problems_of(error), err=True)
        sys.exit(1)
    generation.services.storage = storage_of(generation)
    return generation


def _login_of(generation: Generation, path: str | None) -> Login:
    """The stage that asks for a token at a path; without a path the only one of the file."""
    logins = {endpoint: login for endpoint in generation.all_endpoints() if (login := endpoint.login()) is not None}
    paths = ", ".join(endpoint.path or "any other path" for endpoint in logins)
    hint = f": these ask for one: {paths}" if logins else ", and no other endpoint does"
    if path is not None:
        route = generation.route(path)
        if route is None:
            _fail(f"there is no endpoint at {path}")
        if route[0] not in logins:
            _fail(f"nothing asks for a token at {path}{hint}")
        return logins[route[0]]
    if not logins:
        _fail("nothing in this file asks for a token: write a stage such as `token` or `jwt` in connect")
    first, *others = logins.values()
    if any(_options_of(login) != _options_of(first) for login in others):
        _fail(f"endpoints ask for different tokens: choose one with --path ({paths})")
    return first


def _options_of(login: Login) -> tuple[type[Login], list[Any]]:
    return type(login), [getattr(login, option.field) for option in options_of(type(login))]


def _claim(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise ValueError(f"{text!r} is not a claim: write NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _fail(text: str) -> NoReturn:
    click.echo(f"fws: {text}", err=True)
    sys.exit(1)
