"""The name by which the older project's first releases had `broadcast_messages`."""

from fws.classic.filters.broadcast_messages import BroadcastMessageFilter

__all__ = ["BroadcastMessageFilter"]
