"""What is remembered of the exceptions of filters."""

from __future__ import annotations

from pathlib import Path

from tests.support import build

TOML = """
[chains]
guard = ["shaky"]
[pipelines]
message = ["json", "by"]
[filters.by]
use = "switch"
key = "type"
default = ["echo"]
[filters.by.case]
x = ["guard", "echo"]
"""
# The second filter of the stage fails with a message of the client's.
SHAKY = """
from fws import Filter
class Shaky(Filter):
    waits = False
    def message(self, client, message):
        raise ValueError("bad\\n" + message["secret"])
"""


def test_a_fault_has_its_stage_and_stack(tmp_path: Path) -> None:
    server = build(TOML, tmp_path, pipelines={"shaky": SHAKY})
    client = server.connect()
    server.client_says(client, '{"type":"x","secret":"one"}', '{"type":"x","secret":"two"}', '{"type":"y"}')
    (fault,) = server.node.context.faults.book.since(server.node.context.wall())
    assert (fault.count, fault.event, fault.client) == (2, "message", client.id)
    assert fault.stage == "* message by/case.x/guard/shaky"
    assert fault.path[0] == "chains"
    assert fault.where.startswith("pipelines.shaky.Shaky.message (shaky.py:6")
    # As in the log: escaped, and of the last time.
    assert fault.what == "ValueError: bad\\ntwo"
    assert fault.stack.rstrip().splitlines()[-1].strip(" ^~") in ("", 'raise ValueError("bad\\n" + message["secret"])')
    assert "shaky.py" in fault.stack
    # The stack has code, and no value.
    assert "one" not in fault.stack.replace("None", "")


def test_what_a_client_may_cause_at_will_is_no_fault(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "broadcast {message.room}"]', tmp_path)
    server.client_says(server.connect(), "{}", "{}")
    assert server.node.context.metrics["messages_unfilled"] == 2
    assert server.node.context.faults.book.since(server.node.context.wall()) == []


MUTE = """
from fws import Filter
class Mute(Exception):
    def __str__(self):
        raise RuntimeError
class Mutes(Filter):
    waits = False
    def message(self, client, message):
        if message == "raise":
            raise Mute
        return message
"""


def test_an_exception_without_a_text_ends_no_connection(tmp_path: Path) -> None:
    """What its `__str__` raised went through the server, which cut the connection off."""
    server = build('[pipelines]\nmessage = ["mutes", "echo"]', tmp_path, pipelines={"mutes": MUTE})
    client = server.connect()
    server.client_says(client, "raise", "hi")
    (fault,) = server.node.context.faults.book.since(server.node.context.wall())
    assert (fault.what, fault.stage) == ("Mute: (its text cannot be read)", "* message mutes")
