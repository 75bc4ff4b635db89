"""Where the generations of a server come from: a TOML file, its tests, and the project's filters."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import gevent
from gevent import subprocess

from fws.base.errors import ConfigError
from fws.compiler.compile import DefaultLogin, generation_of, project_of
from fws.compiler.generation import Generation
from fws.compiler.modules import PACKAGE
from fws.config import Document, load
from fws.config.tests import transcripts_of
from fws.live.watch import Watch

# Seconds that the tests of a file may take.
TEST_TIMEOUT = 60.0


class Origin:
    """The file that a server serves.

    Args:
        conf: the TOML file.
        environ: the values of `${NAME}`.
        login: authenticates clients where the file does not.
    """

    def __init__(self, conf: str, environ: Mapping[str, str], login: DefaultLogin | None = None) -> None:
        self.conf = conf
        self._environ = environ
        self._login = login
        # The text from which the last generation was made.
        self._text = ""

    def first(self) -> Generation:
        """Read, check and compile the file. Raises ConfigError."""
        return generation_of(load(self.conf), self._environ, login=self._login)

    def next(self, previous: Generation) -> Generation:
        """The same beside a running generation, with whose services the new filters work. Raises ConfigError.

        The file is parsed in a native thread: a large one takes long.
        """
        document = gevent.get_hub().threadpool.apply(_loaded, (self.conf,))
        if isinstance(document, ConfigError):
            raise document
        self._text = document.source.text
        transcripts_of(document)
        services = previous.services
        return generation_of(document, self._environ, services, login=self._login, previous=previous)

    def test(self) -> list[str]:
        """Run the tests of the file in a process of their own. Blocks. Returns why they fail; nothing if they pass.

        They would take milliseconds from the event loop, and a filter under test may do anything.
        """
        if not transcripts_of(load(self.conf)):
            return []
        command = [sys.executable, "-m", "fws", "test", self.conf]
        try:
            done = subprocess.run(
                command, env=dict(os.environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=TEST_TIMEOUT
            )
        except subprocess.TimeoutExpired:
            return [f"the tests took longer than {TEST_TIMEOUT:g} s"]
        if load(self.conf).source.text != self._text:
            return [f"{self.conf} was changed while its tests ran: reload again"]
        if done.returncode == 0:
            return []
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        return [line for line in text.splitlines() if not line.startswith("  ok ")]

    def watch(self) -> Watch:
        """The files that a reload would read."""
        folder = project_of(Path(self.conf).absolute().parent) / PACKAGE
        return Watch(Path(self.conf), folder if folder.is_dir() else None)


def _loaded(conf: str) -> Document | ConfigError:
    """The file, or its problems. The pool of threads would print the traceback of an exception."""
    try:
        return load(conf)
    except ConfigError as error:
        return error
