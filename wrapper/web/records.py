"""Records of builds, kept while the files that they come from stay as they are."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

from wrapper.builds import records
from wrapper.builds.directory import Build

T = TypeVar("T")
VERDICTS = ("success", "failure", "error")  # what makes a branch green or red
MOST = 30000  # files that are known; then it begins anew
Record = dict[str, Any]  # as builds/records.py has it


class _Kept(NamedTuple):
    mark: tuple[int, ...]  # of the file that was read
    value: Any


class Records:
    """A build that has ended is not read again until its result changes."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def of(self, build: Build) -> Record:
        return self.at(f"{build.path}")

    def at(self, path: str) -> Record:
        """Of the build in this directory."""
        known = self._read(f"{path}/result.json", self._of_result)
        return known or self._make(Build(Path(path)))

    def latest(self, folder: str) -> dict[str, Any]:
        """Of each ref its newest build and last durations, as the poller keeps it."""
        return self._read(f"{folder}/state.json", _latest) or {}

    def _of_result(self, file: str) -> Record:
        return self._make(Build(Path(file).parent))

    def _make(self, build: Build) -> Record:
        try:
            return records.Records().of(build).document()
        except OSError as e:  # somebody else's
            return _closed(build, e.strerror or str(e))

    def _read(self, path: str, read: Callable[[str], T]) -> T | None:
        """What read() makes of a file; None where there is none."""
        try:
            about = os.stat(path)  # and no Path: an overview asks for thousands
        except OSError:
            self._kept.pop(path, None)
            return None
        mark = about.st_mtime_ns, about.st_ino, about.st_size
        known = self._kept.get(path)
        if known is None or known.mark != mark:
            if len(self._kept) > MOST:
                self._kept.clear()
            self._kept[path] = known = _Kept(mark, read(path))
        value: T = known.value
        return value


def _latest(file: str) -> dict[str, Any]:
    return records.Records().latest(Path(file).parent)


def _closed(build: Build, reason: str) -> Record:
    """Of a build that may not be read."""
    about: Record = dict.fromkeys(records.Record.__dataclass_fields__)
    about |= {"repository": build.repository, "id": build.id, "status": "unknown"}
    return about | {"message": reason, "failing": [], "pushed": []}


def tag(text: bytes) -> str:
    """A weak ETag of what is answered."""
    return f'W/"{crc32(text):08x}{len(text):x}"'
