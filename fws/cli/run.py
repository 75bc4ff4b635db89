"""`fws run`: serve a configuration until a signal."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

import click
import gevent

from fws.auth.login import VARIABLE, Login
from fws.base.errors import ConfigError, StartError
from fws.base.log import FORMATS, set_up
from fws.cli.show import pipelines_of, problems_of
from fws.compiler.compile import DefaultLogin
from fws.compiler.generation import Generation
from fws.config import Config, Tcp, Tls, Unix, effective_listen, effective_workers
from fws.live.control import NODE, SUFFIX, ControlError, ControlServer, Reply, runtime_folder, socket_of
from fws.live.fleet import Fleet
from fws.live.origin import Origin
from fws.live.reload import Requests
from fws.live.reload import watch as watch_files
from fws.live.watch import EVERY
from fws.runtime.scheduler import takes_a_line
from fws.server.admin import open_admin
from fws.server.certificates import CertificateStore, TlsError
from fws.server.descriptors import raise_file_limit
from fws.server.handover import Handover
from fws.server.operations import Operations
from fws.server.operator import Supervised
from fws.server.server import Server
from fws.server.sockets import address_of, bound, given_listener, remove_socket_file
from fws.server.sockets import listen as open_listener
from fws.workers.heartbeat import heartbeat_of
from fws.workers.processes import Supervision

logger = logging.getLogger("fws")

# EX_CONFIG of sysexits.h, so that a supervisor can distinguish an invalid configuration from a crash.
EXIT_CONFIG = 78
# `--token` adds this stage wherever the pipelines of the file do not authenticate.
TOKEN_LOGIN = DefaultLogin(
    stage="fws:token",
    source="--token",
    authenticates=lambda cls: issubclass(cls, Login),
    accepts=lambda instance: isinstance(instance, Login) and instance.takes_variable,
)


@click.command()
@click.argument("conf", type=click.Path())
@click.option("--listen", metavar="ADDRESS", help="HOST, HOST:PORT, [IPv6]:PORT or unix:PATH, instead of the file's.")
@click.option(
    "--workers", metavar="N", help="Number of worker processes, or auto for one per core, instead of the file's."
)
@click.option(
    "--token", metavar="TOKEN", help="Require this token from clients; - for the token in the variable FWS_TOKEN."
)
@click.option("--token-file", type=click.Path(), help="Require the token in this file from clients.")
@click.option("--cert", type=click.Path(), help="Serve TLS with the certificate in this file, instead of the file's.")
@click.option("--key", type=click.Path(), help="The certificate's key, if it is not in the same file.")
@click.option("--watch", is_flag=True, help="Reload whenever the file, its tests or the project's filters change.")
@click.option("--log-format", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def run(
    conf: str,
    listen: str | None,
    workers: str | None,
    token: str | None,
    token_file: str | None,
    cert: str | None,
    key: str | None,
    watch: bool,
    log_format: str,
    log_level: str,
) -> None:
    """Serve the configuration CONF until SIGTERM or SIGINT."""
    if token is not None and token_file is not None:
        raise click.UsageError("give one of --token and --token-file")
    if token is not None and token != "-":
        hide(token)
    if token_file is not None:
        os.environ[VARIABLE] = token_of(token_file)
    heartbeat = heartbeat_of(os.environ)
    log = set_up(log_format, log_level, ready=takes_a_line, worker=heartbeat.number if heartbeat is not None else 0)
    login = TOKEN_LOGIN if token is not None or token_file is not None else None
    origin = Origin(conf, os.environ, login)
    generation = _first(origin, waits=watch and heartbeat is None)
    config = generation.config
    environ = os.environ
    tls_of = partial(tls_settings, cert=cert, key=key)
    try:
        address = effective_listen(config.server.listen, flag=listen, port_variable=environ.get("PORT"))
        count, warning = effective_workers(
            config.server.workers,
            flag=workers,
            variable=environ.get("WEB_CONCURRENCY"),
            cores=cores(),
            redis=bool(config.redis.url),
        )
        settings = tls_of(config)
        tls = CertificateStore(settings, config.folder) if settings is not None else None
    except (ValueError, TlsError) as error:
        click.echo(f"fws: {error}", err=True)
        sys.exit(EXIT_CONFIG)

    if warning and heartbeat is None:
        logger.warning("%s", warning)
    fixed = fixed_of(config, address, count)
    node = _Node(origin, log_format, fixed, secure=tls is not None)
    try:
        if heartbeat is not None:
            generation.number = heartbeat.generation
            server = Server(generation, address, log, heartbeat, tls, origin=origin, tls_of=tls_of)
            del generation  # a reload replaces it, and nothing else may keep it
            heartbeat.compare(fixed)
            server.operator.answers = Supervised(heartbeat.control)
            server.start()
            control = _listen(Path(heartbeat.control) / f"{os.getpid()}{SUFFIX}", Operations(server, heartbeat.number))
            server.serve_until_signal()
            control.stop()
        elif count > 1:
            sys.exit(node.supervise(generation, address, count, watches=watch))
        else:
            given = given_listener(os.environ)
            server = Server(
                generation,
                address if given is None else address_of(given),
                log,
                tls=tls,
                given=given,
                origin=origin,
                tls_of=tls_of,
            )
            del generation, tls
            succession = node.serve(server, watches=watch, given=given is not None)
            del server  # it is about to have a successor, and its memory is to be freed then
            if succession is not None:
                sys.exit(succession())
    except StartError as error:
        if heartbeat is not None:  # the log's lines then have its number
            logger.error("%s", error)
        else:
            click.echo(f"fws: {error}", err=True)
        sys.exit(1)


def _first(origin: Origin, *, waits: bool) -> Generation:
    """The generation to begin with. Ends the process if the file has problems, or waits until it is mended."""
    files = origin.watch() if waits else None
    while True:
        try:
            return origin.first()
        except ConfigError as error:
            click.echo(problems_of(error), err=True)
        if files is None:
            sys.exit(EXIT_CONFIG)
        logger.warning("waiting until %s is mended", origin.conf)
        while not files.look():
            time.sleep(EVERY)


class _Node:
    """A single process, or a supervisor with its workers: the parts that both have.

    Args:
        origin: the file that is served.
        fixed: settings that only a restart changes, by name.
        secure: whether TLS is served.
    """

    def __init__(self, origin: Origin, log_format: str, fixed: Mapping[str, str], *, secure: bool) -> None:
        self._origin = origin
        self._log_format = log_format
        self._fixed = fixed
        self._secure = secure
        self._reloads: Requests | None = None
        self._folder: Path | None = None
        try:
            self._folder = runtime_folder(os.environ)
            self._socket: Path | None = socket_of(self._folder, os.getpid())
        except ControlError as error:
            logger.warning("there is no control socket: %s", error)
            self._socket = None

    def serve(self, server: Server, *, watches: bool, given: bool) -> Callable[[], int] | None:
        """Serve in this process until a signal.

        Args:
            given: whether the listening socket belongs to systemd.

        Returns:
            After SIGUSR2, a function that hands over to a successor and returns the exit status; None after other
            signals.
        """
        operations = server.operator.answers = Operations(server)
        server.start()
        control = _listen(self._socket, operations)
        self._announce(server.generation, server.address, server.admin_address)
        self._reload_with(server.reloads)
        if watches:
            self._watch()
        addresses = [None if given else server.address, server.admin_address]
        while server.wait():
            try:
                sockets = self._workers_folder()
                handover = Handover(server, self._origin.conf, control, sockets, self._fixed, self._reload_with)
            except OSError as error:
                logger.error("no successor can be started: %s", error.strerror)
            else:
                controls = [control, _listen(sockets / NODE, handover.fleet)]
                return partial(self._keep, handover.run, controls, sockets, addresses)
        server.finish()
        control.stop()
        return None

    def supervise(self, generation: Generation, address: Tcp | Unix, count: int, *, watches: bool) -> int:
        """Run several workers on one address. Returns the exit status. Raises StartError."""
        raise_file_limit()
        settings = generation.config.server
        given = given_listener(os.environ)
        listener = given or open_listener(address, settings.socket_mode, settings.socket_owner)
        bound_to = bound(address, listener) if given is None else address_of(given)
        admin = open_admin(generation.config)
        admin_address = None if admin is None else address_of(admin)
        sockets = self._workers_folder()
        fleet = Fleet(self._origin.conf, lambda: [sockets / f"{pid}{SUFFIX}" for pid in supervision.serving()])
        supervision = Supervision(
            listener,
            count,
            settings.drain,
            lambda: self._announce(generation, bound_to, admin_address),
            hung_up=lambda: gevent.spawn(fleet.reloads.ask),
            control=str(sockets),
            admin=admin,
            fixed=self._fixed,
            generation=lambda: fleet.generation,
            begun=fleet.begun,
        )
        control = _listen(self._socket, fleet)
        inner = _listen(sockets / NODE, fleet)
        self._reload_with(fleet.reloads)
        if watches:
            self._watch()
        supervision.heed_signals()
        addresses = [None if given is not None else address, admin_address]
        return self._keep(supervision.run, [control, inner], sockets, addresses)

    @staticmethod
    def _keep(
        run: Callable[[], int], controls: Sequence[ControlServer], sockets: Path, addresses: Sequence[Tcp | Unix | None]
    ) -> int:
        """Supervise workers with `run`, and remove the files of sockets in the end. Returns the exit status."""
        try:
            return run()
        finally:
            for control in controls:
                control.stop()
            shutil.rmtree(sockets, ignore_errors=True)
            for address in addresses:
                if address is not None:
                    remove_socket_file(address)

    def _reload_with(self, reloads: Requests) -> None:
        self._reloads = reloads

    def _watch(self) -> None:
        """Reload whenever files change, with whoever serves then."""
        gevent.spawn(watch_files, self._origin.watch().look, lambda: self._reloads and self._reloads.ask())

    def _workers_folder(self) -> Path:
        """The folder for the control sockets of workers."""
        return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self._folder))

    def _announce(self, generation: Generation, address: Tcp | Unix, admin: Tcp | Unix | None) -> None:
        if self._log_format != "text":
            logger.info("listening on %s%s", address, "" if admin is None else f", and for operators on {admin}")
            return
        try:
            click.echo(banner(generation, address, secure=self._secure, control=self._socket, admin=admin))
        except OSError as error:  # a full disk must not prevent the server from serving
            logger.warning("standard output cannot be written: %s", error.strerror)
            # Otherwise the rest of the banner in Python's buffer would fail again at exit, and the exit status would be
            # 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Answers(Protocol):
    """What answers at a control socket."""

    def answer(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Answer one request."""


