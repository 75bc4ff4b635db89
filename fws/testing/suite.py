"""The tests of a configuration: finds them, and plays each on servers of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from fws.base.problem import Place
from fws.compiler.compile import project_of
from fws.compiler.registry import Registry
from fws.config import Document, Transcript, load
from fws.config.loader import TESTS
from fws.config.tests import configuration_of, transcripts_of
from fws.testing.conversation import Conversation, Failure
from fws.testing.simulation import Simulation, SimulationError
from fws.transcripts.language import Action, Connect


class Result(msgspec.Struct, frozen=True):
    """How a test has gone.

    Attributes:
        failure: None if the test has passed.
        place: where the failing line is.
        stage: where the responsible stage is; None if none is known.
        seconds: how long it took.
    """

    transcript: Transcript
    failure: Failure | None
    place: Place
    stage: Place | None
    seconds: float


class Suite:
    """A configuration and its tests.

    Args:
        conf: the TOML file, or its file of tests.
        environ: the values of `${NAME}`; the environment of the process if None.

    Raises:
        ConfigError: a file has problems that prevent the tests from being read.

    Attributes:
        file: the configuration.
        transcripts: the tests in the file, then those beside it.
    """

    def __init__(self, conf: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> None:
        self.file = configuration_of(Path(conf))
        self._environ = dict(os.environ if environ is None else environ)
        document = load(self.file)
        self.transcripts = transcripts_of(document)
        # Each test compiles the file, but need not read all tests again.
        served = {name: value for name, value in document.tree.items() if name != TESTS}
        self._document = Document(served, document.source)
        self._registry = Registry(project_of(self.file.parent))

    def run(self) -> Iterator[Result]:
        """Play the tests one after the other.

        Raises:
            ConfigError: the configuration has problems.
        """
        for transcript in self.transcripts:
            yield self.play(transcript)

    def play(self, transcript: Transcript) -> Result:
        """Play one test. Raises ConfigError as `run`."""
        begin = time.perf_counter()
        failure = None
        place = transcript.place
        stage: Place | None = None
        nodes = {one.node for one in transcript.statements if isinstance(one, Connect)} or {""}
        try:
            with Simulation(
                self._document, self._environ | transcript.env, nodes, registry=self._registry
            ) as simulation:
                failure = Conversation(simulation).play(transcript.statements)
        except SimulationError as error:
            first = next(one for one in transcript.statements if isinstance(one, Action))
            failure = Failure(first, first, "", str(error))
        if failure is not None:
            place = transcript.place_of(failure.statement.line)
            if failure.by is not None:
                stage = self._document.source.place(failure.by.step.path)
        return Result(transcript, failure, place, stage, time.perf_counter() - begin)
