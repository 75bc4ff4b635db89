"""Tests of requests from node to node."""
