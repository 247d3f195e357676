"""One repository of the configuration: when it is asked, and what comes of it.

The order makes a crash harmless: read the feed, ask git, stage (synced), then save the
state and with it the feed's ETag. What was staged and not saved is found by its
directory.
"""

import math
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from wrapper.builds.directory import Build, Newer
from wrapper.builds.process import Failed
from wrapper.config.globs import names_default
from wrapper.config.load import Settings
from wrapper.console import say
from wrapper.github.client import GitHub, serves
from wrapper.github.errors import Trouble
from wrapper.github.events import Event
from wrapper.github.feed import News, merged, news, without
from wrapper.pushes.backoff import Backoff
from wrapper.pushes.latest import LatestBuilds
from wrapper.pushes.moves import compare, passed
from wrapper.pushes.stager import Line, Stager, excluded, heads
from wrapper.pushes.state import ETag, State, Waiting, from_builds, load

T = TypeVar("T")
FEED, GIT = "feed", "git"  # what is visited
FULL = 600.0  # seconds after which a feed is read whatever its ETag: those can go stale
LOOKS = 2.0  # seconds from one comparison that somebody wants to the next
LATE = 120.0  # seconds that git may take to show what an event tells of


class Repository:
    """poll() and compare() are each for one thread at a time: neither waits for the
    other. note() is for another, the poller's.
    """

    def __init__(
        self, name: str, settings: Settings, builds: Path, github: GitHub
    ) -> None:
        self.name = name
        self.settings = settings
        self.feed = Backoff(lambda words: say(name, words))
        self.git = Backoff(lambda words: say(name, words))
        self.spacing = 60.0  # seconds from one poll to the next, as they are now
        self.lag: float | None = None  # seconds from the last push to its staging
        self.unmatched = False  # do the filters match none of its branches and tags?
        self.untold = 0.0  # epoch seconds: since when git shows what no event tells of
        self._builds = builds
        self._github = github
        self._asked = 60.0  # seconds that GitHub wants between two polls
        self._recheck = math.inf  # monotonic: when git may show a late event
        self._wanted = math.inf  # monotonic: when somebody wants git to be asked
        self._looked = -math.inf  # monotonic: when it was asked last
        self.pause = 600.0  # seconds from one comparison to the next
        self._changing = threading.Lock()
        self._saves = False  # does its feed wait until the quota has more left?
        self._news: News | None = None  # of the feed, for compare()
        self._announced: set[str] = set()
        self._written: set[Line] = set()
        try:
            state = self._load()
        except Newer:  # which a visit says
            state = State(builds / name)
        self._etag = state.etag
        self._latest = LatestBuilds(state)

    @property
    def on_github(self) -> bool:
        """Are there events of it? Else git alone is asked, more often."""
        return serves(self.settings.url)

    def due(self, what: str) -> float:
        """When to poll() next (FEED), or to compare() (GIT); monotonic."""
        if what == FEED:
            return self.feed.due if self.on_github else math.inf
        due = min(self.git.due, self._wanted)
        if self.git.trouble:
            return due
        return 0.0 if self.has_news else min(due, self._recheck)

    @property
    def has_news(self) -> bool:
        """Has the feed shown what compare() has not handled yet?"""
        return self._news is not None

    def poll(self, interval: float, full: float = 0) -> None:
        """Reads the feed. What it has that is new waits for compare().

        interval: seconds between polls, where GitHub allows it; full: at least between
        two readings whatever the ETag.
        """
        fresh = self._try(self.feed, interval, lambda: self._poll(interval, full))
        if fresh:
            with self._changing:
                self._news = merged(self._news, fresh)

    def compare(self, interval: float, sweep: float) -> bool:
        """Compares with git where that is due, or the feed calls for it, and stages
        what is new. Was anything staged?

        interval: seconds between polls, sweep: between comparisons.
        """
        with self._changing:
            fresh = self._news
        try:
            state = self._load()
        except Newer as e:
            words = f"{e}: nothing is done"
            self.git.failed(words, interval, slow=True)
            return False
        self.pause = sweep if self.on_github else interval
        unseen = fresh and without(fresh, state.seen)
        if unseen and unseen.ids.keys() - (state.seen or {}).keys():
            self.untold = 0.0  # the feed goes on
        asks = unseen is not None and bool(unseen.events or unseen.gap)
        due = min(self.git.due, math.inf if self.git.trouble else self._recheck)
        if asks or min(due, self._wanted) <= _now():
            self._looked, self._wanted = _now(), math.inf
            stager = Stager(
                self.name, self.settings, self._builds, state, self._written
            )
            work = partial(self._compare, stager, state, unseen)
            if self._try(self.git, interval, work):
                self._handled(fresh)
            return bool(stager.staged)
        if unseen:
            known = state.seen is not None and unseen.ids.keys() <= state.seen.keys()
            self._learn(state, unseen)
            if not known:
                self._latest.save_with(state)
            self._handled(fresh)
        return False

    def _handled(self, fresh: News | None) -> None:
        with self._changing:
            if self._news is fresh:  # the feed has not shown more meanwhile
                self._news = None

    def note(self, build: Build, result: dict[str, Any] | None) -> None:
        """A build of this repository has started (None), or ended."""
        self._latest.note([build], result)
        self._latest.save()

    def trouble(self) -> str:
        """What does not work now, or ""."""
        feed = self.feed.trouble if self.on_github else ""
        troubles = filter(None, (feed, self.git.trouble))
        return "; ".join(dict.fromkeys(troubles))

    def health(self) -> dict[str, Any]:
        """How it goes, as builds/.health.json has it."""
        has_feed = self.on_github and not (self._saves and not self.feed.answered)
        return {
            "asked": self.feed.answered if has_feed else None,
            "compared": self.git.answered,
            "interval": self.spacing,
            "sweep": self.pause,
            "trouble": self.trouble(),
            "lag": self.lag,
            "untold": self.untold,
            "unmatched": self.unmatched,
        }

    def hurry(self) -> None:
        """What was in trouble is tried again now: something may have changed."""
        for backoff in self.feed, self.git:
            if backoff.trouble:
                backoff.due = 0.0

    def look(self) -> None:
        """Somebody says that git has something new: it is asked at once, or soon, if
        that was just done.
        """
        self._wanted = max(_now(), self._looked + LOOKS)

    def failed(self, what: str, words: str, interval: float) -> None:
        """A poll (FEED) or a comparison (GIT) went wrong altogether."""
        (self.feed if what == FEED else self.git).failed(words, interval)

    def _poll(self, interval: float, full: float) -> News | None:
        """What the feed has that is new; None where nothing has changed."""
        etag = self._etag
        feed = self._github.feed(self.settings.repository)
        valid = etag.url == feed and 0 <= time.time() - etag.read_at < max(FULL, full)
        if not valid and self._github.saves():
            valid = etag.url == feed and etag.value != ""
            if not valid:  # until then the comparisons with git tell
                self.feed.due = _now() + self.spacing
                self._saves = True
                return None
        self._saves = False
        page = self._github.page(feed, etag.value if valid else "")
        self._asked = self._asked if page.interval is None else page.interval
        self.spacing = max(interval, self._asked)
        if page.moved:
            self._say_once(f'GitHub has moved it to {page.moved}: set "repository"')
        fresh = None
        if page.events is not None:
            try:
                state = self._load()
            except Newer as e:  # which compare() says
                raise Trouble(
                    f"{e}: nothing is done", slow=True, everywhere=True
                ) from None
            fresh = news(self._github, page, state.seen)
            for name, why in fresh.bad.items():
                self._say_once(f"event {name} cannot be read: {why}")
            self._etag = ETag(feed, fresh.etag, time.time())
        self.feed.succeeded(self.spacing)
        return fresh

    def _compare(self, stager: Stager, state: State, fresh: News | None) -> bool:
        """True; raises what _try() says."""
        url = self.settings.url
        found, default = heads(url, names_default(self.settings.branches))
        stager.default = default
        # With another url it is another repository, unless one ref is where it was.
        known = state.refs or {}
        self.unmatched = all(excluded(self.settings, ref, default) for ref in found)
        if self.unmatched:
            has = ", ".join(ref.split("/", 2)[2] for ref in list(found)[:5])
            words = '"branches" and "tags" match nothing'
            self._say_once(f"{words} (git has: {has or 'none yet'})")
        if state.refs is None or (
            state.url != url and not found.items() & known.items()
        ):
            stager.note(found)
            known = found
        elif state.partial and found:
            known = state.refs = stager.complete(found, known)
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
            if (
                self.on_github
                and not fresh
                and any(heads[-1].event is None for heads in came)
            ):
                self.untold = self.untold or time.time()
            self._wait_for(stager, state, late)
            if fresh:
                self._learn(state, fresh)
            self._latest.keep(found)
        finally:
            stager.finish()
            self._latest.note(stager.staged)
            self._latest.save_with(state)
        self._written.clear()
        self.lag = stager.lag if stager.staged else self.lag
        self.git.succeeded(self.pause * random.uniform(0.9, 1.1))
        return True

    def _wait_for(self, stager: Stager, state: State, late: list[Event]) -> None:
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
                stager.tell("skipped", why, event.ref, event.head)
        ages = [max(1, now - w.since) for w in state.waiting]
        self._recheck = _now() + min(ages, default=math.inf)

    def _learn(self, state: State, fresh: News) -> None:
        state.seen = (state.seen or {}) | fresh.ids
        state.reading = len(fresh.ids)
        state.etag = self._etag._replace(value=fresh.etag)

    def _load(self) -> State:
        folder = self._builds / self.name
        try:
            return load(folder)
        except Newer:
            raise
        except ValueError as e:
            state = from_builds(folder)
            how = "what was built is known" if state.refs else "it starts anew"
            self._say_once(f"{e}; {how}")
            return state

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
