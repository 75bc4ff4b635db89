"""Who may come in: tokens, where clients bring them, and what they say. Pure: clocks and fetchers are passed in."""
