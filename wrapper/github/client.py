"""GitHub's API: events and commit statuses."""

import json
import os
import re
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

from wrapper import answer
from wrapper.console import say
from wrapper.github.errors import (
    LONGEST,
    Trouble,
    judge,
    reason,
    shorten,
    until_reset,
)
from wrapper.github.token import Token

REDIRECTS = 3
VALUES = 600_000  # in the JSON of a page; each takes some hundred bytes of memory


def serves(url: str) -> bool:
    """Is a git remote on GitHub, so that there are events and statuses for it?"""
    server = os.environ.get("GITHUB_SERVER_URL") or "https://github.com"
    theirs, ours = _place(url), _place(server)
    if url.startswith(("http://", "https://")):
        return theirs == ours
    host = ours.rpartition(":")[0] if re.search(r":[0-9]+$", ours) else ours
    return theirs.removeprefix("ssh.") in (host, f"{host}:22", f"{host}:443")


def _place(url: str) -> str:
    """HOST or HOST:PORT of a URL, or of user@host:path; "" of a path."""
    if "://" not in url:
        user, at, rest = url.partition("@")
        return rest.partition(":")[0].lower() if at and "/" not in user else ""
    scheme, _, rest = url.partition("://")
    place = rest.partition("/")[0].rpartition("@")[2].lower()
    usual = {"https": ":443", "http": ":80", "ssh": ":22"}.get(scheme)
    return place.removesuffix(usual) if usual else place


class Page(NamedTuple):
    """One page of a feed; events is None where nothing changed (304)."""

    events: list[Any] | None
    etag: str
    next: str | None  # URL of the page after it
    interval: float | None  # seconds to the next poll that GitHub asks for
    moved: str | None  # where a redirect led


