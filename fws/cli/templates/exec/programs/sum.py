"""Answers each number with the sum so far. Each client has a process of its own, so the sum is the client's."""

import sys

total = 0
for line in sys.stdin:
    try:
        total += int(line)
        answer = str(total)
    except ValueError:
        answer = "That is no number."
    print(answer, flush=True)  # without flush=True the answer would stay in a buffer
