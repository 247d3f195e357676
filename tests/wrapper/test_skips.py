"""scripts/lib/skips-ci.sh as the queue asks it: what is marked, and what is not."""

import json
import os
import subprocess

import pytest

from tests.support.parts import GIT
from wrapper import SCRIPTS

MAIN = "refs/heads/main"


class Repo:
    """A repository, and builds of it, as stage.sh makes them."""

    def __init__(self, folder):
        self.folder = folder
        self.settings: dict[str, object] = {"url": f"file://{folder}/app"}
        self.settings |= {"skip_ci": True, "test": {}}
        self.git("init", "-q", "-b", "main", cwd=folder)

    def git(self, *args, cwd=None, **more):
        command = ["git", *args] if cwd is None else ["git", *args, "app"]
        done = subprocess.run(
            command,
            cwd=cwd or self.folder / "app",
            env=os.environ | GIT,
            check=True,
            capture_output=True,
            **more,
        )
        return done.stdout.decode().strip()

    def commit(self, message):
        text = message if isinstance(message, bytes) else message.encode()
        self.git("commit", "-q", "--allow-empty", "-F", "-", input=text)
        return self.git("rev-parse", "HEAD")

    def ask(self, commit, ref=MAIN, source="event", before="", **env):
        """Exit code and output of the script, for a build of a commit."""
        resolved = {"builds": f"{self.folder}/builds", "settings": self.settings}
        about = {"SETTINGS": json.dumps(resolved), "SOURCE": source, "BEFORE": before}
        stage = [f"{SCRIPTS}/stage.sh", "o/n", ref, commit]
        path = subprocess.check_output(stage, env=os.environ | about, text=True)
        self.build = path.strip()
        script = [f"{SCRIPTS}/lib/skips-ci.sh", self.build]
        done = subprocess.run(
            script, env=os.environ | env, capture_output=True, text=True
        )
        return done.returncode, done.stdout.strip()


@pytest.fixture
def repo(tmp_path):
    one = Repo(tmp_path)
    one.commit("feat: begin")
    return one


@pytest.mark.parametrize(
    "message",
    [
        "[skip ci] docs",
        "docs [CI  skip]",
        "docs\n\n[no ci]",
        "[skip actions]",
        "[actions skip]",
        "***NO_CI***",
        "docs\n\nskip-checks: true",
        "docs\n\nSkip-Checks:true  ",
        b"d\xf6cs \xff [skip ci]",
    ],
)
def test_a_mark(repo, message):
    before = repo.git("rev-parse", "HEAD")
    assert repo.ask(repo.commit(message), before=before) == (0, "")


@pytest.mark.parametrize(
    "message",
    ["skip ci, no_ci", "[skip circus]", "do not skip-checks: true", "skip-checks: no"],
)
def test_no_mark(repo, message):
    assert repo.ask(repo.commit(message)) == (1, "")


def test_whom_a_mark_concerns(repo):
    marked = repo.commit("[skip ci]")
    assert repo.ask(marked, source="trigger") == (1, "")
    assert repo.ask(marked, source="manual") == (1, "")
    assert repo.ask(marked, "refs/tags/v1.0.0") == (1, "")
    repo.settings["skip_ci"] = False
    assert repo.ask(marked) == (1, "")


def test_what_cannot_be_told_is_no_answer(repo):
    repo.settings["url"] = f"file://{repo.folder}/nothing"
    assert repo.ask(repo.commit("[skip ci]")) == (75, "")
    assert not os.path.exists(f"{repo.build}/.message")


def test_settings_of_git_change_nothing(repo, tmp_path):
    (tmp_path / "gitconfig").write_text(
        "[log]\nshowSignature = true\nmailmap = true\n[i18n]\n"
        "logOutputEncoding = UTF-16\n[format]\npretty = %H\n"
    )
    config = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "LC_ALL": "C.UTF-8"}
    begin = repo.git("rev-parse", "HEAD")
    first, marked = repo.commit("feat: \xe4"), repo.commit("docs [skip ci]")
    assert repo.ask(marked, before=begin, **config) == (0, first)


def test_the_newest_without_a_mark_is_told(repo):
    begin = repo.git("rev-parse", "HEAD")
    repo.commit("feat: one")
    second = repo.commit("feat: two")
    marked = [repo.commit("docs [skip ci]") for _ in range(2)][-1]
    assert repo.ask(marked, before=begin) == (0, second)
    assert repo.ask(marked, before=second) == (0, "")


