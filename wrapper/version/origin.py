"""Where a version comes from, in words; and releases that no build has made yet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semver import Version

from wrapper.version.rules import bump

_SIZES = {2: "major", 1: "minor", 0: "patch"}


def following(version: Version, base: Version | None, package: Version | None) -> str:
    """Of NEXT-BRANCH.N.gSHA: 4 commits after 1.2.0, next is 1.3.0 (minor).

    base: the release that it follows; package: what its package.json says
    """
    following = version.finalize_version()
    count = (version.prerelease or "").split(".")[-2:][0]
    commits = f"{count} commit{'' if count == '1' else 's'}"
    if base is None:
        said = "as package.json says" if package == following else "no release yet"
        return f"{commits}, next is {following} ({said})"
    sizes = [_SIZES[size] for size in _SIZES if bump(base, size) == following]
    said = "as package.json says" if package == following else "as a Release-As says"
    if following == base.finalize_version():
        said = "its release"
    return f"{commits} after {base}, next is {following} ({(*sizes, said)[0]})"


def unpublished(folder: Path, release: Version, commit: str, head: str) -> str:
    """How the release is still made that package.json brought with a commit, where the
    builds of that in a repository's folder published nothing; "" where they did, or
    nothing is known of them.

    head: a commit which has that package.json
    """
    ended = ""
    for build in _builds(folder):
        version = _text(build / "version").rstrip("\n")
        if version == str(release) and _text(build / "pushed"):
            return ""
        if not build.name.endswith(f"-{commit[:7]}") or ended:
            continue
        if _json(build / "build.json").get("commit") == commit:
            ended = _ended(_json(build / "result.json"))
    if not ended:
        return ""
    words = f"{release} is not published: {commit[:7]}, which brought it, {ended}"
    return f"{words} ({_ways(folder, release, head[:12])})"


def should_it_fail(folder: Path, release: Version) -> str:
    """How a release of package.json is made all the same, once a commit mends it."""
    words = f"{release} is not published; push a commit that mends it, and then"
    return f"{words} {_ways(folder, release, 'COMMIT')}"


def _ways(folder: Path, release: Version, commit: str) -> str:
    """The two ways to make a release by hand, of a commit that bears it."""
    name = "/".join(folder.parts[-2:])
    trigger = f"docker-build-server trigger {name} {commit} --version {release}"
    return f"git tag v{release} {commit} and push that, or: {trigger}"


def withdrawn(folder: Path) -> set[str]:
    """The versions that a person has taken back."""
    lines = _text(folder / "withdrawn").splitlines()
    return {line.split(" ")[0] for line in lines}


def _ended(result: dict[str, Any]) -> str:
    status = result.get("status")
    if status in (None, "success"):
        return ""
    at = f" at {result['failed_step']}" if result.get("failed_step") else ""
    return f"ended as {status}{at}"


def _builds(folder: Path) -> Iterator[Path]:
    """Newest first."""
    try:
        names = sorted((p.name for p in folder.iterdir()), reverse=True)
    except OSError:
        return
    yield from (folder / name for name in names if name[0].isdigit())


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(file))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
