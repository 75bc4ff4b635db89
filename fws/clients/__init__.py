"""One connected client: its transport, its outbox, and the serving of its messages."""
