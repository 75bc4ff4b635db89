"""Tests of pipelines without a network: `play` runs a transcript on a configuration.

    from fws.testing import play

    def test_a_message_goes_back_to_its_sender():
        play("conf/echo.toml", '''
            ann> connect /
            ann> hello
            ann< hello
        ''')

The interpreter is that of `fws test`. `Simulation` gives the clients and clocks themselves.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping

from fws.base.errors import ConfigError
from fws.base.problem import Place, Problem
from fws.config import Source, Transcript
from fws.testing.report import explanation
from fws.testing.simulation import Simulation, SimulationError
from fws.testing.suite import Result, Suite
from fws.transcripts.language import parse_script

__all__ = ["Result", "Simulation", "SimulationError", "Suite", "play"]


def play(conf: str | os.PathLike[str], script: str, environ: Mapping[str, str] | None = None) -> None:
    """Play a transcript on a configuration. The script may be indented as a whole.

    Args:
        conf: the TOML file.
        environ: variables of the environment, in addition to those of the process.

    Raises:
        AssertionError: the conversation goes differently. The message has the line, the stage, and why.
        ConfigError: the configuration or the script has problems.
    """
    script = textwrap.dedent(script)
    statements, errors = parse_script(script)
    source = Source("script", script)
    if errors:
        raise ConfigError(
            [Problem(error.message, hint=error.hint, place=source.line(error.line, 1)) for error in errors]
        )
    transcript = Transcript("script", tuple(statements), dict(environ or {}), Place("script"), script, source, ())
    result = Suite(conf).play(transcript)
    if result.failure is not None:
        raise AssertionError("\n".join(["the transcript goes differently:", *explanation(result)]))
