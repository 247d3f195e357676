"""docker-build-server why: the story of a commit, branch, tag or build."""

import sys
from pathlib import Path
from typing import Any

from wrapper import console
from wrapper.builds import journal, verdict
from wrapper.builds.directory import Build, is_id
from wrapper.builds.store import Store


def run(builds: Path, name: str) -> int:
    """Prints what the journal has of a commit (4 or more digits of it), branch, tag or
    build, then what builds say of themselves that it does not know: those by hand.
    0, or 1 where nothing is known.
    """
    found = False
    known: set[str] = set()  # builds that the journal tells of
    try:
        for line in journal.read(builds):
            known.add(str(line.get("build")))
            if _concerns(line, name):
                found = True
                _print(line)
    except OSError as e:
        print(f"{e.filename}: {e.strerror}", file=sys.stderr)
    for line in reversed(_by_hand(builds, name, known)):
        found = True
        _print(line)
    if not found:
        print(
            f"The journal does not know {name}, nor is there such a build (a commit's "
            "first 4 or more digits, a branch, a tag or a build's ID)",
            file=sys.stderr,
        )
    return 0 if found else 1


def _by_hand(builds: Path, name: str, known: set[str]) -> list[dict[str, Any]]:
    """Builds the journal does not know, as lines of it, the newest first."""
    lines = []
    for build in Store(builds).newest():
        if build.id in known or (is_id(name) and build.id != name):
            continue
        try:
            line = _line(build)
        except OSError as e:  # somebody else's
            if build.id == name:
                print(f"{e.filename}: {e.strerror}", file=sys.stderr)
            continue
        if _concerns(line, name):
            lines.append(line)
    return lines


def _line(build: Build) -> dict[str, Any]:
    result = build.result()
    hand = "by hand" if build.info.get("source") == "manual" else "not in the journal"
    line = {"time": build.info.get("staged_at", "-"), "repository": build.repository}
    line |= {"ref": build.ref, "commit": build.commit, "build": build.id}
    if result is None:
        return line | {"what": build.state(), "why": hand}
    why = f"{verdict.words(result)} ({hand})"
    at = result.get("finished_at") or line["time"]
    return line | {"time": at, "what": "finished", "why": why}


def _print(line: dict[str, Any]) -> None:
    story = f"{line['time']} {line['repository']}: {journal.words(line)}"
    print(console.line(story))


def _concerns(line: dict[str, Any], name: str) -> bool:
    commit, ref = str(line.get("commit") or ""), str(line.get("ref") or "")
    return bool(name) and (
        name in (ref, line.get("build"))
        or ref in (f"refs/heads/{name}", f"refs/tags/{name}")
        or (len(name) >= 4 and commit.startswith(name.lower()))
    )
