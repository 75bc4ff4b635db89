"""Storages: sets, maps, counters and values with an expiry, which filters share."""
