"""The wire: frames, handshakes, request heads and PROXY headers as pure functions. No socket and no clock."""
