"""Bumps, identifiers, and what comes next after a history's releases."""

import sys
from textwrap import indent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semver import Version

from wrapper.version.rules import (
    Commit,
    bump,
    change,
    identifier,
    next_version,
    parse,
    release_as,
)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.2.3", "1.2.3"),
        ("1.2.3", "1.2.3"),
        ("v1.2.3-rc.1", "1.2.3-rc.1"),
        ("v2.0.1+exp.1", "2.0.1+exp.1"),
        *((text, None) for text in ("1.2", "v1", "7", "vv1.2.3", "V1.2.3", "v1.02.3")),
        *((text, None) for text in ("web-v1.1.0", "v1.2.3.4", "v1.2.3-", "v1.2.3\n")),
        *((text, None) for text in ("", "v1.2.3-01", "v\u0661.0.0", None, 1.2, ["1"])),
    ],
)
def test_parse(text, version):
    assert parse(text) == (version and Version.parse(version))


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ("fix: a", 0),
        ("perf(db): a", 0),
        ("Tidy up", 0),
        ("feat: a", 1),
        ("feat(api): a\n\nWhy.", 1),
        ("Feat: a", 1),
        ("feature: a", 0),
        ("feat : a", 0),
        ("This is no feat: it is prose", 0),
        ("feat!: a", 2),
        ("fix(api)!: a", 2),
        ("chore!: drop Node 12", 2),
        ("fix: a\n\nBREAKING CHANGE: b", 2),
        ("fix: a\n\nWhy.\n\nRefs: #1\nBREAKING-CHANGE: b", 2),
        ("fix: a\n\nNo BREAKING CHANGE: here", 0),
        ("fix: a\n\nbreaking change: in lower case is prose", 0),
        ("revert: feat: a", 0),
        ('Revert "feat!: a"\n\nThis reverts commit 1a2b3c4.', 0),
        ("Add search (#7)\n\n* feat: a\n\n* fix: b", 1),
        ("Add search (#7)\n\n* fix: b\n\n* refactor(x)!: a", 2),
        ("fix: a (#8)\n\n* feat: a\r\n", 1),
        ("", 0),
    ],
)
def test_change(message, size):
    assert change(message) == size


@pytest.mark.parametrize(
    "footer",
    [
        "BREAKING CHANGE:\ny",
        "BREAKING CHANGE:\n\ny",
        "BREAKING-CHANGE:\ny",
        "BREAKING-CHANGE:\r\ny",
        "BREAKING CHANGE:\ty",
        "BREAKING CHANGE:y",
        "BREAKING CHANGE:",
        "BREAKING CHANGE : y",
        "BREAKING CHANGE #12 y",
        "BREAKING-CHANGE #12",
        "BREAKING CHANGE(api): y",
        "* BREAKING CHANGE: y",
        "- BREAKING CHANGE: y",
        "**BREAKING CHANGE:** y",
        "**BREAKING CHANGE**: y",
        "* **BREAKING-CHANGE:** y",
        "__BREAKING CHANGE:__ y",
        "  BREAKING CHANGE: y",
        "\tBREAKING CHANGE #1 y",
        "\ufeffBREAKING CHANGE: y",
    ],
)
def test_a_breaking_footer(footer):
    assert change(f"fix: x\n\nWhy.\n\n{footer}\n") == 2
    assert change(footer) == 2


@pytest.mark.parametrize(
    "prose",
    [
        "This is a BREAKING CHANGE: y",
        "This is no\nBREAKING CHANGE, but a fix: y",
        "BREAKING CHANGE is what it is not",
        "BREAKING CHANGE",
        "BREAKING CHANGE\n\ny: z",
        "BREAKING CHANGE # y",
        "BREAKING CHANGE#12",
        "BREAKING CHANGES in 2.0: none",
        "NON-BREAKING CHANGE: y",
        "* no BREAKING CHANGE: y",
        '"BREAKING CHANGE: y" is how it is written',
        "`BREAKING CHANGE:` is how it is written",
        "BREAKING\nCHANGE: y",
        "Breaking change: y",
        "fix! : y",
    ],
)
def test_prose_that_talks_of_breaking_changes(prose):
    assert change(f"fix: x\n\n{prose}\n") == 0


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("feat(app/(dashboard)): a", 1),
        ("feat((auth)): a", 1),
        ("feat((a)/(b(c))): a", 1),
        ("feat(:)): a", 1),
        ("fix(app/(dashboard))!: a", 2),
        ("feat(app): a (see b)", 1),
        ("fix(app): a (feat(b): c)", 0),
        ("fix(app): drop a (of b)!: c", 0),
        ("fix(app)(b)!: c", 2),
        ("fix (app)!: c", 0),
        ("fix(app\n)!: c", 0),
    ],
)
@pytest.mark.parametrize(
    "start",
    [
        *("", " ", "\t", "\n\n", "\r\n \n", "\ufeff", "\ufeff\n "),
        *("* ", "fix: b\n\n* "),
        "Merge pull request #5 from o/feat\n\n",
        "Merge pull request #5 from o/feat\r\n\r\n",
        "\ufeffMerge pull request #5 from o/feat\n\n\n ",
        "Merge branch 'a' into 'main'\n\n",
        "Merge remote-tracking branch 'o/a'\n\n",
        "Merge branches 'a' and 'b'\n\n",
        "Merge tag 'v1.0.0' into main\n\n",
        "Merged in o/a (pull request #5)\n\n",
    ],
)
def test_a_header_and_what_may_stand_before_it(start, header, size):
    assert change(start + header) == size


