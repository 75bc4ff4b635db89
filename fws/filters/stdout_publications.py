"""`stdout_publications`: print publications to standard output."""

from __future__ import annotations

from fws import Filter, Publication
from fws.filters._shown import shown
from fws.filters._stdout import MAX_SHOWN, write

# The most characters of a channel's name. Names from other applications may have any length.
MAX_CHANNEL_SHOWN = 200


class StdoutPublications(Filter):
    """Print the publications that arrive at this node.

    On `publication`. The output is a line `--PUBLICATION--`, and then the channel, a colon and the first 4,096
    characters of the message in one line, with control characters escaped. A publication to every client has no
    channel. The publication flows on. Use this to look at a protocol, and not in production: if the output is read
    slowly, the server waits.

    Example:
        publication = ["stdout_publications"]
    """

    waits = False

    def publication(self, publication: Publication) -> None:
        channel = (publication.channel or "")[:MAX_CHANNEL_SHOWN]
        write("PUBLICATION", f"{channel}: {shown(publication.message, MAX_SHOWN)}")
