"""What a running process shares: the event loop, timers, greenlets, and the reporting of faults."""
