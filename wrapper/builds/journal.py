"""builds/journal.jsonl: every decision about a push, one JSON line each.

Full, it becomes journal.jsonl.1, in the place of the one before.
"""

import fcntl
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

from wrapper import console
from wrapper.builds.directory import Build, now

FULL = 64 << 20  # bytes


def tell(
    builds: Path,
    repository: str,
    what: str,
    why: str,
    ref: str | None = None,
    commit: str | None = None,
    build: Build | None = None,
    **more: Any,
) -> None:
    """Writes one decision down, and says it on the terminal. more: further keys."""
    if build:
        ref, commit = build.ref, build.commit
    line = {
        "time": now(),
        "repository": repository,
        "ref": ref,
        "commit": commit,
        "build": build.id if build else None,
        "what": what,
        "why": why,
        **more,
    }
    console.say(repository, words(line))
    data = (json.dumps(line) + "\n").encode()
    try:
        # One write, to a file opened for appending: lines of processes never mix.
        file = os.open(
            builds / "journal.jsonl",
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC,
            0o666,
        )
        try:
            os.write(file, data)
            if os.fstat(file).st_size > FULL:
                _put_aside(builds, file)
        finally:
            os.close(file)
    except OSError as e:
        console.say(repository, f"the journal cannot be written: {e.strerror}")


def _put_aside(builds: Path, file: int) -> None:
    """Unless another process has just done so: a new one is not full."""
    fcntl.flock(file, fcntl.LOCK_EX)
    path = builds / "journal.jsonl"
    with suppress(FileNotFoundError):
        if os.path.samestat(os.stat(path), os.fstat(file)):
            path.replace(path.with_suffix(".jsonl.1"))


def read(builds: Path) -> Iterator[dict[str, Any]]:
    """Its lines in order, but for those that are none of ours. Raises OSError."""
    with ExitStack() as stack:
        for file in _open(builds, stack):
            for text in file:
                if line := _parse(text):
                    yield line


def _open(builds: Path, stack: ExitStack) -> list[BinaryIO]:
    """Those of the two files that there are, the older first."""
    while True:
        files: list[BinaryIO] = []
        for name in "journal.jsonl", "journal.jsonl.1":
            with suppress(FileNotFoundError):
                files.insert(0, stack.enter_context((builds / name).open("rb")))
        stats = [os.fstat(file.fileno()) for file in files]
        if len(stats) < 2 or not os.path.samestat(*stats):
            return files
        # One was put aside while they were opened: both are the same.


def recorded(builds: Path, build: Build, since: str) -> set[str]:
    """What the newest lines of a build say, back to its start or to since (a time).

    So who died after a line, and before noting so elsewhere, writes it but once.
    """
    found: set[str] = set()
    with suppress(OSError), ExitStack() as stack:
        for file in reversed(_open(builds, stack)):
            if _recorded(file, build, since, found):
                break
    return found


def _recorded(file: BinaryIO, build: Build, since: str, found: set[str]) -> bool:
    """Adds what a file says of it; has it gone back far enough?"""
    # Backwards, since they are among the last; there may be no line yet.
    with (
        suppress(ValueError),
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
    ):
        at = len(text)
        while (at := text.rfind(build.id.encode(), 0, at)) >= 0:
            end = text.find(b"\n", at)
            at = text.rfind(b"\n", 0, at) + 1
            line = _parse(text[at : end if end >= 0 else len(text)])
            if (line.get("repository"), line.get("build")) != _name(build):
                continue
            if line["what"] in ("staged", "started") or line["time"][:19] < since[:19]:
                return True
            found.add(line["what"])
    return False


def _name(build: Build) -> tuple[str, str]:
    return build.repository, build.id


def _parse(text: bytes) -> dict[str, Any]:
    """A line; {} where it was cut off by a full disk, or is none of ours."""
    try:
        line = json.loads(text)
        if all(isinstance(line[key], str) for key in ("time", "repository", "what")):
            return dict(line)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return {}


def words(line: dict[str, Any]) -> str:
    """A line for a person, without its time and repository."""
    ref, commit = str(line.get("ref") or ""), str(line.get("commit") or "")
    ref = ref.removeprefix("refs/heads/").removeprefix("refs/")
    place = " at ".join(filter(None, (ref, commit[:7])))
    build = f" [{line['build']}]" if line.get("build") else ""
    what = f"{line['what']} {place}".rstrip()
    return f"{what}: {line.get('why')}{build}"
