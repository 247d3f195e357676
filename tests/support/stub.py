"""A registry that errs, and a git server that hangs: as a process, for the scripts.

python stub.py LOOKUP PUSH prints its port, then each request. It takes every blob, and
serves it and what was written by digest. Manifests are asked for by tag with LOOKUP and
written with PUSH: a status, `hang`, `reset` (of the connection), or `html` (some other
server's 404); or several, a comma between, for one request each, the last for all
others. Other requests hang.
"""

import hashlib
import http.server
import itertools
import json
import socket
import struct
import sys
import time
import urllib.parse

ANSWERS = {"PUT": sys.argv[2].split(","), "GET": sys.argv[1].split(",")}
CODES = {
    "401": "UNAUTHORIZED",
    "403": "DENIED",
    "404": "MANIFEST_UNKNOWN",
    "429": "TOOMANYREQUESTS",
}
kept: dict[str, tuple[str, bytes]] = {}  # digest -> content type, blob or manifest
tags: set[str] = set()  # that were written
numbers = itertools.count(1)
uploads: dict[str, bytes] = {}  # path -> what came so far


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        print(f"{self.command} {self.path}\n", end="", flush=True)
        path, _, query = self.path.partition("?")
        name = path.rpartition("/")[2]
        how = "hang"
        if path == "/v2/" or path.endswith("/tags/list"):
            how = "200"
        elif "/uploads/" in path:
            how = {"POST": "202", "PATCH": "202", "PUT": "201"}[self.command]
        elif "/blobs/" in path or ("/manifests/sha256:" in path and name in kept):
            how = "200" if name in kept else "404"
        elif "/manifests/" in path:
            answers = ANSWERS["PUT" if self.command == "PUT" else "GET"]
            how = answers.pop(0) if answers[1:] else answers[0]
        while how == "hang":
            time.sleep(60)
        sent = self._body()
        if how == "reset":
            now = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.close_connection = True
            return
        digest = "sha256:" + hashlib.sha256(sent).hexdigest()  # of a manifest
        kind = self.headers.get("Content-Type", "")
        if "/uploads/" in path:
            uploads[path] = uploads.get(path, b"") + sent
            if self.command == "PUT":
                digest = urllib.parse.parse_qs(query)["digest"][0]
                kept[digest] = "application/octet-stream", uploads.pop(path)
        elif self.command == "PUT" and how == "201":
            kept[digest] = kind, sent
            tags.add(name)
        code = CODES.get(how, "UNKNOWN")
        body = json.dumps({"errors": [{"code": code, "message": "no"}]}).encode()
        kind = "application/json"
        if how == "200" and name in kept:
            digest, (kind, body) = name, kept[name]
        if path.endswith("/tags/list"):
            name = path.removeprefix("/v2/").removesuffix("/tags/list")
            body = json.dumps({"name": name, "tags": sorted(tags)}).encode()
        if how == "html":
            how, body = "404", b"404 page not found"
        self.send_response(int(how))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        new = str(next(numbers)) if self.command == "POST" else ""
        self.send_header("Location", path + new)
        self.send_header("Range", f"0-{max(len(uploads.get(path, b'')) - 1, 0)}")
        self.send_header("Docker-Content-Digest", digest)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = b""
        while size := int(self.rfile.readline(), 16):
            sent += self.rfile.read(size + 2)[:-2]
        self.rfile.readline()
        return sent

    do_HEAD = do_POST = do_PATCH = do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        """No words of the base class's."""


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
