"""The server: sockets, the handshake, admission and the start and end of one process."""
