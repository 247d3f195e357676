"""The version, image tags and labels of a build, from what version.sh gathers.

python -P -m wrapper.version BUILD <FACTS. Prints version, image tags and labels,
one a line, a NUL after each of the three, and behind them why nothing is published,
where there is no tag; or just why there is no version, and a NUL; or nothing, where
facts are lost.
"""

import json
import sys
from collections.abc import Iterable

from semver import Version

from wrapper.version import tags
from wrapper.version.facts import Facts, read
from wrapper.version.rules import (
    Releases,
    change,
    highest,
    identifier,
    is_final,
    next_version,
    parse,
    release_as,
)
from wrapper.version.rules import tagged as in_tag

DETACHED = "detached"  # the pre-release name of a commit built without a branch


def choose(
    facts: Facts, source: str, prerelease: str | None, prefix: str = ""
) -> tuple[Version, list[Version]]:
    """The commit's version, and every release that an alias may not be moved below.

    source, prerelease, prefix: the settings version.from, version.prerelease and
    tag_prefix. With a prefix other tags do not count, nor do commits that touch nothing
    of the entry.
    ValueError: the ref is a tag whose name is no SemVer.
    """
    tagged: dict[str, list[Version]] = {}
    for name, sha in facts.tags.items():
        if version := in_tag(name, prefix):
            tagged.setdefault(sha, []).append(version)
    every = [v for some in tagged.values() for v in some]
    if source == "auto":
        has_tags = any(commit.sha in tagged for commit in facts.history)
        source = "tags" if has_tags else "package.json"
    releases: Releases = tagged
    if source == "package.json":
        releases = _package_releases(facts.line)
        every += [v for some in releases.values() for v in some]

    commit = facts.history[0].sha
    if facts.ref.startswith("refs/tags/"):
        name = facts.ref.removeprefix("refs/tags/")
        version = in_tag(name, prefix)
        if not version:
            example = f"{prefix or 'v'}1.2.3"
            raise ValueError(
                f'tag "{name}" is no SemVer (like {example}); it is not built'
            )
        return version, every
    for bearers in tagged, releases:
        if commit in bearers:
            return highest(bearers[commit]), every
    is_branch = facts.ref.startswith("refs/heads/")
    branch = facts.ref.removeprefix("refs/heads/") if is_branch else DETACHED
    by_tags = source == "tags"
    return next_version(
        facts.history,
        releases,
        _version(facts.package),
        identifier(prerelease or branch),
        change if by_tags else lambda message: 0,
        release_as if by_tags else lambda message: None,
        [v for c in facts.history for v in tagged.get(c.sha, ()) if not is_final(v)],
        facts.touching if prefix else None,
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


def main(argv: list[str]) -> int:
    """The program: argv names the build directory. Prints what the module tells of."""
    with open(f"{argv[0]}/build.json", "rb") as file:
        build = json.load(file)
    source = setting(argv[0], "version/from")
    prerelease = setting(argv[0], "version/prerelease")
    prefix = setting(argv[0], "tag_prefix")
    publish = setting(argv[0], "publish").split("\0")[:-1]
    url = setting(argv[0], "url")
    try:
        facts = read(build["ref"], sys.stdin.buffer.read())
    except EOFError as e:
        print(f"version.sh: {e}", file=sys.stderr)
        return 1
    head = facts.history[0]
    package = facts.package if isinstance(facts.package, dict) else {}
    named = (name for name in facts.tags if name.startswith(prefix))
    if others := sorted(name for name in named if not in_tag(name, prefix)):
        _pass_over("tag " + ", ".join(others[:5]) + ", …" * (len(others) > 5))
    if "version" in package and not _version(package):
        _pass_over(f'"version": {json.dumps(package["version"])[:80]} in package.json')
    try:
        version, releases = choose(facts, source, prerelease, prefix)
        image_tags = tags.image_tags(version, facts.ref, head.sha, publish, releases)
    except ValueError as e:
        _write(f"{e}\0")
        return 1
    lines = tags.labels(version, head.sha, head.date, url, package)
    for section in [str(version)], image_tags, lines:
        _write("".join(f"{line}\n" for line in section) + "\0")
    _write(f"{no_test(facts.package)}\0")
    if not image_tags:
        _write(tags.why_none(version, facts.ref, publish, releases))
    return 0


def no_test(package: object) -> str:
    """Why `npm test` has nothing to run, by the commit's package.json; "" if it has.

    What cannot be read is not absent: npm is to say what it makes of it.
    """
    if package is not None and not isinstance(package, dict):
        return ""
    scripts = (package or {}).get("scripts")
    script = scripts.get("test") if isinstance(scripts, dict) else None
    if not isinstance(script, str) or not script:
        return "no test script in package.json"
    if "no test specified" in script:
        return "only npm's placeholder for a test script in package.json"
    return ""


def setting(build: str, name: str) -> str:
    """A setting of a build directory, from its file; "" where it is null."""
    try:
        with open(f"{build}/settings/{name}", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _pass_over(what: str) -> None:
    print(f"version.sh: passed over, being no SemVer: {what}", file=sys.stderr)


def _write(text: str) -> None:
    """In UTF-8 under any locale, and also where JSON gave half a character."""
    sys.stdout.buffer.write(text.encode(errors="replace"))
