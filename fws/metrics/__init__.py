"""Metrics for Prometheus: their catalogue, the snapshot of one process, those of all workers as one, and the text."""
