"""A receiver of webhooks that is down, slow or refuses when a test wants it so."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + base64.b64encode(b"a secret of many bytes").decode()


class Receiver:
    """Takes messages; answers `status`, after `delay` seconds."""

    def __init__(self):
        self.status, self.delay, self.asked = 200, 0.0, 0
        self.got: list[dict[str, object]] = []
        self.bodies: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                id, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
                text = f"{id}.{at}.".encode() + body
                signed = hmac.new(b"a secret of many bytes", text, hashlib.sha256)
                expected = "v1," + base64.b64encode(signed.digest()).decode()
                receiver.asked += 1
                receiver.bodies.append(body.decode())
                if not id:  # a command's
                    body = b'{"event": "unsigned"}'
                else:
                    assert self.headers["webhook-signature"] == expected
                time.sleep(receiver.delay)
                status = receiver.status
                if status == 200:
                    receiver.got.append(json.loads(body))
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self):
        return [message["event"] for message in self.got]
