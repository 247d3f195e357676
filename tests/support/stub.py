"""A registry that errs, and a git server that hangs: as a process, for the scripts.

python stub.py LOOKUP PUSH prints its port, then each request. It takes every layer, and
keeps none. Manifests are asked for with LOOKUP and written with PUSH: a status, `hang`,
`reset` (of the connection), or `html` (some other server's 404); or several, a comma
between, for one request each, the last for all others. Other requests hang.
"""

import hashlib
import http.server
import json
import socket
import struct
import sys
import time

ANSWERS = {"PUT": sys.argv[2].split(","), "GET": sys.argv[1].split(",")}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        print(self.command, self.path, flush=True)
        if self.path == "/v2/" or "/blobs/" in self.path:
            how = {"POST": "202", "PATCH": "202", "PUT": "201"}.get(self.command, "200")
        elif "/manifests/" in self.path:
            answers = ANSWERS["PUT" if self.command == "PUT" else "GET"]
            how = answers.pop(0) if answers[1:] else answers[0]
        else:
            how = "hang"
        while how == "hang":
            time.sleep(60)
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        if how == "reset":
            now = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.close_connection = True
            return
        code = {"404": "MANIFEST_UNKNOWN", "429": "TOOMANYREQUESTS"}.get(how, "UNKNOWN")
        body = json.dumps({"errors": [{"code": code, "message": "no"}]}).encode()
        if how == "html":
            how, body = "404", b"404 page not found"
        self.send_response(int(how))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Location", self.path.partition("?")[0] + "1")
        self.send_header("Range", "0-0")
        digest = hashlib.sha256(sent).hexdigest()  # of a manifest
        self.send_header("Docker-Content-Digest", f"sha256:{digest}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PATCH = do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        """No words of the base class's."""


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
