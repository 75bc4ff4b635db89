"""Schedules: pipelines of the event `tick`, which run at certain times on one node or on each."""
