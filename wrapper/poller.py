"""The poller: asks for pushes in turn and starts builds, until it is told to stop."""

import json
import math
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from wrapper.builds import deliver, host
from wrapper.builds.directory import Build
from wrapper.builds.illness import ServerNotice
from wrapper.builds.inbox import Inbox
from wrapper.builds.lock import Locked, lock
from wrapper.builds.notices import Notices
from wrapper.builds.process import Pipeline
from wrapper.builds.queue import Queue
from wrapper.builds.statuses import Statuses
from wrapper.builds.trouble import HostWatch
from wrapper.config.files import watch_file, watch_folder
from wrapper.config.load import Config, remarks, wanted
from wrapper.config.reload import ConfigWatch, changes
from wrapper.console import say
from wrapper.github.client import GitHub
from wrapper.pushes.actions import Actions
from wrapper.pushes.repository import FEED, GIT, Repository

ME = "poller"
SIDE_BY_SIDE = {False: 16, True: 4}  # visits of each kind; True: of those that are slow
SLOW = 5.0  # seconds that a visit takes, whose next is among the slow ones
GRACE = 5.0  # seconds for a feed, so that a comparison with git knows what it tells
LOOK = 60.0  # seconds between two looks at the queue, where nobody calls for one
PATIENCE = 3.0  # seconds for visits that have begun, when it is told to stop
RESTLESS = 1.0  # where something is waited for that nobody tells of

Visit = tuple[str, str]  # FEED or GIT, and the entry's name
Lane = tuple[str, bool]  # FEED or GIT, and whether for the slow ones


