"""What is known of a build, in one shape: for status, why, log, the API and messages.

Nothing is read but small files of the build, and its repository's state.json.
"""

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wrapper.builds import verdict
from wrapper.builds.directory import Build, is_id, read_json
from wrapper.builds.steps import last_by_hand, read_steps


@dataclass(frozen=True)
class Record:
    """A build as `status --json` prints it: what is not there is None.

    Times are RFC 3339, in UTC; seconds are fractions.
    """

    repository: str  # the entry's name
    id: str
    ref: str | None
    commit: str | None
    source: str | None  # event, sweep, trigger, manual
    status: str  # of the result; else queued, running, interrupted, staged
    step: str | None  # that runs now; of a person's build the last that ran
    failed_step: str | None
    message: str | None
    failing: list[dict[str, Any]]  # line (from 1) and offset in console.log, text
    version: str | None
    author: str | None
    subject: str | None  # of the commit
    staged_at: str | None
    started_at: str | None
    finished_at: str | None
    seconds: float | None  # that it took, or has run for
    usual_seconds: float | None  # that its ref's last successes took, the median
    pushed: list[str]  # NAME:TAG@sha256:DIGEST

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Records:
    """Makes them, and may be kept for as long as one list is made: of each repository
    the usual seconds are read but once.
    """

    def __init__(self) -> None:
        self._latest: dict[Path, dict[str, Any]] = {}

    def of(self, build: Build) -> Record:
        """Raises OSError where the build may not be read."""
        result = build.result()
        about = result or {}
        status = str(about.get("status", "unknown")) if result else build.state()
        running = status == "running"
        author, subject = _commit(build)
        started = _text(about, "started_at")
        seconds = verdict.seconds(about)
        if running:  # it signed the lock when it began
            began = (build.path / "lock").stat().st_mtime
            started, seconds = _time(began), round(max(0.0, time.time() - began), 3)
        return Record(
            repository=build.repository,
            id=build.id,
            ref=build.ref or None,
            commit=build.commit or None,
            source=_text(build.info, "source"),
            status=status,
            step=None if result else _step(build, running),
            failed_step=_text(about, "failed_step"),
            message=_text(about, "message"),
            failing=verdict.failing(about),
            version=_text(about, "version") or build.version,
            author=author,
            subject=subject,
            staged_at=_text(build.info, "staged_at"),
            started_at=started,
            finished_at=_text(about, "finished_at"),
            seconds=seconds,
            usual_seconds=self._usual(build),
            pushed=verdict.pushed(about),
        )

    def latest(self, folder: Path) -> dict[str, Any]:
        """Of each ref of a repository what the poller keeps: its newest build, and the
        seconds of its last successes.
        """
        if folder not in self._latest:
            try:
                latest = (read_json(folder / "state.json") or {}).get("latest")
            except (OSError, ValueError):
                latest = None
            self._latest[folder] = latest if isinstance(latest, dict) else {}
        return self._latest[folder]

    def newest_ids(self, folder: Path) -> list[str]:
        """The newest build of each ref of a repository, as far as the poller knows."""
        entries = self.latest(folder).values()
        ids = (str(e.get("build")) for e in entries if isinstance(e, dict))
        return [id for id in ids if is_id(id)]

    def _usual(self, build: Build) -> float | None:
        try:
            known = self.latest(build.path.parent)[build.ref]["seconds"]
            return round(statistics.median(map(float, known)), 3)
        except (KeyError, TypeError, ValueError, statistics.StatisticsError):
            return None


def _step(build: Build, running: bool) -> str | None:
    """Of one that has no result."""
    steps = read_steps(build.path)
    if running and steps and steps[-1].status is None:
        return steps[-1].name
    return None if build.ours else last_by_hand(build.path)


def _commit(build: Build) -> tuple[str | None, str | None]:
    """Author and subject, as clone.sh has left them."""
    try:
        text = (build.path / "commit").read_text(errors="replace")
    except OSError:
        return None, None
    author, _, subject = text.partition("\n")
    return author or None, subject.strip("\n") or None


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    return None if value is None else str(value)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
