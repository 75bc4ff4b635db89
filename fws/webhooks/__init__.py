"""Webhooks: events that wait for a service, the order in which they are sent, and what is kept of them in Redis."""
