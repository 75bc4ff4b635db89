"""The languages that clients speak on top of messages, each as an adapter without sockets and clocks.

An adapter maps what a client says to the few operations of `base.Peer`, and what happens to what the client is told.
"""
