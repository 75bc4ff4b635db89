"""The parts that a running process shares: the event loop, greenlets, fault reports and refusals."""
