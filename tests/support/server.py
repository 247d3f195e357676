"""HTTP for the GitHub stand-in: requests, answers, and what goes wrong between."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.support.feed import GIT_ENV


class Request(NamedTuple):
    """What came in; time is monotonic, names of headers are lower case."""

    time: float
    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What goes out; a body that is neither bytes nor str becomes JSON."""

    status: int
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """For requests whose "METHOD /path?query" matches; status 0: the true answer."""

    pattern: str
    times: int = 1  # -1: for ever
    status: int = 0
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0  # seconds before the answer; a big number hangs
    reset: bool = False  # the connection, instead of an answer
    drip: str = ""  # "head" or "body": from there on a byte a time, without an end
    every: float = 4.0  # seconds between two of them
    cut: int | None = None  # bytes of the body that arrive, of all that were announced
    call: Callable[[], Any] | None = None  # before the answer


def backend(path: str, query: str, request: Request, root: str) -> Answer:
    """What git http-backend says to a request for path, below root."""
    variables = {
        "GIT_PROJECT_ROOT": root,
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        "REQUEST_METHOD": request.method,
        "REMOTE_USER": "pusher",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
        "PATH": os.environ["PATH"],
    }
    output = subprocess.run(
        ["git", "http-backend"],
        env=variables | GIT_ENV,
        input=request.body,
        capture_output=True,
    ).stdout
    head, _, content = output.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    return Answer(int(headers.pop("Status", "200").split()[0]), content, headers)


class Server(ThreadingHTTPServer):
    """A thread per connection; respond says what to answer, and what goes wrong."""

    daemon_threads = False  # server_close waits for them
    request_queue_size = 512

    def __init__(
        self,
        port: int,
        respond: Callable[[Request], tuple[Answer, Fault]],
        host: str = "127.0.0.1",
    ):
        super().__init__((host, port), _Handler)
        self.respond = respond
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends kept-alive connections too."""
        self.closing.set()
        self.shutdown()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "github.com", ""
    wbufsize = -1  # head and body in one packet

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        now = time.monotonic()
        request = Request(now, self.command, self.path, headers, self._body())
        answer, fault = self.server.respond(request)
        self.close_connection = fault.reset or fault.cut is not None or bool(fault.drip)
        if fault.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return
        if fault.drip:
            self._drip(fault)
            return
        body = answer.body
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(answer.status)
        if answer.status != 304:
            answer.headers.setdefault("Content-Type", "application/json; charset=utf-8")
            answer.headers["Content-Length"] = str(len(body))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: fault.cut])
        self.wfile.flush()

    def _drip(self, fault: Fault) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        if fault.drip == "body":
            self.wfile.write(b"Content-Type: application/json\r\n\r\n[")
        self.wfile.flush()
        while not self.server.closing.wait(fault.every):
            self.wfile.write(b" " if fault.drip == "body" else b"X")
            self.wfile.flush()

    do_GET = do_POST = _any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def log_message(self, *_: object) -> None:
        pass
