"""A counter that all clients share. Each line says what has happened to one of them: `up` and `down` move the counter.

It reads lines such as {"event": "message", "client": "4hT…", "message": "up"}, and writes lines such as
{"to": "all", "reply": {"count": 1}}. What it writes to standard error is in the log of fws.
"""

import json
import sys

STEPS = {"up": 1, "down": -1}
count = 0
for line in sys.stdin:
    happened = json.loads(line)
    if happened["event"] == "connect":
        answer = {"to": happened["client"], "reply": {"count": count}}
    elif happened["event"] == "message" and happened["message"] in STEPS:
        count += STEPS[happened["message"]]
        answer = {"to": "all", "reply": {"count": count}}
    elif happened["event"] == "message":
        answer = {"to": happened["client"], "reply": {"error": "say up or down"}}
    else:
        continue  # a client has left
    print(json.dumps(answer), flush=True)
