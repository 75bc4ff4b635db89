"""Runs a program of jq in a process of its own, with a limit of time.

jq holds the interpreter's lock while it computes, and cannot be interrupted. Some programs never end, and for others
the time grows with the square of the message's size: `gsub` takes 40 s for a text of 64 KiB. Their memory has no bound
either, and they can read the environment. A process can be ended, and gets none of that.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Any

from fws.base.decoding import decode
from fws.filters._jq_process import read_packet, write_packet

PROGRAM = Path(__file__).with_name("_jq_process.py")
# The most messages that wait for the process.
MAX_WAITING = 100
# Seconds that a new process has to begin.
BEGIN = 10.0

logger = logging.getLogger(__name__)


class JqError(Exception):
    """The program has failed. The text is short, and is meant for the client."""


class JqProcess:
    """A process that runs one program for one message after the other. It is started when it is needed.

    Args:
        most: the results that are wanted of a message.
        timeout: seconds that a message may take. Then the process is ended, and the next message has a new one.
    """

    def __init__(self, program: str, most: int, timeout: float) -> None:
        self._program = program
        self._most = most
        self._timeout = timeout
        self._lock = Lock()
        self._waiting = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def results(self, text: bytes) -> list[Any]:
        """The results for one message. Blocks.

        Args:
            text: the message as JSON.

        Raises:
            JqError: the program has failed or takes too long.
        """
        if self._waiting >= MAX_WAITING:
            raise JqError("too many messages wait")
        self._waiting += 1
        try:
            with self._lock:
                answer = self._ask(text)
        finally:
            self._waiting -= 1
        try:
            found: dict[str, Any] = decode(answer)
        except ValueError:
            raise JqError("the result is too large or nested too deep") from None
        if "error" in found:
            raise JqError(str(found["error"]))
        results: list[Any] = found["results"]
        return results

    def _ask(self, text: bytes) -> bytes:
        try:
            channel = self._channel or self._start()
            channel.settimeout(self._timeout)
            write_packet(channel, text)
            answer = read_packet(channel)
        except TimeoutError:
            self.stop()
            logger.warning("jq took longer than %g s for a message of %d bytes", self._timeout, len(text))
            raise JqError("this takes too long") from None
        except (EOFError, OSError):
            self.stop()
            logger.warning("the process of jq has ended at a message of %d bytes: it may have needed memory", len(text))
            raise JqError("this cannot be computed") from None
        except BaseException:
            self.stop()  # what it would still answer belongs to no message
            raise
        return answer

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            # Without the variables of this process, which have its secrets, and far from its files.
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(PROGRAM)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
            )
        self._channel = ours
        ours.settimeout(BEGIN)
        write_packet(ours, self._program.encode())
        write_packet(ours, str(self._most).encode())
        read_packet(ours)  # it is ready
        return ours

    def stop(self) -> None:
        """End the process. The next message starts another one."""
        process, channel, self._process, self._channel = self._process, self._channel, None, None
        if channel is not None:
            channel.close()
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
