"""`python -m tests.api.served_by_fake run …`: the command line, with commands in memory."""

from __future__ import annotations

import fws.__main__  # patches the standard library

if __name__ == "__main__":
    import fws.server.server
    from fws.cli import main
    from tests.api.fake import FakeCommands

    vars(fws.server.server)["commands_of"] = lambda node: FakeCommands()
    main()
