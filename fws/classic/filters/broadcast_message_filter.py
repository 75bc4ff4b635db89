"""The name of `broadcast_messages` in the first releases of the older project."""

from fws.classic.filters.broadcast_messages import BroadcastMessageFilter

__all__ = ["BroadcastMessageFilter"]
