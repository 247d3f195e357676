"""A door before a real registry, that refuses as hosted ones do: a process for bats.

python gate.py REGISTRY RULE... prints its port, then each request with the status that
it got. All that no rule refuses is the registry's own. The rules:

immutable=WHOSE  a tag that is there is not written again, in the words of ecr, harbor,
                 google or quay: not for the same image either
hidden=STATUS    what is not there, tag or repository, is answered by 401 or 403
listed=STATUS    as hidden, but the list of tags tells what is there
token=FILE       only the password in FILE lets in; any other one has expired
"""

import base64
import http.client
import http.server
import json
import re
import sys
from pathlib import Path

# Seen in: aws/containers-roadmap#2380; goharbor/harbor, src/controller/immutable;
# cloud.google.com/artifact-registry/docs/docker/troubleshoot; PROJQUAY-10859
IMMUTABLE = {
    "ecr": (
        400,
        "TAG_INVALID",
        "The image tag '{tag}' already exists in the '{name}' repository and cannot be"
        " overwritten because the tag is immutable.",
    ),
    "harbor": (
        412,
        "PRECONDITION",
        "Failed to process request due to '{name}:{tag}' configured as immutable.",
    ),
    "google": (
        400,
        "MANIFEST_INVALID",
        "cannot update tag {tag}. The repository has enabled tag immutability",
    ),
    "quay": (409, "TAG_IMMUTABLE", "tag is immutable and cannot be overwritten"),
}
DENIED = {
    401: (401, "UNAUTHORIZED", "authentication required"),
    403: (403, "DENIED", "requested access to the resource is denied"),
}
EXPIRED = (401, "UNAUTHORIZED", "Your authorization token has expired. Reauthenticate.")

registry = sys.argv[1]
rules = dict(rule.split("=", 1) for rule in sys.argv[2:])
is_manifest = re.compile(r"/v2/(.+)/manifests/([^/:]+)$")
is_list = re.compile(r"/v2/(.+)/tags/list$")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        sent = self._body()
        refusal = self._refusal()
        if refusal:
            status, code, message = refusal
            body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
            headers = [("Content-Type", "application/json")]
            if status == 401:
                headers.append(("WWW-Authenticate", 'Basic realm="registry"'))
        else:
            status, headers, body = self._ask(self.command, self.path, sent)

        line = f"{self.command} {self.path} {status}\n"
        print(line, end="", flush=True)  # in one piece, as others write too
        self.send_response(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in {"content-length", "connection", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    def _refusal(self) -> tuple[int, str, str] | None:
        if "token" in rules and not self._may_enter():
            return EXPIRED

        path = self.path.partition("?")[0]
        written = is_manifest.match(path) if self.command == "PUT" else None
        if written and "immutable" in rules and self._is_there(path):
            status, code, words = IMMUTABLE[rules["immutable"]]
            return status, code, words.format(name=written[1], tag=written[2])

        if self.command in {"GET", "HEAD"}:
            if "hidden" in rules and (is_manifest.match(path) or is_list.match(path)):
                return None if self._is_there(path) else DENIED[int(rules["hidden"])]
            if "listed" in rules and is_manifest.match(path):
                return None if self._is_there(path) else DENIED[int(rules["listed"])]
        return None

    def _may_enter(self) -> bool:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        password = (
            base64.b64decode(given).decode().partition(":")[2]
            if kind == "Basic"
            else ""
        )
        return password == Path(rules["token"]).read_text().strip()

    def _is_there(self, path: str) -> bool:
        return (
            self._ask("HEAD" if is_manifest.match(path) else "GET", path, b"")[0] == 200
        )

    def _ask(
        self, method: str, path: str, sent: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(registry, timeout=60)
        kept = {"connection", "transfer-encoding", "content-length", "authorization"}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():  # Host is ours: Location leads here
            if name.lower() not in kept:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(sent)))
        connection.endheaders(sent)
        answer = connection.getresponse()
        got = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return got

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = b""
        while size := int(self.rfile.readline(), 16):
            sent += self.rfile.read(size + 2)[:-2]
        self.rfile.readline()
        return sent

    def log_message(self, *_: object) -> None:
        """No words of the base class's."""


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
