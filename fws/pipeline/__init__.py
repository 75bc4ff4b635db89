"""Filters, their options, and the pipelines that run them."""
