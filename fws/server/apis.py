"""The HTTP API of one process, at the path of the public port and on that of [admin]."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gevent.pool import Pool

from fws.api.application import Api
from fws.api.commands import Commands
from fws.api.keys import Keys
from fws.api.operator import Operator
from fws.api.runner import Runner
from fws.api.session import Sessions
from fws.config import DEFAULT_PATH, Config
from fws.server.node import Node
from fws.server.page import AdminPage

# The most commands of one parallel batch that run at the same time.
PARALLEL = 16


class Apis:
    """The API twice, with the same methods and keys.

    Attributes:
        public: that of the public port, which has no path if the file names none.
        admin: that of the port of [admin], which also accepts the cookie of the page.
        page: the page for operators, on the port of [admin].
    """

    def __init__(self, node: Node, commands: Commands, operator: Operator) -> None:
        context, metrics = node.context, node.context.metrics
        runner = Runner(commands, operator, metrics, context.clock, context.faults.report, _at_once)
        sessions = Sessions(context.wall)

        def refused(status: int) -> None:
            metrics.count("refused", label=status, reason="api")

        self.public = Api(runner, node.admission, refused)
        self.admin = Api(runner, node.admission, refused, sessions)
        self.page = AdminPage(self.admin, sessions, node.admission, refused)
        self.configure(node.generation.config)

    def configure(self, config: Config) -> None:
        """Set what a reload may change, for requests from now on."""
        for api in (self.public, self.admin):
            api.keys = Keys.of(config)
            api.largest = config.limits.max_message
        self.public.path = config.api.path if config.api is not None else ""
        self.admin.path = (config.api.path or DEFAULT_PATH) if config.api is not None else ""


def _at_once(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Call a function for each item in greenlets, and return the results in order."""
    results: list[Any] = Pool(PARALLEL).map(function, items)
    return results
