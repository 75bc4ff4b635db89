"""Presence: who is a member of a channel on all nodes, in this process or in Redis."""
