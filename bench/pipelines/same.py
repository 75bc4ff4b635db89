"""`same`: what flows, flows on. What a stage costs that does nothing."""

from fws import Filter


class Same(Filter):
    """Return the argument."""

    def message(self, client, message):
        return message

    def deliver(self, client, publication):
        return publication
