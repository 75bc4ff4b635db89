"""Listening sockets: opened at an address or inherited from systemd, and the files of UNIX sockets."""

from __future__ import annotations

import errno
import grp
import logging
import os
import pwd
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from gevent import socket

from fws.base.errors import StartError
from fws.config import Tcp, Unix

logger = logging.getLogger("fws")

BACKLOG = 1024
# The descriptor at which systemd begins to pass sockets (SD_LISTEN_FDS_START).
FIRST_GIVEN = 3


def listen(address: Tcp | Unix, mode: str = "", owner: str = "", *, option: str = "--listen") -> Any:
    """A listening socket.

    Args:
        mode: permissions of the file of a UNIX socket, in octal.
        owner: owner of that file: `user`, `user:group` or `:group`.
        option: how another address is chosen, for the message.

    Raises:
        StartError: says why it cannot be opened, and what to do.
    """
    try:
        if isinstance(address, Unix):
            return _listen_at(address.path, mode, owner)
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, where = found[0][0], found[0][4]
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # `[::]` accepts IPv4 too, as people expect of "all interfaces".
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener
    except (OSError, UnicodeError, LookupError) as error:
        raise StartError(f"cannot listen on {address}: {_advice(error, option)}") from None


def _listen_at(path: str, mode: str, owner: str) -> Any:
    """A UNIX socket. It begins to listen last, so that nobody can connect before its mode and owner are set."""
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
        try:
            if owner:
                user, _, group = owner.partition(":")
                os.chown(path, pwd.getpwnam(user).pw_uid if user else -1, grp.getgrnam(group).gr_gid if group else -1)
            if mode:
                os.chmod(path, int(mode, 8))
            listener.listen(BACKLOG)
        except BaseException:
            os.unlink(path)
            raise
    except BaseException:
        listener.close()
        raise
    return listener


def given_listener(environ: MutableMapping[str, str]) -> Any:
    """The listening socket that systemd passed (sd_listen_fds(3)); None without one. Removes systemd's variables.

    Raises:
        StartError: there are several sockets, or it is not a listening stream socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or count in ("", "0"):
        return None
    if count != "1":
        raise StartError(f"systemd passed {count} sockets: fws serves one; give the unit one ListenStream=")
    os.set_inheritable(FIRST_GIVEN, False)
    try:
        given = socket.socket(fileno=FIRST_GIVEN)
        if given.type != socket.SOCK_STREAM or not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError
    except OSError:
        raise StartError("systemd passed no listening socket: use ListenStream= and Accept=no") from None
    return given


def copy(listener: Any) -> Any:
    """Another object for the same socket. The socket is closed when both are. Raises OSError."""
    return socket.socket(fileno=os.dup(listener.fileno()))


def address_of(listener: Any) -> Tcp | Unix:
    """The address at which a socket listens."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return Unix(name if isinstance(name, str) else os.fsdecode(name))
    return Tcp(name[0], name[1])


def remove_socket_file(address: Tcp | Unix) -> None:
    """Remove the file of a UNIX socket that is closed. A TCP address has no file."""
    if isinstance(address, Unix):
        try:
            Path(address.path).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the socket file cannot be removed: %s", error)


def bound(address: Tcp | Unix, listener: Any) -> Tcp | Unix:
    """The address with the port that the system chose for port 0."""
    if isinstance(address, Tcp) and address.port == 0:
        return Tcp(address.host, listener.getsockname()[1])
    return address


def _advice(error: Exception, option: str) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"another program listens there; stop it, or choose another address with {option}"
    if number == errno.EACCES:
        return "not permitted; ports below 1024 and other users' folders need rights that this process lacks"
    if isinstance(error, KeyError):
        return f"there is no such user or group: {error.args[0]}"
    if number == errno.EPERM:
        return "not permitted; only root can give the socket's file to another user, and only members to a group"
    if isinstance(error, socket.gaierror):
        return "no machine has that name"
    if number == errno.EADDRNOTAVAIL:
        return "no network interface of this machine has that address"
    return getattr(error, "strerror", None) or str(error)


def _remove_stale(path: str) -> None:
    """Remove a stale socket file. The file of a live server is left in place, and so is a file that is not a socket."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "a file of that name exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its queue is full: a server exists, although it may hang
            pass
    raise OSError(errno.EADDRINUSE, "in use")
