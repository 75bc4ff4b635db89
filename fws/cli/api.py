"""`fws api`: call a method of the HTTP API, with one subcommand for each."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
from typing import Any, Literal, NamedTuple, NoReturn, get_args, get_origin
from urllib.parse import urlsplit

import click
from gevent import socket

from fws.api.method import Method
from fws.api.methods import METHODS
from fws.api.openapi import description
from fws.base.errors import ConfigError
from fws.cli.run import EXIT_CONFIG, local
from fws.cli.running import fail
from fws.cli.show import problems_of
from fws.config import DEFAULT_PATH, Config, Unix, effective_listen, load, parse_listen, place_problems, read
from fws.pipeline.options import Option, options_of

URL = "FWS_API_URL"
KEY = "FWS_API_KEY"
# Seconds for an answer. A server gives up after 60 s.
TIMEOUT = 65.0


class Target(NamedTuple):
    """Where an API is, and the key for it. `unix` is the path of a UNIX socket, or empty."""

    url: str
    key: str
    unix: str = ""


@click.group(invoke_without_command=True)
@click.option("--openapi", is_flag=True, help="Print the OpenAPI description of the API.")
@click.pass_context
def api(context: click.Context, openapi: bool) -> None:
    """Call a method of the HTTP API of a running server, and print the result as JSON.

    With --conf FILE, the address and the key are those of the file's [admin], [api] and [server]. Without it, they are
    in the variables FWS_API_URL (such as http://127.0.0.1:9100/api) and FWS_API_KEY.
    """
    if openapi:
        click.echo(json.dumps(description(DEFAULT_PATH), indent=2, ensure_ascii=False))
    elif context.invoked_subcommand is None:
        click.echo(context.get_help())


def _command(method: Method) -> click.Command:
    """The subcommand of a method."""
    options = options_of(method.request)
    named = {option.name: option for option in options}
    parameters: list[click.Parameter] = [
        click.Argument(
            [name], required=name != "data", nargs=-1 if _is_texts(named[name]) else 1, metavar=_metavar(named[name])
        )
        for name in method.request.positional
    ]
    parameters += [_flag(option) for option in options if option.name not in method.request.positional]
    parameters.append(click.Option(["--conf"], type=click.Path(), help="Configuration of the server."))

    def run(conf: str | None, **given: Any) -> None:
        request = {}
        for name, value in given.items():
            if value not in (None, (), False):
                request[name] = _value(named[name], value)
        if "b64data" in request:
            request.pop("data", None)
        if method.streams:
            _follow(_target(conf), method.name, request)
        else:
            _print(_called(_target(conf), method.name, request))

    return click.Command(method.name, callback=run, params=parameters, help=method.help)


def _flag(option: Option) -> click.Option:
    words = [f"--{option.name.replace('_', '-')}", option.name]
    kind = _kind(option)
    if kind is bool:
        return click.Option(words, is_flag=True, help=option.help)
    if _is_texts(option):
        return click.Option(words, multiple=True, help=option.help)
    return click.Option(words, type=int if kind is int else str, help=option.help, metavar=_metavar(option))


def _metavar(option: Option) -> str | None:
    if _is_texts(option):
        return f"{option.name.upper()}..."
    return option.name.upper() if option.name == "data" or _kind(option) in (str, int) else "JSON"


def _kind(option: Option) -> Any:
    """The type of an option without annotations."""
    kind = option.type
    while hasattr(kind, "__metadata__"):
        kind = get_args(kind)[0]
    return str if get_origin(kind) is Literal else kind


def _is_texts(option: Option) -> bool:
    kind = _kind(option)
    return get_origin(kind) is list and (get_args(kind) == (str,) or get_origin(get_args(kind)[0]) is Literal)


def _value(option: Option, given: Any) -> Any:
    """What an argument stands for in a request: a text, a number, or JSON."""
    if _is_texts(option):
        return list(given)
    if _kind(option) in (str, int, bool):
        return given
    try:
        return json.loads(given)
    except ValueError:
        if option.name == "data":
            return given
        raise click.UsageError(f"{option.name}: this is not JSON: {given!r}") from None


def _target(conf: str | None) -> Target:
    """Where the API is. Ends the process if that is not known."""
    if conf is None:
        url, key = os.environ.get(URL, ""), os.environ.get(KEY, "")
        if not url or not key:
            raise click.UsageError(f"say which server: --conf FILE, or the variables {URL} and {KEY}")
        return Target(url, key)
    try:
        document = load(conf)
        config, problems = read(document, os.environ)
        if problems:
            raise ConfigError(place_problems(problems, document.source))
        return _target_of(config)
    except ConfigError as error:
        click.echo(problems_of(error), err=True)
        sys.exit(EXIT_CONFIG)
    except ValueError as error:
        fail(f"{conf}: {error}", EXIT_CONFIG)


def _target_of(config: Config) -> Target:
    """Where the API of a file is: on the port of [admin] if there is one. Raises ValueError."""
    if config.api is None:
        raise ValueError("the file has no [api]")
    path = config.api.path or DEFAULT_PATH
    if config.admin.listen:
        address, scheme = parse_listen(config.admin.listen), "http"
    else:
        address = effective_listen(config.server.listen, flag=None, port_variable=os.environ.get("PORT"))
        scheme = "http" if config.tls is None else "https"
    if isinstance(address, Unix):
        return Target(f"{scheme}://localhost{path}", config.api.key, address.path)
    if not address.port:
        raise ValueError(f"the system has chosen the port: set {URL} and {KEY} instead of --conf")
    return Target(f"{scheme}://{local(address)}{path}", config.api.key)


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def _connection(target: Target) -> http.client.HTTPConnection:
    parts = urlsplit(target.url)
    if target.unix:
        return _UnixConnection(target.unix)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=ssl.create_default_context())
    if parts.scheme != "http" or not parts.netloc:
        raise click.UsageError(f"{URL} is not a URL: write one such as http://127.0.0.1:9100/api")
    return http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)


def _send(target: Target, name: str, request: dict[str, Any]) -> tuple[http.client.HTTPConnection, Any]:
    """Send a request. Returns the connection and the response. Ends the process if the API cannot be reached."""
    path = f"{urlsplit(target.url).path.rstrip('/')}/{name}"
    headers = {"X-API-Key": target.key, "Content-Type": "application/json"}
    connection = _connection(target)
    try:
        connection.request("POST", path, json.dumps(request).encode(), headers)
        return connection, connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        _unreachable(target, error)


def _called(target: Target, name: str, request: dict[str, Any]) -> Any:
    """The answer of the API. Ends the process if there is none, or if it is a refusal."""
    connection, response = _send(target, name, request)
    try:
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        _unreachable(target, error)
    finally:
        connection.close()
    try:
        answer = json.loads(body)
    except ValueError:
        fail(f"{response.status} {body.decode('utf-8', 'replace').strip()[:500]}", 1)
    if not isinstance(answer, dict):
        fail(f"{target.url} is not the API of fws", 1)
    if "error" in answer:
        fail(f"{answer['error'].get('code')} {answer['error'].get('message')}", 1)
    return answer.get("result", answer.get("replies"))


def _follow(target: Target, name: str, request: dict[str, Any]) -> None:
    """Print the results of a method that streams, one a line, until Ctrl-C."""
    connection, response = _send(target, name, request)
    try:
        if response.headers.get_content_type() != "text/event-stream":
            fail(f"{response.status} {response.read().decode('utf-8', 'replace').strip()[:500]}", 1)
        for line in response:
            if line.startswith(b"data: "):
                click.echo(line.removeprefix(b"data: ").decode("utf-8", "replace").rstrip())
    except BrokenPipeError:
        pass  # whoever read the lines has gone
    except (OSError, http.client.HTTPException) as error:
        _unreachable(target, error)
    except KeyboardInterrupt:
        pass
    finally:
        connection.close()


def _unreachable(target: Target, error: Exception) -> NoReturn:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    fail(f"the API at {target.unix or target.url} cannot be reached: {reason}")


def _print(result: Any) -> None:
    click.echo(json.dumps(result, ensure_ascii=False))


for _method in METHODS:
    api.add_command(_command(_method))
