"""`python -m tests.api.served_by_fake run …`: the command line, with commands in memory."""

from __future__ import annotations

import fws.__main__  # patches the standard library

if __name__ == "__main__":
    import fws.server.server
    from fws.cli import main
    from fws.server.node import Node
    from tests.api.fake import FakeCommands

    def commands_of(node: Node) -> FakeCommands:
        def keeps(channel: str) -> bool:
            rule = node.generation.config.channels.of(channel)
            return rule is not None and rule.settings.kept

        return FakeCommands(keeps)

    vars(fws.server.server)["commands_of"] = commands_of
    main()
