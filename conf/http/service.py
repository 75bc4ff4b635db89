"""The service of conf/http.toml, which fws asks about each message."""

import json
import random
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def decide(message):
    if message == "/roll":
        return {"message": f"rolls a {random.randint(1, 6)}"}
    if "buy" in message:
        return {"drop": True, "reply": "No advertising, please."}
    return {}  # as it is


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    wbufsize = -1  # sends an answer in one piece

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(decide(asked["message"])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
ThreadingHTTPServer(("127.0.0.1", port), Service).serve_forever()
