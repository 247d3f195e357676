"""Entries that build folders of one repository: no change is lost, none built twice."""

import os
import random
import subprocess
from fnmatch import fnmatchcase

import pytest

from tests.e2e.conftest import Here, Stub
from tests.support.parts import wait_for
from wrapper import SCRIPTS
from wrapper.builds.directory import builds_in

MAIN = "refs/heads/main"
PATHS = {
    "api": ["api/**", "lib/**"],
    "web": ["web/**", "lib/**", "!**/*.md"],
    "job": ["**", "!api/**", "!web/**", "!docs/**", "!lib/**"],
}
SEED = int(os.environ.get("STORY_SEED", random.randrange(2**32)))


class Steps(Stub):
    """Skips, clones and tells the version, as pipeline.sh does; red by a file."""

    def run(self):
        while not self.gate.wait(0.01) and not self.stopped.is_set():
            pass
        if self.stopped.is_set():
            return 143
        path = self.build.path
        (path / "console.log").touch()
        if (code := self.script("lib/skips-ci")) in (0, 3):
            self.build.close("skipped", "its paths" if code else "[skip ci]")
        else:
            assert [self.script("clone"), self.script("version")] == [0, 0]
            name = self.build.repository.partition("-")[0].partition("/")[2]
            red = (path / "src" / name / "red").exists()
            self.build.close("failure" if red else "success", "")
        return 0

    def script(self, name):
        command = [f"{SCRIPTS}/{name}.sh", str(self.build.path)]
        return subprocess.run(command, capture_output=True).returncode


def matches(file, entry):
    last = False
    for pattern in PATHS[entry]:
        glob = pattern.removeprefix("!").replace("**/", "*").replace("**", "*")
        if fnmatchcase(file, glob):
            last = not pattern.startswith("!")
    return last


class Story:
    """Pushes of all kinds to one repository."""

    def __init__(self, tree, dice):
        self.tree, self.dice = tree, dice
        self.files: dict[str, int] = {}

    def commit(self, *folders, message=""):
        contents = {}
        for folder in folders:
            name = f"{folder}/{self.dice.choice(['a', 'b/c', 'd.md'])}"
            self.files[name] = self.files.get(name, 0) + 1
            contents[name] = str(self.files[name])
        kind = self.dice.choice(["fix", "feat", "docs"])
        return self.tree.commit(contents, message or f"{kind}: {', '.join(folders)}")

    def any(self, mark=""):
        folders = self.dice.sample([*PATHS, "docs", "lib"], self.dice.choice([1, 1, 2]))
        for _ in range(self.dice.choice([1, 1, 2])):
            self.commit(*folders)
        if mark:
            self.commit("docs", message=f"docs: it {mark}")
        self.tree.push()

    def touching(self, entry, *revisions):
        """The commits among these revisions that touch what an entry is made of."""
        found = []
        for commit in self.tree.git("rev-list", *revisions).split():
            show = "diff-tree", "--root", "-r", "--name-only", "--no-commit-id", commit
            if any(matches(f, entry) for f in self.tree.git(*show).split("\n")):
                found.append(commit)
        return found


@pytest.fixture
def story(make_repo, configure, here, name, monkeypatch):
    """story() -> the pushes to be made, the poller, and the entries that it builds."""
    monkeypatch.setattr(Here, "pipeline", Steps)

    def story():
        print(f"STORY_SEED={SEED}")
        tree = make_repo()
        entries = {
            name.replace("/", f"/{entry}-"): {
                "repository": name,
                "paths": paths,
                "tag_prefix": f"{entry}-v",
                "context": entry,
                "branches": ["{default}"],
                "version": {"from": "tags"},
            }
            for entry, paths in PATHS.items()
        }
        poll = {"interval": 0.1, "sweep": 0.5}
        poller = here(configure(repositories=entries, poll=poll, concurrency=3))
        for entry in entries:
            poller.says(f"{entry}: noted main")
            wait_for((poller.folder / entry / "state.json").exists)
        return Story(tree, random.Random(SEED)), poller, list(entries)

    return story


def ends(poller, entry, *states):
    return [
        b
        for b in builds_in(poller.folder / entry)
        if b.ref == MAIN and b.state() in states
    ]


def quiet(poller, entries, tip):
    """Is the last push handled, and all that waits done?"""
    if not all((MAIN, tip) in poller.builds(e) for e in entries):
        return False
    return not any(ends(poller, e, "queued", "interrupted", "running") for e in entries)


