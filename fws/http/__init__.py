"""Requests to HTTP services: connections, time limits, signatures. Requests of clients come in through `server`."""
