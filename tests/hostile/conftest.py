"""The fixtures of the integration tests, and servers that several tests of a module attack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.certificates import Authority
from tests.integration.conftest import Serve, authority, launcher, serve, tls

__all__ = ["authority", "serve", "shared", "tls"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[dict[bool, Serve]]:
    """`serve` for servers that run as long as the module, without and with TLS."""
    with (
        launcher(tmp_path_factory.mktemp("plain"), None) as plain,
        launcher(tmp_path_factory.mktemp("tls"), authority) as secure,
    ):
        yield {False: plain, True: secure}