def _listen(path: Path | None, answers: _Answers) -> ControlServer:
    """Answer at a control socket. Without one, the server works all the same."""
    control = ControlServer(path or Path(), answers.answer)
    if path is not None:
        try:
            control.start()
        except OSError as error:
            logger.warning("there is no control socket: %s: %s", path, error.strerror)
    return control


def fixed_of(config: Config, address: Tcp | Unix, count: int) -> dict[str, str]:
    """The settings that a process keeps as long as it lives, because it has opened its sockets with them."""
    server = config.server
    return {
        "[server] listen": str(address),
        "[server] workers": str(count),
        "[server] socket_mode": server.socket_mode,
        "[server] socket_owner": server.socket_owner,
        "[admin] listen": config.admin.listen,
    }


def hide(token: str) -> NoReturn:
    """Restart the process with the token in the environment, because all users of the machine can see arguments."""
    words = list(sys.orig_argv)
    for number, word in enumerate(words):
        if word == "--token":
            words[number + 1] = "-"
        elif word.startswith("--token="):
            words[number] = "--token=-"
    os.execve(sys.executable, [sys.executable, *words[1:]], os.environ | {VARIABLE: token})


def token_of(file: str) -> str:
    """The first line of a file. Ends the process if there is none."""
    try:
        with open(file, encoding="utf-8-sig") as lines:
            return lines.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        click.echo(f"fws: --token-file: {getattr(error, 'strerror', 'it is not text')}", err=True)
        sys.exit(EXIT_CONFIG)


def cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not available on every system
        return os.cpu_count() or 1


def tls_settings(config: Config, *, cert: str | None, key: str | None) -> Tls | None:
    """The settings of TLS; None for no TLS. Files given as flags replace those of the TOML file.

    Raises:
        ValueError: there is a key without a certificate.
    """
    tls = config.tls
    if cert is not None:
        return Tls(
            cert=os.path.abspath(cert),
            key=os.path.abspath(key) if key is not None else "",
            client_ca=tls.client_ca if tls is not None else "",
            min_version=tls.min_version if tls is not None else "1.2",
        )
    if key is not None:
        raise ValueError("--key is the key of a certificate: give the certificate with --cert")
    return tls


def banner(
    generation: Generation,
    address: Tcp | Unix,
    *,
    secure: bool = False,
    control: Path | None = None,
    admin: Tcp | Unix | None = None,
) -> str:
    """The first output for a person: the address to open or to connect to, and each pipeline."""
    lines = [f"fws serves {generation.config.file}", ""]
    if isinstance(address, Unix):
        lines.append(f"  listens   {address}" + (" (TLS)" if secure else ""))
    elif generation.config.server.static:
        lines.append(f"  open      {'https' if secure else 'http'}://{local(address)}/")
    else:
        paths = [endpoint.path or "" for endpoint in generation.endpoints]
        path = "/" if generation.default is not None else paths[0]
        lines.append(f"  connect   {'wss' if secure else 'ws'}://{local(address)}{path}")
    if admin is not None:
        lines.append(f"  admin     {admin if isinstance(admin, Unix) else f'http://{local(admin)}'}")
    if control is not None:
        lines.append(f"  control   {control}")
    for problem in generation.warnings:
        lines.append(f"  warning   {problem.message}" + (f" ({problem.hint})" if problem.hint else ""))
    return "\n".join([*lines, "", pipelines_of(generation), ""])


def local(address: Tcp) -> str:
    """Host and port in a form that works on this machine."""
    host = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(address.host, address.host)
    return f"{f'[{host}]' if ':' in host else host}:{address.port}"
