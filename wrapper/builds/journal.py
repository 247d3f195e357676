"""builds/journal.jsonl: every decision about a push, one JSON line each."""

import json
import os
import sys
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
) -> None:
    """Writes one decision down, and says it on the terminal."""
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
    }
    console.say(repository, _words(line))
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


def why(builds: Path, asked: str) -> int:
    """Prints the story of a commit (4 or more digits of it), branch, tag or build."""
    try:
        lines = (builds / "journal.jsonl").open()
    except FileNotFoundError:
        lines = open(os.devnull)  # noqa: SIM115
    found = False
    with lines:
        for text in lines:
            try:
                line = json.loads(text)
                if _concerns(line, asked):
                    found = True
                    story = f"{line['time']} {line['repository']}: {_words(line)}"
                    print(console.line(story))
            except (ValueError, TypeError, KeyError):
                continue  # a line cut off by a full disk
    if not found:
        print(
            f"The journal does not know {asked} (a commit's first 4 or more digits, a "
            "branch, a tag or a build's ID; what is built by hand is not in it)",
            file=sys.stderr,
        )
    return 0 if found else 1


def _concerns(line: dict[str, Any], asked: str) -> bool:
    commit, ref = line["commit"] or "", line["ref"] or ""
    return (
        asked in (ref, line["build"])
        or ref in (f"refs/heads/{asked}", f"refs/tags/{asked}")
        or (len(asked) >= 4 and commit.startswith(asked.lower()))
    )


def _words(line: dict[str, Any]) -> str:
    ref = (line["ref"] or "").removeprefix("refs/heads/").removeprefix("refs/")
    place = " at ".join(filter(None, (ref, (line["commit"] or "")[:7])))
    build = f" [{line['build']}]" if line["build"] else ""
    return f"{line['what']} {place}: {line['why']}{build}"
