"""Which version comes next: pure functions over semver and a commit's history."""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from semver import Version

Releases = Mapping[str, list[Version]]  # commit -> what it is released as


class Commit(NamedTuple):
    sha: str
    parents: list[str]
    date: str  # ISO 8601
    message: str


def parse(text: object) -> Version | None:
    """The SemVer in a tag's name or a version field, with or without a v before it."""
    try:
        return Version.parse(text.removeprefix("v")) if isinstance(text, str) else None
    except ValueError:
        return None


def tagged(name: str, prefix: str) -> Version | None:
    """The SemVer in the name of a git tag, behind the prefix of an entry's tags."""
    return parse(name.removeprefix(prefix)) if name.startswith(prefix) else None


def is_final(version: Version) -> bool:
    return version.prerelease is None


def highest(versions: Iterable[Version]) -> Version:
    """By precedence; of equals, the one without build metadata."""
    return max(versions, key=lambda v: (v, v.build is None, v.build or ""))


# Blanks and a byte order mark, which PowerShell writes into a file for `git commit -F`,
# may come before a title; so may the line that a host or git writes above a merge.
_MERGE = r"(?:Merge pull request #|Merge [a-z -]+'|Merged in \S+ \(pull request #)"
_TITLE = rf"\A[\s\ufeff]*(?:{_MERGE}.*\n\s*)?"
# A scope ends at the first parenthesis that a colon follows: it may have others in it.
_SCOPE = r"(?:\((?:(?!\)!?: ).)*\))?"
# A commit's own header, or one of those that a squash merge lists.
_HEADER = rf"(?:{_TITLE}|^\* ){{}}{_SCOPE}{{}}: "
# A line of its own, in Markdown or not; "#" as git's trailers allow it.
_FOOTER = r"^[ \t\ufeff*_-]*BREAKING[ -]CHANGE(?:\([^()\n]*\))?!?(?:[*_]*[ \t]*:| #\d)"
_FEATURE = re.compile(_HEADER.format("feat", ""), re.MULTILINE | re.IGNORECASE)
_BREAKING = re.compile(_HEADER.format(r"[\w-]+", "!") + "|" + _FOOTER, re.MULTILINE)
# What `git merge --squash` prepares: the commits as git log prints them.
_SQUASH = re.compile(r"^Squashed commit of the following:$", re.MULTILINE)
_SQUASHED = re.compile(
    r"^commit [0-9a-f]{40,64}\n(?:\w+:.*\n)+\n((?:    .*(?:\n|\Z)|\n)*)", re.MULTILINE
)
_RELEASE_AS = re.compile(
    r"^[ \t]*Release-As:[ \t]*v?(\d+\.\d+\.\d+)[ \t\r]*$", re.MULTILINE | re.IGNORECASE
)


def change(message: str) -> int:
    """What a message announces by Conventional Commits: 0 patch, 1 minor, 2 major.

    A revert takes nothing back: it is a patch, and what it reverts may be published.
    """
    messages = [message]
    if _SQUASH.search(message):
        squashed = _SQUASHED.findall(message)
        messages += [re.sub("^    ", "", m, flags=re.MULTILINE) for m in squashed]
    if any(map(_BREAKING.search, messages)):
        return 2
    return 1 if any(map(_FEATURE.search, messages)) else 0


def release_as(message: str) -> Version | None:
    """The version that a footer of the message says by hand."""
    found = _RELEASE_AS.search(message)
    return parse(found[1]) if found else None


def bump(version: Version, size: int) -> Version:
    """The release after this one; while it is 0.x, a major change is a minor one."""
    if size == 2 and version.major == 0:
        size = 1
    return (version.bump_patch, version.bump_minor, version.bump_major)[size]()


def identifier(branch: str) -> str:
    """The branch as a SemVer identifier of at most 60 characters."""
    name = re.sub(r"[^0-9A-Za-z-]+", "-", branch)
    if re.fullmatch(r"0\d+", name):  # SemVer has no numbers with leading zeros
        name = f"b{name}"
    return name if len(name) <= 60 else f"{name[:51]}-{digest(branch)}"


def digest(text: str) -> str:
    """Eight hexadecimal digits that keep apart what looks alike after changing it."""
    from hashlib import sha256  # seldom needed, and slow to load

    return sha256(text.encode()).hexdigest()[:8]


