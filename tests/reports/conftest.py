"""The fixtures of the integration tests, and servers that run as long as a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import Serve, authority, launcher, serve, tls

__all__ = ["authority", "serve", "shared", "tls"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """`serve` for servers that run as long as the module. Each module has a folder of its own."""
    with launcher(tmp_path_factory.mktemp("shared"), None) as start:
        yield start
