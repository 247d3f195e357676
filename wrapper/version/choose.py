"""The version, image tags and labels of a build, from what version.sh gathers.

python -P -m wrapper.version BUILD [FOLDER] <FACTS. FOLDER is where the repository's
earlier builds are, BUILD's by default. Prints, a NUL after each part: version; image
tags; labels, each one a line; why there is no test to run; where the version comes
from, with what else is to be said of it, a line each; what to say should the build
fail; why nothing is published. Or just why there is no version; or nothing, where facts
are lost.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from semver import Version

from wrapper.version import origin, tags
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


class Choice(NamedTuple):
    version: Version
    releases: list[Version]  # every one that an alias may not be moved below
    origin: str  # where the version comes from
    brought: tuple[Version, str] | None = None  # package.json's release, and by which


def choose(
    facts: Facts,
    source: str,
    prerelease: str | None,
    prefix: str = "",
    by_hand: str | None = None,
) -> Choice:
    """The commit's version.

    source, prerelease, prefix: the settings version.from, version.prerelease and
    tag_prefix. With a prefix other tags do not count, nor do commits that touch nothing
    of the entry.
    by_hand: what a person says that it is, which must be what its package.json says.
    ValueError: the ref is a tag whose name is no SemVer, or by_hand is refused.
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
        if by_hand and by_hand != str(version):
            raise ValueError(f"it cannot be version {by_hand}: it is the tag {name}")
        return Choice(version, every, f"of the tag {name}")
    package = _version(facts.package)
    if by_hand:
        if str(package) != by_hand:
            words = f"the commit's package.json says {package or 'none'}"
            advice = f"tag the commit {prefix or 'v'}{by_hand}, or name that"
            raise ValueError(f"it cannot be version {by_hand}: {words} ({advice})")
        if source == "tags":  # the next version would not follow it
            words = f"versions come from tags here (tag the commit v{by_hand})"
            raise ValueError(f"it cannot be version {by_hand} by hand: {words}")
        return Choice(Version.parse(by_hand), every, "asked for with --version")
    if commit in tagged:
        return Choice(highest(tagged[commit]), every, "a tag of the commit")
    if commit in releases:
        version = highest(releases[commit])
        words = "package.json has it since this commit"
        return Choice(version, every, words, (version, commit))
    is_branch = facts.ref.startswith("refs/heads/")
    branch = facts.ref.removeprefix("refs/heads/") if is_branch else DETACHED
    by_tags = source == "tags"
    version = next_version(
        facts.history,
        releases,
        package,
        identifier(prerelease or branch),
        change if by_tags else lambda message: 0,
        release_as if by_tags else lambda message: None,
        [v for c in facts.history for v in tagged.get(c.sha, ()) if not is_final(v)],
        facts.touching if prefix else None,
    )
    known = ((v, c.sha) for c in facts.history for v in releases.get(c.sha, ()))
    base = max(known, default=None)
    words = origin.following(version, base and base[0], package)
    return Choice(version, every, words, None if by_tags else base)


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
    """The program: its arguments, and what it prints, are as the module tells."""
    folder = Path(argv[1] if len(argv) > 1 else Path(argv[0]).absolute().parent)
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
        choice = choose(facts, source, prerelease, prefix, build.get("version"))
        version, withdrawn = choice.version, origin.withdrawn(folder)
        releases = [v for v in choice.releases if str(v) not in withdrawn]
        image_tags = tags.image_tags(version, facts.ref, head.sha, publish, releases)
    except ValueError as e:
        _write(f"{e}\0")
        return 1
    lines = tags.labels(version, head.sha, head.date, url, package)
    for section in [str(version)], image_tags, lines:
        _write("".join(f"{line}\n" for line in section) + "\0")
    _write(f"{no_test(facts.package)}\0")
    said, if_red = [f"{version}: {choice.origin}"], ""
    if build.get("version") or (choice.brought and choice.brought[1] == head.sha):
        if_red = origin.should_it_fail(folder, version)
    elif choice.brought and choice.brought[0] == _version(facts.package):
        said.append(origin.unpublished(folder, *choice.brought, head.sha))
    _write("".join(f"{words}\n" for words in said if words) + f"\0{if_red}\0")
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