def next_version(
    history: list[Commit],
    releases: Releases,
    package: Version | None,
    name: str,
    size: Callable[[str], int],
    by_hand: Callable[[str], Version | None] = lambda message: None,
    pre_releases: Iterable[Version] = (),
    touching: Container[str] | None = None,
) -> Version:
    """A pre-release NEXT-NAME.COUNT.gSHA of what follows the releases in a history.

    history: the commit and all its ancestors, children before parents
    package: what its package.json says; NEXT is never below that
    size: what bump() shall make of a commit message
    by_hand: what NEXT shall be instead, says a message; the newest counts
    pre_releases: what else its commits are called
    touching: the commits that count, where not all of them do

    After a pre-release of NEXT it goes on from the highest: X.Y.Z-PRE.NAME.COUNT.gSHA,
    so that the next one sorts above it. As long as releases and pre-releases are no
    lower than announced, it sorts above what earlier commits of the branch got.
    COUNT is of the commits since the highest release. One that was merged in may hold
    commits counted before: as long as an older one leads to the same NEXT, since that.
    """
    found = [(v, c.sha) for c in reversed(history) for v in releases.get(c.sha, ())]
    targets = [v.finalize_version() for v, _ in found if not is_final(v)]
    targets += [package.finalize_version()] if package else []
    floor = [max(targets)] if targets else []
    beginning = [] if package else [Version(0, 1, 0)]
    finals = [base for base in found if is_final(base[0])]
    line = _first_parents(history)
    last = max((v for v, sha in finals if sha in line), default=None)
    bases: list[tuple[Version | None, str]] = [
        base
        for base in sorted(finals, key=lambda base: base[0], reverse=True)
        if last is None or base[0] >= last
    ]
    if last is None:
        bases.append((None, ""))  # the beginning

    target, count = None, 0
    facts = _since(history, bases, size, by_hand, touching)
    for (base, _), since in zip(bases, facts, strict=True):
        following = [bump(base, since.size)] if base else beginning
        if since.by_hand and (base is None or since.by_hand > base):
            following = [since.by_hand]
        candidate = max(floor + following)
        if target and target != candidate:
            break
        target, count = candidate, max(count, since.commits)
    assert target
    called = [*pre_releases, *(v for v, _ in found)]
    stem = max((v for v in called if v.finalize_version() == target), default=target)
    return _before(stem, f"{name}.{count}.g{history[0].sha[:7]}")


def _before(version: Version, identifiers: str) -> Version:
    """A pre-release of a release; of a pre-release, one that comes after it."""
    parts = filter(None, (version.prerelease, identifiers))
    return version.replace(prerelease=".".join(parts), build=None)


def _first_parents(history: list[Commit]) -> set[str]:
    parents = {commit.sha: commit.parents for commit in history}
    line, sha = set(), history[0].sha
    while sha in parents:
        line.add(sha)
        sha = parents[sha][0] if parents[sha] else ""
    return line


class _Since(NamedTuple):
    commits: int  # how many
    size: int  # of the largest change among them
    by_hand: Version | None  # what the newest of them says that does


def _since(
    history: list[Commit],
    bases: list[tuple[Version | None, str]],
    size: Callable[[str], int],
    by_hand: Callable[[str], Version | None],
    touching: Container[str] | None,
) -> Iterator[_Since]:
    """For each base, what the commits are that it does not contain.

    One walk for all of them, in numbers whose bit i is of base i: with 2,000 bases and
    20,000 commits that takes 0.1 s, and a walk for each takes minutes.
    """
    containing: dict[str, int] = {}  # commit -> bases
    for i, (_, sha) in enumerate(bases):
        containing[sha] = containing.get(sha, 0) | 1 << i
    said: list[tuple[Version, int]] = []  # by hand, and the bases that lack it
    with_size = [0, 0, 0]  # size -> bases that lack a change of it
    digits: list[int] = []  # of the counts, in binary: k -> bases whose digit k is 1
    for commit in history:
        contained = containing.pop(commit.sha, 0)
        for parent in commit.parents:
            containing[parent] = containing.get(parent, 0) | contained
        if touching is not None and commit.sha not in touching:
            continue
        lacking = contained ^ ((1 << len(bases)) - 1)
        with_size[size(commit.message)] |= lacking
        if version := by_hand(commit.message):
            said.append((version, lacking))
        k = 0
        while lacking:  # each of their counts gets 1 more
            digits += [0] * (k == len(digits))
            digits[k], lacking = digits[k] ^ lacking, digits[k] & lacking
            k += 1
    for i in range(len(bases)):
        yield _Since(
            sum((digit >> i & 1) << k for k, digit in enumerate(digits)),
            max((s for s, some in enumerate(with_size) if some >> i & 1), default=0),
            next((version for version, some in said if some >> i & 1), None),
        )
