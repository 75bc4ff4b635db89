"""Further tests of conf/app.toml, in Python. pytest also plays the [[test]] sections of the file itself."""

from pathlib import Path

from fws.testing import play

CONF = Path(__file__).resolve().parent.parent / "conf" / "app.toml"


def test_bytes_are_left_alone():
    play(
        CONF,
        """
        ann> connect /
        ann> bytes 00ff
        ann< bytes 00ff
    """,
    )


def test_at_most_forty_messages_come_through_at_once():
    play(
        CONF,
        """
        ann> connect /
        ann> Ada x41
        ann< Hello, Ada! x40
             drop message/rate_limit
    """,
    )
