"""`stdout_publications`: the publications that reach this node, on standard output."""

from __future__ import annotations

from fws import Filter, Publication
from fws.filters._shown import shown
from fws.filters._stdout import MAX_SHOWN, write

# Of a channel's name: another application's may have any length.
MAX_CHANNEL_SHOWN = 200


class StdoutPublications(Filter):
    """Print the publications that reach this node.

    On `publication`: a line `--PUBLICATION--`, then the channel, a colon and the first 4,096 characters of the message
    in one line, control characters escaped; it flows on. What addresses every client has no channel. For looking at a
    protocol, not for production: the server waits while the output is read slowly.

    Example:
        publication = ["stdout_publications"]
    """

    waits = False

    def publication(self, publication: Publication) -> None:
        channel = (publication.channel or "")[:MAX_CHANNEL_SHOWN]
        write("PUBLICATION", f"{channel}: {shown(publication.message, MAX_SHOWN)}")
