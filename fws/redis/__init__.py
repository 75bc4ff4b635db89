"""Connections to Redis: plain, through Sentinel, and for commands one at a time."""
