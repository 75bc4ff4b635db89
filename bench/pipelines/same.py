"""The filter `same`, which does nothing: it measures the cost of a stage."""

from fws import Filter


class Same(Filter):
    """Return the argument."""

    def message(self, client, message):
        return message

    def deliver(self, client, publication):
        return publication
