"""A stand-in for GitHub: git over HTTP, its Events API as it is, commit statuses.

    with GitHub(folder) as hub:         in a test: then hub.create("o/n"), hub.url, ...
    python -m tests.support.github --root DIR [--port N]     prints its URL first

A `git push` to hub.url/OWNER/NAME.git makes the events that GitHub would make.
Other processes POST {"call": "create", "args": ["o/n"], "kwargs": {}} to /_control, and
GET from there {"requests": ["METHOD /path", ...], "statuses": [...]}.
"""

import argparse
import json
import re
import signal
import threading
import time
from base64 import b64decode
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.feed import WINDOW, Repository
from tests.support.server import Answer, Fault, Request, Server, backend

CALLS = ["create", "rename", "hold", "release", "freeze"]  # by another process
CALLS += ["inject", "noise", "fault", "configure"]


def refusal(status: int, message: str) -> Answer:
    return Answer(status, {"message": message, "status": str(status)})


class GitHub:
    """The server; the first group of attributes may be changed at any time."""

    def __init__(
        self, root: Path | str, port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self.token: str | None = None  # the only right one; None: any, or none
        self.poll_interval: int | None = 0  # X-Poll-Interval in seconds; None: absent
        self.quiet_304 = False  # no X-Poll-Interval with a 304
        self.latency = 0.0  # seconds, of every answer
        self.limit = 100_000  # requests until reset_at, for each token
        self.reset_at = time.time() + 3600
        self.enterprise = False  # pushes list their commits
        self.faults: list[Fault] = []

        self.requests: list[Request] = []
        self.statuses: list[dict[str, Any]] = []
        self._root = Path(root).resolve()
        self._repositories: dict[str, Repository] = {}  # by name, former name, id
        self._used: dict[str, int] = {}
        self._lock = threading.RLock()
        self.closing = threading.Event()  # for a fault's call: it is to end
        self._host = host
        self._server = Server(port, self._respond, host)
        self.url = f"http://{host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends all connections, hanging ones too, and takes no more."""
        self.closing.set()
        self._server.stop()

    def restart(self) -> None:
        """After stop: on the same port, with all that was there."""
        self.closing.clear()
        self._server = Server(self._server.server_port, self._respond, self._host)
        self._server.start()

    def create(self, name: str, private: bool = False, branch: str = "main") -> str:
        """A new, empty repository; returns the URL to push to, a needed token in it."""
        number = 1_000_000 + 7 * len(self._repositories)
        path = self._root / f"{number}.git"
        repository = Repository(number, name, path, private, branch)
        self._repositories[name.lower()] = self._repositories[str(number)] = repository
        user = f"x-access-token:{self.token}@" if private and self.token else ""
        return self.url.replace("//", f"//{user}") + f"/{name}.git"

    def repository(self, name: str) -> Repository:
        """By name in any case, former name or id; raises KeyError."""
        return self._repositories[name.lower()]

    def rename(self, name: str, new: str) -> None:
        """The old name redirects from now on."""
        self._repositories[new.lower()] = self.repository(name)
        self.repository(name).name = new

    def hold(self, name: str) -> None:
        """Events made from now on do not show until `release`."""
        self.repository(name).held = []

    def release(self, name: str) -> None:
        repository = self.repository(name)
        repository.events[:0], repository.held = repository.held or [], None

    def freeze(self, name: str, frozen: bool = True) -> None:
        """Any ETag is answered 304, whatever happened since."""
        self.repository(name).frozen = frozen

    def inject(self, name: str, event: Any) -> None:
        """Any JSON, as the newest event."""
        self.repository(name).events.insert(0, event)

    def noise(self, name: str, count: int = WINDOW) -> None:
        """Events of another type; WINDOW of them push all else out."""
        for _ in range(count):
            self.repository(name).add("WatchEvent", {"action": "started"})

    def fault(self, pattern: str, **what: Any) -> Fault:
        """Queues a Fault, which says what it takes; the oldest that matches counts."""
        self.faults.append(Fault(pattern, **what))
        return self.faults[-1]

    def configure(self, **attributes: Any) -> None:
        """Sets attributes, for another process."""
        vars(self).update(attributes)

    def _respond(self, request: Request) -> tuple[Answer, Fault]:
        if request.path == "/_control":
            return self._control(request), Fault("")
        with self._lock:
            self.requests.append(request)
            line = f"{request.method} {request.path}"
            due = (f for f in self.faults if f.times and re.search(f.pattern, line))
            fault = next(due, Fault("", delay=self.latency))
            fault.times -= 1
        self.closing.wait(fault.delay)
        if fault.call:
            fault.call()
        if fault.status:
            return Answer(fault.status, fault.body, dict(fault.headers)), fault
        if ".git/" in request.path:
            return self._git(request), fault
        answer = self._api(request)
        self._count(request, answer)
        return answer, fault

    def _control(self, request: Request) -> Answer:
        if request.method == "GET":
            seen = [f"{r.method} {r.path}" for r in self.requests]
            return Answer(200, {"requests": seen, "statuses": self.statuses})
        asked = json.loads(request.body)
        if asked["call"] not in CALLS:
            return refusal(404, f"only {', '.join(CALLS)} can be called")
        method = getattr(self, asked["call"])
        result = method(*asked.get("args", []), **asked.get("kwargs", {}))
        return Answer(200, result if isinstance(result, str) else "")

    def _authorized(self, request: Request) -> bool | None:
        """Whether the request's token is right; None: it has none."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            secret = b64decode(secret).decode().partition(":")[2]
        return (self.token is None or secret == self.token) if scheme else None

    def _git(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        name, _, rest = parts.path[1:].partition(".git/")
        repository = self._repositories.get(name.lower())
        closed = not repository or repository.private
        if closed and not self._authorized(request):
            challenge = {"WWW-Authenticate": 'Basic realm="GitHub"'}
            return Answer(401, "Authentication required", challenge)
        if not repository:
            return Answer(404, "Repository not found.")
        if name.lower() != repository.name.lower():
            place = f"{self.url}/{repository.name}.git/{rest}?{parts.query}"
            return Answer(301, "", {"Location": place.rstrip("?")})
        path, root = f"/{repository.path.name}/{rest}", str(self._root)
        if rest != "git-receive-pack":
            return backend(path, parts.query, request, root)
        with self._lock:  # one push at a time, so that each gets its own events
            before = repository.refs()
            answer = backend(path, parts.query, request, root)
            repository.pushed(before, self.enterprise)
        return answer

    def _api(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        authorized = self._authorized(request)
        left = self._left(request)
        if not request.headers.get("user-agent"):
            return Answer(403, "Request forbidden by administrative rules.")
        if authorized is False:
            return refusal(401, "Bad credentials")
        if parts.path == "/rate_limit":
            core = {"limit": self.limit, "remaining": left, "reset": int(self.reset_at)}
            return Answer(200, {"resources": {"core": core}, "rate": core})
        if left == 0:
            return refusal(403, "API rate limit exceeded for 127.0.0.1.")
        if parts.path == "/user":
            if not authorized:
                return refusal(401, "Requires authentication")
            return Answer(200, {"login": "pusher"}, {"X-OAuth-Scopes": "repo"})
        route = re.fullmatch(
            r"/(?:repos/([^/]+/[^/]+)|repositories/(\d+))(/.+)?", parts.path
        )
        repository = route and self._repositories.get((route[1] or route[2]).lower())
        if not route or not repository or (repository.private and not authorized):
            return refusal(404, "Not Found")
        rest = route[3] or ""
        if route[1] and route[1].lower() != repository.name.lower():
            place = f"{self.url}/repositories/{repository.id}{rest}?{parts.query}"
            place = place.rstrip("?")
            moved = {"message": "Moved Permanently", "url": place}
            return Answer(301, moved, {"Location": place})
        if request.method == "POST" and rest.startswith("/statuses/"):
            return self._status(request, repository, rest.removeprefix("/statuses/"))
        if request.method == "GET" and rest == "/events":
            return self._events(request, repository, parse_qs(parts.query))
        if request.method == "GET" and not rest:
            about = {"id": repository.id, "full_name": repository.name}
            about |= {"private": repository.private}
            return Answer(200, about | {"default_branch": repository.default_branch})
        return refusal(404, "Not Found")

    def _events(
        self, request: Request, repository: Repository, query: dict[str, list[str]]
    ) -> Answer:
        size = min(100, int(query.get("per_page", ["30"])[0]))
        page = int(query.get("page", ["1"])[0])
        if (page - 1) * size >= WINDOW:
            text = "In order to keep the API fast for everyone, pagination is limited"
            return refusal(422, f"{text} for this resource. Check the rel=last link.")
        with self._lock:  # all events of a push, or none
            body, headers = repository.page(page, size, self.url)
        secret = request.headers.get("authorization", "")
        headers["ETag"] = f'{headers["ETag"][:-9]}{hash(secret) % 2**32:08x}"'
        headers["Cache-Control"] = f"private, max-age={self.poll_interval or 0}"
        asked = request.headers.get("if-none-match")
        unchanged = asked and (repository.frozen or asked == headers["ETag"])
        if self.poll_interval is not None and not (unchanged and self.quiet_304):
            headers["X-Poll-Interval"] = str(self.poll_interval)
        if asked and unchanged:
            return Answer(304, b"", headers | {"ETag": asked})
        return Answer(200, body, headers)

    def _status(self, request: Request, repository: Repository, sha: str) -> Answer:
        if self.token and not self._authorized(request):
            return refusal(401, "Requires authentication")
        status = json.loads(request.body)
        if len(status.get("description") or "") > 140:
            return refusal(422, "description is too long (maximum is 140 characters)")
        if status.get("state") not in ("error", "failure", "pending", "success"):
            return refusal(422, "Validation Failed: state")
        self.statuses.append({"repository": repository.name, "sha": sha} | status)
        return Answer(201, status)

    def _left(self, request: Request) -> int:
        if time.time() >= self.reset_at:
            self._used.clear()
            self.reset_at = time.time() + 3600
        used = self._used.get(request.headers.get("authorization", ""), 0)
        return max(0, self.limit - used)

    def _count(self, request: Request, answer: Answer) -> None:
        """Adds the rate limit's headers; a 304 is free to whoever has a token."""
        secret = request.headers.get("authorization", "")
        if answer.status != 304 or not secret:
            with self._lock:
                self._used[secret] = self._used.get(secret, 0) + 1
        left = self._left(request)
        answer.headers |= {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Used": str(self.limit - left),
            "X-RateLimit-Reset": str(int(self.reset_at)),
            "X-RateLimit-Resource": "core",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for GitHub.")
    parser.add_argument("--root", required=True, help="folder for the repositories")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with GitHub(options.root, options.port) as hub:
        print(hub.url, flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
