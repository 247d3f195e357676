"""The builds that wait in the builds directory are started, and their ends told."""

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wrapper.builds import journal, slots, verdict
from wrapper.builds.directory import NEWER, Build, builds_in, folders, superseded
from wrapper.builds.lock import held
from wrapper.builds.process import Failed, Pipeline, call
from wrapper.builds.skips import SKIPPED, Answer, Skips, leaves_unbuilt
from wrapper.builds.statuses import Statuses
from wrapper.builds.trouble import HostWatch
from wrapper.console import say

RUNS = 3  # of a build that ends without a result, before it is an error
TERMINATED = 143  # it was ended, and goes on later
PAUSE = 10.0  # seconds to the next run, on a disk too full for any result


class Queue:
    """One build of a repository at a time, and so many in all. For one thread."""

    def __init__(
        self,
        builds: Path,
        statuses: Statuses,
        on_end: Callable[[Build, int], None],
        note: Callable[[Build, dict[str, Any] | None], None],
        pipeline: Callable[[Build], Pipeline] = Pipeline,
        later: Callable[[Callable[[], object]], object] = lambda call: call(),
        host: HostWatch | None = None,
    ) -> None:
        """on_end is called in a build's thread, with what ended() is to be given.

        note is called in the queue's thread when a build starts (None) or has ended.
        later, called in any thread, has a call made in the queue's, and then a look.
        As long as host has a trouble, nothing starts.
        """
        self.restless = False  # waits for something that nobody will tell us of
        self._builds = builds
        self._statuses = statuses
        self._on_end = on_end
        self._note = note
        self._pipeline = pipeline
        self._host = host
        self._skips = Skips(later)
        self._running: dict[str, tuple[Build, Pipeline]] = {}  # by repository
        self._places: dict[str, int] = {}  # among those that run, by repository
        self._settled: dict[Path, set[str]] = {}  # builds with nothing left to do
        self._runs: dict[str, int] = {}  # of a build, without a result
        self._again: dict[str, float] = {}  # when such a one may run next (monotonic)
        self._pruning = threading.Lock()
        self._ended_by = 0  # the signal
        self._obstacles: set[str] = set()  # what stood in the way at the last look

    def idle(self) -> bool:
        """Does nothing run, nor is anything asked that decides what will?"""
        return not self._running and (bool(self._ended_by) or not self._skips.busy())

    def look(self, concurrency: int) -> None:
        """Goes through the queue: tells what has ended, starts what may start."""
        self.restless = False
        first: list[Build] = []
        words: set[str] = set()
        for folder in folders(self._builds):
            try:
                first += self._waiting(folder)[:1]
            except OSError as e:  # a directory that is not ours, say
                words.add(f"{e.filename}: {e.strerror}")
        for build in sorted(first, key=lambda b: b.id):
            early = self._again.get(build.id, 0) > time.monotonic()
            pauses = [d / ".pause" for d in (self._builds, build.path.parent)]
            if paused := [file for file in pauses if file.exists()]:
                words.add(f"{paused[0]} is there: nothing starts until it is gone")
            if paused or early:
                self.restless = True
            elif self._host and self._host.troubles:
                continue  # it says so itself
            elif len(self._running) < concurrency:
                place = slots.take(self._builds, concurrency)
                if place is None:  # steps by hand have them all
                    self.restless = True
                else:
                    self._start(build, place)
        for new in sorted(words - self._obstacles):
            say("poller", new)
        self._obstacles = words

    def ended(self, build: Build, code: int) -> None:
        """To be called, in the queue's thread, with what on_end was given."""
        del self._running[build.repository]
        slots.give_back(self._places.pop(build.repository))
        self._skips.forget(build)
        if build.setting("paths") is not None:
            self._skips.compare_again(build.path.parent)
        if self._ended_by == signal.SIGINT:  # it may have come before pipeline.sh began
            build.close("cancelled", "ended by a signal")
        if build.result() is None and code not in (69, 130, 143):
            self._runs[build.id] = runs = self._runs.get(build.id, 0) + 1
            words = f"pipeline.sh ended without a result ({code})"
            if runs >= RUNS and not build.close("error", words):
                self._again[build.id] = time.monotonic() + PAUSE
        if build.result() is not None:
            self._runs.pop(build.id, None)
            self._again.pop(build.id, None)
        if not self._ended_by and self._pruning.acquire(blocking=False):
            threading.Thread(target=self._prune, name="prune", daemon=True).start()

    def reopen(self, build: Build) -> None:
        """A build that had ended is to run once more."""
        self._settled.get(build.path.parent, set()).discard(build.id)
        self._runs.pop(build.id, None)

    def signal(self, number: int) -> None:
        """TERM or INT for all that is running."""
        self._ended_by = number
        self._skips.stop()
        for _, pipeline in self._running.values():
            pipeline.signal(number)

    def _waiting(self, folder: Path) -> list[Build]:
        """Builds of a repository that may start, oldest first; none while one runs."""
        waiting: list[Build] = []
        busy = False
        before = self._settled.get(folder, set())
        settled = self._settled[folder] = set()
        for build in builds_in(folder):
            if build.id in before or not build.ours:
                settled.add(build.id)
                continue
            if self._runs_here(build):  # its result counts when the pipeline has ended
                self._tell(build, None)
                busy = True
                continue
            result = build.result()
            if result is not None and self._leaves_unbuilt(build, result):
                continue  # told when that is done, so that a crash loses nothing
            if self._tell(build, result):
                settled.add(build.id)
            if result is not None:
                continue
            if build.repository in self._running:
                busy = True
            elif not build.sent and held(build.path / "lock"):
                # By hand, or left by a poller that died. (A sent one is adopted.)
                busy = self.restless = True
                continue
            waiting.append(build)
        waiting.sort(key=lambda build: not build.sent)  # which is adopted first
        undecided = self._supersede(waiting, busy)
        return [] if busy or waiting[:1] == undecided[:1] else waiting

    def _runs_here(self, build: Build) -> bool:
        mine, _ = self._running.get(build.repository, (None, None))
        return mine is not None and mine.id == build.id

    def _supersede(self, waiting: list[Build], busy: bool) -> list[Build]:
        """Ends, and takes out, those that need not run. Of those it returns it is not
        known yet: what will be skipped supersedes nothing, and that is being asked.

        busy: one of the repository's builds runs. What has changed in "paths" since the
        last one is known when that has ended.
        """
        undecided: list[Build] = []
        rest = list(waiting)
        while pairs := list(superseded(rest)):
            _, by = pairs[0]
            older = [build for build, newer in pairs if newer is by]
            if busy and by.setting("paths") is not None:
                answer = Answer.ASKED
            else:
                answer = self._skips.skipped(by)
            if answer is Answer.YES:
                rest.remove(by)
                self._end(waiting, by, "skipped", SKIPPED)
                continue
            if answer is Answer.UNTOUCHED:  # so far: the older ones are built first
                rest.remove(by)
                continue
            rest = [build for build in rest if build not in older]
            if answer is Answer.ASKED:
                undecided += older
            elif answer is Answer.NO:
                for build in older:
                    why = f"by {by.commit[:7]}, build {by.id}"
                    self._end(waiting, build, "superseded", why)
        return undecided

    def _end(
        self, waiting: list[Build], build: Build, status: str, message: str
    ) -> None:
        """Ends a build that waits, and takes it out."""
        waiting.remove(build)
        if not build.close(status, message):
            return
        self._skips.forget(build)
        result = build.result() or {}
        if not self._leaves_unbuilt(build, result):
            self._tell(build, result)

    def _leaves_unbuilt(self, build: Build, result: dict[str, Any]) -> bool:
        """Is something still to be staged in the place of a build that was skipped?"""
        return (
            leaves_unbuilt(build, result)
            and not self._statuses.knows(build, result)
            and not self._skips.settled(build)
        )

    def _tell(self, build: Build, result: dict[str, Any] | None) -> bool:
        """The journal and GitHub learn how a build stands; True: nothing is left to do.

        The journal has an end once, whenever we die: its mark is what GitHub is to
        show, and where that is missing the journal itself is asked.
        """
        if result is None:
            return self._statuses.note(build, None)
        if result.get("status") == NEWER:
            return True
        if not self._statuses.knows(build, result):
            self._write_end(build, result)
            self._note(build, result)
        return self._statuses.note(build, result)

    def _write_end(self, build: Build, result: dict[str, Any]) -> None:
        since = str(result.get("finished_at") or "")
        known = journal.recorded(self._builds, build, since)
        what = "superseded" if result.get("status") == "superseded" else "finished"
        words = verdict.words(result)
        if what not in known:
            journal.tell(self._builds, build.repository, what, words, build=build)
        pushed = verdict.pushed(result)
        if pushed and "pushed" not in known:
            journal.tell(
                self._builds,
                build.repository,
                "pushed",
                verdict.published(result),
                build=build,
                pushed=pushed,
                version=result.get("version"),
            )

    def _start(self, build: Build, place: int) -> None:
        self._places[build.repository] = place
        why = f"after {_age(build):.0f} s in the queue"
        if build.rerun is not None:
            why = f"once more{f', from {build.rerun}' if build.rerun else ''}"
        elif (build.path / "console.log").exists():
            why = "again, as it was interrupted"
        journal.tell(self._builds, build.repository, "started", why, build=build)
        pipeline = self._pipeline(build)
        self._running[build.repository] = build, pipeline
        name = f"build {build.id}"
        thread = threading.Thread(
            target=self._run, args=(build, pipeline), name=name, daemon=True
        )
        thread.start()
        self._note(build, None)  # last, as a disk may take its time

    def _run(self, build: Build, pipeline: Pipeline) -> None:
        code = 75
        try:
            code = pipeline.run()
        except Exception as e:  # no process left, say; never the end of the poller
            say(build.repository, f"{build.path} cannot be run: {e!r}")
        if code == 75:
            trouble = self._host is not None and self._host.check()
            build.settle(counts=not trouble)
            code = TERMINATED if trouble else code  # it runs once more
        self._on_end(build, code)

    def _prune(self) -> None:
        try:
            call("prune.sh", str(self._builds), limit=3600)
        except (Failed, OSError) as e:
            say("prune", str(e))
        finally:
            self._pruning.release()


def _age(build: Build) -> float:
    """Seconds since it was staged, by its ID."""
    try:
        staged = datetime.strptime(build.id[:22], "%Y%m%dT%H%M%S.%f")
    except ValueError:  # of the 31st of February, say
        return 0.0
    return max(0.0, time.time() - staged.replace(tzinfo=UTC).timestamp())