@pytest.mark.parametrize(
    "message",
    [
        "Merge pull request #5 from o/feat\n\nWords\n\nfeat: not a title",
        "Merge pull request #5 from o/feat!: a",
        "Merge pull request #5 from feat: a",
        "Merge the feeds\n\nfeat: not a title",
        "Merged in the feeds\n\nfeat: not a title",
        "Merge branch 'a'\n\n# Conflicts:\n#\tfeat: a",
        'Merge pull request #5 from o/feat\n\nRevert "feat: a"',
        "Words\n\n    feat: an example",
        "Words\n\n  * feat: an example",
        "Words\n\nfeat!: not a title",
        "1a2b3c4 is the first bad commit\ncommit {0}\nAuthor: a\n\n    feat!: b\n",
    ],
)
def test_what_is_no_header(message):
    assert change(message.format("1a2b3c4d" * 5)) == 0


def squashed(*messages: str, title: str = "") -> str:
    """The message that git merge --squash prepares."""
    listed = "".join(
        f"\ncommit {i:040x}\nAuthor: A B <a@b>\nDate:   Sun Nov 22 2026\n"
        f"\n{indent(message, '    ', lambda line: True)}\n"
        for i, message in enumerate(messages)
    )
    return f"{title}Squashed commit of the following:\n{listed}"


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (squashed("fix: a"), 0),
        (squashed("feat: a"), 1),
        (squashed("fix: a", "feat(x): b\n\nWhy."), 1),
        (squashed("fix: a", "fix(x)!: b", "c"), 2),
        (squashed("fix: a\n\nBREAKING CHANGE: b", "feat: c"), 2),
        (squashed("fix: a\n\n* feat: b\n* fix: c"), 1),
        (squashed("Merge pull request #5 from o/a\n\nfeat: b"), 1),
        (squashed("feat: a", title="Add search (#7)\n\n"), 1),
        (squashed("fix: a\n\nfeat!: b", "Words\n\n    feat: c"), 0),
        (squashed('Revert "feat: a"', "feature: b"), 0),
        (squashed("feat: a").replace("Author", "Merge: 1a2b 3c4d\nAuthor"), 1),
        (squashed("feat: a").replace("Squashed commit", "The commit"), 0),
    ],
)
def test_the_message_of_a_squash_merge(message, size):
    assert change(message) == size


@pytest.mark.parametrize(
    ("version", "sizes"),
    [
        ("1.2.3", ["1.2.4", "1.3.0", "2.0.0"]),
        ("0.2.3", ["0.2.4", "0.3.0", "0.3.0"]),
        ("2.0.1+exp.1", ["2.0.2", "2.1.0", "3.0.0"]),
    ],
)
def test_bump(version, sizes):
    assert [str(bump(Version.parse(version), size)) for size in range(3)] == sizes


@pytest.mark.parametrize(
    ("branch", "name"),
    [
        ("main", "main"),
        ("feature/Straße_1", "feature-Stra-e-1"),
        ("release/1.x", "release-1-x"),
        ("007", "b007"),
        ("0", "0"),
        ("2024", "2024"),
        ("0x7", "0x7"),
        ("日本", "-"),
        ("a" * 60, "a" * 60),
    ],
)
def test_identifier(branch, name):
    assert identifier(branch) == name


def test_a_long_branch_is_cut_and_kept_apart_from_its_like():
    one, other = identifier("x" * 200 + "1"), identifier("x" * 200 + "2")
    assert len(one) == len(other) == 60
    assert one != other


