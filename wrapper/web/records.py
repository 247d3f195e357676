"""A build in one object: the same that `status --json` prints."""

import json
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from wrapper.builds import verdict
from wrapper.builds.directory import Build, Newer, read_json
from wrapper.web.progress import runs, steps

VERDICTS = ("success", "failure", "error")  # what makes a branch green or red
Record = dict[str, Any]


class _Kept(NamedTuple):
    mark: tuple[int, ...]  # of the file that was read
    value: Any


class Records:
    """Reads builds; one that has ended is not read again until its result changes."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def of(self, build: Build) -> Record:
        path = f"{build.path}/result.json"
        found = self._read(path, lambda: self._make(build))
        return found if found is not None else self._make(build)

    def latest(self, folder: Path) -> dict[str, Any]:
        """Of each ref its newest build and last durations, as state.json has it."""
        path = folder / "state.json"

        def read() -> dict[str, Any]:
            try:
                return dict((read_json(path) or {}).get("latest") or {})
            except (Newer, OSError, ValueError, TypeError):
                return {}

        return self._read(str(path), read) or {}

    def usual(self, build: Build) -> float | None:
        """Seconds that the last successes of its ref took."""
        known = self.latest(build.path.parent).get(build.ref)
        try:
            return round(float(median((known or {})["seconds"])), 1)
        except (TypeError, KeyError, ValueError):
            return None

    def _read(self, path: str, read: Any) -> Any:
        """What read() makes of a file; None where there is none."""
        try:
            about = Path(path).stat()
        except OSError:
            self._kept.pop(path, None)
            return None
        mark = about.st_mtime_ns, about.st_ino, about.st_size
        known = self._kept.get(path)
        if known is None or known.mark != mark:
            if len(self._kept) > 20000:
                self._kept.clear()
            self._kept[path] = known = _Kept(mark, read())
        return known.value

    def _make(self, build: Build) -> Record:
        try:
            return self._describe(build)
        except OSError as e:  # somebody else's
            return _empty(build) | {"status": "unknown", "message": e.strerror}

    def _describe(self, build: Build) -> Record:
        result = build.result()
        about, info = result or {}, build.info
        begun = steps(build.path) if result is None else []
        status = str(about.get("status", "unknown"))
        step = None
        if result is None:
            status = build.state()
            step = begun[-1].name if begun else next(reversed(runs(build.path)), None)
        started = about.get("started_at") or (begun[0].started_at if begun else None)
        took = verdict.seconds(about)
        if status == "running" and started:
            took = max(0.0, time.time() - datetime.fromisoformat(started).timestamp())
        return _empty(build) | {
            "source": info.get("source"),
            "status": status,
            "step": step,
            "failed_step": about.get("failed_step"),
            "message": about.get("message"),
            "failing": about.get("failing") or [],
            "version": about.get("version") or _text(build.path / "version"),
            "author": info.get("author"),
            "subject": info.get("subject"),
            "staged_at": info.get("staged_at"),
            "started_at": started,
            "finished_at": about.get("finished_at"),
            "seconds": None if took is None else round(took, 3),
            "usual_seconds": self.usual(build),
            "pushed": about.get("pushed") or [],
        }


def _empty(build: Build) -> Record:
    names = "repository id ref commit source status step failed_step message failing "
    names += "version author subject staged_at started_at finished_at seconds "
    names += "usual_seconds pushed"
    known = {"repository": build.repository, "id": build.id}
    known |= {"ref": build.ref, "commit": build.commit}
    return dict.fromkeys(names.split()) | known


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def tag(document: Any) -> str:
    """A weak ETag of what is answered."""
    from zlib import crc32

    text = json.dumps(document, sort_keys=True).encode(errors="replace")
    return f'W/"{crc32(text):08x}{len(text):x}"'
