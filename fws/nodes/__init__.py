"""Requests from node to node, in this process or through Redis."""