def chain(*messages: str) -> list[Commit]:
    """A straight history, given oldest first: commits 0, 1, 2, …"""
    return [
        Commit(str(i) * 40, [str(i - 1) * 40] if i else [], "", message)
        for i, message in enumerate(messages)
    ][::-1]


def after(history, releases, package=None):
    tagged = {str(i) * 40: [Version.parse(v)] for i, v in releases.items()}
    said = parse(package)
    return str(next_version(history, tagged, said, "main", change, release_as))


@pytest.mark.parametrize(
    ("messages", "releases", "package", "version"),
    [
        # No release yet: package.json's version, else 0.1.0; all commits count.
        ("a", {}, None, "0.1.0-main.1.g0000000"),
        ("abc", {}, None, "0.1.0-main.3.g2222222"),
        ("ab", {}, "0.0.5", "0.0.5-main.2.g1111111"),
        # Conventional Commits since the release, and only since.
        (["a", "fix: b", "c"], {0: "1.2.3"}, None, "1.2.4-main.2.g2222222"),
        (["a", "feat: b", "c"], {0: "1.2.3"}, None, "1.3.0-main.2.g2222222"),
        (["a", "feat: b", "c!: d"], {0: "1.2.3"}, None, "2.0.0-main.2.g2222222"),
        (["a", "feat!: b", "c"], {1: "1.2.3"}, None, "1.2.4-main.1.g2222222"),
        (["a", "b!: c"], {0: "0.2.3"}, None, "0.3.0-main.1.g1111111"),
        (["a", "feat: b"], {0: "0.2.3"}, None, "0.3.0-main.1.g1111111"),
        # The highest release counts, not the newest.
        ("abcd", {0: "1.0.0", 1: "2.0.0", 2: "1.9.0"}, None, "2.0.1-main.2.g3333333"),
        ("abc", {1: "2.0.1+exp.1"}, None, "2.0.2-main.1.g2222222"),
        (
            ["a", "fix: b", "feat: c"],
            {0: "1.0.0", 1: "1.0.1"},
            None,
            "1.1.0-main.1.g2222222",
        ),
        # Two commits are called the same: it was the first one's.
        (
            ["a", "feat: b", "c"],
            {0: "1.2.3", 1: "1.2.3"},
            None,
            "1.3.0-main.2.g2222222",
        ),
        # Never below package.json; behind the tags it does not matter.
        ("ab", {0: "1.2.3"}, "1.2.3", "1.2.4-main.1.g1111111"),
        ("ab", {0: "1.2.3"}, "2.0.0", "2.0.0-main.1.g1111111"),
        ("ab", {0: "1.2.3"}, "1.0.0", "1.2.4-main.1.g1111111"),
        ("ab", {0: "1.2.3"}, "2.0.0-rc.1", "2.0.0-main.1.g1111111"),
        # A pre-release in the history: what comes after it sorts after it.
        ("abc", {0: "1.2.3", 1: "2.0.0-rc.1"}, None, "2.0.0-rc.1.main.2.g2222222"),
        ("ab", {0: "2.0.0-rc.1+b"}, None, "2.0.0-rc.1.main.2.g1111111"),
        ("abc", {0: "1.2.3", 1: "1.2.4-rc.1"}, None, "1.2.4-rc.1.main.2.g2222222"),
        ("abc", {0: "1.2.3", 1: "1.2.4-beta"}, None, "1.2.4-beta.main.2.g2222222"),
        ("ab", {0: "1.1.0-beta.1"}, None, "1.1.0-beta.1.main.2.g1111111"),
        ("ab", {0: "1.1.0-0"}, None, "1.1.0-0.main.2.g1111111"),
        ("ab", {0: "1.1.0-main.7"}, None, "1.1.0-main.7.main.2.g1111111"),
        # Of several the highest, not the newest.
        ("abc", {0: "1.1.0-beta.2", 1: "1.1.0-beta.10"}, None, "1.1.0-beta.10.main.3~"),
        ("abc", {0: "1.1.0-beta.2", 1: "1.1.0-alpha.3"}, None, "1.1.0-beta.2.main.3~"),
        ("abc", {0: "1.1.0-rc.1", 1: "1.1.0-beta.2"}, None, "1.1.0-rc.1.main.3~"),
        # It is one of NEXT, whatever leads there, and of no other version.
        (["a", "feat: b"], {0: "1.0.0-beta.1"}, "1.0.0", "1.0.0-beta.1.main.2~"),
        (["a", "b", "feat: c"], {0: "1.0.0", 1: "1.0.1-beta.1"}, None, "1.1.0-main.2~"),
        (["a", "b", "feat: c"], {0: "1.0.0", 1: "1.1.0-a"}, None, "1.1.0-a.main.2~"),
        ("abc", {0: "1.1.0-zz.1", 1: "1.2.0-beta.1"}, None, "1.2.0-beta.1.main.3~"),
        ("ab", {0: "1.1.0-beta.1"}, "2.0.0", "2.0.0-main.2~"),
        ("ab", {0: "1.1.0-beta.1"}, "1.0.0", "1.1.0-beta.1.main.2~"),
        ("abc", {0: "1.1.0-beta.1", 1: "1.1.0"}, None, "1.1.1-main.1~"),
        ("abc", {0: "1.2.3", 1: "1.2.3-rc.1"}, None, "1.2.4-main.2.g2222222"),
        ("ab", {0: "1.0.0-rc.1"}, None, "1.0.0-rc.1.main.2.g1111111"),
    ],
)
def test_next_version(messages, releases, package, version):
    history = chain(*messages)
    expected = version.replace("~", f".g{history[0].sha[:7]}")
    assert after(history, releases, package) == expected


