"""Starts processes without holding up the event loop.

gevent's own `subprocess` forks: it copies the page tables of this process, which takes 50 ms for one of 300 MB, and
nobody is served meanwhile. The standard library's uses `vfork`, which takes a millisecond whatever the size; but
gevent's patch removes it from the module. Therefore a second copy of the module is loaded, which nobody has patched.
Processes are started one at a time. Between two starts everybody else has a turn, and at least as long as the last
start took, so that a thousand clients with a program each do not take more than half of the time from others.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import gevent
import msgspec
from gevent import get_hub
from gevent.lock import Semaphore
from gevent.monkey import get_original

from fws.base.errors import ProgramError
from fws.programs.command import Command
from fws.runtime.scheduler import pause

# The longest wait after a start, in seconds.
LONGEST = 0.02
# gevent's may close after the next round of the event loop, which is too late for whom waits for the end of a pipe.
close = get_original("os", "close")


class _Turns:
    """Lets one greenlet after the other start a process: `with turns:`."""

    def __init__(self) -> None:
        self._lock = Semaphore()
        self._began = 0.0
        self._free_at = 0.0

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            wait = self._free_at - perf_counter()
            gevent.sleep(wait) if wait > 0 else pause()
        except BaseException:  # the greenlet is to end
            self._lock.release()
            raise
        self._began = perf_counter()

    def __exit__(self, *exception: object) -> None:
        now = perf_counter()
        self._free_at = now + min(now - self._began, LONGEST)
        self._lock.release()


_turns = _Turns()


class Child(msgspec.Struct, frozen=True):
    """A process that has just been started, in a session and a process group of its own.

    Attributes:
        stdin, stdout, stderr: our ends of its pipes, which do not block.
        watcher: tells of its end; it has not been started.
    """

    pid: int
    stdin: int
    stdout: int
    stderr: int
    watcher: Any


def spawn(command: Command, environment: Mapping[str, str]) -> Child:
    """Start a program. Waits until it is this one's turn, but not after the start, so that nothing of the new process
    can be missed.

    Raises:
        ProgramError: it cannot be started.
    """
    with _turns:
        try:
            return _spawn(command, environment)
        except OSError as error:
            raise ProgramError(f"it cannot be started: {error.strerror}") from None


def _spawn(command: Command, environment: Mapping[str, str]) -> Child:
    loop = get_hub().loop
    loop.install_sigchld()
    pipes: list[int] = []
    try:
        for _ in range(3):
            pipes += os.pipe()
        stdin, ours_in, ours_out, stdout, ours_err, stderr = pipes
        made = _unpatched().Popen(
            command.words,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=command.folder,
            env=environment,
            start_new_session=True,
        )
    except BaseException:
        for fd in pipes:
            close(fd)
        raise
    # The event loop reaps the process, and the object would warn that it has not.
    made.returncode = 0
    for fd in (stdin, stdout, stderr):
        close(fd)
    for fd in (ours_in, ours_out, ours_err):
        os.set_blocking(fd, False)
    if command.nice:
        # The group, because the program may have started others already.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PGRP, made.pid, command.nice)
    return Child(made.pid, ours_in, ours_out, ours_err, loop.child(made.pid))


@cache
def _unpatched() -> Any:
    """A copy of the module `subprocess`. It closes a pipe and then reads until its end."""
    spec = importlib.util.spec_from_file_location("fws_unpatched_subprocess", subprocess.__file__)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.os = SimpleNamespace(**{**vars(os), "close": close})
    return module
