"""Channels, their members, and the fan-out."""
