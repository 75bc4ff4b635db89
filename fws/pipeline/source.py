"""`Source`, the base class of what brings publications in from elsewhere: a stream, a message queue, a sensor."""

from __future__ import annotations

from typing import Any

from fws.pipeline.component import Component
from fws.pipeline.publication import Position


class Source(Component, eq=False):
    """Brings publications in from elsewhere. Subclass it, declare options as fields, and define `start` and `stop`.

        class Thermometer(Source):
            channel: Annotated[str, Help("Channel to publish to.")] = "temperature"

            def start(self):
                self.ended = False
                self.spawn(self.read)

            def stop(self):
                self.ended = True

            def read(self):
                while not self.ended:
                    self.publish(self.channel, {"celsius": ask_the_sensor()})

    A file uses it by `[sources.NAME]` with `use = "thermometer"`. The class is found like a filter: in the project's
    `pipelines/`, among those that come with fws, or by an installed package's entry point in the group `fws.sources`.

    `start()` is called when the server begins, and must return soon. Work that blocks belongs in a greenlet of its own,
    which `spawn` makes. If `start` raises, the server does not start. `stop()` is called when the server ends, or when
    a reload has removed or changed the source. It has a second, and nothing may be published after it.

    Several nodes have a source each. If all of them read the same thing, each message would be published several times,
    unless the other side distributes its messages, as consumer groups do, or `publish` gets a key.
    """

    def start(self) -> None:
        """Begin to publish."""
        raise NotImplementedError

    def stop(self) -> None:
        """Cease to publish."""

    def publish(self, channel: str, message: Any, *, key: str = "") -> Position | None:
        """Publish a message to the members of a channel on all nodes. Blocks while Redis is asked.

        When it returns, a channel with history has kept the message, and a source that acknowledges may acknowledge it.
        In a channel without history the members on this node get it, and those of other nodes at most once.

        Args:
            key: identifies the message in its channel. A second message with the same key within 5 minutes, on
                whichever node, is not published again, so that a message that is delivered twice is published once.

        Returns:
            Its position; None in a channel without history, or if a `publication` filter has dropped it.

        Raises:
            ValueError: no channel can have this name.
            TypeError: JSON cannot carry the message.
            StorageError: it is not known whether the message was published.
        """
        return self.hub.publish_and_wait(channel, message, key=key)

    def spawn(self, function: Any, *arguments: Any) -> None:
        """Call a function in a greenlet of its own, where it may block. What it raises is reported as a fault."""

        def run() -> None:
            try:
                function(*arguments)
            except Exception as error:  # a user's source may raise anything
                self.services.report("source", error, "")

        self.services.spawn(run)
