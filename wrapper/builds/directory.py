"""The builds directory: the queue, and the record of what happened."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from wrapper.builds.lock import Locked, held, lock

FORMAT = 1  # of all our JSON files
NEWER = "of a newer version"  # the state of a build whose files we do not know
_ID = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{7}")


class Newer(ValueError):
    """A JSON file of ours that a newer version has written."""


class Build:
    """A build directory, builds/OWNER/NAME/ID."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.repository = "/".join(path.parts[-3:-1])  # the entry's name

    @property
    def name(self) -> str:
        """OWNER/NAME/ID, by which others mean it."""
        return f"{self.repository}/{self.id}"

    @cached_property
    def info(self) -> dict[str, Any]:
        """build.json, which never changes; {} where it cannot be read."""
        return self._read("build.json") or {}

    @property
    def ref(self) -> str:
        return str(self.info.get("ref", ""))

    @property
    def commit(self) -> str:
        return str(self.info.get("commit", ""))

    @property
    def event(self) -> str | None:
        """The id of the event that tells of it."""
        event = self.info.get("event")
        return None if event is None or is_id(str(event)) else str(event)

    @property
    def place(self) -> str:
        """The ID by which it stands among the pushes: its own, or that of a skipped
        build in whose place it was staged.
        """
        event = str(self.info.get("event"))
        return event if is_id(event) else self.id

    @property
    def sent(self) -> bool:
        """Is it at another machine? Its lock is a link until it has come back."""
        return (self.path / "lock").is_symlink()

    @property
    def at_work(self) -> bool:
        """Does somebody work on it, here or at another machine?"""
        return self.sent or held(self.path / "lock")

    @property
    def ours(self) -> bool:
        """Is it a poller's? Builds that a person staged are left alone."""
        return self.info.get("source") in ("event", "sweep", "trigger")

    @property
    def version(self) -> str | None:
        """The SemVer; None as long as it has none."""
        try:
            return (self.path / "version").read_text(errors="replace").strip() or None
        except OSError:
            return None

    @property
    def rerun(self) -> str | None:
        """The step from which a person wants it once more ("": from the first); None:
        nobody does, or it has run since.
        """
        try:
            return (self.path / "rerun").read_text(errors="replace").strip()
        except OSError:
            return None

    def result(self) -> dict[str, Any] | None:
        """result.json; None while the build is not finished."""
        return self._read("result.json")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return read_json(self.path / name)
        except Newer:
            return {"status": NEWER}

    @property
    def newer(self) -> bool:
        """Has a newer version written it? Then it is shown, and left alone."""
        return NEWER in (self.info.get("status"), (self.result() or {}).get("status"))

    def setting(self, key: str) -> str | None:
        """A setting of the build ("status", "timeouts/build"), as its file below
        settings/ holds it; None: null. A list has each item ended by NUL.

        A person may edit those files. A build that an older version staged has none:
        then build.json has it.
        """
        folder = self.path / "settings"
        try:
            text = (folder / key).read_bytes().decode(errors="replace")
            return text.removesuffix("\n")
        except (FileNotFoundError, NotADirectoryError):
            if folder.is_dir():
                return None
        value = self.info.get("settings")
        for name in key.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        return _as_in_a_file(value)

    def state(self) -> str:
        """The result's status, else running, interrupted or queued."""
        result = self.result()
        if result is not None:
            return str(result.get("status", "unknown"))
        if self.newer:
            return NEWER
        if self.at_work:
            return "running"
        if not self.ours:
            return "staged"  # whatever steps it has had
        ran = (self.path / "console.log").exists() and self.rerun is None
        return "interrupted" if ran else "queued"

    def reopen(self, step: str) -> bool:
        """Has a build that has ended run once more, from a step on ("": the first).

        False where it has no result, or is being worked on. Raises OSError.
        """
        try:
            with lock(self.path / "lock", sign=False):
                if self.result() is None:
                    return False
                write(self.path / "rerun", f"{step}\n")
                (self.path / "result.json").unlink()
                return True
        except Locked:
            return False

    def settle(self, counts: bool) -> None:
        """Of an end by trouble of ours, which the pipeline has put aside: the result
        is put in its place, or goes with the run that does not count.
        """
        aside = self.path / ".result.json"
        with suppress(Locked, OSError), lock(self.path / "lock", sign=False):
            if counts:
                aside.rename(self.path / "result.json")
            else:
                aside.unlink(missing_ok=True)

    def close(self, status: str, message: str) -> bool:
        """Ends a build that is not running, without running it.

        False where it has a result already, is being worked on, or the disk is full.
        """
        if self.sent:
            return False
        try:
            with lock(self.path / "lock", sign=False):
                if self.newer or self.result() is not None:
                    return False
                write_json(self.path / "result.json", _result(status, message))
                (self.path / "rerun").unlink(missing_ok=True)
                return True
        except (Locked, OSError):
            return False


def _as_in_a_file(value: Any) -> str | None:
    """A setting of build.json, as it would stand in a file below settings/."""
    if value is None or isinstance(value, dict):
        return None
    if isinstance(value, list):
        return "".join(f"{item}\0" for item in value)
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _result(status: str, message: str) -> dict[str, Any]:
    """As pipeline.sh writes it, of a build that did not run."""
    return {
        "status": status,
        "failed_step": None,
        "exit_code": None,
        "message": message,
        "failing": [],
        "started_at": None,
        "finished_at": now(),
        "steps": [],
        "tests": None,
        "version": None,
        "image": None,
        "pushed": [],
    }


def folders(builds: Path) -> list[Path]:
    """Each repository's folder, OWNER/NAME, whether it is still configured or not."""
    return sorted(p for p in builds.glob("[!.]*/*") if p.is_dir())


def builds_in(folder: Path, after: str = "") -> list[Build]:
    """All builds of a repository above an ID, oldest first."""
    names = os.listdir(folder) if folder.is_dir() else []
    return [Build(folder / n) for n in sorted(names) if n > after and is_id(n)]


def is_id(name: str) -> bool:
    """Is it a build's ID, which is its directory's name?"""
    return bool(_ID.fullmatch(name))


def superseded(waiting: list[Build]) -> Iterator[tuple[Build, Build]]:
    """Waiting builds that need not run, each with the newer push of the same branch.

    One that a person wants to run once more is no push, and runs; one that is at
    another machine runs already.
    """
    waiting = [b for b in waiting if b.rerun is None and not b.sent]
    pushed = sorted(waiting, key=lambda b: b.place)
    newest = {b.ref: b for b in pushed if b.ref.startswith("refs/heads/")}
    for build in waiting:
        by = newest.get(build.ref, build)
        if by is not build and build.setting("superseded") != "build":
            yield build, by


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON file of ours: None where there is none, {} where it is no such thing.

    Raises Newer, and OSError where it may not be read.
    """
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    written = document.get("format", FORMAT)
    if isinstance(written, int) and written > FORMAT:
        raise Newer(f"{path} was written by a newer version, as format {written}")
    return document


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replaces a file with JSON of ours."""
    write(path, json.dumps({"format": FORMAT} | document) + "\n")


def write(path: Path, text: str) -> None:
    """Replaces the file in one moment, synced: never half of it is read."""
    beside = path.with_name(f".{path.name}.tmp")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def now() -> str:
    """The time as our files have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