def test_a_pre_release_on_a_merged_branch_is_gone_on_from():
    rows = [("a", "", "one"), ("b", "a", "feat: x"), ("c", "a", "two")]
    history = merged(*rows, ("d", "cb", "Merge branch 'next'"))
    releases = {"a": "1.0.0", "b": "1.1.0-beta.1"}
    assert after(history, releases) == "1.1.0-beta.1.main.3.gddddddd"
    assert after(merged(*rows[::2]), releases) == "1.0.1-main.1.gccccccc"


@pytest.mark.parametrize(
    ("footer", "version"),
    [
        ("Release-As: 2.0.0", "2.0.0"),
        ("release-as:v2.0.0", "2.0.0"),
        ("Why.\n\nRelease-As: 2.0.0\r\nRefs: #1", "2.0.0"),
        (" Release-As: 1.2.4 ", "1.2.4"),  # though the rest announces more
        ("Release-As: 1.2.3", None),
        ("Release-As: 2.0", None),
        ("Release-As: 2.0.0-rc.1", None),
        ("Release-As: 2.00.0", None),
        ("Release-As: 2.0.0 or so", None),
        ("The Release-As: 2.0.0", None),
    ],
)
def test_what_comes_next_is_said_by_hand(footer, version):
    history = chain("a", f"b\n\n{footer}", "feat: c")
    expected = f"{version or '1.3.0'}-main.2.g2222222"
    assert after(history, {0: "1.2.3"}) == expected
    assert after(history, {1: "1.2.3"}) == "1.3.0-main.1.g2222222"


def test_of_what_is_said_by_hand_the_newest_counts_and_package_json_is_the_least():
    history = chain("a\n\nRelease-As: 2.0.0", "b\n\nRelease-As: 1.5.0", "c")
    for package, version in (None, "1.5.0"), ("1.4.0", "1.5.0"), ("1.6.0", "1.6.0"):
        assert after(history, {}, package) == f"{version}-main.3.g2222222"


def merged(*rows: tuple[str, str, str]) -> list[Commit]:
    """A history from (name, parents, message) rows, oldest first, named by a letter."""
    return [Commit(n * 40, [p * 40 for p in ps], "", m) for n, ps, m in rows][::-1]


def test_what_a_merge_brings_counts():
    history = merged(
        ("a", "", "one"),
        ("b", "a", "feat: on a side branch"),
        ("c", "a", "fix: on main"),
        ("d", "cb", "Merge branch 'side'"),
    )
    assert after(history, {"a": "1.0.0"}) == "1.1.0-main.3.gddddddd"


def test_a_hotfix_starts_from_the_release_in_its_own_history():
    history = merged(("a", "", "one"), ("b", "a", "fix: hot"))
    # 2.0.0 is another branch's
    assert after(history, {"a": "1.0.0", "z": "2.0.0"}) == "1.0.1-main.1.gbbbbbbb"


def test_a_merged_release_starts_the_count_anew():
    history = merged(
        ("a", "", "one"),
        ("b", "a", "fix: on main"),
        ("c", "a", "fix: hot"),
        ("d", "bc", "Merge branch 'hotfix'"),
    )
    releases = {"a": "1.0.0", "c": "1.0.1"}
    assert after(history, releases) == "1.0.2-main.2.gddddddd"


