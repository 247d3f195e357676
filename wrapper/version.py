"""The version, image tags and labels of a build, from what version.sh has gathered.

python -P -m wrapper.version BUILD_JSON FACTS. FACTS is a folder with these files:
  log        of the commit and all its ancestors, children first, each ended by a NUL:
             SHA PARENT..., the committer's date, the message, on lines of their own
  tags       git show-ref --tags --dereference
  line       the commits of the default branch's own line that changed package.json,
             newest first
  packages   git cat-file --batch: package.json of the commit, then of each in `line`
Prints version, image tags and labels, one a line, a NUL after each of the three; if
there is no version for it, why, and exit code 1.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from semver import Version

from wrapper import image
from wrapper.release import (
    Commit,
    Releases,
    highest,
    identifier,
    next_version,
    parse,
)

DETACHED = "detached"  # the pre-release name of a commit built without a branch


class Facts(NamedTuple):
    ref: str
    history: list[Commit]  # the commit, then its ancestors, children before parents
    tags: dict[str, str]  # name -> commit; every tag there is
    package: object  # the commit's package.json; None if absent or not to be read
    line: Sequence[tuple[str, object]]  # commit of the default branch, its package.json


def choose(
    facts: Facts, source: str, prerelease: str | None
) -> tuple[Version, list[Version]]:
    """The commit's version, and every release that an alias may not be moved below.

    source, prerelease: the settings version.from and version.prerelease
    ValueError: the ref is a tag whose name is no SemVer.
    """
    tagged: dict[str, list[Version]] = {}
    for name, sha in facts.tags.items():
        if version := parse(name):
            tagged.setdefault(sha, []).append(version)
    every = [v for some in tagged.values() for v in some]
    if source == "auto":
        by_tags = any(commit.sha in tagged for commit in facts.history)
        source = "tags" if by_tags else "package.json"
    releases: Releases = tagged
    if source == "package.json":
        releases = _package_releases(facts.line)
        every += [v for some in releases.values() for v in some]

    commit = facts.history[0].sha
    if facts.ref.startswith("refs/tags/"):
        name = facts.ref.removeprefix("refs/tags/")
        version = parse(name)
        if not version:
            raise ValueError(
                f'tag "{name}" is no SemVer (like v1.2.3); it is not built'
            )
        return version, every
    for bearers in tagged, releases:
        if commit in bearers:
            return highest(bearers[commit]), every
    is_branch = facts.ref.startswith("refs/heads/")
    branch = facts.ref.removeprefix("refs/heads/") if is_branch else DETACHED
    return next_version(
        facts.history,
        releases,
        _version(facts.package),
        identifier(prerelease or branch),
        *([lambda message: 0] if source == "package.json" else []),
    ), every


def _version(package: object) -> Version | None:
    return parse(package.get("version")) if isinstance(package, dict) else None


def _package_releases(line: Iterable[tuple[str, object]]) -> Releases:
    """Which commit of the default branch first brought each version of package.json."""
    first: dict[str, str] = {}
    for sha, package in line:  # newest first
        if version := _version(package):
            first[str(version)] = sha
    return {sha: [Version.parse(text)] for text, sha in first.items()}


def read(build: dict[str, Any], folder: str) -> Facts:
    """The facts as version.sh has left them."""
    history = []
    for record in _content(f"{folder}/log").decode(errors="replace").split("\0")[:-1]:
        ids, date, message = record.split("\n", 2)
        sha, *parents = ids.split()
        history.append(Commit(sha, parents, date, message))
    tags = {}
    for line in _content(f"{folder}/tags").decode(errors="replace").splitlines():
        sha, ref = line.split(" ", 1)  # an annotated tag's commit follows, as name^{}
        tags[ref.removeprefix("refs/tags/").removesuffix("^{}")] = sha
    packages = list(_packages(_content(f"{folder}/packages")))
    line_commits = _content(f"{folder}/line").decode().split()
    return Facts(
        build["ref"],
        history,
        tags,
        packages[0],
        list(zip(line_commits, packages[1:], strict=True)),
    )


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _packages(batch: bytes) -> Iterator[object]:
    """What git cat-file --batch printed, object by object; None for what is no JSON."""
    at = 0
    while at < len(batch):
        header, at = batch[at : (end := batch.index(b"\n", at))].split(b" "), end + 1
        if header[-1] == b"missing":
            yield None
            continue
        size = int(header[-1])  # of the target, for a symlink that leads elsewhere
        try:
            yield json.loads(batch[at : at + size])
        except (ValueError, RecursionError):
            yield None
        at += size + 1


def main(argv: list[str]) -> int:
    build = json.loads(_content(argv[0]))
    settings = build["settings"]
    facts = read(build, argv[1])
    if others := sorted(name for name in facts.tags if not parse(name)):
        shown = ", ".join(others[:5]) + ", …" * (len(others) > 5)
        print(f"version.sh: passed over, being no SemVer: tag {shown}", file=sys.stderr)
    head = facts.history[0]
    package = facts.package if isinstance(facts.package, dict) else {}
    try:
        rules = settings["version"]
        version, releases = choose(facts, rules["from"], rules["prerelease"])
        tags = image.image_tags(
            version, facts.ref, head.sha, settings["publish"], releases
        )
    except ValueError as e:
        _write(str(e))
        return 1
    lines = image.labels(version, head.sha, head.date, build["url"], package)
    for section in [str(version)], tags, lines:
        _write("".join(f"{line}\n" for line in section) + "\0")
    return 0


def _write(text: str) -> None:
    """In UTF-8 under any locale, and also where JSON gave half a character."""
    sys.stdout.buffer.write(text.encode(errors="replace"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
