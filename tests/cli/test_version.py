"""`fws --version`: the version, and whether the compiled functions are in use."""

from __future__ import annotations

from pathlib import Path

from fws import __version__
from fws.wire import native
from tests.cli.command import fws, fws_here


def test_the_version_says_which_implementation_is_used() -> None:
    told = "compiled" if native.compiled else "pure Python"
    assert fws_here("--version").stdout == f"fws {__version__}, {told}\n"


def test_the_variable_that_switches_it_off_is_heard(tmp_path: Path) -> None:
    assert fws("--version", cwd=tmp_path, FWS_PURE="1").stdout == f"fws {__version__}, pure Python\n"
