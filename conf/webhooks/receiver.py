"""Takes webhooks: checks each signature, and prints each event once. Needs only the standard library."""

import base64
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
seen = set()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        id, stamp, given = (self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
        body = self.rfile.read(int(self.headers["content-length"]))
        right = b"v1," + base64.b64encode(hmac.digest(KEY, f"{id}.{stamp}.".encode() + body, "sha256"))
        valid = any(hmac.compare_digest(right, one.encode()) for one in given.split())
        fresh = stamp.isdigit() and abs(time.time() - int(stamp)) < 300
        if valid and fresh and id not in seen:
            print(json.dumps(json.loads(body)), flush=True)
            seen.add(id)
        self.send_response(204 if valid and fresh else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Receiver).serve_forever()
