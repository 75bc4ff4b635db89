"""Servers run with the standard library patched; the other tests of this folder run without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers.test_redis import RUN


@pytest.mark.process
def test_a_service_is_asked_in_the_same_way_where_the_library_is_patched() -> None:
    file = Path(__file__).with_name("test_service.py")
    done = subprocess.run([sys.executable, "-c", RUN, str(file)], capture_output=True, text=True, cwd=file.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
