"""Times for people and other programs."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(wall: float) -> str:
    """A Unix time in UTC with milliseconds (RFC 3339): `2026-01-01T00:00:00.000Z`."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
