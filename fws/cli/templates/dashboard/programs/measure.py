"""Answers each tick with numbers: the load of the machine, and by how many milliseconds the tick was late.

fws starts it once, and it reads a line such as {"schedule":"second","time":"2026-01-01T00:00:01.000Z","missed":0} every
second. Measure what you like, and answer with any JSON object. Standard error goes to the log of fws.
"""

import json
import os
import sys
import time
from datetime import datetime

for line in sys.stdin:
    due = json.loads(line)["time"]
    late = time.time() - datetime.fromisoformat(due.replace("Z", "+00:00")).timestamp()
    print(json.dumps({"time": due, "load": os.getloadavg()[0], "lag": round(late * 1000, 1)}), flush=True)