def test_a_story_of_twenty_pushes(story, name, github):
    tale, poller, entries = story()
    tree, dice = tale.tree, tale.dice

    def all_quiet():
        wait_for(lambda: quiet(poller, entries, tree.head), 120, poller.output)

    for entry in PATHS:
        tale.commit(entry)
        tree.git("tag", f"{entry}-v1.0.0")
    tree.push("main", "--tags")  # 1
    all_quiet()
    for mark in "", "", "[skip ci]", "", "":  # to 6, built as they come
        tale.any(mark)
    Stub.gate.clear()
    for mark in "", "[skip ci]", "", "":  # to 10, which wait for each other
        tale.any(mark)
        wait_for(lambda: all((MAIN, tree.head) in poller.builds(e) for e in entries))
    Stub.gate.set()
    tree.commit({"api/red": ""}, "fix: a red one")
    tree.push()  # 11
    all_quiet()
    tale.any()
    tree.git("rm", "-q", "api/red")
    tree.push(tree.commit(message="fix: green again") + ":main")  # 12
    tale.any()  # 13
    poller.stop()
    github.hold(name)
    for mark in "", "[skip ci]", "[skip ci]":  # to 16, of which a sweep sees the last
        tale.any(mark)
    poller.start()
    all_quiet()
    github.release(name)
    tree.git("tag", "web-v1.1.0")
    tree.push("web-v1.1.0")  # 17
    tale.any()  # 18, waiting maybe when it is pushed over
    tree.git("reset", "-q", "--hard", "HEAD~2")
    tale.commit(dice.choice(list(PATHS)), message="fix: another history")
    tree.push()  # 19
    tale.any()
    tale.commit("docs")
    tree.push()  # 20
    all_quiet()

    for entry, own in zip(entries, PATHS, strict=True):
        done = ends(poller, entry, "success", "failure")
        commits = [b.commit for b in done]
        assert len(commits) == len(set(commits)), f"{own}: one is built twice"
        built = set(tree.git("rev-list", *commits).split())
        assert set(tale.touching(own, "main")) <= built, f"{own}: one is not built"
        assert ends(poller, entry, "skipped"), f"{own}: nothing was skipped"
        assert not ends(poller, entry, "error")
        for build in done:
            check_version(tale, own, build)
    assert ends(poller, entries[0], "failure")
    tags = [r for r, _ in poller.builds(entries[1]) if r.startswith("refs/tags/")]
    assert tags == ["refs/tags/web-v1.0.0", "refs/tags/web-v1.1.0"]


def check_version(tale, own, build):
    """It comes from the entry's own tags, and from its own commits."""
    version = (build.path / "version").read_text().strip()
    git = tale.tree.git
    tags = git("tag", "--merged", build.commit, "--sort=-v:refname", f"{own}-v*")
    last = tags.split("\n")[0]
    if git("rev-parse", last) == build.commit:
        assert version == last.removeprefix(f"{own}-v")
        return
    since = tale.touching(own, f"{last}..{build.commit}")
    major, minor, patch = map(int, last.removeprefix(f"{own}-v").split("."))
    messages = [git("show", "-s", "--format=%s", commit) for commit in since]
    minor, patch = (minor, patch + 1)
    if any(message.startswith("feat") for message in messages):
        minor, patch = minor + 1, 0
    next_one = f"{major}.{minor}.{patch}-main.{len(since)}.g{build.commit[:7]}"
    assert version == next_one, f"{own} after {last}: {messages}"


def test_what_is_skipped_supersedes_nothing(story):
    """One that is pushed over while it waits is built, and what came after it too."""
    tale, poller, entries = story()
    tree, (api, web, _) = tale.tree, entries

    def push(*folders):
        tale.commit(*folders)
        tree.push()
        wait_for(lambda: all((MAIN, tree.head) in poller.builds(e) for e in entries))
        return tree.head

    begin = push("api", "web")
    wait_for(lambda: quiet(poller, entries, begin))
    pause = poller.folder / ".pause"
    pause.touch()
    waiting = push("api")
    tree.git("reset", "-q", "--hard", begin)
    last = push("docs")
    pause.unlink()
    wait_for(lambda: quiet(poller, entries, last), what=poller.output)
    commits = [b.commit for b in ends(poller, api, "success")]
    assert commits == [begin, waiting, last]
    assert [b.commit for b in ends(poller, web, "skipped")] == [waiting, last]
