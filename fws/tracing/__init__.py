"""Traces for OpenTelemetry, which is imported here only, and only where a file has the section `[traces]`."""
