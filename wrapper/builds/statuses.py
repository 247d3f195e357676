"""Commit statuses: what GitHub is to be told of a build, and was told.

A build's file `status` holds two words, what GitHub was told last (or -, or refused)
and what it is to be told. So a status is closed after a crash too.
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

from wrapper.builds import journal
from wrapper.builds.directory import Build, write
from wrapper.console import say
from wrapper.github.client import GitHub
from wrapper.github.errors import Trouble

CONTEXT = "ci/docker-build-server"
RETRY = 5.0  # seconds, twice as long each time
SELDOM = 900.0  # at most
GIVE_UP = 86400.0  # seconds
REFUSED = "refused"
_STATES = {"success": "success", "skipped": "success", "failure": "failure"}


def words(result: dict[str, Any]) -> str:
    """How a build ended."""
    status = str(result.get("status", "unknown"))
    if status == "success":
        return f"success: {result.get('version')}"
    if status == "skipped":
        return "skipped: the head commit says [skip ci]"
    step = f" at {result['failed_step']}" if result.get("failed_step") else ""
    message = f": {result['message']}" if result.get("message") else ""
    return f"{status}{step}{message}"


@dataclass
class _Owed:
    build: Build
    due: float  # monotonic
    since: float
    tries: int = 0


class Statuses:
    """Posts in a thread of its own: GitHub's troubles hold up no build."""

    def __init__(self, github: GitHub) -> None:
        self._github = github
        self._owed: dict[str, _Owed] = {}
        self._changed = threading.Condition()
        self._trouble = ""
        self._stopped = False
        threading.Thread(target=self._work, name="statuses", daemon=True).start()

    def note(self, build: Build, result: dict[str, Any] | None) -> bool:
        """Sees to it that GitHub learns of a build; result: None before its end.

        Also writes the end into the journal. True once there is nothing left to do.
        """
        state = "pending"
        if result is not None:
            state = _STATES.get(result.get("status", ""), "error")
        with self._changed:
            told, wanted = _read(build)
            if wanted == state and told in (state, REFUSED):
                return result is not None
            if wanted != state and result is not None:
                ended = result.get("status") == "superseded"
                what = "superseded" if ended else "finished"
                folder = build.path.parents[2]
                journal.tell(folder, build.repository, what, words(result), build=build)
            if wanted != state:
                _write(build, told, state)
            if wanted != state or build.id not in self._owed:
                now = time.monotonic()
                self._owed[build.id] = _Owed(build, now, now)
                self._changed.notify_all()
        return False

    def flush(self, seconds: float) -> None:
        """Waits until everything was tried once, but not for ever."""
        end = time.monotonic() + seconds
        with self._changed:
            while any(not o.tries for o in self._owed.values()):
                left = end - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        while not self._stopped:
            with self._changed:
                owed = min(self._owed.values(), key=lambda o: o.due, default=None)
                left = owed.due - time.monotonic() if owed else None
                if owed is None or (left and left > 0):
                    self._changed.wait(left)
                    continue
            try:
                self._tell(owed)
            except Exception as e:  # a build.json that was meddled with, say
                say(owed.build.repository, f"commit status: internal error: {e!r}")
                with self._changed:
                    self._owed.pop(owed.build.id, None)

    def _tell(self, owed: _Owed) -> None:
        build, wished = owed.build, owed.build.setting("status") == "true"
        told, wanted = _read(build)
        try:
            if wished and self._github.token.value() and told != wanted:
                self._post(build, wanted, build.setting("repository") or "")
            told, self._trouble = wanted, ""
        except Trouble as e:
            if str(e) != self._trouble and not e.everywhere:
                say(build.repository, f"commit status: {e}")
            self._trouble = str(e)
            owed.tries += 1
            now = time.monotonic()
            wait = SELDOM if e.slow else min(RETRY * 2**owed.tries, SELDOM)
            owed.due = now + max(wait, e.wait)
            if told in ("-", REFUSED) and (e.slow or now - owed.since > GIVE_UP):
                told = REFUSED  # nothing is pending there; else it is asked for ever
        with self._changed:
            _, latest = _read(build)  # it may have ended meanwhile
            _write(build, told, latest)
            if told in (latest, REFUSED) and self._owed.get(build.id) is owed:
                del self._owed[build.id]
            self._changed.notify_all()

    def _post(self, build: Build, state: str, repository: str) -> None:
        result = build.result()
        said = words(result) if result and state != "pending" else "waiting or running"
        # Two entries may build one repository; each has a status of its own.
        own = "" if build.repository == repository else f" ({build.repository})"
        self._github.set_status(repository, build.commit, state, said, CONTEXT + own)


def _read(build: Build) -> tuple[str, str]:
    try:
        told, wanted = (build.path / "status").read_text().split()
    except (OSError, ValueError):
        return "-", "-"
    return told, wanted


def _write(build: Build, told: str, wanted: str) -> None:
    try:
        write(build.path / "status", f"{told} {wanted}\n")
    except OSError as e:  # pruned, or no room: then it is told once more
        say(build.repository, f"{build.path}/status: {e.strerror}")
