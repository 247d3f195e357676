"""A repository as GitHub shows it: a bare git repository and the feed of its events."""

import hashlib
import json
import os
import random
import subprocess
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

WINDOW = 300  # a feed shows no more events than these
GIT_ENV = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
PUSHER = {"id": 1001, "login": "pusher", "display_login": "pusher", "gravatar_id": ""}

_random = random.Random(2026)
_counts = {"push": 0, "other": 0, "push_id": 38_500_000_000}


def git(path: Path, *args: str) -> str:
    """What git prints, run in path; raises CalledProcessError."""
    command = ["git", "-C", str(path), *args]
    env = os.environ | GIT_ENV
    return subprocess.run(
        command, env=env, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def new_id(sequence: str) -> str:
    """An event id; both sequences, "push" and "other", rise only roughly."""
    _counts[sequence] += 1
    count = _counts[sequence]
    base = 16_200_000_000 if sequence == "push" else 10_200_000_000
    return str(base + (count + _random.randrange(-3, 4)) * 1000 + count % 1000)


class Repository:
    """`events` is the feed, newest first; anything may be done to that list."""

    def __init__(self, number: int, name: str, path: Path, private: bool, branch: str):
        self.id, self.name, self.path, self.private = number, name, path, private
        self.default_branch = branch
        self.changed = time.time()
        self.frozen = False  # answers 304 to any ETag
        self.held: list[Any] | None = None  # events that do not show yet
        self.events: list[Any] = []
        path.mkdir(parents=True)
        git(path, "init", "-q", "--bare", f"--initial-branch={branch}")
        git(path, "config", "http.receivepack", "true")
        git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
        self.add("CreateEvent", self._created(None, "repository", None))

    def refs(self) -> dict[str, str]:
        """Full name of each branch and tag, and what it points at."""
        spaces = ("refs/heads", "refs/tags")
        lines = git(
            self.path, "for-each-ref", "--format=%(refname) %(objectname)", *spaces
        )
        return dict(line.split(" ") for line in lines.splitlines())

    def event(self, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
        """A new event of today's shape, not yet in the feed."""
        pushes = kind in ("PushEvent", "CreateEvent", "DeleteEvent")
        return {
            "id": new_id("push" if pushes else "other"),
            "type": kind,
            "actor": PUSHER,
            "repo": {"id": self.id, "name": self.name},
            "payload": payload,
            "public": not self.private,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def add(self, kind: str, payload: dict[str, Any]) -> None:
        """Puts an event into the feed, one in ten below its predecessor."""
        events = self.events if self.held is None else self.held
        events.insert(_random.random() < 0.1, self.event(kind, payload))
        self.changed = time.time()

    def pushed(self, before: dict[str, str], commits: bool) -> None:
        """Adds the events of a push; before: the refs as they were."""
        after = self.refs()
        changed = sorted(dict(before.items() ^ after.items()))
        tags = [ref for ref in changed if ref.startswith("refs/tags/")]
        for ref in changed:
            _, _, short = ref.split("/", 2)
            kind = "tag" if ref in tags else "branch"
            if kind == "tag" and (len(tags) > 3 or (ref in before and ref in after)):
                continue  # many at once, or a moved one: GitHub makes no event
            if ref not in before:
                self.add("CreateEvent", self._created(short, kind, ref))
            elif ref in after:
                self.moved(ref, before[ref], after[ref], commits)
            else:
                gone = {"ref": short, "ref_type": kind, "full_ref": ref}
                self.add("DeleteEvent", gone | {"pusher_type": "user"})

    def moved(self, ref: str, before: str, head: str, commits: bool = False) -> None:
        """Adds a PushEvent; with its commits as an Enterprise server's still has."""
        _counts["push_id"] += _random.randrange(1, 2000)
        payload: dict[str, Any] = {
            "repository_id": self.id,
            "push_id": _counts["push_id"],
            "ref": ref,
            "head": head,
            "before": before,
        }
        if commits:
            new = git(self.path, "rev-list", "--reverse", f"{before}..{head}").split()
            listed = [{"sha": sha, "message": "", "distinct": True} for sha in new]
            payload |= {"size": len(new), "distinct_size": len(new)}
            payload["commits"] = listed[-20:]
        self.add("PushEvent", payload)

    def page(self, page: int, size: int, url: str) -> tuple[bytes, dict[str, str]]:
        """A page of the feed and the headers that go with it."""
        shown = self.events[:WINDOW]
        body = json.dumps(shown[(page - 1) * size : page * size]).encode()
        digest = hashlib.sha256(b"%d %d " % (page, size) + body).hexdigest()
        headers = {
            "ETag": f'W/"{digest}"',
            "Last-Modified": formatdate(self.changed, usegmt=True),
            "Vary": "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding",
        }
        links, last = {}, -(-len(shown) // size)
        if page > 1:
            links = {"prev": page - 1, "first": 1}
        if page < last:
            links |= {"next": page + 1, "last": last}
        here = f"{url}/repositories/{self.id}/events?per_page={size}&page="
        if links:
            rels = (f'<{here}{number}>; rel="{rel}"' for rel, number in links.items())
            headers["Link"] = ", ".join(rels)
        return body, headers

    def _created(self, ref: str | None, kind: str, full: str | None) -> dict[str, Any]:
        return {
            "ref": ref,
            "ref_type": kind,
            "full_ref": full,
            "master_branch": self.default_branch,
            "description": None,
            "pusher_type": "user",
        }
