"""Commit statuses: what GitHub shows of a build, and what it is to show.

Both stand in the build's file `status`. So a status is closed after a crash too, and
the queue knows which ends it has written down.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wrapper.builds import verdict
from wrapper.builds.directory import Build, write
from wrapper.console import say
from wrapper.github.client import GitHub, serves
from wrapper.github.errors import Trouble

CONTEXT = "ci/docker-build-server"
RETRY = 5.0  # seconds, twice as long each time
SELDOM = 900.0  # at most
GIVE_UP = 86400.0  # seconds
REFUSED = "refused"
_unwritten: set[Path] = set()  # builds of whose file that was said
_STATES = {"success": "success", "skipped": "success", "failure": "failure"}


class Known(NamedTuple):
    """The two words of a build's file `status`."""

    shown: str  # what GitHub was given last; "-": nothing yet, "refused"
    wanted: str  # what it is to show; "-": the build was never looked at


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
        self.refused = ""  # why GitHub refuses them, where only a person can help
        self._stopped = False
        threading.Thread(target=self._work, name="statuses", daemon=True).start()

    def knows(self, build: Build, result: dict[str, Any]) -> bool:
        """Has note() been given this end of a build, now or in an earlier process?"""
        return _read(build).wanted == _state(result)

    def note(self, build: Build, result: dict[str, Any] | None) -> bool:
        """Sees to it that GitHub learns of a build; result: None before its end.

        True once there is nothing left to do.
        """
        state = _state(result)
        with self._changed:
            known = _read(build)
            if known.wanted == state and known.shown in (state, REFUSED):
                return result is not None
            if known.wanted != state:
                _write(build, Known(known.shown, state))
            if known.wanted != state or build.id not in self._owed:
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
                self._settle(owed)
            except Exception as e:  # a build.json that was meddled with, say
                say(owed.build.repository, f"commit status: internal error: {e!r}")
                with self._changed:
                    self._owed.pop(owed.build.id, None)

    def _settle(self, owed: _Owed) -> None:
        build, wished = owed.build, owed.build.setting("status") == "true"
        url = build.setting("url")
        wished = wished and (url is None or serves(url))
        shown, wanted = _read(build)
        try:
            if wished and self._github.token.value() and shown != wanted:
                self._post(build, wanted)
                self.refused = ""
            shown, self._trouble = wanted, ""
        except Trouble as e:
            if str(e) != self._trouble and not e.everywhere:
                say(build.repository, f"commit status: {e}")
            self._trouble = str(e)
            self.refused = f"{build.repository}: {e}" if e.slow else self.refused
            owed.tries += 1
            now = time.monotonic()
            wait = SELDOM if e.slow else min(RETRY * 2**owed.tries, SELDOM)
            owed.due = now + max(wait, e.wait)
            if shown in ("-", REFUSED) and (e.slow or now - owed.since > GIVE_UP):
                shown = REFUSED  # nothing is pending there; else it is asked for ever
        with self._changed:
            latest = _read(build).wanted  # it may have ended meanwhile
            _write(build, Known(shown, latest))
            if shown in (latest, REFUSED) and self._owed.get(build.id) is owed:
                del self._owed[build.id]
            self._changed.notify_all()

    def _post(self, build: Build, state: str) -> None:
        repository = build.setting("repository") or build.repository
        result = build.result()
        words = "waiting or running"
        if result and state != "pending":
            words = verdict.words(result)
        # Two entries may build one repository; each has a status of its own.
        entry = "" if build.repository == repository else f" ({build.repository})"
        self._github.set_status(repository, build.commit, state, words, CONTEXT + entry)


def _state(result: dict[str, Any] | None) -> str:
    """What GitHub calls it."""
    if result is None:
        return "pending"
    return _STATES.get(str(result.get("status")), "error")


def _read(build: Build) -> Known:
    try:
        shown, wanted = (build.path / "status").read_text().split()
    except (OSError, ValueError):
        return Known("-", "-")
    return Known(shown, wanted)


def _write(build: Build, known: Known) -> None:
    try:
        write(build.path / "status", f"{known.shown} {known.wanted}\n")
        _unwritten.discard(build.path)
    except OSError as e:  # pruned, or no room: then it is told once more
        if build.path not in _unwritten:
            _unwritten.add(build.path)
            say(build.repository, f"{build.path}/status: {e.strerror}")