class GitHub:
    """A client for all threads. All methods raise Trouble."""

    def __init__(self, connections: int = 16) -> None:
        self.url = os.environ.get("GITHUB_API_URL") or "https://api.github.com"
        self.token = Token()
        self._session = answer.session(connections)
        self._session.auth = self._authorize
        # What the environment says is read once. It is slow, and has requests put a
        # .netrc in the token's place.
        self._session.trust_env = False
        self._session.proxies = _proxies(self.url)
        bundles = map(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
        self._session.verify = next(filter(None, bundles), True)
        self._session.headers["Accept"] = "application/vnd.github+json"
        self._session.headers["User-Agent"] = "docker-build-server"
        self._session.headers["X-GitHub-Api-Version"] = "2022-11-28"
        self._closed_until = 0.0  # monotonic
        self._announced = ""  # what troubles all repositories now
        self._quota = (0, 0, 0.0)  # limit, remaining, when it is full again (monotonic)

    def feed(self, repository: str) -> str:
        """The URL of the newest events of OWNER/NAME."""
        return f"{self.url.rstrip('/')}/repos/{repository}/events?per_page=100"

    def page(self, url: str, etag: str = "") -> Page:
        """One page of events; etag: what this very URL gave the last time."""
        headers = {"If-None-Match": etag} if etag else {}
        response = self._ask("GET", url, REDIRECTS, headers=headers)
        events = None
        if response.status_code != 304:
            if sum(map(response.content.count, (b",", b"[", b"{"))) > VALUES:
                raise Trouble("GitHub answers with JSON of too many values")
            try:
                events = json.loads(response.content, parse_int=_int)
            except (ValueError, RecursionError):
                kind = response.headers.get("Content-Type", "something")
                raise Trouble(f"GitHub answers with {kind}, not JSON") from None
            if not isinstance(events, list):
                raise Trouble("GitHub answers with JSON that is no list of events")
        return Page(
            events,
            response.headers.get("ETag", ""),
            response.links.get("next", {}).get("url"),
            _interval(response.headers),
            response.url if response.history else None,
        )

    def set_status(
        self, repository: str, commit: str, state: str, words: str, context: str
    ) -> None:
        """Sets a commit's status; of the words, 140 characters."""
        body = {"state": state, "context": context, "description": shorten(words, 140)}
        url = f"{self.url.rstrip('/')}/repos/{repository}/statuses/{commit}"
        response = self._ask("POST", url, 1, json=body)
        if response.status_code != 201:
            raise Trouble(f"GitHub answers {response.status_code} to a commit status")

    @property
    def remaining(self) -> int | None:
        """Requests that the quota leaves; None: GitHub has not said."""
        limit, remaining, _ = self._quota
        return remaining if limit else None

    def spacing(self, repositories: int) -> float:
        """Seconds between two polls of each repository that the quota allows.

        0 while there is plenty: with a token, an unchanged feed costs nothing.
        """
        limit, remaining, full_at = self._quota
        left = full_at - time.monotonic() + 1  # its clock may differ by a second
        if left <= 1 or (self.token.value() and remaining > limit / 5):
            return 0
        return min(repositories * left / remaining if remaining > 0 else left, LONGEST)

    def saves(self) -> bool:
        """Are readings without an ETag to wait, which always cost? With thousands of
        repositories the first ones alone would spend all that an hour has.
        """
        limit, remaining, full_at = self._quota
        short = remaining < limit / 4 and full_at > time.monotonic()
        return short and bool(self.token.value())

    def full_reading(self, repositories: int) -> float:
        """Seconds between two readings of each feed without its ETag, which always
        cost: so that all of them spend half of the quota.
        """
        limit, *_ = self._quota
        if limit < 1:  # not known yet
            limit = 5000 if self.token.value() else 60
        return repositories * 3600 / (limit / 2)

    def _authorize(self, request: requests.PreparedRequest) -> Any:
        """The token is for the API alone, wherever that redirects to."""
        if urlsplit(request.url or "")[:2] == tuple(urlsplit(self.url)[:2]):
            return self.token(request)
        return request

    def _ask(
        self, method: str, url: str, redirects: int, **request: Any
    ) -> requests.Response:
        closed = self._closed_until - time.monotonic()
        if closed > 0:
            words = "GitHub's rate limit is used up"
            raise Trouble(words, wait=closed, everywhere=True)
        try:
            response = answer.ask(self._session, method, url, redirects, **request)
        except answer.TooLarge as e:
            raise Trouble(f"GitHub answers with {e}") from None
        except answer.TooSlow as e:
            raise Trouble(f"GitHub answers too slowly: {e}") from None
        except (requests.RequestException, OSError, ValueError) as e:
            words = f"cannot reach {self.url}: {reason(e)}"
            raise self._announce(Trouble(words, everywhere=True)) from None
        self._note_quota(response.headers)
        if trouble := judge(response):
            if trouble.everywhere:  # another thread may know of a longer wait
                until = time.monotonic() + trouble.wait
                self._closed_until = max(self._closed_until, until)
            raise self._announce(trouble)
        if self._announced:
            self._announced = ""
            say("poller", "GitHub answers again")
        return response

    def _announce(self, trouble: Trouble) -> Trouble:
        """What concerns all repositories is said once, not by each of them."""
        if trouble.everywhere and str(trouble) != self._announced:
            self._announced = str(trouble)
            say("poller", self._announced)
        return trouble

    def _note_quota(self, headers: Any) -> None:
        try:
            limit = int(headers["X-RateLimit-Limit"])
            remaining = int(headers["X-RateLimit-Remaining"])
        except (KeyError, ValueError):
            return
        self._quota = limit, remaining, time.monotonic() + until_reset(headers)


def _proxies(url: str) -> dict[str, str]:
    try:
        return dict(get_environ_proxies(url))
    except ValueError:  # no URL; the first request will say so
        return {}


def _int(digits: str) -> int | str:
    """Python reads no number of thousands of digits: one event must not hide others."""
    return int(digits) if len(digits) < 1000 else digits


def _interval(headers: Any) -> float | None:
    """X-Poll-Interval can be absent on a 304: then the age of the cache."""
    asked = re.fullmatch(r"([0-9]+)", headers.get("X-Poll-Interval", ""))
    asked = asked or re.search(r"max-age=([0-9]+)", headers.get("Cache-Control", ""))
    return min(float(asked[1]), LONGEST) if asked else None
