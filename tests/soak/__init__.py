"""A soak test: servers under mixed traffic for ten minutes, and a check of all their guarantees. `make soak` runs it.

`ledger` knows what was sent and what must arrive. `traffic` has the clients, and `servers` has the processes and their
resources. `__main__` has the schedule and the result.
"""
