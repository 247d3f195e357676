"""Records of builds, kept while the files that they come from stay as they are."""

import json
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
        def read() -> Record:
            return self._make(build)

        return self._read(f"{build.path}/result.json", read) or self._make(build)

    def latest(self, folder: Path) -> dict[str, Any]:
        """Of each ref its newest build and last durations, as the poller keeps it."""

        def read() -> dict[str, Any]:
            return records.Records().latest(folder)

        return self._read(f"{folder}/state.json", read) or {}

    def _make(self, build: Build) -> Record:
        try:
            return records.Records().of(build).document()
        except OSError as e:  # somebody else's
            return _closed(build, e.strerror or str(e))

    def _read(self, path: str, read: Callable[[], T]) -> T | None:
        """What read() makes of a file; None where there is none."""
        try:
            about = Path(path).stat()
        except OSError:
            self._kept.pop(path, None)
            return None
        mark = about.st_mtime_ns, about.st_ino, about.st_size
        known = self._kept.get(path)
        if known is None or known.mark != mark:
            if len(self._kept) > MOST:
                self._kept.clear()
            self._kept[path] = known = _Kept(mark, read())
        value: T = known.value
        return value


def _closed(build: Build, reason: str) -> Record:
    """Of a build that may not be read."""
    about: Record = dict.fromkeys(records.Record.__dataclass_fields__)
    about |= {"repository": build.repository, "id": build.id, "status": "unknown"}
    return about | {"message": reason, "failing": [], "pushed": []}


def tag(document: Any) -> str:
    """A weak ETag of what is answered."""
    text = json.dumps(document, sort_keys=True).encode(errors="replace")
    return f'W/"{crc32(text):08x}{len(text):x}"'
