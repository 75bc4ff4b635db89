"""The filters of bench/relay.py: clients in many channels, and messages that name their channel."""

from typing import Annotated

from fws import Filter, Help


class JoinMany(Filter):
    """Make a client a member of `count` channels: c0, c1, …"""

    waits = False

    count: Annotated[int, Help("Number of channels.")]

    def connect(self, client):
        for number in range(self.count):
            client.join(f"c{number}")


class ToNamed(Filter):
    """Publish a message to the channel that is named by its first word."""

    waits = False

    def message(self, client, message):
        self.hub.publish(message[: message.index(" ")], message, sender=client.id)