def test_a_merged_release_that_holds_counted_commits_does_not_lower_the_count():
    rows = [
        ("a", "", "one"),
        ("b", "a", "fix: on main"),
        ("c", "b", "feat: on main"),  # 1.1.0-main.2
        ("d", "b", "prepare 1.0.1"),  # a release branch that has b, and no feature
        ("e", "cd", "Merge branch 'release'"),
    ]
    releases = {"a": "1.0.0", "d": "1.0.1"}
    assert after(merged(*rows[:3]), releases) == "1.1.0-main.2.gccccccc"
    assert after(merged(*rows), releases) == "1.1.0-main.4.geeeeeee"


def ancestry(history: list[Commit], sha: str) -> set[str]:
    """The commit and all its ancestors."""
    parents = {commit.sha: commit.parents for commit in history}
    found, waiting = set(), [sha]
    while waiting:
        if (each := waiting.pop()) in parents and each not in found:
            found.add(each)
            waiting += parents[each]
    return found


def defined(history, releases, package, name, size, by_hand):
    """What next_version() gives, as its definition reads: a walk for each release."""
    found = [(v, c.sha) for c in reversed(history) for v in releases.get(c.sha, ())]
    floor = [v.finalize_version() for v, _ in found if v.prerelease]
    floor += [package.finalize_version()] if package else []
    line, sha = set(), history[0].sha
    while sha:
        line.add(sha)
        sha = next((c.parents[0] for c in history if c.sha == sha and c.parents), "")
    finals = [(v, sha) for v, sha in found if not v.prerelease]
    last = max((v for v, sha in finals if sha in line), default=None)
    bases = [base for base in finals if last is None or base[0] >= last]
    bases.sort(key=lambda base: base[0], reverse=True)
    counts: dict[Version, list[int]] = {}  # by what is announced
    for base, sha in [*bases, *([] if last else [(None, "")])]:
        held = ancestry(history, sha)
        since = [c.message for c in history if c.sha not in held]
        said = [v for v in map(by_hand, since) if v][:1]
        if said and (not base or said[0] > base):
            announced = said
        elif base:
            announced = [bump(base, max(map(size, since), default=0))]
        else:
            announced = [] if package else [Version(0, 1, 0)]
        target = max(floor + announced)
        if counts and target not in counts:
            break
        counts.setdefault(target, []).append(len(since))
    ((target, lengths),) = counts.items()
    pre = [v for v, _ in found if v.prerelease and v.finalize_version() == target]
    stem = f"{max(pre).prerelease}.{name}" if pre else name
    sha = history[0].sha[:7]
    return target.replace(prerelease=f"{stem}.{max(lengths)}.g{sha}", build=None)


NUMBERS = st.integers(0, 2)
RELEASES = st.builds(
    Version,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.sampled_from([None] * 4 + ["beta.1", "rc.1", "zz"]),
    st.sampled_from([None] * 4 + ["b"]),
)
MESSAGES = st.sampled_from(
    [*["fix: a"] * 3, "feat: a", "feat!: a", "a\n\nRelease-As: 1.1.0"]
)
PARENTS = st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True)
HISTORIES = st.lists(
    st.tuples(PARENTS, MESSAGES, st.lists(RELEASES, max_size=1)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None)  # a busy machine is no failure
@given(HISTORIES, st.none() | RELEASES, st.sampled_from(["main", "0", "zzz"]))
def test_next_version_is_what_it_is_defined_to_be(rows, package, name):
    history: list[Commit] = []
    releases = {}
    for i, (back, message, called) in enumerate(rows):
        parents = [f"{i - b:040d}" for b in back if i >= b]
        history.insert(0, Commit(f"{i:040d}", parents, "", message))
        releases[f"{i:040d}"] = called
    held = ancestry(history, history[0].sha)
    history = [commit for commit in history if commit.sha in held]
    arguments = history, releases, package, name, change, release_as
    assert next_version(*arguments) == defined(*arguments)


def steps_for(merges: int) -> int:
    """How many lines next_version() runs where each merge brings a release."""
    history, releases, steps = [Commit("m0", [], "", "one")], {}, 0
    for i in range(1, merges + 1):
        side = Commit(f"s{i}", [f"m{i - 1}"], "", "feat: a")
        history[:0] = [Commit(f"m{i}", [f"m{i - 1}", f"s{i}"], "", "Merge"), side]
        releases[f"s{i}"] = [Version(1, i), Version(9999, 0, 0, f"rc.{i}")]

    def trace(frame, event, argument):
        nonlocal steps
        steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        version = next_version(history, releases, Version(9999), "main", change)
    finally:
        sys.settrace(before)
    assert str(version).startswith(f"9999.0.0-rc.{merges}.main.{2 * merges + 1}.g")
    return steps


def test_twice_the_history_takes_twice_the_work():
    assert steps_for(400) < 3 * steps_for(200)
