"""Journals: what must outlive the process."""