class Poller:
    """One thread decides; it is told what happened through a queue of calls to make.

    Polls and builds have threads of their own, so neither holds up the other.
    """

    def __init__(
        self, source: str, pipeline: Callable[[Build], Pipeline] = Pipeline
    ) -> None:
        self._pipeline = pipeline
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        # What to visit, by lane: what hangs holds up its like alone.
        self._todo: dict[Lane, SimpleQueue[Repository | None]] = {
            (what, slow): SimpleQueue() for what in (FEED, GIT) for slow in SIDE_BY_SIDE
        }
        self._watch = ConfigWatch(
            source,
            lambda config: self._calls.put(lambda: self._configure(config)),
            self._complain,
        )
        self._github = GitHub(sum(SIDE_BY_SIDE.values()))
        self._statuses = Statuses(self._github)
        self._repositories: dict[str, Repository] = {}
        self._visiting: dict[Visit, float] = {}  # and since when, or since when queued
        self._slow: set[Visit] = set()
        self._next: dict[Visit, float] = {}  # when each is due
        self._due: list[tuple[float, Visit]] = []  # a heap; what next says counts
        self._look_due = 0.0  # monotonic, as are all of these
        self._health_due = math.inf
        self._interval = 60.0  # seconds between two polls, with what the quota allows
        self._token = ""
        self._stopped_by = 0  # the signal
        self._patience = math.inf  # till when the end waits for visits
        self._once = False

    def main(self, once: bool = False) -> int:
        """Polls for ever; or once, and until everything is built. The exit code.

        Raises ConfigError. 69: another polls for this builds directory.
        """
        self._config = config = self._watch.start()
        builds = config.builds
        builds.mkdir(0o750, parents=True, exist_ok=True)
        try:
            with lock(builds / ".lock"):
                self._once = once
                return self._run(builds)
        except Locked as e:
            say(ME, f"process {e} polls for {builds} already")
            return 69
        finally:
            self._watch.stop()
            self._statuses.stop()

    def stop(self, number: int) -> None:
        """TERM or INT, for the poller and all that it runs. For signal handlers."""
        self._calls.put(lambda: self._stop(number))

    def _run(self, builds: Path) -> int:
        self._notices = Notices(builds)
        self._server_notice = ServerNotice(builds, self._notices.tell_of_server)
        self._host = HostWatch(self._config, lambda: self._later(self._write_health))
        self._queue = Queue(
            builds,
            self._statuses,
            self._on_end,
            self._note,
            self._pipeline,
            self._later,
            self._host,
        )
        actions = Actions(
            builds, lambda: self._config.repositories, self._queue.reopen, self._later
        )
        self._inbox = Inbox(builds, actions.perform, self._later)
        requests = self._inbox.open()
        self._configure(self._config)
        for lane in self._todo:
            for _ in range(SIDE_BY_SIDE[lane[1]]):
                threading.Thread(target=self._visit, args=lane, daemon=True).start()
        wake = watch_file(builds / ".wake", lambda: self._calls.put(self._woken))
        asked = watch_folder(requests, lambda: self._calls.put(self._inbox.look))
        say(ME, f"{len(self._repositories)} repositories, builds in {builds}")
        for words in host.missing():
            say(ME, words)
        if (cage := host.cage()).level != host.OK:
            say(ME, cage.line)
        if self._config.engine is None:  # else builds are elsewhere
            for finding in host.container(builds):
                say(ME, finding.line)
        on_github = any(r.on_github for r in self._repositories.values())
        if on_github and not self._github.token.value():
            say(ME, "no token: no commit statuses (set GITHUB_TOKEN_FILE)")
        while not self._finished():
            self._tick()
        wake.stop()
        asked.stop()
        for lane, todo in self._todo.items():
            for _ in range(SIDE_BY_SIDE[lane[1]]):
                todo.put(None)
        self._queue.look(0)
        self._notices.stop()
        self._statuses.flush(5)
        self._write_health()
        if self._stopped_by:
            return 128 + self._stopped_by
        return int(any(r.trouble() for r in self._repositories.values()))

    def _finished(self) -> bool:
        if not self._queue.idle() or not (self._once or self._stopped_by):
            return False
        if self._stopped_by:
            return not self._visiting or self._patience < time.monotonic()
        looked = self._look_due > time.monotonic() and not self._inbox.busy()
        return looked and not self._next and not self._visiting

    def _tick(self) -> None:
        """Starts what is due, and waits for what comes next."""
        if not self._stopped_by:
            self._pace()
            while self._due and self._due[0][0] <= time.monotonic():
                due, visit = heappop(self._due)
                if self._next.get(visit) == due:
                    del self._next[visit]
                    self._send(visit)
        if self._look_due <= time.monotonic():
            self._look_due = time.monotonic() + self._look_at_queue()
        if self._health_due <= time.monotonic():
            self._do(self._write_health)
            self._health_due = math.inf
        due = min(self._look_due, self._health_due)
        if self._stopped_by:
            due = min(due, time.monotonic() + RESTLESS)
        elif self._due:
            due = min(due, self._due[0][0])
        try:
            # With nothing left to do there is nothing to wait for either.
            wait = 0 if self._finished() else max(0.0, due - time.monotonic())
            self._do(self._calls.get(timeout=wait))
            while True:
                self._do(self._calls.get_nowait())
        except Empty:
            pass

    def _schedule(self, visit: Visit, due: float) -> None:
        """Unless it is to begin earlier anyhow."""
        if due < self._next.get(visit, math.inf):
            self._next[visit] = due
            heappush(self._due, (due, visit))

    def _send(self, visit: Visit) -> None:
        """Has a thread make a visit that is due."""
        what, name = visit
        repository = self._repositories.get(name)
        if not repository or visit in self._visiting:
            return
        now = time.monotonic()
        if what == GIT and now < (
            late := self._visiting.get((FEED, name), -GRACE) + GRACE
        ):
            self._schedule(visit, late)
            return
        self._visiting[visit] = now
        self._todo[what, visit in self._slow].put(repository)

    def _write_health(self) -> None:
        """Leaves builds/.health.json, for the command health."""
        repositories = {r.name: r.health() for r in self._repositories.values()}
        beside = self._config.builds / ".health.json.tmp"
        document = {
            "format": 1,
            "host": self._host.troubles,
            "statuses": self._statuses.refused,
            "requests_remaining": self._github.remaining,
            "repositories": repositories,
        }
        # Not synced, as it is written often. A full disk is told by who needs the room.
        with suppress(OSError):
            beside.write_text(json.dumps(document))
            beside.replace(beside.with_suffix(""))
        if not self._stopped_by:
            with suppress(OSError):
                self._server_notice.look(self._config, document)

    def _do(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as e:  # a build that cannot be read, say
            say(ME, _internal(e))

    def _look_at_queue(self) -> float:
        """Starts builds; seconds to the next look."""
        try:
            if not self._stopped_by:
                self._inbox.look()
            self._queue.look(0 if self._stopped_by else self._config.concurrency)
            again = self._host.look()
        except Exception as e:  # a folder that cannot be read, say
            say(ME, _internal(e))
            return LOOK
        return RESTLESS if self._queue.restless else min(again, LOOK)

    def _pace(self) -> None:
        """Slows down where the quota is short; asks again at once with a new token."""
        spacing = self._github.spacing(len(self._repositories))
        slow = spacing > self._config.poll_interval
        if slow and self._interval <= self._config.poll_interval:
            words = "the rate limit leaves each repository a poll every"
            say(ME, f"{words} {spacing:.0f} s")
        self._interval = max(self._config.poll_interval, spacing)
        if self._token != (token := self._github.token.value()):
            self._token = token
            self._hurry()

    def _hurry(self) -> None:
        """Something may have changed for the better: troubles are tried again now."""
        for repository in self._repositories.values():
            repository.hurry()
        self._due.clear()
        self._next.clear()
        for name, repository in self._repositories.items():
            for what in FEED, GIT:
                if (what, name) not in self._visiting:
                    self._schedule((what, name), repository.due(what))

    def _configure(self, config: Config) -> None:
        """Puts a configuration into force, for what is staged from now on."""
        if config != self._config:
            say(ME, f"configuration: {changes(self._config, config)}")
        elif self._repositories:  # it is called again, as a mistake was mended
            say(ME, "configuration: without a mistake again")
        for remark in remarks(config):
            say(ME, remark)
        builds = self._config.builds
        if config.builds != builds:
            say(ME, f"builds stay in {builds} until the next start")
        for words in deliver.unknown(wanted(config)):
            say(ME, words)
        self._config = replace(config, builds=builds)
        self._host.configure(self._config)
        before, self._repositories = self._repositories, {}
        for name, settings in config.repositories.items():
            known = before.get(name) or Repository(name, settings, builds, self._github)
            known.settings = settings
            self._repositories[name] = known
        self._hurry()

    def _complain(self, reason: str) -> None:
        for line in reason.splitlines():
            say(ME, line)
        say(ME, "the last good configuration stays in force")

    def _visit(self, what: str, slow: bool) -> None:
        """A thread's work: visits, one after the other."""
        while repository := self._todo[what, slow].get():
            begin = time.monotonic()
            staged = False
            try:
                if what == FEED:
                    full = self._github.full_reading(len(self._repositories))
                    repository.poll(self._interval, full)
                else:
                    config = self._config
                    staged = repository.compare(config.poll_interval, config.poll_sweep)
            except Exception as e:  # never the end of the poller
                repository.failed(what, _internal(e), self._interval)
            took = time.monotonic() - begin
            self._calls.put(partial(self._visited, what, repository, took, staged))

    def _visited(
        self, what: str, repository: Repository, took: float, staged: bool
    ) -> None:
        visit = what, repository.name
        del self._visiting[visit]
        (self._slow.add if took > SLOW else self._slow.discard)(visit)
        current = self._repositories.get(repository.name)
        if current and not self._once:
            self._schedule(visit, current.due(what))
        if current and (
            not self._once or (current.has_news and not current.git.trouble)
        ):
            self._schedule((GIT, current.name), current.due(GIT))
        if staged:
            self._look()
        gap = min(5.0, self._interval)
        self._health_due = min(self._health_due, time.monotonic() + gap)

    def _woken(self) -> None:
        """Somebody has touched .wake, and maybe .look of a repository before."""
        for name, repository in self._repositories.items():
            wish = self._config.builds / name / ".look"
            if wish.exists():
                wish.unlink(missing_ok=True)  # first: who comes now is not forgotten
                repository.look()
                self._schedule((GIT, name), repository.due(GIT))
        self._look()

    def _look(self) -> None:
        self._look_due = 0.0

    def _on_end(self, build: Build, code: int) -> None:
        self._later(lambda: self._queue.ended(build, code))

    def _later(self, call: Callable[[], object]) -> None:
        """Has a call made by the thread that decides, and then looks at the queue."""

        def do() -> None:
            call()
            self._look()

        self._calls.put(do)

    def _note(self, build: Build, result: dict[str, Any] | None) -> None:
        """A build starts (None), or has ended."""
        if result is not None:
            try:
                self._notices.note(build, result)
            except (OSError, ValueError) as e:
                say(build.repository, f"nobody is told of {build.id}: {e}")
        if repository := self._repositories.get(build.repository):
            repository.note(build, result)

    def _stop(self, number: int) -> None:
        self._stopped_by = number
        self._patience = time.monotonic() + PATIENCE
        self._queue.signal(number)


def _internal(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"internal error: {error!r} ({place.name}, line {place.lineno})"
