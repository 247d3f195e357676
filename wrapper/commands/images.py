"""docker-build-server images: what each tag is, and since when."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from wrapper import screen
from wrapper.builds import journal
from wrapper.builds.directory import Build
from wrapper.builds.store import Store
from wrapper.version.origin import withdrawn

HEAD = "REPOSITORY", "TAG", "VERSION", "SINCE", "BEFORE", "COMMIT", "BUILD", "DIGEST"
FEW = 10  # versions of a repository that are shown
Line = dict[str, Any]
_VERSION = re.compile(r"v?\d+\.\d+\.\d+.*")


class Tag(NamedTuple):
    """A tag as it was set last."""

    repository: str
    name: str  # REGISTRY/IMAGE:TAG
    tag: str
    version: str | None
    digest: str
    commit: str | None
    build: str | None
    since: str  # RFC 3339
    before: str | None  # the version that it stood at until then
    by: str  # pushed, withdraw, promote, by hand

    @property
    def stays(self) -> bool:
        """Is it one that never moves?"""
        return bool(_VERSION.fullmatch(self.tag) or self.tag.startswith("sha-"))


def run(
    builds: Path, repository: str | None, all: bool = False, as_json: bool = False
) -> int:
    """Prints the tags that move, then the newest versions, or all; from the journal,
    no registry is asked. 0, 1: nothing was pushed that it knows of.
    """
    tags = _tags(builds, repository)
    shown = [tag for tag in tags if not tag.stays]
    versions = [tag for tag in tags if tag.stays and (all or tag.tag[:4] != "sha-")]
    count: dict[str, int] = {}
    for tag in versions:
        count[tag.repository] = count.get(tag.repository, 0) + 1
        if all or count[tag.repository] <= FEW:
            shown.append(tag)
    if as_json:
        print(json.dumps({"format": 1, "tags": [tag._asdict() for tag in shown]}))
        return 0
    if not shown:
        screen.say(f"the journal in {builds} knows of nothing that was pushed")
        return 1
    shown.sort(key=lambda tag: tag.repository)
    bad = {tag.repository: withdrawn(builds / tag.repository) for tag in shown}
    rows = [_row(tag, bad[tag.repository]) for tag in shown]
    screen.table(HEAD, rows, [""] * len(rows))
    if more := len(tags) - len(shown):
        print(f"{more} more (--all)")
    return 0


def _tags(builds: Path, repository: str | None) -> list[Tag]:
    """Each as it was set last, the newest first."""
    found: dict[str, Tag] = {}
    first: dict[str, Line] = {}  # of each digest, what tells of its build
    for line in _lines(builds, repository):
        if line["what"] == "forget":
            found = {
                k: t for k, t in found.items() if t.repository != line["repository"]
            }
        for name in map(str, line["pushed"]):
            place, _, digest = name.partition("@")
            known = found.pop(place, None)
            built = first.setdefault(digest, line)  # what a person moves tells of none
            if known and known.digest == digest:  # set once more
                found[place] = known
                continue
            found[place] = Tag(
                line["repository"],
                place,
                place.rpartition(":")[2],
                _text(line.get("version")),
                digest,
                _text(built.get("commit")),
                _text(built.get("build")),
                line["time"],
                known.version if known else None,
                line["what"],
            )
    return list(reversed(found.values()))


def _lines(builds: Path, repository: str | None) -> list[Line]:
    """The journal's, of what was pushed or forgotten; and what was pushed by hand, of
    which it does not know. Oldest first.
    """
    known: set[str] = set()
    lines = []
    for line in journal.read(builds):
        known.add(str(line.get("build")))
        if repository not in (None, line["repository"]):
            continue
        if isinstance(line.get("pushed"), list):
            lines.append(line)
        elif line["what"] == "forget":
            lines.append(line | {"pushed": []})
    for build in Store(builds).newest(repository):
        if build.id not in known and (pushed := _by_hand(build)):
            lines.append(pushed)
    return sorted(lines, key=lambda line: str(line["time"]))


def _by_hand(build: Build) -> Line | None:
    try:
        file = build.path / "pushed"
        at = datetime.fromtimestamp(int(file.stat().st_mtime), UTC).isoformat()
        about = {"time": at.replace("+00:00", "Z"), "repository": build.repository}
        about |= {"commit": build.commit, "build": build.id, "what": "by hand"}
        return about | {"version": build.version, "pushed": file.read_text().split()}
    except OSError:
        return None


def _row(tag: Tag, withdrawn: set[str]) -> list[str]:
    by = "" if tag.by == "pushed" else f" ({tag.by})"
    if tag.version in withdrawn:
        by = " (withdrawn)"
    cells = [tag.repository, tag.tag, f"{tag.version or '-'}{by}"]
    cells += [screen.when(tag.since), tag.before or "-", (tag.commit or "-")[:7]]
    return [*cells, tag.build or "-", tag.digest.removeprefix("sha256:")[:12]]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
