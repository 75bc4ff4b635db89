"""Small state that filters share: sets, maps, counters and values, with expiry."""
