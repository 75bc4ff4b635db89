"""Authentication: tokens, where clients send them, and what they say. Pure: clocks and fetchers are passed in."""
