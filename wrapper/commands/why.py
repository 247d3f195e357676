"""docker-build-server why: the story of a commit, branch, tag, version or build."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from wrapper import screen
from wrapper.builds import journal, verdict
from wrapper.builds.directory import Build, is_id
from wrapper.builds.records import Records
from wrapper.builds.store import Store
from wrapper.builds.what import Unclear, find

Line = dict[str, Any]
RED = ("failure", "error")


def run(builds: Path, what: list[str], as_json: bool = False) -> int:
    """Prints what the journal has of WHAT (of a commit 4 or more digits), then what
    builds say of themselves that it does not know: those by hand; and of the newest
    build, where it failed, the lines that say why. 0, or 1 where nothing is known.
    """
    *before, name = what
    repository = before[0] if before else None
    lines = _story(builds, repository, name)
    meant = None
    try:
        meant = find(builds, *what)
        if not lines:  # a version, say, or a repository
            lines = _story(builds, meant.repository, meant.id)
    except (Unclear, OSError):
        meant = _newest(builds, lines)
    if not lines:
        print(
            f"The journal does not know {name}, nor is there such a build (a commit's "
            "first 4 or more digits, a branch, a tag, a version or a build's ID)",
            file=sys.stderr,
        )
        return 1
    if as_json:
        found = [Records().of(meant).document()] if meant else []
        print(json.dumps({"format": 1, "lines": lines, "builds": found}))
        return 0
    for line in lines:
        at = screen.when(line["time"])
        screen.text(f"{at} {line['repository']}: {journal.words(line)}")
    if meant:
        _print_failing(meant)
        _print_version(meant)
    return 0


def _story(builds: Path, repository: str | None, name: str) -> list[Line]:
    found: list[Line] = []
    known: set[str] = set()  # builds that the journal tells of
    try:
        for line in journal.read(builds):
            known.add(str(line.get("build")))
            if _concerns(line, repository, name):
                found.append(line)
    except OSError as e:
        print(f"{e.filename}: {e.strerror}", file=sys.stderr)
    return found + list(reversed(_by_hand(builds, repository, name, known)))


def _by_hand(
    builds: Path, repository: str | None, name: str, known: set[str]
) -> list[Line]:
    """Builds the journal does not know, as lines of it, the newest first."""
    lines = []
    for build in Store(builds).newest(repository):
        if build.id in known or (is_id(name) and build.id != name):
            continue
        try:
            line = _line(build)
        except OSError as e:  # somebody else's
            if build.id == name:
                print(f"{e.filename}: {e.strerror}", file=sys.stderr)
            continue
        if _concerns(line, repository, name):
            lines.append(line)
    return lines


def _line(build: Build) -> Line:
    result = build.result()
    hand = "by hand" if build.info.get("source") == "manual" else "not in the journal"
    line = {"time": build.info.get("staged_at", "-"), "repository": build.repository}
    line |= {"ref": build.ref, "commit": build.commit, "build": build.id}
    if result is None:
        return line | {"what": build.state(), "why": hand}
    why = f"{verdict.words(result)} ({hand})"
    at = result.get("finished_at") or line["time"]
    return line | {"time": at, "what": "finished", "why": why}


def _newest(builds: Path, lines: list[Line]) -> Build | None:
    """The newest build of a story."""
    names = [(str(x["build"]), x["repository"]) for x in lines if x.get("build")]
    for id, repository in sorted(names, reverse=True)[:1]:
        build = Build(builds / repository / id)
        return build if build.info else None
    return None


def _print_failing(build: Build) -> None:
    try:
        lines = verdict.failing(build.result() or {})
    except OSError:
        return
    for line in lines:
        screen.text(f"{build.path}/console.log:{line['line']}: {line['text']}")


def _print_version(build: Build) -> None:
    """Where its version comes from, and how it is released where that went wrong."""
    result = build.result() or {}
    for name in [".origin"] + [".if-red"] * (result.get("status") in RED):
        with suppress(OSError):
            for line in (build.path / name).read_text(errors="replace").splitlines():
                screen.text(line)


def _concerns(line: Line, repository: str | None, name: str) -> bool:
    commit, ref = str(line.get("commit") or ""), str(line.get("ref") or "")
    if repository not in (None, line.get("repository")):
        return False
    return bool(name) and (
        name in (ref, line.get("build"))
        or ref in (f"refs/heads/{name}", f"refs/tags/{name}")
        or (len(name) >= 4 and commit.startswith(name.lower()))
    )
