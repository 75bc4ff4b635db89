"""Tests of what channels keep."""
