"""One repository of the configuration: when it is asked, and what comes of it.

The order makes a crash harmless: read the feed, ask git, stage (synced), then save the
state and with it the feed's ETag. What was staged and not saved is found by its
directory.
"""

import math
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from wrapper.builds import journal, verdict
from wrapper.builds.directory import Build, Newer, builds_in
from wrapper.builds.process import Failed
from wrapper.config.load import Settings
from wrapper.console import say
from wrapper.github.client import GitHub, Page
from wrapper.github.errors import Trouble
from wrapper.github.events import Event
from wrapper.github.feed import News, news
from wrapper.pushes.backoff import Backoff
from wrapper.pushes.latest import LatestBuilds
from wrapper.pushes.moves import compare, passed
from wrapper.pushes.stager import Line, Stager, heads
from wrapper.pushes.state import ETag, State, Waiting, load

T = TypeVar("T")
FULL = 600.0  # seconds after which a feed is read whatever its ETag: those can go stale
LATE = 120.0  # seconds that git may take to show what an event tells of


class Repository:
    """Visited by one thread at a time; note() is for another, the poller's."""

    def __init__(
        self, name: str, settings: Settings, builds: Path, github: GitHub
    ) -> None:
        self.name = name
        self.settings = settings
        self.feed = Backoff(lambda words: say(name, words))
        self.git = Backoff(lambda words: say(name, words))
        self.spacing = 60.0  # seconds from one poll to the next, as they are now
        self.lag: float | None = None  # seconds from the last push to its staging
        self.untold = 0.0  # epoch seconds: since when git shows what no event tells of
        self._builds = builds
        self._github = github
        self._asked = 60.0  # seconds that GitHub wants between two polls
        self._recheck = math.inf  # monotonic: when git may show a late event
        self._announced: set[str] = set()
        self._written: set[Line] = set()
        try:
            state = self._load()
        except Newer:  # which a visit says
            state = State(builds / name)
        self._etag = state.etag
        self._latest = LatestBuilds(state)

    def due(self) -> float:
        """When to visit next (monotonic)."""
        return min(self.feed.due, self._git_due())

    def visit(self, interval: float, sweep: float) -> bool:
        """Asks what is due, and stages what is new. Was anything staged?

        interval: seconds between polls, where GitHub allows it; sweep: between sweeps.
        """
        page = None
        if self.feed.due <= _now():
            page = self._try(self.feed, interval, lambda: self._poll(interval))
        if not page and self._git_due() > _now():
            return False
        try:
            state = self._load()
        except Newer as e:
            words = f"{e}: nothing is done"
            self.feed.failed(words, interval, slow=True, quiet=True)
            self.git.failed(words, interval, slow=True)
            return False
        fresh = None
        if page:
            fresh = self._try(self.feed, interval, lambda: self._news(page, state))
        if fresh and fresh.ids.keys() - (state.seen or {}).keys():
            self.untold = 0.0  # the feed goes on
        asks = fresh is not None and bool(fresh.events or fresh.gap)
        if self._git_due() <= _now() or (asks and not self.git.trouble):
            stager = Stager(
                self.name, self.settings, self._builds, state, self._written
            )
            work = partial(self._compare, stager, state, fresh, sweep)
            self._try(self.git, interval, work)
            return bool(stager.staged)
        if fresh and not asks:
            known = state.seen is not None and fresh.ids.keys() <= state.seen.keys()
            self._learn(state, fresh)
            self._etag = state.etag
            if not known:
                self._latest.save_with(state)
        return False

    def note(self, build: Build, result: dict[str, Any] | None) -> None:
        """A build of this repository has started (None), or ended."""
        success = result is not None and result.get("status") == "success"
        self._latest.note([build], verdict.seconds(result or {}) if success else None)
        self._latest.save()

    def trouble(self) -> str:
        """What does not work now, or ""."""
        troubles = filter(None, (self.feed.trouble, self.git.trouble))
        return "; ".join(dict.fromkeys(troubles))

    def health(self) -> dict[str, Any]:
        """How it goes, as builds/.health.json has it."""
        return {
            "asked": self.feed.answered,
            "compared": self.git.answered,
            "interval": self.spacing,
            "trouble": self.trouble(),
            "lag": self.lag,
            "untold": self.untold,
        }

    def hurry(self) -> None:
        """What was in trouble is tried again now: something may have changed."""
        for backoff in self.feed, self.git:
            if backoff.trouble:
                backoff.due = 0.0

    def failed(self, words: str, interval: float) -> None:
        """A visit went wrong altogether."""
        self.feed.failed(words, interval)
        self.git.failed(words, interval)

    def _git_due(self) -> float:
        return self.git.due if self.git.trouble else min(self.git.due, self._recheck)

    def _poll(self, interval: float) -> Page | None:
        """The first page of the feed; None where nothing has changed."""
        etag = self._etag
        feed = self._github.feed(self.settings.repository)
        valid = etag.url == feed and 0 <= time.time() - etag.read_at < FULL
        page = self._github.page(feed, etag.value if valid else "")
        self._asked = self._asked if page.interval is None else page.interval
        self.spacing = max(interval, self._asked)
        if page.moved:
            self._say_once(f'GitHub has moved it to {page.moved}: set "repository"')
        if page.events is None:
            self.feed.succeeded(self.spacing)
            return None
        return page

    def _news(self, page: Page, state: State) -> News:
        """What the feed has that is new; without any, the state is as it was."""
        fresh = news(self._github, page, state.seen)
        for name, why in fresh.bad.items():
            self._say_once(f"event {name} cannot be read: {why}")
        self.feed.succeeded(self.spacing)
        return fresh

    def _compare(
        self, stager: Stager, state: State, fresh: News | None, sweep: float
    ) -> None:
        url = self.settings.url
        found = heads(url)
        # With another url it is another repository, unless one ref is where it was.
        known = state.refs or {}
        if state.refs is None or (
            state.url != url and not found.items() & known.items()
        ):
            stager.note(found)
            known = found
        elif known and not found:
            raise Trouble("git shows no branch nor tag any more", slow=True)
        state.url = url
        hints = [w.event for w in state.waiting] + (fresh.events if fresh else [])
        moved, late = compare(known, found, hints)
        missed = passed(known, moved, late, hints)
        try:
            for move in moved:
                stager.handle(move, {e.id: e for e in hints})
            for event in missed:
                stager.miss(event)
            came = [m.came for m in moved if m.came and m.ref.startswith("refs/heads/")]
            if not fresh and any(heads[-1].event is None for heads in came):
                self.untold = self.untold or time.time()
            self._wait_for(state, late)
            if fresh:
                self._learn(state, fresh)
            self._latest.keep(found)
        finally:
            self._latest.note(stager.staged)
            self._latest.save_with(state)
        self._written.clear()
        self._etag = state.etag
        self.lag = stager.lag if stager.staged else self.lag
        self.git.succeeded(sweep * random.uniform(0.9, 1.1))

    def _wait_for(self, state: State, late: list[Event]) -> None:
        """Events that git does not show yet are asked about again, ever more seldom."""
        now = time.time()
        since = {w.event.id: w.since for w in state.waiting}
        state.waiting = []
        for event in late:
            at = since.get(event.id, now)
            if now - at < LATE:
                state.waiting.append(Waiting(at, event))
            else:
                why = f"event {event.id}: git did not show it within {LATE:.0f} s"
                journal.tell(
                    self._builds, self.name, "skipped", why, event.ref, event.head
                )
        ages = [max(1, now - w.since) for w in state.waiting]
        self._recheck = _now() + min(ages, default=math.inf)

    def _learn(self, state: State, fresh: News) -> None:
        state.seen = (state.seen or {}) | fresh.ids
        feed = self._github.feed(self.settings.repository)
        state.etag = ETag(feed, fresh.etag, time.time())

    def _load(self) -> State:
        folder = self._builds / self.name
        try:
            return load(folder)
        except Newer:
            raise
        except ValueError as e:
            self._say_once(f"{e}; it starts anew")
            newest = max((b.id for b in builds_in(folder)), default="")
            return State(folder, newest=newest)

    def _say_once(self, words: str) -> None:
        if words not in self._announced:
            if len(self._announced) > 999:  # a feed full of nonsense
                self._announced.clear()
            self._announced.add(words)
            say(self.name, words)

    def _try(
        self, backoff: Backoff, interval: float, work: Callable[[], T]
    ) -> T | None:
        try:
            return work()
        except Trouble as e:
            backoff.failed(str(e), interval, e.wait, e.slow, quiet=e.everywhere)
        except Failed as e:
            backoff.failed(str(e), interval)
        except OSError as e:
            backoff.failed(f"{e.filename or self._builds}: {e.strerror}", interval)
        return None


_now = time.monotonic
