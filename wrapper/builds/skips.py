"""Which builds will be skipped, and the commits that a skipped one would leave unbuilt.

scripts/lib/skips-ci.sh knows, and may have to fetch: so it is asked in threads.
"""

import json
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from wrapper.builds import journal
from wrapper.builds.directory import Build, builds_in
from wrapper.builds.process import Failed, call
from wrapper.console import say

AT_ONCE = 32  # threads
LIMIT = 120.0  # seconds for an answer
AGAIN = 60.0  # seconds after which is asked again what could not be told
TRIES = 5  # to stage what a skipped build leaves unbuilt
SKIPPED = "the head commit says [skip ci]"


class Answer(Enum):
    YES = "yes"
    NO = "no"
    UNTOUCHED = "nothing in its paths has changed, as long as no other build ends"
    UNKNOWN = "it cannot be told"
    ASKED = "it is not known yet"


_CODES = {1: Answer.NO, 3: Answer.UNTOUCHED}  # of the script


class _Known(NamedTuple):
    answer: Answer
    at: float  # monotonic
    tries: int


class Skips:
    """For the queue's thread; `later` has calls made there, from other threads."""

    def __init__(self, later: Callable[[Callable[[], object]], object]) -> None:
        self._later = later
        self._asked: set[tuple[str, Path]] = set()
        self._known: dict[tuple[str, Path], _Known] = {}
        self._stopped = False

    def stop(self) -> None:
        """Asks nothing more."""
        self._stopped = True

    def busy(self) -> bool:
        return bool(self._asked)

    def skipped(self, build: Build) -> Answer:
        """Will a build that waits be skipped?"""
        return self._ask("skipped", build, _will_be_skipped)

    def settled(self, build: Build) -> bool:
        """Is what a skipped build would leave unbuilt staged, or given up?"""
        answer = self._ask("settled", build, _stage_unbuilt)
        if answer is Answer.UNKNOWN:
            return self._known["settled", build.path].tries >= TRIES
        return answer is not Answer.ASKED

    def forget(self, build: Build) -> None:
        """A build is over and done."""
        for what in "skipped", "settled":
            self._known.pop((what, build.path), None)

    def compare_again(self, folder: Path) -> None:
        """A build of a repository has ended: what is compared with it is asked anew."""
        for key in [k for k in self._known if k[0] == "skipped"]:
            if key[1].parent == folder:
                del self._known[key]

    def _ask(self, what: str, build: Build, work: Callable[[Build], Answer]) -> Answer:
        key = what, build.path
        known = self._known.get(key, _Known(Answer.UNKNOWN, -AGAIN, 0))
        if key in self._asked:
            return Answer.ASKED
        if known.answer is not Answer.UNKNOWN or time.monotonic() < known.at + AGAIN:
            return known.answer
        if len(self._asked) < AT_ONCE and not self._stopped:
            self._asked.add(key)
            run = threading.Thread(
                target=self._run, args=(key, build, work, known.tries), daemon=True
            )
            run.start()
        return Answer.ASKED

    def _run(
        self,
        key: tuple[str, Path],
        build: Build,
        work: Callable[[Build], Answer],
        tries: int,
    ) -> None:
        answer = Answer.UNKNOWN
        try:
            answer = work(build)
        except (Failed, OSError) as e:
            say(build.repository, f"is {build.commit[:7]} to be skipped? {e}")
        finally:
            known = _Known(answer, time.monotonic(), tries + 1)
            self._later(lambda: self._learn(key, known))

    def _learn(self, key: tuple[str, Path], known: _Known) -> None:
        self._asked.discard(key)
        self._known[key] = known


def leaves_unbuilt(build: Build, result: dict[str, object]) -> bool:
    """May a build's branch have come by other commits, that nobody knows of?

    Of a build that an event tells of that is one push, which a mark skips as a whole.
    """
    return result.get("status") == "skipped" and build.info.get("source") == "sweep"


def _will_be_skipped(build: Build) -> Answer:
    return _ask_script(build)[0]


def _ask_script(build: Build) -> tuple[Answer, str]:
    """Is a build to be skipped? With YES, the commit to build in its place ("": none).

    Raises Failed where it cannot be told.
    """
    try:
        printed = call("lib/skips-ci.sh", str(build.path), limit=LIMIT)
        return Answer.YES, printed.strip()
    except Failed as e:
        if e.code not in _CODES:
            raise
        return _CODES[e.code], ""


def _stage_unbuilt(build: Build) -> Answer:
    """Stages the newest commit without a mark that a skipped build's branch came by,
    unless it is. Raises Failed.
    """
    _, commit = _ask_script(build)
    if not commit or any(_builds(b, build.ref, commit) for b in _others(build)):
        return Answer.NO
    builds = build.path.parents[2]
    resolved = {"builds": str(builds), "settings": build.info["settings"]}
    why = {"SOURCE": "sweep", "EVENT": build.id}
    why |= {"BEFORE": build.info.get("before") or "", "SETTINGS": json.dumps(resolved)}
    path = call("stage.sh", build.repository, build.ref, commit, env=why).strip()
    words = f"came with {build.commit[:7]}, which is skipped, and has no such mark"
    journal.tell(builds, build.repository, "staged", words, build=Build(Path(path)))
    return Answer.YES


def _others(build: Build) -> list[Build]:
    return [b for b in builds_in(build.path.parent) if b.id != build.id]


def _builds(other: Build, ref: str, commit: str) -> bool:
    """Does another build build a commit, or has it?"""
    if (other.ref, other.commit) != (ref, commit) or not other.ours:
        return False
    return (other.result() or {}).get("status") not in ("skipped", "superseded")
