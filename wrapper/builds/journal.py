"""builds/journal.jsonl: every decision about a push, one JSON line each."""

import json
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from wrapper import console
from wrapper.builds.directory import Build, now


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
        finally:
            os.close(file)
    except OSError as e:
        console.say(repository, f"the journal cannot be written: {e.strerror}")


def read(builds: Path) -> Iterator[dict[str, Any]]:
    """Its lines in order, but for those that are none of ours. Raises OSError."""
    with suppress(FileNotFoundError), (builds / "journal.jsonl").open("rb") as file:
        for text in file:
            if line := _parse(text):
                yield line


def recorded(builds: Path, build: Build, since: str) -> set[str]:
    """What the newest lines of a build say, back to its start or to since (a time).

    So who died after a line, and before noting so elsewhere, writes it but once.
    """
    found: set[str] = set()
    # Backwards, since they are among the last; there may be no file yet, or no line.
    with (
        suppress(OSError, ValueError),
        (builds / "journal.jsonl").open("rb") as file,
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
                break
            found.add(line["what"])
    return found


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
    return f"{line['what']} {place}: {line.get('why')}{build}"
