"""Histories: what channels keep, in this process or in Redis."""
