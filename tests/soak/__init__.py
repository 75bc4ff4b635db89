"""A soak: servers under mixed traffic for ten minutes, and everything that they promise counted. `make soak` runs it.

`ledger` knows what was sent and what must arrive, `traffic` has the clients, `servers` the processes and what they
take, `__main__` what happens when, and the verdict.
"""
