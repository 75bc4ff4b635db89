"""A filter of this project: in conf/app.toml it goes by the name of this file."""

from typing import Annotated

from fws import Filter, Help


class Hello(Filter):
    """Greet a client that sends a name.

    Example:
        message = ["hello greeting=Welcome", "echo"]
    """

    # A promise: no sleep, no network, no lock. It makes the filter faster; take the line away if that changes.
    waits = False

    greeting: Annotated[str, Help("Said before the name.")] = "Hello"

    def message(self, client, message):
        # A message is text or bytes, or what an earlier filter made of it. What is returned flows on.
        if isinstance(message, str):
            return f"{self.greeting}, {message}!"
