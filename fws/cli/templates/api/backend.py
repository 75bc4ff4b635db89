"""What your back end does: send a user a notification. Run: python backend.py ann "Your parcel has arrived"."""

import json
import os
import sys
import urllib.request

user, text = sys.argv[1:]
request = urllib.request.Request(
    os.environ.get("FWS_API_URL", "http://localhost:9000/api") + "/publish",
    json.dumps({"channel": f"user:{user}", "data": {"text": text}}).encode(),
    {"X-API-Key": os.environ["FWS_API_KEY"]},
)
try:
    with urllib.request.urlopen(request, timeout=5) as answer:
        print(answer.read().decode())  # {"result": …}, or {"error": …}
except OSError as error:
    sys.exit(f"the server does not answer: {error}")
