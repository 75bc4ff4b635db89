"""What bench/relay.py needs of a pipeline: members of many channels, and messages that name theirs."""

from typing import Annotated

from fws import Filter, Help


class JoinMany(Filter):
    """Make a client a member of so many channels: c0, c1, …"""

    waits = False

    count: Annotated[int, Help("How many.")]

    def connect(self, client):
        for number in range(self.count):
            client.join(f"c{number}")


class ToNamed(Filter):
    """Publish a message to the channel that its first word names."""

    waits = False

    def message(self, client, message):
        self.hub.publish(message[: message.index(" ")], message, sender=client.id)
