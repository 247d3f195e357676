"""The version of a commit, from what git tells; and what holds for any history."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semver import Version

from wrapper.config import load as config
from wrapper.pushes.stager import excluded
from wrapper.version.choose import choose, no_test
from wrapper.version.facts import UNREADABLE, Facts, read
from wrapper.version.rules import Commit, bump, is_final, parse


def facts(tags=None, ref="refs/heads/main", package=None, line=(), commits="abc"):
    """A straight history of commits named by letters; tags: name -> letter."""
    history = [
        Commit(c * 40, [p * 40] if p else [], "2026-11-22T05:10:00+00:00", f"fix: {c}")
        for p, c in zip(["", *commits], commits, strict=False)
    ][::-1]
    tagged = {name: c * 40 for name, c in (tags or {}).items()}
    packages = [(c * 40, {"version": v}) for c, v in line][::-1]
    return Facts(ref, history, tagged, package, packages)


def chosen(facts, source="auto", prerelease=None):
    return str(choose(facts, source, prerelease)[0])


@pytest.mark.parametrize(
    ("tags", "ref", "version"),
    [
        ({"v1.2.3": "c"}, "refs/tags/v1.2.3", "1.2.3"),
        ({"1.2.3": "c"}, "refs/tags/1.2.3", "1.2.3"),
        ({"v1.2.3-rc.1": "c"}, "refs/tags/v1.2.3-rc.1", "1.2.3-rc.1"),
        ({"v2.0.1+exp.1": "c"}, "refs/tags/v2.0.1+exp.1", "2.0.1+exp.1"),
        # Several tags on the commit: the ref's own, else the highest.
        ({"v1.3.0-rc.1": "c", "v1.3.0": "c"}, "refs/tags/v1.3.0-rc.1", "1.3.0-rc.1"),
        ({"v1.3.0-rc.1": "c", "v1.3.0": "c"}, "refs/heads/main", "1.3.0"),
        ({"v1.10.0": "c", "v1.9.0": "c", "1.2": "c"}, "refs/heads/main", "1.10.0"),
        ({"v1.2.3+b": "c", "v1.2.3": "c", "v1.2.3+a": "c"}, "refs/heads/x", "1.2.3"),
        ({"v1.2.3": "c"}, "c" * 40, "1.2.3"),
        # Not a release: by what is in the history.
        ({"v1.2.3": "a"}, "refs/heads/main", "1.2.4-main.2.gccccccc"),
        ({"v1.2.3": "a"}, "refs/heads/a/b", "1.2.4-a-b.2.gccccccc"),
        ({"v1.2.3": "a"}, "c" * 40, "1.2.4-detached.2.gccccccc"),
        ({"v1.2.3": "a"}, "refs/pull/5/head", "1.2.4-detached.2.gccccccc"),
        ({"v1.2.3": "a", "v2": "b"}, "refs/heads/main", "1.2.4-main.2.gccccccc"),
        ({"v1.2.3": "a", "v9.0.0": "z"}, "refs/heads/main", "1.2.4-main.2.gccccccc"),
        ({"1.2": "c", "nightly": "c"}, "refs/heads/main", "0.1.0-main.3.gccccccc"),
    ],
)
def test_by_tags(tags, ref, version):
    assert chosen(facts(tags, ref)) == version


@pytest.mark.parametrize("name", ["1.2", "v1", "7", "nightly", "web-v1.1.0", "v01.2.3"])
def test_a_tag_that_is_no_semver_is_refused(name):
    with pytest.raises(ValueError, match=f'tag "{name}" is no SemVer'):
        chosen(facts({name: "c"}, f"refs/tags/{name}"))


@pytest.mark.parametrize("tag", ["v1.2.3", "1.2.3", "v0.1.0-rc.1", "0.1.0", "10.0.0"])
def test_the_default_tags_are_all_that_are_semver(tag, tmp_path):
    document = {"registry": "127.0.0.1:5000", "repositories": {"o/n": {}}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    built = config.load(str(tmp_path / "config.json")).repositories["o/n"]
    assert excluded(built, f"refs/tags/{tag}") is None
    assert excluded(built, f"refs/tags/x{tag}")
    for other in ("v1", "2026-11-22", "1.2", "20261122", f"{tag}_a"):
        assert "is no SemVer" in (excluded(built, f"refs/tags/{other}") or "")


@pytest.mark.parametrize(
    ("line", "version"),
    [
        # (commit of the default branch that touched package.json, its version)
        ([("a", "1.0.0"), ("c", "1.1.0")], "1.1.0"),
        ([("a", "1.0.0"), ("b", "1.1.0")], "1.1.1-main.1.gccccccc"),
        ([("a", "1.0.0"), ("c", "1.0.0")], "1.0.1-main.2.gccccccc"),
        ([("a", "1.0.0"), ("c", "2.0.0-rc.1")], "2.0.0-rc.1"),
        ([("a", "1.0.0"), ("b", "2.0.0-rc.1")], "2.0.0-rc.1.main.2.gccccccc"),
        ([("c", "1.0.0")], "1.0.0"),
        # Taken back, and broken: nothing is released twice.
        ([("a", "1.0.0"), ("b", "1.1.0"), ("c", "1.0.0")], "1.1.1-main.1.gccccccc"),
        ([("a", "1.0.0"), ("b", None), ("c", "1.0.0")], "1.0.1-main.2.gccccccc"),
        # No version at all.
        ([("a", None), ("c", "one")], "0.1.0-main.3.gccccccc"),
    ],
)
@pytest.mark.parametrize("source", ["auto", "package.json"])
def test_by_package_json(line, version, source):
    own = {"name": "x", "private": True, "version": line[-1][1]}
    assert chosen(facts(package=own, line=line), source) == version


def test_a_tagged_pre_release_of_what_package_json_announces_is_gone_on_from():
    line = [("a", "1.0.0")]
    for tag, version in [
        ("v1.0.1-beta.1", "1.0.1-beta.1.main.2"),
        ("v1.0.0-beta.1", "1.0.1-main.2"),
        ("v2.0.0-beta.1", "1.0.1-main.2"),
        ("v1.0.1", "1.0.1-main.2"),
    ]:
        known = facts({tag: "b"}, package={"version": "1.0.0"}, line=line)
        assert chosen(known, "package.json") == f"{version}.gccccccc"


def test_release_as_is_for_versions_by_tags():
    known = facts({"v1.0.0": "a"}, line=[("a", "1.0.0")])
    says = known.history[0]._replace(message="fix: c\n\nRelease-As: 3.0.0")
    known = known._replace(history=[says, *known.history[1:]])
    assert chosen(known) == "3.0.0-main.2.gccccccc"
    assert chosen(known, "package.json") == "1.0.1-main.2.gccccccc"


def test_only_the_default_branch_releases_by_package_json():
    line = [("a", "1.0.0")]  # c raised it to 1.1.0, but is not on the default branch
    branch = facts(ref="refs/heads/f", package={"version": "1.1.0"}, line=line)
    assert chosen(branch) == "1.1.0-f.2.gccccccc"


def test_auto_goes_by_tags_where_the_history_has_one():
    known = {"package": {"version": "1.0.0"}, "line": [("c", "1.0.0")]}
    assert chosen(facts({"v0.9.0": "z"}, **known)) == "1.0.0"
    assert chosen(facts({"v0.9.0": "a"}, **known)) == "1.0.0-main.2.gccccccc"
    assert chosen(facts({"v0.9.0": "a"}, **known), "package.json") == "1.0.0"
    assert chosen(facts({"v3.0.0": "c"}, **known), "package.json") == "3.0.0"
    assert chosen(facts(**known), "tags") == "1.0.0-main.3.gccccccc"
    # Once without a package.json it goes on from what that has released.
    assert chosen(facts(line=[("a", "1.0.0")])) == "1.0.1-main.2.gccccccc"


@pytest.mark.parametrize("package", [None, {}, {"version": "1"}, {"version": 1}, [1]])
def test_a_package_json_without_a_version_is_no_help(package):
    assert chosen(facts(package=package)) == "0.1.0-main.3.gccccccc"
    assert chosen(facts({"v1.2.3": "b"}, package=package)) == "1.2.4-main.1.gccccccc"


@pytest.mark.parametrize(
    ("tags", "ref", "version"),
    [
        ({"api-v1.2.3": "a"}, "refs/heads/main", "1.2.4-main.2.gffffff"),
        ({"api-1.2.3": "a"}, "refs/heads/main", "1.2.4-main.2.gffffff"),
        # Those of others do not count, nor what only they have changed.
        ({"v2.0.0": "d"}, "refs/heads/main", "0.1.0-main.2.gffffff"),
        ({"web-v2.0.0": "f", "api-v1.0.0": "b"}, "refs/heads/main", "1.0.1-main.2"),
        ({"api-v1.0.0": "d"}, "refs/heads/main", "1.0.1-main.1.gffffff"),
        ({"api-v1.0.0": "e"}, "refs/heads/main", "1.0.1-main.0.gffffff"),
        ({"api-v1.0.0": "f"}, "refs/heads/main", "1.0.0"),
        ({"api-v3.0.0-rc.1": "f"}, "refs/tags/api-v3.0.0-rc.1", "3.0.0-rc.1"),
    ],
)
def test_by_the_tags_of_an_entry(tags, ref, version):
    touching = frozenset(c * 40 for c in "ce")  # of a to f
    found = facts(tags, ref, commits="abcdef")._replace(touching=touching)
    assert str(choose(found, "tags", None, "api-")[0]).startswith(version)


def test_what_a_message_announces_counts_where_its_commit_does():
    found = facts({"api@1.0.0": "a"}, commits="abc")
    messages = {"b": "feat!: b", "c": "feat: c\n\nRelease-As: 1.5.0"}
    for touching, version in ("b", "2.0.0"), ("c", "1.5.0"), ("", "1.0.1"):
        history = [
            c._replace(message=messages.get(c.sha[0], "x")) for c in found.history
        ]
        one = found._replace(history=history, touching={c * 40 for c in touching})
        chosen, *_ = choose(one, "tags", None, "api@")
        assert str(chosen.finalize_version()) == version


def test_a_tag_of_another_entry_is_refused():
    with pytest.raises(ValueError, match=r"web-v1\.0\.0.* \(like api-1\.2\.3\)"):
        choose(facts({"web-v1.0.0": "c"}, "refs/tags/web-v1.0.0"), "tags", None, "api-")


def test_the_pre_release_identifier_can_be_fixed():
    assert chosen(facts(), prerelease="beta") == "0.1.0-beta.3.gccccccc"
    assert chosen(facts(), prerelease="0") == "0.1.0-0.3.gccccccc"


def test_the_facts_are_read_as_git_tells_them():
    one, two = "1" * 40, "2" * 40
    log = (
        f"{two} {one}\n2026-11-22T05:10:00Z\nfeat: b\n\nWhy \xff.\n\0"
        f"{one} \n2026-11-21T05:10:00Z\n\0".encode("latin-1")
    )
    tags = (f"{one} refs/tags/a\u2028b\n\n{one} refs/tags/v1\n").encode()
    line = f"{two}\n{one}\n{one}\n{one}\n{one}".encode()
    package, folder = b'\xef\xbb\xbf{"version": "1.0.0"}', b"\0" * 32
    packages = (
        b"%040d blob %d\n%s\n" % (0, len(package), package)
        + b"%040d blob 3\n{]\n\n" % 0
        + b"%040d blob 99999\n%s\n" % (0, b"[" * 99999)
        + b"symlink 13\n/etc/passwd\n\n\n"
        + b"%040d tree 32\n%s\n" % (0, folder)
        + b"%040d blob 2\n[]\n" % 0
    )
    touching = f"{two}\n".encode()
    gathered = b"\0".join([log, tags, touching, line, packages, b"end"])
    found = read("refs/heads/main", gathered)
    assert found.history[0] == Commit(
        two, [one], "2026-11-22T05:10:00Z", "feat: b\n\nWhy \ufffd.\n"
    )
    assert found.history[1] == Commit(one, [], "2026-11-21T05:10:00Z", "")
    assert found.tags == {"a\u2028b": one, "v1": one}
    assert found.touching == {two}
    assert found.package == {"version": "1.0.0"}
    others = [UNREADABLE, UNREADABLE, None, None, []]
    assert [package for _, package in found.line] == others
    for cut in range(0, len(gathered), 7):
        with pytest.raises(EOFError):
            read("refs/heads/main", gathered[:cut])


@pytest.mark.parametrize("found", [0, 1, 2])
def test_only_the_commit_itself_may_lack_a_package_json(found):
    packages = [b"1:a b/package.json missing\n", b"2:a b/package.json missing\n"]
    packages[:found] = [b"%040d blob 2\n{}\n" % 0] * found
    gathered = b"1 \nDATE\n\0\0\0\0" + b"2\0" + b"".join(packages) + b"\0end"
    if found == 2:
        assert read("refs/heads/main", gathered).line == [("2", {})]
    else:
        with pytest.raises(EOFError, match=r"^2:a b/package\.json missing$"):
            read("refs/heads/main", gathered)
    gathered = b"1 \nDATE\n\0\0\0\0\0" + b"1:package.json missing\n" + b"\0end"
    assert read("refs/heads/main", gathered).package is None


def test_an_emoji_does_not_swell_the_messages_of_others():
    message = "\U0001f600" + "x" * 2_000_000
    log = "".join(f"{i:040x} \nDATE\n{message[i > 0 :]}\0" for i in range(4)).encode()
    gathered = log + b"\0\0\0\0" + b"1:package.json missing\n" + b"\0end"
    tracemalloc.start()
    try:
        found = read("refs/heads/main", gathered)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [commit.message[:1] for commit in found.history] == [message[0], *"xxx"]
    assert peak < 4 * len(gathered)


MESSAGES = ["fix: x", "feat: x", "feat!: x", "x\n\nBREAKING CHANGE: y", "words"]


class Model:
    """A repository as people work in it: main, one branch at a time beside it, tags.

    What a release is called is theirs to choose, as long as it is not lower than what
    was announced for its commit.
    """

    def __init__(self, source, package):
        self.source = source
        self.commits: dict[str, Commit] = {}  # in the order they were made
        self.packages: dict[str, str | None] = {}
        self.tags: dict[str, str] = {}
        self.main: list[str] = []
        self.side: list[str] = []
        self.commit(self.main, "one", package)

    def commit(self, branch, message, package=None, others=()):
        sha = f"{len(self.commits):07x}".ljust(40, "0")
        parents = [*branch[-1:], *others]
        before = self.packages[branch[-1]] if branch else None
        self.packages[sha] = package or before
        self.commits[sha] = Commit(sha, parents, "", message)
        branch.append(sha)

    def facts(self, sha, branch="main"):
        wanted, history = {sha}, []
        for commit in reversed(self.commits.values()):
            if commit.sha in wanted:
                history.append(commit)
                wanted.update(commit.parents)
        line = [
            (b, {"version": self.packages[b]})
            for a, b in zip(["", *self.main], self.main, strict=False)
            if self.packages.get(a) != self.packages[b]
        ][::-1]
        package = self.packages[sha] and {"version": self.packages[sha]}
        return Facts(f"refs/heads/{branch}", history, dict(self.tags), package, line)

    def version(self, sha, branch="main"):
        return choose(self.facts(sha, branch), self.source, None)[0]

    def pre_releases(self, sha, version):
        """Those of the version that a person chose for the commit or its ancestors."""
        history = {commit.sha for commit in self.facts(sha).history}
        chosen = [parse(name) for name, at in self.tags.items() if at in history]
        if self.source == "package.json":
            chosen += [parse(self.packages[at]) for at in history]
        target = version.finalize_version()
        return [
            v for v in chosen if v and v.prerelease and v.finalize_version() == target
        ]

    def chose(self, sha, version):
        """Did a person choose this version for the commit?"""
        by_package = str(version) == self.packages[sha]
        return by_package or self.tags.get(f"v{version}") == sha

    def tag(self, branch, name, size, pre):
        announced = self.version(branch[-1], name)
        if branch is self.side and branch[-1] in self.main:
            return
        if announced.prerelease is None:
            return
        release = announced.finalize_version()
        if size:
            release = bump(release, size - 1)
        while (tag := f"v{release}{pre or ''}") in self.tags:
            release = release.bump_patch()
        self.tags[tag] = branch[-1]

    def step(self, kind, size, pre):
        message = MESSAGES[size % len(MESSAGES)]
        branch, name = (
            (self.side, "side") if kind.endswith("side") else (self.main, "main")
        )
        if kind == "branch" and not self.side:
            self.side = self.main[: max(1, len(self.main) - size)]
        elif kind == "merge" and self.side and self.side[-1] not in self.main:
            raised = max(
                filter(
                    None, (parse(self.packages[b[-1]]) for b in (self.main, self.side))
                ),
                default=None,
            )
            others = self.side[-1:]
            self.side = []
            self.commit(self.main, "Merge", raised and str(raised), others)
        elif kind.startswith("commit") and branch:
            self.commit(branch, message)
        elif kind.startswith("raise") and branch:
            if own := parse(self.packages[branch[-1]]):
                self.commit(branch, "raise", str(bump(own, size % 3)) + (pre or ""))
        elif kind.startswith("tag") and branch and self.source == "tags":
            self.tag(branch, name, size % 4, pre)


KINDS = ["commit", "tag", "raise", "branch", "merge"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*KINDS, "commit side", "tag side", "raise side"]),
        st.integers(0, 7),
        st.sampled_from([None, None, None, "-rc.1", "-beta.2", "-zz"]),
    ),
    max_size=30,
)
SOURCES = st.sampled_from(["tags", "package.json"])
PACKAGES = st.sampled_from([None, "0.0.1", "1.0.0", "1.0.0-rc.1"])


@settings(deadline=None)  # a busy machine is no failure
@given(STEPS, SOURCES, PACKAGES)
def test_later_commits_of_a_branch_sort_higher(steps, source, package):
    model = Model(source, package)

    def built(sha):
        version = model.version(sha)
        return sha, version, model.pre_releases(sha, version)

    published = [built(model.main[0])]
    for step in steps:
        model.step(*step)
        now = built(model.main[-1])
        if now != published[-1]:  # a commit was pushed, or a tag
            published.append(now)
    again = [built(sha) for sha in model.main]  # with today's tags
    for builds in published, again:
        for i, (sha, version, pre_releases) in enumerate(builds):
            # A pre-release that a person chose is called what that person likes, and
            # what comes after it goes on from there.
            if is_final(version) or not model.chose(sha, version):
                assert all(version > pre for pre in pre_releases)
                for _, earlier, _ in builds[:i]:
                    assert version > earlier or any(v < earlier for v in pre_releases)


@settings(deadline=None)
@given(STEPS, SOURCES, PACKAGES, st.sampled_from(["main", "0", "007", "a/b", "Ü", "-"]))
def test_a_version_is_semver_and_decided_by_the_history_alone(
    steps, source, package, branch
):
    model = Model(source, package)
    for step in steps:
        model.step(*step)
    for sha in model.main[-1:] + model.side[-1:]:
        facts = model.facts(sha, branch)
        version, *_ = choose(facts, source, None)
        assert Version.parse(str(version)) == version
        tags = dict(sorted(facts.tags.items(), reverse=True))
        assert choose(facts._replace(tags=tags), source, None)[0] == version


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ({"scripts": {"test": "node test.js"}}, ""),
        (UNREADABLE, ""),
        ([], ""),
        (None, "no test script in package.json"),
        ({}, "no test script in package.json"),
        ({"scripts": []}, "no test script in package.json"),
        ({"scripts": {"test": ""}}, "no test script in package.json"),
        ({"scripts": {"test": ["a"]}}, "no test script in package.json"),
        (
            {"scripts": {"test": 'echo "Error: no test specified" && exit 1'}},
            "only npm's placeholder for a test script in package.json",
        ),
    ],
)
def test_what_cannot_be_read_is_not_absent(package, why):
    assert no_test(package) == why
