"""Programs as filters: how they are started, spoken with, and ended."""
