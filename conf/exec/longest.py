#!/usr/bin/env python3
"""Answers each line with its longest word, and how often the client has sent that word."""

import sys
from collections import Counter

seen = Counter()
for line in sys.stdin:
    word = max(line.split(), key=len, default="")
    seen[word] += 1
    print(f"{word} ({seen[word]})", flush=True)