def test_of_a_new_branch_what_another_has_is_not_told(repo):
    repo.git("checkout", "-q", "-b", "topic")
    marked = repo.commit("docs [skip ci]")
    assert repo.ask(marked, "refs/heads/topic") == (0, "")
    repo.git("tag", "v1.0.0")
    first, marked = repo.commit("feat: x"), repo.commit("docs [skip ci]")
    repo.git("tag", "v1.1.0")
    assert repo.ask(marked, "refs/heads/topic") == (0, first)


def test_of_a_branch_that_was_pushed_over(repo):
    begin = repo.git("rev-parse", "HEAD")
    gone = repo.commit("feat: gone")
    repo.git("checkout", "-q", "-B", "main", begin)
    marked = repo.commit("docs [skip ci]")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    code, told = repo.ask(marked, before=gone)
    assert (code, told) == (0, begin)  # no other branch has it


class TestPaths:
    """What skips a build where `paths` are set."""

    @pytest.fixture
    def repo(self, repo):
        repo.settings["paths"] = ["api/**", "!api/**/*.md", "api/README.md", "lib"]
        return repo

    def change(self, repo, *names, message="fix: it"):
        for name in names:
            path = repo.folder / "app" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.exists() and path.read_text()}.")
        repo.git("add", "-A")
        return repo.commit(message)

    def built(self, repo, commit, status="success", ref=MAIN):
        """A build of that commit has ended so."""
        repo.ask(commit, ref)
        steps = [{"status": "success"}]
        result = {"format": 1, "status": status, "steps": steps}
        with open(f"{repo.build}/result.json", "w") as file:
            json.dump(result, file, indent=2)
        return commit

    def test_without_an_earlier_build(self, repo):
        assert repo.ask(self.change(repo, "x")) == (1, "")
        self.built(repo, repo.commit("x"), ref="refs/heads/other")
        assert repo.ask(repo.commit("x")) == (1, "")

    @pytest.mark.parametrize(
        "names, skipped",
        [
            (["x"], True),
            (["api/x"], False),
            (["api/a/b/x", "x"], False),
            (["api/x.md", "api/a/README.md"], True),
            (["api/README.md"], False),
            (["lib/a/b"], False),
            (["library/a", "web/api/x"], True),
        ],
    )
    def test_what_has_changed(self, repo, names, skipped):
        built = self.built(repo, self.change(repo, "api/x"))
        now = self.change(repo, *names)
        assert repo.ask(now) == ((3, built) if skipped else (1, ""))

    def test_what_a_later_commit_took_back(self, repo):
        self.built(repo, self.change(repo, "api/x"))
        self.change(repo, "api/x")
        repo.git("revert", "-n", "HEAD")
        assert repo.ask(repo.commit("revert")) == (1, "")

    def test_which_build_counts(self, repo):
        red = self.built(repo, self.change(repo, "api/x"), "failure")
        for status in "error", "cancelled", "superseded", "skipped":
            self.built(repo, self.change(repo, "x"), status)
        assert repo.ask(repo.commit("x")) == (3, red)
        self.built(repo, self.change(repo, "api/x"), "error")
        assert repo.ask(repo.commit("x")) == (1, "")

    def test_one_that_is_pruned(self, repo):
        commit = self.change(repo, "api/x")
        now = self.change(repo, "x")
        assert repo.ask(now) == (1, "")
        with open(f"{repo.folder}/builds/o/n/state.json", "w") as file:
            json.dump({"latest": {MAIN: {"built": commit}}}, file)
        assert repo.ask(now) == (3, commit)

    def test_one_that_is_gone(self, repo):
        self.built(repo, "1" * 40)
        assert repo.ask(self.change(repo, "x")) == (1, "")

    def test_a_branch_that_was_pushed_over(self, repo):
        begin = self.change(repo, "api/x", message="feat: x")
        old = self.built(repo, self.change(repo, "api/x"))
        repo.ask(old)  # and so the mirror has it
        repo.git("reset", "-q", "--hard", begin)
        assert repo.ask(begin) == (1, "")
        repo.git("reset", "-q", "--hard", old)
        repo.git("commit", "-q", "--amend", "-m", "fix: the same in other words")
        assert repo.ask(repo.git("rev-parse", "HEAD")) == (1, "")

    def test_whom_it_concerns(self, repo):
        self.built(repo, self.change(repo, "api/x"))
        now = self.change(repo, "x")
        assert repo.ask(now, source="trigger") == (1, "")
        assert repo.ask(now, "refs/tags/v1.0.0") == (1, "")
        repo.settings["skip_ci"] = False
        assert repo.ask(now)[0] == 3
        repo.settings["skip_ci"] = True
        assert repo.ask(self.change(repo, "x", message="[skip ci]"))[0] == 0
