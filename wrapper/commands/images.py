"""docker-build-server images: what each tag is, and since when."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from wrapper import screen
from wrapper.builds import journal

HEAD = "REPOSITORY", "TAG", "VERSION", "SINCE", "BEFORE", "COMMIT", "BUILD", "DIGEST"
FEW = 10  # versions of a repository that are shown
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
    by: str  # pushed, withdraw, promote

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
    rows = [_row(tag) for tag in sorted(shown, key=lambda tag: tag.repository)]
    screen.table(HEAD, rows, [""] * len(rows))
    if more := len(tags) - len(shown):
        print(f"{more} more (--all)")
    return 0


def _tags(builds: Path, repository: str | None) -> list[Tag]:
    """Each as it was set last, the newest first."""
    found: dict[str, Tag] = {}
    for line in journal.read(builds):
        names = line.get("pushed")
        if not isinstance(names, list) or repository not in (None, line["repository"]):
            continue
        for name in map(str, names):
            place, _, digest = name.partition("@")
            known = found.pop(place, None)
            if known and known.digest == digest:  # set once more
                found[place] = known
                continue
            found[place] = Tag(
                line["repository"],
                place,
                place.rpartition(":")[2],
                _text(line.get("version")),
                digest,
                _text(line.get("commit")),
                _text(line.get("build")),
                line["time"],
                known.version if known else None,
                line["what"],
            )
    return list(reversed(found.values()))


def _row(tag: Tag) -> list[str]:
    by = "" if tag.by == "pushed" else f" ({tag.by})"
    cells = [tag.repository, tag.tag, f"{tag.version or '-'}{by}"]
    cells += [screen.when(tag.since), tag.before or "-", (tag.commit or "-")[:7]]
    return [*cells, tag.build or "-", tag.digest.removeprefix("sha256:")[:12]]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
